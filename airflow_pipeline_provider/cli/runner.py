"""Windows one after another in this process: what to do about leases of others, errors that may pass, and the end.

Every window is a run of its own, "cli/<host>-<pid>-<uuid>": another process, or this one later, is another run.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType

from airflow_pipeline_provider.cli.time_format import length_text
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import Reason
from airflow_pipeline_provider.core.wording import held_lease, local_window
from airflow_pipeline_provider.exceptions import (
    LeaseHeldError,
    PipelineError,
    SupersededError,
    TransientError,
)
from airflow_pipeline_provider.phases.run import Outcome, run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Audited, RunKind, RunRequest
from airflow_pipeline_provider.state.base import Lease

POLL_SECONDS = 1.0  # another process may be done long before its lease ends
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0


@dataclass(frozen=True)
class RunOptions:
    """`interval`: exactly this window; otherwise the planner chooses by the reference time."""

    reference_time: datetime
    interval: Interval | None = None
    until_done: bool = False
    wait_seconds: int = 600
    retries: int = 3
    by: str | None = None


@dataclass(frozen=True)
class WindowResult:
    """What became of a window: `status` is committed, or skipped or failed with a reason and a sentence."""

    interval: Interval
    status: str
    reason: str | None
    detail: str
    audited: Audited | None
    seconds: float


@dataclass
class Runner:
    """`go` until there is nothing more to do; `moved` says what was done, also when `go` raises.

    `tell` is called with a sentence whenever nothing seems to happen, `on_moved` after each window.
    """

    runtime: Runtime
    options: RunOptions
    report: Callable[[str], None]
    on_result: Callable[[WindowResult], None] = lambda _: None
    results: list[WindowResult] = field(default_factory=list)
    reason: str | None = None
    detail: str = ""
    run_id: str = ""
    _waiting_since: float | None = None
    _reported: set[tuple[str, Interval]] = field(default_factory=set)

    def move_windows(self) -> None:
        """Move one window, or with `until_done` all that are ready.

        Raises the error that ended it: of the phases, or TransientError after `wait_seconds` of waiting.  The
        caller then says `release`.
        """
        passed: set[Interval] = set()
        while True:
            outcome = self._one_window()
            self.reason, self.detail = outcome.reason, outcome.detail
            if outcome.claim is None or not self.options.until_done or self.options.interval is not None:
                return
            if outcome.audited is None:
                if outcome.claim.window.interval in passed:
                    return  # the planner offers again what validate passes over: no progress is to be made here
                passed.add(outcome.claim.window.interval)

    def release(self, because: BaseException) -> None:
        """Give back what the present run holds, so that nobody has to wait for its lease to end."""
        try:
            for lease in self.runtime.state.leases():
                if lease.owner == self.run_id:
                    self.runtime.state.release(lease.interval, self.runtime.owner(self.run_id))
        except PipelineError as error:
            if _reason(because) == _reason(error):
                return  # the state is out of reach: that is said already
            self.report(f"the lease could not be given back, it ends by itself: {error.message}")

    # --- one window

    def _one_window(self) -> Outcome:
        """Run until there is an outcome that is none of another process's doing."""
        request, failures = self._request(), 0
        while True:
            began = time.monotonic()
            try:
                outcome = run_window(self.runtime, request)
            except LeaseHeldError as error:
                self._wait(error)
                request = self._request()
                continue
            except TransientError as error:
                failures += 1
                if failures > self.options.retries:
                    self._failed(error, began)
                    raise
                self._pause(failures, error)
                continue
            except SupersededError as error:
                return self._superseded(error, began)
            except PipelineError as error:
                self._failed(error, began)
                raise
            if outcome.claim is None and outcome.reason == Reason.LEASED.value:
                self._wait()
                request = self._request()
                continue
            self._waiting_since = None
            self._ended(outcome, began)
            return outcome

    def _request(self) -> RunRequest:
        self.run_id = f"cli/{socket.gethostname()}-{os.getpid()}-{uuid.uuid4()}"
        interval = self.options.interval
        kind = RunKind.LIVE if interval is None else RunKind.WINDOW
        at = self.options.reference_time
        return RunRequest(self.run_id, kind, at, interval, by=self.options.by, run_after=at)

    def _ended(self, outcome: Outcome, began: float) -> None:
        if outcome.claim is None:
            return
        interval, seconds = outcome.claim.window.interval, time.monotonic() - began
        if outcome.audited is not None:
            self._add(WindowResult(interval, "committed", None, "", outcome.audited, seconds))
        else:
            self._add(WindowResult(interval, "skipped", outcome.reason, outcome.detail, None, seconds))

    def _superseded(self, error: SupersededError, began: float) -> Outcome:
        """Another run owns the window now; this one ends quietly, and the planner is asked again."""
        self.release(error)
        self._add_known("skipped", Reason.SUPERSEDED.value, error, began)
        if self.options.until_done and self.options.interval is None:
            return self._one_window()
        return Outcome(None, None, Reason.SUPERSEDED.value, error.message)

    def _failed(self, error: PipelineError, began: float) -> None:
        self._add_known("failed", type(error).__name__, error, began)

    def _add_known(self, status: str, reason: str, error: PipelineError, began: float) -> None:
        """Add what an error ended, if it came so far as to have a window."""
        try:
            interval = self.runtime.state.bound(self.run_id)
        except PipelineError:  # the state itself may be what is out of reach
            interval = None
        if interval is not None:
            self._add(WindowResult(interval, status, reason, error.message, None, time.monotonic() - began))

    def _add(self, result: WindowResult) -> None:
        self.results.append(result)
        self.on_result(result)

    # --- waiting

    def _pause(self, failures: int, error: TransientError) -> None:
        """Longer after each failure, and never the same for two processes that fail together."""
        longest = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
        seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311  (spread, no secret)
        self.report(f"{error}; try {failures + 1} of {self.options.retries + 1} in {seconds:.1f}s")
        time.sleep(seconds)

    def _wait(self, held: LeaseHeldError | None = None) -> None:
        """Wait a moment for the runs that hold what this one wants; TransientError once it was long enough."""
        began = self._waiting_since = self._waiting_since or time.monotonic()
        holders = self._holders()
        if not holders:  # released a moment ago, or held by a writer without a window, which needs a moment
            if held is not None and time.monotonic() - began > self.options.wait_seconds:
                raise TransientError(
                    f"{held.message}: run again later, or wait longer with --wait DURATION"
                ) from held
            time.sleep(POLL_SECONDS / 10)
            return
        first = min(holders, key=lambda lease: lease.until)
        remaining = self.options.wait_seconds - (time.monotonic() - began)
        if remaining <= 0:
            raise TransientError(f"{self._held(first)}: run again later, or wait longer with --wait DURATION")
        if (first.owner, first.interval) not in self._reported:
            self._reported.add((first.owner, first.interval))
            self.report(f"{self._held(first)}: waiting up to {length_text(max(1, round(remaining)))}")
        left = (first.until - self.runtime.state.now()).total_seconds()
        time.sleep(max(0.0, min(POLL_SECONDS, remaining, left)) + 0.01)
        gone = first.owner not in {lease.owner for lease in self._holders()}
        if gone and self.runtime.state.now() >= first.until:
            self.report(f"the lease of {first.holder} has expired: its window is free")

    def _holders(self) -> list[Lease]:
        wanted = self.options.interval
        return [
            lease
            for lease in self.runtime.state.leases()
            if lease.owner != self.run_id
            and (wanted is None or not self.runtime.state.concurrent or lease.interval.overlaps(wanted))
        ]

    def _held(self, lease: Lease) -> str:
        zone = self.runtime.config.timezone
        return (
            f"{local_window(lease.interval, zone)} {held_lease(lease.holder, lease.since, lease.until, zone)}"
        )


def _reason(error: BaseException) -> str:
    """Return the message of an error without the name of the argument that it begins with."""
    return str(getattr(error, "message", error)).partition(": ")[2] or str(error)


_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndedBySignal(BaseException):
    """The process was told to end by a signal; no `except Exception` stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, as shells count."""
        return 128 + self.number


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """The first signal raises `EndedBySignal` inside the block; after the block signals do what they did before.

    A hang-up stays ignored where it is (nohup).  Only the main thread is told of signals: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal told
        if not told:  # a second one must not interrupt the cleaning up that the first began
            told = True
            raise EndedBySignal(number)

    before = {}
    for number in _ENDING:
        handler = signal.getsignal(number)
        if not (number != signal.SIGINT and handler is signal.SIG_IGN):
            before[number] = handler
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
