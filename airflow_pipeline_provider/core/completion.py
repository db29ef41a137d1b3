"""Whether a day is complete, and what the `.days` event needs to know of its commits."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_pipeline_provider.core.intervals import Interval, common, gaps
from airflow_pipeline_provider.core.ledger import Entry, Kind, committed, unverified

_OF_A_LOAD = (Kind.ATTEMPT, Kind.REPLACING, Kind.COMMITTED)


def is_complete(day: Interval, entries: Iterable[Entry]) -> bool:
    """Return whether every instant of the day is committed (not waived) and no replacement is unfinished."""
    written = list(entries)
    return not gaps(day, committed(written)) and not common(unverified(written), [day])


def was_complete(day: Interval, entries: Iterable[Entry]) -> bool:
    """Return whether every instant of the day was committed at some time, even if it is being replaced now."""
    return not gaps(day, committed(entries))


def may_complete(day: Interval, entries: Iterable[Entry], interval: Interval) -> bool:
    """Return whether a commit of the interval leaves no gap in the day, once the loads that have begun commit too.

    Of two runs that load the last two windows side by side, at least the one that asks second gets True.
    """
    begun = [entry.interval for entry in entries if entry.kind in (Kind.REPLACING, Kind.COMMITTED)]
    return not gaps(day, [*begun, interval])


def has_committed(entries: Iterable[Entry], run: str) -> bool:
    """Return whether the newest thing that the run did in these entries is a commit."""
    kinds = [entry.kind for entry in entries if entry.run == run and entry.kind in _OF_A_LOAD]
    return bool(kinds) and kinds[-1] is Kind.COMMITTED
