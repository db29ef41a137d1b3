"""Hold the lease of a window while a phase works on it.

At a phase's start the lease is renewed, or acquired again if it is free; if this process renewed it within a third
of its time, it is kept.  A thread renews it while the phase runs.  If another run holds it, the run is superseded.
The lease separates live runs; the fencing token protects against stale tasks, so the loss of a lease is noticed
(`check`) but not relied upon.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import held_lease, local_window
from airflow_pipeline_provider.exceptions import LeaseHeldError, PipelineError, SupersededError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim
from airflow_pipeline_provider.state.base import State

logger = logging.getLogger(__name__)


@dataclass
class Held:
    """The lease of `interval` during a phase; `check` raises an error once it was lost."""

    interval: Interval | None = None
    lost: LeaseHeldError | SupersededError | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    let_go: Callable[[], None] = lambda: None
    """Release the lease while the phase still comes to its end."""

    def check(self) -> None:
        """Raise SupersededError when another run, or a later execution of this task, works on the window.

        Raise LeaseHeldError when another run works on another window.
        """
        if isinstance(self.lost, SupersededError):
            raise SupersededError(self.lost.message) from self.lost
        if self.lost is not None:
            raise _lost(self.lost, self.interval) from self.lost


def take(runtime: Runtime, run: str, interval: Interval, *, renews: bool = False) -> None:
    """Acquire the lease, or renew it.

    Raises LeaseHeldError when another owner has it, SupersededError when another execution of this task overtook it.
    """
    runtime.renewed.pop((run, interval), None)
    owner = runtime.owner(run)._replace(renews=renews)
    with local_times(runtime.state):
        runtime.state.acquire(interval, owner, runtime.config.state.lease_seconds)
    runtime.renewed[run, interval] = runtime.clock()


@contextmanager
def exclusive(runtime: Runtime, run: str, *, follows: bool | None = None) -> Iterator[None]:
    """Keep other writers of the pipeline away during the block, where its state store needs that."""
    with ExitStack() as stack:
        with local_times(runtime.state):
            stack.enter_context(
                runtime.state.exclusive(
                    runtime.owner(run), runtime.config.state.lease_seconds, follows=follows
                )
            )
        yield


@contextmanager
def local_times(state: State) -> Iterator[None]:
    """Rewrite a LeaseHeldError of the block, with times in the pipeline's time zone."""
    try:
        yield
    except LeaseHeldError as error:
        zone = state.identity.timezone
        what = ", ".join(local_window(window, zone) for window in error.windows[:2]) or "the pipeline's state"
        if state.concurrent or not error.windows:
            message = f"{what} {held_lease(error.holder, error.since, error.until, zone)}"
        else:
            message = (
                f"state.type {state.options.type} serves one run at a time, and its lease "
                f"{held_lease(error.holder, error.since, error.until, zone)}, for {what}"
            )
        raise LeaseHeldError(
            error.owner,
            error.since,
            error.until,
            windows=error.windows,
            follows=error.follows,
            holder=error.holder,
            message=message,
        ) from error


def renew(runtime: Runtime, run: str, interval: Interval) -> None:
    """Take the lease, unless this process renewed it within a third of its time."""
    if not _is_fresh(runtime, run, interval):
        take(runtime, run, interval)


def check_binding(runtime: Runtime, claim: Claim) -> None:
    """Raise SupersededError when the run is bound to another window, or was passed another run's window."""
    bound = runtime.state.bound(claim.run)
    if bound not in (None, claim.interval):  # bindings of old runs are dropped
        raise SupersededError(
            f"{claim.run} has the window {bound}, and this task was given {claim.interval}: it changes nothing"
        )


def release(runtime: Runtime, run: str, interval: Interval) -> None:
    """Release the lease; do nothing without one."""
    runtime.renewed.pop((run, interval), None)
    runtime.state.release(interval, runtime.owner(run))


def _is_fresh(runtime: Runtime, run: str, interval: Interval) -> bool:
    """Return whether this process renewed the lease within the interval of its renewing thread."""
    at = runtime.renewed.get((run, interval))
    third = timedelta(seconds=runtime.config.state.lease_seconds / 3)
    return at is not None and timedelta(0) <= runtime.clock() - at < third


def release_all(runtime: Runtime, run: str) -> None:
    """Release all leases of the run: it failed for good or was ended, and no other run should wait for them to end.

    Leases of other runs stay, and so does the lease that a later execution of this task has taken over, or that
    other executions of a mapped task work under.
    """
    try:
        me = runtime.owner(run)
        for lease in runtime.state.leases():
            if lease.belongs_to(me):
                release(runtime, run, lease.interval)
    except PipelineError as error:  # report the task's own error; the lease expires
        logger.warning("the lease of %s could not be released: %s", run, error)


def _lost(error: LeaseHeldError, interval: Interval | None) -> PipelineError:
    """Return the error for a lost lease; this run waits if another run holds the pipeline for another window."""
    if interval is not None and not any(window.overlaps(interval) for window in error.windows):
        return error
    return SupersededError(
        f"another run took the window: {error.message}. This run ends here and changes nothing"
    )


@contextmanager
def hold(runtime: Runtime, claim: Claim) -> Iterator[Held]:
    """Hold the claim's lease during the block; it is kept afterwards, for the next phase.

    Raise SupersededError before the lease is taken if the run is bound to another window.
    """
    ttl = runtime.config.state.lease_seconds
    held = Held(claim.interval)
    try:
        with runtime.state.session():  # one connection for both
            check_binding(runtime, claim)  # before the lease: another run's window must not be held
            renew(runtime, claim.run, claim.interval)
    except LeaseHeldError as error:
        raise _lost(error, held.interval) from error

    def keep_renewing() -> None:
        while not held.stop.wait(ttl / 3):
            try:
                take(runtime, claim.run, claim.interval, renews=True)
            except (LeaseHeldError, SupersededError) as error:
                held.lost = error
                return
            except Exception as error:  # noqa: BLE001  (a thread has no caller to raise to; the next round tries again)
                logger.warning("the lease of %s could not be renewed: %s", claim.window_id, error)

    def let_go() -> None:
        held.stop.set()
        release_all(runtime, claim.run)

    held.let_go = let_go
    thread = threading.Thread(target=keep_renewing, name="lease", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.stop.set()
        thread.join()
