"""Rules that all state stores share, as pure functions: which owner gets a lease, which entry is admitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, check_transition
from airflow_pipeline_provider.exceptions import ConfigError, LeaseHeldError
from airflow_pipeline_provider.state.base import Lease, Snapshot
from airflow_pipeline_provider.state.owners import (
    Execution,
    Owner,
    as_owner,
    executions_after,
    executions_left,
    may_release,
)

KEYED = (Kind.REPLACING, Kind.COMMITTED)
"""Kinds that need a token."""
ONCE = (*KEYED, Kind.MISSED)
"""Kinds of which a second entry of the same interval and token changes nothing."""


def admit(entry: Entry, overlapping: Iterable[Entry]) -> bool:
    """Return whether the entry is to be written: False if it is already there; raise an error if it must not be.

    Raises what `ledger.check_transition` raises: SupersededError for a newer token, PipelineError for a transition
    that is not allowed.
    """
    written = list(overlapping)
    check_transition(written, entry)
    if entry.kind not in ONCE:
        return True
    key = (entry.kind, entry.interval, entry.token)
    return not any((other.kind, other.interval, other.token) == key for other in written)


def claim(
    held: Iterable[Lease],
    interval: Interval,
    owner: Owner | str,
    now: datetime,
    ttl_seconds: float,
) -> list[Lease]:
    """Return the leases after `owner` took (or renewed) `interval` at `now`, the new one last, without expired ones.

    Raises LeaseHeldError when another owner's live lease overlaps, SupersededError for a stale execution,
    ValueError for a time to live that is not positive.
    """
    owner = as_owner(owner)
    if not ttl_seconds > 0:
        raise ValueError(f"ttl_seconds: expected more than 0, got {ttl_seconds!r}")
    since, kept = now, []
    executions: tuple[Execution, ...] = ()
    for lease in held:
        if lease.belongs_to(owner) and lease.interval == interval:
            since = min(lease.since, now)
            executions = lease.executions if lease.is_live(now) else ()
        elif lease.is_live(now):
            if not lease.belongs_to(owner) and lease.interval.overlaps(interval):
                raise lease_held(lease)
            kept.append(lease)
    executions = executions_after(executions, owner, now)
    until = now + timedelta(seconds=ttl_seconds)
    new = Lease(interval, owner.run, since, until, float(ttl_seconds), owner.installation, executions)
    return [*kept, new]


def lease_held(lease: Lease) -> LeaseHeldError:
    """Return the error for a run that meets another owner's lease."""
    return LeaseHeldError(
        lease.owner, lease.since, lease.until, windows=(lease.interval,), holder=lease.holder
    )


def to_release(
    held: Iterable[Lease],
    interval: Interval,
    owner: Owner | str,
    now: datetime,
    until: datetime | None = None,
) -> list[tuple[Lease, Lease | None]]:
    """Return the leases that change when the owner releases `interval`, each with what stays of it.

    They are its own, unless it is a stale execution; with `until` only one that ends then.
    """
    owner = as_owner(owner)
    return [
        (lease, _rest(lease, owner.execution, now))
        for lease in held
        if lease.interval == interval
        and lease.belongs_to(owner)
        and may_release(lease.executions, owner.execution)
        and until in (None, lease.until)
    ]


def _rest(lease: Lease, asking: Execution, now: datetime) -> Lease | None:
    left = executions_left(lease.executions, asking, now, lease.seconds or 0.0)
    return replace(lease, executions=left) if left else None


def split_expired(
    held: Iterable[Lease], now: datetime, within: Interval | None = None
) -> tuple[list[Lease], list[Lease]]:
    """Return the leases that stay, and those that expired and overlap `within`."""
    leases = list(held)
    gone = [x for x in leases if not x.is_live(now) and (within is None or x.interval.overlaps(within))]
    return [lease for lease in leases if lease not in gone], gone


def rest_of(wanted: Sequence[Entry], present: Sequence[Entry]) -> Sequence[Entry]:
    """Return what to write after `present`; raise ConfigError if `present` is not the beginning of `wanted`."""
    same = 0
    while same < min(len(wanted), len(present)) and wanted[same] == present[same]:
        same += 1
    if same < len(present):
        other = present[same]
        raise ConfigError(
            f"expected a state without entries of this pipeline, or with the first ones of the snapshot, got "
            f"{len(present) - same} others, the first of them: {other.kind.value} {other.interval}; nothing was "
            "changed: restore into an empty state (another connection, schema, table_prefix or prefix)"
        )
    return wanted[same:]


def merged_runs(wanted: Mapping[str, Interval], present: Mapping[str, Interval]) -> dict[str, Interval]:
    """Merge both bindings, the snapshot's first; raise ConfigError for a run that is bound to another window."""
    for run, interval in wanted.items():
        if present.get(run, interval) != interval:
            raise ConfigError(
                f"run {run} has the window {present[run]} in this state and {interval} in the snapshot; nothing was "
                "changed: restore into an empty state"
            )
    return {**wanted, **present}


def newest_token(snapshot: Snapshot, present: int) -> int:
    """Return the newest token of both: tokens only grow, also after an import of an edited snapshot."""
    return max([present, snapshot.token, *(entry.token or 0 for entry in snapshot.entries)])


def earlier_day(first: date | None, other: date | None) -> date | None:
    """Return the earlier of two first days; None is no day."""
    return min((day for day in (first, other) if day is not None), default=None)
