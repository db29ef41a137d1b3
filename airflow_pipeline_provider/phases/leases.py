"""A phase holds its window's lease while it works.

At a phase's start the lease is renewed, or taken again if nobody else did, unless this very process did so a moment
ago; a thread renews it while the phase runs.  Held by somebody else: the run is superseded.  The lease keeps honest
runs apart; what keeps a zombie from doing harm is the fencing token, so a lease that is lost in mid-work is noticed
(`check`) but not relied upon.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import LeaseHeldError, PipelineError, SupersededError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim

logger = logging.getLogger(__name__)


@dataclass
class Held:
    """The lease as the phase sees it; `check` raises SupersededError once it was lost."""

    lost: LeaseHeldError | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.lost is not None:
            raise SupersededError(_superseded(self.lost)) from self.lost


def take(runtime: Runtime, run: str, interval: Interval) -> None:
    """Take the lease, or renew it; LeaseHeldError when it is somebody else's."""
    runtime.renewed.pop((run, interval), None)
    runtime.state.acquire(interval, run, runtime.config.state.lease_seconds)
    runtime.renewed[run, interval] = runtime.clock()


def release(runtime: Runtime, run: str, interval: Interval) -> None:
    """Give it back; not holding it is fine."""
    runtime.renewed.pop((run, interval), None)
    runtime.state.release(interval, run)


def _is_fresh(runtime: Runtime, run: str, interval: Interval) -> bool:
    """Renewed by this process, and sooner than its thread would do it again?"""
    at = runtime.renewed.get((run, interval))
    third = timedelta(seconds=runtime.config.state.lease_seconds / 3)
    return at is not None and timedelta(0) <= runtime.clock() - at < third


def give_back(runtime: Runtime, run: str) -> None:
    """Release what the run holds: it failed for good, and nobody should wait for its lease to end."""
    try:
        interval = runtime.state.bound(run)
        if interval is not None:
            release(runtime, run, interval)
    except PipelineError as error:  # the task's own error is the one to report; the lease ends by itself
        logger.warning("could not give back the lease of %s: %s", run, error)


def _superseded(error: LeaseHeldError) -> str:
    return f"another run took the window: {error.message}. This run ends here and changes nothing"


@contextmanager
def hold(runtime: Runtime, claim: Claim) -> Iterator[Held]:
    """Hold the claim's lease during the block; it is kept afterwards, for the next phase."""
    ttl = runtime.config.state.lease_seconds
    held = Held()
    if not _is_fresh(runtime, claim.run, claim.window.interval):
        try:
            take(runtime, claim.run, claim.window.interval)
        except LeaseHeldError as error:
            raise SupersededError(_superseded(error)) from error
    if not runtime.state.concurrent:  # one run at a time: nobody to keep away
        yield held
        return

    def renew() -> None:
        while not held.stop.wait(ttl / 3):
            try:
                take(runtime, claim.run, claim.window.interval)
            except LeaseHeldError as error:
                held.lost = error
                return
            except Exception as error:  # noqa: BLE001  (a thread has nobody to raise to; the next round tries again)
                logger.warning("the lease of %s could not be renewed: %s", claim.window.window_id, error)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.stop.set()
        thread.join()
