"""Remove leases by hand: expired ones, and a live one only if the caller insists.

A planner skips a live lease, and a run takes over an expired one itself, so an expired lease blocks no run.  A live
run whose lease is removed takes it again at its next renewal, unless another run takes the window first; then it
ends as superseded, and the target rejects its load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import held_lease, local_window
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.state.base import Lease, State
from airflow_pipeline_provider.state.owners import Owner


class Unlocked(NamedTuple):
    """A lease and what became of it: unlocked (it had expired), forced (it had not) or held (kept)."""

    lease: Lease
    status: Literal["unlocked", "forced", "held"]


def unlock(state: State, within: Interval | None, *, by: str, force: bool = False) -> list[Unlocked]:
    """Remove the expired leases that overlap `within` (None: all), with `force` live ones too; in order.

    An error lists the leases that were removed before it.
    """
    done: list[Unlocked] = []
    with _listing(done):
        _drop_expired(state, within, by, "", done)
        for lease in state.leases():
            if within is not None and not lease.interval.overlaps(within):
                continue
            if force:
                _remove(state, lease, by, "", done)
            else:
                done.append(Unlocked(lease, "held"))
    return sorted(done, key=lambda one: (one.lease.interval, one.lease.owner))


def release_lease(
    state: State, window: Interval, *, by: str, reason: str = "", run_id: str | None = None
) -> list[Unlocked]:
    """Remove the expired leases that overlap the window, and its live one if `run_id` names the run that holds it.

    Raises ConfigError, with nothing changed, for a live lease without its run id, and where no lease is found. Any
    other error lists the leases that were removed before it.
    """
    live = [lease for lease in state.leases() if lease.interval.overlaps(window)]
    for lease in live:
        if run_id is None or run_id not in (lease.owner, run_id_of(lease)):
            zone = state.identity.timezone
            given = "it has not expired" if run_id is None else f"got the run id {run_id!r}"
            raise ConfigError(
                f"run_id: {local_window(lease.interval, zone)} "
                f"{held_lease(lease.holder, lease.since, lease.until, zone)}, {given}: "
                "wait until it ends, or type the id of that run"
            )
    done: list[Unlocked] = []
    with _listing(done):
        _drop_expired(state, window, by, reason, done)
        for lease in live:
            _remove(state, lease, by, reason, done)
    if not done:
        raise ConfigError(
            f"window: no run holds {local_window(window, state.identity.timezone)}: its lease was released, or it "
            "never had one"
        )
    return sorted(done, key=lambda one: (one.lease.interval, one.lease.owner))


def run_id_of(lease: Lease) -> str:
    """Return the id of the run that holds the lease, without the DAG's."""
    return lease.owner.partition("/")[2] or lease.owner


@contextmanager
def _listing(done: Sequence[Unlocked]) -> Iterator[None]:
    """Append to an error of the block which leases were removed before it."""
    try:
        yield
    except PipelineError as error:
        removed = [one.lease.holder for one in done if one.status != "held"]
        if removed:
            leases = "the lease" if len(removed) == 1 else "the leases"
            error.append(f"removed before it: {leases} of {', '.join(removed)}")
        raise


def _drop_expired(state: State, within: Interval | None, by: str, reason: str, done: list[Unlocked]) -> None:
    dropped = [Unlocked(lease, "unlocked") for lease in state.drop_expired(within)]
    done += dropped
    for lease, status in dropped:
        _record(state, lease, status, by, reason)


def _remove(state: State, lease: Lease, by: str, reason: str, done: list[Unlocked]) -> None:
    """Remove a live lease; it stays if another run took the window meanwhile."""
    state.release(lease.interval, Owner(lease.owner, lease.installation))
    done.append(Unlocked(lease, "forced"))
    _record(state, lease, "forced", by, reason)


def _record(state: State, lease: Lease, status: str, by: str, reason: str) -> None:
    state.record_act("unlock", by, reason, lease.interval, owner=lease.holder, status=status)
