"""Which allocator a process that runs phases uses; peaks of extractions are measured by `make bench`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

GLIBC = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
NAMES = (
    "ARROW_DEFAULT_MEMORY_POOL",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
)
CODE = """
from airflow_pipeline_provider.envelope.allocator import share_one_arena
import pyarrow as pa
print(pa.default_memory_pool().backend_name, share_one_arena())
"""
FIRST_IMPORTS = [
    "airflow_pipeline_provider.phases.extract",
    "airflow_pipeline_provider.envelope.schema",
    "airflow_pipeline_provider.envelope.field_kinds",
    "benchmarks.contestants.ours",
]
# An arena of its own for a thread is an address far from the main heap; `malloc_stats` lists each arena.
ARENAS = """
import ctypes, sys, threading
from airflow_pipeline_provider.envelope.allocator import share_one_arena
if "share" in sys.argv:
    share_one_arena()
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
ready = threading.Barrier(4)
def work():
    ready.wait()
    block = malloc(1000)
    ready.wait()
    free(block)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.stdout.flush()
ctypes.CDLL(None).malloc_stats()
"""


def run(code: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    free = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env={**free, **env}, capture_output=True, text=True, check=True)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param({}, "system True", id="nothing set"),
        pytest.param({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc True", id="Arrow's pool set"),
        pytest.param({"MALLOC_ARENA_MAX": "4"}, "jemalloc False", id="malloc set"),
        pytest.param({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}, "jemalloc False", id="tunables set"),
    ],
)
def test_settings_of_the_environment_are_kept(env: dict[str, str], expected: str) -> None:
    assert run(CODE, **env).stdout.strip() == expected


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_threads_share_one_arena() -> None:
    assert run(ARENAS).stderr.count("Arena ") > 1
    assert run(ARENAS, "share").stderr.count("Arena ") == 1


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
@pytest.mark.parametrize("first", FIRST_IMPORTS)
def test_arrow_uses_the_pool_whichever_module_is_imported_first(first: str) -> None:
    code = f"import {first}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    assert run(code).stdout.strip() == "system"
