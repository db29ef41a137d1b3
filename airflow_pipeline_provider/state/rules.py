"""What every state store decides the same way, as pure functions: who gets a lease, which entry is admitted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import LeaseHeldError, SupersededError
from airflow_pipeline_provider.state.base import Lease

KEYED = (Kind.REPLACING, Kind.COMMITTED)


def is_keyed(entry: Entry) -> bool:
    """Is the entry keyed by (kind, interval, token)?  One that should be and has no token is a ValueError."""
    if entry.kind not in KEYED:
        return False
    if entry.token is None:
        raise ValueError(f"token: a {entry.kind.value} entry needs the attempt's token, got None")
    return True


def admit(entry: Entry, written: Iterable[Entry]) -> bool:
    """May the entry be written beside those `written` before?  False: it is there already.

    Raises SupersededError when an overlapping replacing or committed entry has a newer token.
    """
    if not is_keyed(entry):
        return True
    assert entry.token is not None  # noqa: S101  (is_keyed said so; for the type checker)
    rivals = [other for other in written if other.kind in KEYED and other.token is not None]
    for other in rivals:
        if other.token > entry.token and other.interval.overlaps(entry.interval):  # type: ignore[operator]
            raise SupersededError(
                f"token {entry.token} on {entry.interval} is older than token {other.token} of {other.run or 'a run'} "
                f"({other.kind.value} on {other.interval}): this attempt ends here and changes nothing"
            )
    key = (entry.kind, entry.interval, entry.token)
    return not any((other.kind, other.interval, other.token) == key for other in rivals)


def claim(held: Iterable[Lease], interval: Interval, owner: str, now: datetime, ttl_seconds: float) -> list[Lease]:
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
