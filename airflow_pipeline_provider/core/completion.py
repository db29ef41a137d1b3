"""Find the commit that made a day complete, so that completion is announced once."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_pipeline_provider.core.intervals import Interval, common, gaps
from airflow_pipeline_provider.core.ledger import Entry, Kind, committed, unverified


def is_complete(day: Interval, entries: Iterable[Entry]) -> bool:
    """Return whether every instant of the day is committed (not waived) and no replacement is unfinished."""
    written = list(entries)
    return not gaps(day, committed(written)) and not common(unverified(written), [day])


def made_complete(day: Interval, entries: Iterable[Entry], token: int) -> bool:
    """Return whether the commit with this token made the day complete.

    `entries` are all that overlap the day, in the order in which they were written.  The answer does not change with
    what is written later, so a retried task gets the same answer, and of several runs that commit at the same time
    exactly one gets True.  A replaced window makes its day complete again.
    """
    written = list(entries)
    for number, entry in enumerate(written):
        if entry.kind is Kind.COMMITTED and entry.token == token:
            return is_complete(day, written[: number + 1]) and not is_complete(day, written[:number])
    return False
