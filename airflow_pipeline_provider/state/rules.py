"""What every state store decides the same way, as pure functions: who gets a lease, which entry is admitted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, check_transition
from airflow_pipeline_provider.exceptions import LeaseHeldError
from airflow_pipeline_provider.state.base import Lease

KEYED = (Kind.REPLACING, Kind.COMMITTED)


def admit(entry: Entry, overlapping: Iterable[Entry]) -> bool:
    """May the entry be written beside those that overlap it?  False: it is there already.

    Raises what `ledger.check_transition` raises: SupersededError for a newer token, PipelineError for a step that
    is none.
    """
    written = list(overlapping)
    check_transition(written, entry)
    if entry.kind not in KEYED:
        return True
    key = (entry.kind, entry.interval, entry.token)
    return not any((other.kind, other.interval, other.token) == key for other in written)


def claim(
    held: Iterable[Lease], interval: Interval, owner: str, now: datetime, ttl_seconds: float
) -> list[Lease]:
    """The leases after `owner` took (or renewed) `interval` at `now`, the new one last; expired ones are dropped.

    Raises LeaseHeldError when another owner's live lease overlaps, ValueError for a time to live that is none.
    """
    if not ttl_seconds > 0:
        raise ValueError(f"ttl_seconds: expected more than 0, got {ttl_seconds!r}")
    since, kept = now, []
    for lease in held:
        if lease.owner == owner and lease.interval == interval:
            since = lease.since
        elif lease.until > now:
            if lease.owner != owner and lease.interval.overlaps(interval):
                raise LeaseHeldError(lease.owner, lease.since, lease.until)
            kept.append(lease)
    return [*kept, Lease(interval, owner, since, now + timedelta(seconds=ttl_seconds))]
