"""Choose how a process that runs phases gets and keeps memory.

The allocator matters as much as the data structures (docs/performance.md has the figures).  By itself glibc maps each
page of a few MB again, so the kernel clears its memory and faults it in each time, and it keeps freed blocks in an
arena per thread; Arrow's own pools keep theirs too.  So Python and Arrow share one arena, which keeps its blocks.
"""

from __future__ import annotations

import logging
import os
from functools import cache

logger = logging.getLogger(__name__)

# of <malloc.h>: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX
SETTINGS = (
    (-1, 64 * 2**20),  # free memory at the end of the heap that is not returned to the kernel
    (-3, 32 * 2**20),  # blocks from this size on are mapped; the most that glibc accepts
    (-8, 1),
)
_SET_BY_USER = (
    "GLIBC_TUNABLES",
    "LD_PRELOAD",  # often another allocator
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)


def _is_ours() -> bool:
    """Return whether the C library is glibc, and the environment does not configure an allocator."""
    try:
        glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError):  # another system or C library
        return False
    return glibc and not any(os.environ.get(name) for name in _SET_BY_USER)


def choose_arrow_pool() -> None:
    """Set the pool that Arrow takes when it is imported, unless the environment names one.

    Its own choice, mimalloc, keeps what threads have freed: 50 MB more than jemalloc at the peak of an extraction.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system" if _is_ours() else "jemalloc")


@cache
def share_one_arena() -> bool:
    """Configure glibc's malloc for this process; return whether it accepted every setting.

    Another C library, or an allocator that the environment configures, is left alone.
    """
    if not _is_ours():
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError) as error:
        logger.debug("malloc stays as it is: %s", error)
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    accepted = [mallopt(name, value) == 1 for name, value in SETTINGS]
    return all(accepted)
