"""Deaths and failures at named points (`fault_points.POINTS`), and what a run passes on its way.

::

    with traced() as points:            # ["generate.planned", "state.before_commit", "generate.leased", ...]
        run_window(runtime, request)

    os.environ[DIE_AT] = "load.deleted:1"   # in a child process: the first time it is there, it is gone
    arm_from_environment()

    with failing_at("load.copied", error=TransientError("the network is down")):
        ...

A point is named with the number of the visit, from 1; `0:17` means the 17th point of any name.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_pipeline_provider import fault_points

ANY = "0"
DIE_AT = "AIRFLOW_PIPELINES_DIE_AT"
EXIT_CODE = 137  # what a process that was killed by signal 9 ends with in a shell


class Crash(BaseException):
    """Stands for a death in tests that stay in one process; no `except Exception` sees it."""


def die() -> None:
    """End this process now: no handler, no `finally`, no buffer is written, no connection is closed."""
    os._exit(EXIT_CODE)


def crash() -> None:
    raise Crash


@contextmanager
def hooked(hook: fault_points.Hook) -> Iterator[None]:
    """Install the hook for the block."""
    before = fault_points.install(hook)
    try:
        yield
    finally:
        fault_points.install(before)


@contextmanager
def traced() -> Iterator[list[str]]:
    """The points that the block passes, in order, in whatever thread."""
    points: list[str] = []
    with hooked(points.append):
        yield points


def at(point: str, visit: int, act: Callable[[], None]) -> fault_points.Hook:
    """A hook that acts at the `visit`-th time (from 1) that `point` is reached, once; point `ANY` is any point."""
    known = (*fault_points.POINTS, *fault_points.ACTION_POINTS)
    if point != ANY and point not in known:
        raise ValueError(f"point: expected one of {', '.join(known)}, got {point!r}")
    if visit < 1:
        raise ValueError(f"visit: expected 1 or more, got {visit}")
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def hook(name: str) -> None:
        with lock:
            seen.update((name, ANY))
            due = point in (name, ANY) and seen[point] == visit
        if due:
            act()

    return hook


@contextmanager
def failing_at(point: str, visit: int = 1, error: BaseException | None = None) -> Iterator[None]:
    """Raise `error` (a `Crash` without one) there."""

    def fail() -> None:
        raise error or Crash

    with hooked(at(point, visit, fail)):
        yield


def arm_from_environment() -> None:
    """Die where the environment says, `<point>:<visit>`; without the variable nothing is installed."""
    where = os.environ.get(DIE_AT)
    if where:
        point, _, visit = where.partition(":")
        fault_points.install(at(point, int(visit or 1), die))
