"""One execution of a task as a process of its own: it may crash, freeze or get an error at any place.

A place is each call to source, stage, target or state, before it happens, and each point of `fault_points`.  Places
are numbered from 1 as the execution reaches them, so a fault is (what, number).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple

from airflow_pipeline_provider import fault_points
from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.exceptions import PipelineError, TransientError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.testing.faults import Crash

PURE = frozenset({"url", "plan_slices", "close", "now"})  # calls that ask nobody


class What(str, Enum):
    """`ERROR`: a TransientError there; `UNEXPECTED`: an exception that is no PipelineError; `LOST_REPLY`: the call is
    done and its reply is lost."""

    CRASH = "crash"
    UNEXPECTED = "unexpected"
    FREEZE = "freeze"
    ERROR = "error"
    LOST_REPLY = "lost_reply"


class UnexpectedError(Exception):
    """What a library raises that nobody thought of."""


class Fault(NamedTuple):
    """`place` is a number, or the name of a place where it is reached for the first time."""

    what: What
    place: int | str


ENDINGS = (PipelineError, Crash, UnexpectedError)


class Observer:
    """What is told about a process' calls; a model of the world overrides what it wants to know."""

    def viewed(self, process: Process, slice_: Slice) -> None: ...
    def writes(self, process: Process, path: str, data: bytes) -> None: ...
    def reads(self, process: Process, path: str) -> None: ...
    def deletes(self, process: Process, paths: Sequence[str]) -> None: ...
    def compares_tokens(self, process: Process) -> None: ...
    def minted(self, process: Process, token: int) -> None: ...


class Process:
    """Runs one function with a runtime whose connectors count places.

    `outcome` is what it returned, or the PipelineError or Crash it ended with; None while it is frozen.
    """

    def __init__(self, name: str, runtime: Runtime, observer: Observer, fault: Fault | None) -> None:
        self.name, self.observer, self.fault = name, observer, fault
        self.config = runtime.config
        self.runtime = replace(
            runtime,
            source=_Source(self, runtime.source),  # type: ignore[arg-type]
            stage=_Stage(self, runtime.stage),  # type: ignore[arg-type]
            target=_Target(self, "target", runtime.target),  # type: ignore[arg-type]
            state=_State(self, "state", runtime.state),  # type: ignore[arg-type]
        )
        self.alive = True
        self.places: list[str] = []
        self.files: set[str] = set()  # that it has written
        self.view: Any = None  # the observer's: what the last `open` saw
        self.receipts_read: list[str] = []  # the observer's
        self.compared_at: int | None = None  # the observer's: when it read the target's newest token
        self.frozen = False
        self.outcome: Any = None
        self._thread: threading.Thread | None = None
        self._turn = threading.Event()  # set: the process may run
        self._pausing = threading.Event()  # set: it froze or ended

    def run(self, work: Callable[[Runtime], Any]) -> None:
        """Until it ends or freezes."""
        if self.fault is None or self.fault.what is not What.FREEZE:
            self._work(work)
            return
        self._thread = threading.Thread(target=self._work, args=(work,), name=self.name, daemon=True)
        self._thread.start()
        self._await()

    def wake(self) -> None:
        """A frozen process goes on to its end."""
        self.frozen = False
        self._pausing.clear()
        self._turn.set()
        self._await()

    def kill(self) -> None:
        """Crash a frozen process where it is."""
        self.alive = False
        self.wake()

    def _await(self) -> None:
        if not self._pausing.wait(timeout=60):
            raise AssertionError(f"{self.name} neither ended nor froze: {self.places[-3:]}")
        if not self.frozen and self._thread is not None:
            self._thread.join()
        if isinstance(self.outcome, BaseException) and not isinstance(self.outcome, ENDINGS):
            raise self.outcome

    def _work(self, work: Callable[[Runtime], Any]) -> None:
        _here.process = self
        try:
            self.outcome = work(self.runtime)
        except ENDINGS as error:
            self.outcome = error
        except BaseException as error:
            self.outcome = error
            if self._thread is None:
                raise
        finally:
            _here.process = None
            self._pausing.set()

    # --- places

    def reach(self, place: str) -> bool:
        """True: the caller shall do what it is about to do, and then raise `lost_reply()`."""
        if not self.alive:
            raise Crash
        if getattr(_here, "process", None) is not self:  # a reader's thread
            return False
        self.places.append(place)
        if self.fault is None or self.fault.place not in (len(self.places), place):
            return False
        if self.places.count(place) > 1 and self.fault.place == place:
            return False
        if self.fault.what is What.CRASH:
            self.alive = False
            raise Crash
        if self.fault.what is What.ERROR:
            raise TransientError(f"the network failed on demand at {place}")
        if self.fault.what is What.UNEXPECTED:
            raise UnexpectedError(f"nobody expected this at {place}")
        if self.fault.what is What.LOST_REPLY:
            return True
        self.frozen = True
        self._pausing.set()
        self._turn.wait()
        if not self.alive:
            raise Crash
        return False


def lost_reply() -> TransientError:
    return TransientError("the reply was lost on demand")


_here = threading.local()


def _hook(point: str) -> None:
    process = getattr(_here, "process", None)
    if process is not None and process.reach(point):
        raise lost_reply()


@contextmanager
def places_counted() -> Iterator[None]:
    """The points of `fault_points` count as places in the block."""
    before = fault_points.install(_hook)
    try:
        yield
    finally:
        fault_points.install(before)


# --- connectors between a process and the world


class _Wire:
    """Every call that asks somebody is a place."""

    def __init__(self, process: Process, kind: str, inner: Any) -> None:
        self._process, self._kind, self._inner = process, kind, inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in PURE or not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            lost = self._process.reach(f"{self._kind}.{name}")
            result = found(*args, **kwargs)
            if lost:
                raise lost_reply()
            return result

        return call


class _Target(_Wire):
    def newest_token(self) -> int:
        lost = self._process.reach("target.newest_token")
        self._process.observer.compares_tokens(self._process)
        token: int = self._inner.newest_token()
        if lost:
            raise lost_reply()
        return token


class _State(_Wire):
    def mint_token(self, floor: int = 0) -> int:
        lost = self._process.reach("state.mint_token")
        token: int = self._inner.mint_token(floor)
        self._process.observer.minted(self._process, token)
        if lost:
            raise lost_reply()
        return token


class _Source(_Wire):
    def __init__(self, process: Process, inner: Any) -> None:
        super().__init__(process, "source", inner)

    @contextmanager
    def open(self, slice_: Slice, readers: int = 1) -> Iterator[Sequence[Iterator[Any]]]:
        if self._process.reach("source.open"):
            raise lost_reply()
        with self._inner.open(slice_, readers) as iterators:
            self._process.observer.viewed(self._process, slice_)
            yield iterators


class _Stage(_Wire):
    def __init__(self, process: Process, inner: Any) -> None:
        super().__init__(process, "stage", inner)

    def open_write(self, path: str) -> Any:
        lost = self._process.reach("stage.open_write")
        self._process.files.add(path)
        opened = self._inner.open_write(path)
        if lost:
            raise lost_reply()
        return opened

    def delete(self, paths: Sequence[str]) -> None:
        lost = self._process.reach("stage.delete")
        self._process.observer.deletes(self._process, paths)
        self._inner.delete(paths)
        if lost:
            raise lost_reply()

    def write(self, path: str, data: bytes) -> None:
        lost = self._process.reach("stage.write")
        self._process.observer.writes(self._process, path, data)
        self._inner.write(path, data)
        if lost:
            raise lost_reply()

    def read(self, path: str) -> bytes:
        lost = self._process.reach("stage.read")
        self._process.observer.reads(self._process, path)
        data: bytes = self._inner.read(path)
        if lost:
            raise lost_reply()
        return data
