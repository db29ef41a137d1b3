"""Move windows one after another in this process: wait for leases of other runs, retry temporary failures.

Each window is a run of its own with the id `cli/<host>-<pid>-<uuid>`.
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
from airflow_pipeline_provider.views.times import length_text

POLL_SECONDS = 1.0  # another process may finish long before its lease expires
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0


@dataclass(frozen=True)
class RunOptions:
    """The options of a run.

    `interval` is the window to move; without it the planner chooses by the reference time. With `exact` it need not
    be a window of the day plan.
    """

    reference_time: datetime
    interval: Interval | None = None
    until_done: bool = False
    wait_seconds: int = 600
    retries: int = 3
    by: str | None = None
    exact: bool = True


@dataclass(frozen=True)
class WindowResult:
    """The result for a window: `status` is committed, or skipped or failed with a reason and a detail."""

    interval: Interval
    status: str
    reason: str | None
    detail: str
    audited: Audited | None
    seconds: float

    @property
    def rows(self) -> int | None:
        """Return the rows in the target after the load."""
        return self.audited.target_rows if self.audited else None

    @property
    def token(self) -> int | None:
        """Return the token of the load."""
        return self.audited.token if self.audited else None


@dataclass
class Runner:
    """Moves windows until there is nothing more to do.

    `results` holds what was done, also when `move_windows` raises. `report` is called with a message whenever the
    runner waits or retries, `on_result` after each window.
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

        Raises the error that ended it: that of a phase, or TransientError after `wait_seconds` of waiting. The
        caller then calls `release`.
        """
        passed: set[Interval] = set()
        while True:
            outcome = self._one_window()
            self.reason, self.detail = outcome.reason, outcome.detail
            if outcome.claim is None or not self.options.until_done or self.options.interval is not None:
                return
            if outcome.audited is None:
                if outcome.claim.interval in passed:
                    return  # the planner offers a window again that validate skips: no progress is possible
                passed.add(outcome.claim.interval)

    def release(self, because: BaseException) -> None:
        """Release the leases of the current run, so that other runs need not wait until they expire."""
        try:
            for lease in self.runtime.state.leases():
                if lease.owner == self.run_id:
                    self.runtime.state.release(lease.interval, self.runtime.owner(self.run_id))
        except PipelineError as error:
            if _reason(because) == _reason(error):
                return  # the state is unavailable, which was reported already
            self.report(f"the lease could not be released, it will expire: {error.message}")

    # --- one window

    def _one_window(self) -> Outcome:
        """Run the phases, waiting and retrying, until there is an outcome."""
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
        at, exact = self.options.reference_time, self.options.exact
        return RunRequest(self.run_id, kind, at, interval, by=self.options.by, run_after=at, exact=exact)

    def _ended(self, outcome: Outcome, began: float) -> None:
        if outcome.claim is None:
            return
        interval, seconds = outcome.claim.interval, time.monotonic() - began
        if outcome.audited is not None:
            self._add(WindowResult(interval, "committed", None, "", outcome.audited, seconds))
        else:
            self._add(WindowResult(interval, "skipped", outcome.reason, outcome.detail, None, seconds))

    def _superseded(self, error: SupersededError, began: float) -> Outcome:
        """End the run without an error, since another run owns the window now; then plan again."""
        self.release(error)
        self._add_known("skipped", Reason.SUPERSEDED.value, error, began)
        if self.options.until_done and self.options.interval is None:
            return self._one_window()
        return Outcome(None, None, Reason.SUPERSEDED.value, error.message)

    def _failed(self, error: PipelineError, began: float) -> None:
        self._add_known("failed", type(error).__name__, error, began)

    def _add_known(self, status: str, reason: str, error: PipelineError, began: float) -> None:
        """Add the result of a run that an error ended, if it had a window."""
        try:
            interval = self.runtime.state.bound(self.run_id)
        except PipelineError:  # the state itself may be unavailable
            interval = None
        if interval is not None:
            self._add(WindowResult(interval, status, reason, error.message, None, time.monotonic() - began))

    def _add(self, result: WindowResult) -> None:
        self.results.append(result)
        self.on_result(result)

    # --- waiting

    def _pause(self, failures: int, error: TransientError) -> None:
        """Sleep before a retry: longer after each failure, with jitter, so that processes do not retry in step."""
        longest = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
        seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
        self.report(f"{error}; try {failures + 1} of {self.options.retries + 1} in {seconds:.1f}s")
        time.sleep(seconds)

    def _wait(self, held: LeaseHeldError | None = None) -> None:
        """Wait a moment for the runs that hold the window; raise TransientError after `wait_seconds`."""
        began = self._waiting_since = self._waiting_since or time.monotonic()
        holders = self._holders()
        if not holders:  # released a moment ago, or held briefly by a writer without a window
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
    """Return the message of an error without the name of the argument at its start."""
    return str(getattr(error, "message", error)).partition(": ")[2] or str(error)


_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndedBySignal(BaseException):
    """A signal ended the process; not an Exception, so that no `except Exception` catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        """Return 130 for SIGINT and 143 for SIGTERM, as shells do."""
        return 128 + self.number


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise `EndedBySignal` inside the block at the first signal; restore the handlers after it.

    SIGHUP stays ignored where it is (nohup). Python delivers signals to the main thread only: in other threads
    nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal raised
        if not raised:  # a second signal must not interrupt the cleanup after the first
            raised = True
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
