"""Keep Python's garbage collector from scanning what stays: imported modules, and results that are kept whole.

A full collection walks every object of the process. Airflow and the vendors' libraries are a million of them, and
importing more starts one again and again, although nothing of it can be freed.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_RUNNER = "airflow.sdk.execution_time.task_runner"


class _Collector:
    """The thresholds of the garbage collector before the first of the blocks that run now."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.blocks = 0
        self.before = gc.get_threshold()


_collector = _Collector()


@contextmanager
def relaxed_gc() -> Iterator[None]:
    """Run the garbage collector rarely inside the block; blocks of several threads may overlap."""
    with _collector.lock:
        if not _collector.blocks:
            _collector.before = gc.get_threshold()
            gc.set_threshold(100_000, *_collector.before[1:])
        _collector.blocks += 1
    try:
        yield
    finally:
        with _collector.lock:
            _collector.blocks -= 1
            if not _collector.blocks:
                gc.set_threshold(*_collector.before)


def freeze_imports() -> None:
    """Exclude all objects so far from garbage collection, if this process exists for one task of Airflow.

    What is garbage by now stays until the process ends, so nothing is done in a process that outlives the task.
    """
    if getattr(sys.modules.get(_RUNNER), "SUPERVISOR_COMMS", None) is not None:
        gc.freeze()
