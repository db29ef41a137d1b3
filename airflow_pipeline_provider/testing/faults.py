"""Crash or fail at named points (`fault_points.POINTS`), and list the points that a run reaches.

::

    with traced() as points:            # ["generate.planned", "state.before_commit", "generate.leased", ...]
        run_window(runtime, request)

    os.environ[CRASH_AT] = "load.deleted:1"   # in a child process: crash at the first visit
    arm_from_environment()

    with failing_at("load.copied", error=TransientError("the network is down")):
        ...

A point is written with the number of the visit, from 1; `0:17` is the 17th point of any name.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_pipeline_provider import fault_points

ANY = "0"
CRASH_AT = "AIRFLOW_PIPELINES_CRASH_AT"
EXIT_CODE = 137  # a shell's exit code for a process that was killed by signal 9


class Crash(BaseException):
    """A simulated crash in a test with a single process; `except Exception` does not catch it."""


def kill_process() -> None:
    """End this process immediately: run no handler and no `finally`, flush no buffer, close no connection."""
    os._exit(EXIT_CODE)


def crash() -> None:
    """Raise a simulated crash."""
    raise Crash


@contextmanager
def hooked(hook: fault_points.Hook) -> Iterator[None]:
    """Install the hook during the block."""
    before = fault_points.install(hook)
    try:
        yield
    finally:
        fault_points.install(before)


@contextmanager
def traced() -> Iterator[list[str]]:
    """Yield a list to which every point that the block reaches, in any thread, is added in order."""
    points: list[str] = []
    with hooked(points.append):
        yield points


def at(point: str, visit: int, act: Callable[[], None]) -> fault_points.Hook:
    """Return a hook that calls `act` once, at visit number `visit` (from 1) of `point`; `ANY` counts all points."""
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
    """Raise `error`, by default a `Crash`, at that visit of the point."""

    def fail() -> None:
        raise error or Crash

    with hooked(at(point, visit, fail)):
        yield


def arm_from_environment() -> None:
    """Crash at `<point>:<visit>` of the environment variable; do nothing if it is not set."""
    where = os.environ.get(CRASH_AT)
    if where:
        point, _, visit = where.partition(":")
        fault_points.install(at(point, int(visit or 1), kill_process))
