"""Which commit made a day complete: asked by whoever tells others, once for each time it becomes so."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_pipeline_provider.core.intervals import Interval, common, gaps
from airflow_pipeline_provider.core.ledger import Entry, Kind, committed, unverified


def is_complete(day: Interval, entries: Iterable[Entry]) -> bool:
    """Is every instant of the day committed, and none of it half replaced?  Given-up time is not committed."""
    written = list(entries)
    return not gaps(day, committed(written)) and not common(unverified(written), [day])


def made_complete(day: Interval, entries: Iterable[Entry], token: int) -> bool:
    """Was the day complete right after the commit with this token, and not right before it?

    `entries` are all that overlap the day, in the order in which they were written.  The answer does not change with
    what is written later, so an interrupted task may ask again, and of several runs that commit at the same time
    exactly one is told yes.  A replaced window makes its day complete anew.
    """
    written = list(entries)
    for number, entry in enumerate(written):
        if entry.kind is Kind.COMMITTED and entry.token == token:
            return is_complete(day, written[: number + 1]) and not is_complete(day, written[:number])
    return False
