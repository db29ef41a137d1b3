"""Find the effective commit rows of the target, and compare its rows with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from airflow_pipeline_provider.connectors.base import CommitRow, Target, TargetCounts
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, effective
from airflow_pipeline_provider.core.wording import counted

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def effective_rows(rows: Iterable[CommitRow]) -> list[tuple[Interval, CommitRow]]:
    """Return the effective commit rows (newest token): disjoint pieces in order."""
    listed = list(rows)
    entries = [Entry(Kind.COMMITTED, row.interval, _EPOCH, token=row.token) for row in listed]
    return [(piece, listed[number]) for piece, _, number in effective(entries)]


def loaded(target: Target, interval: Interval, token: int) -> TargetCounts:
    """Return the rows and distinct ids of a load in the interval.

    Unless the target keeps history, all rows of the interval must be of that load.
    """
    if not target.identity.keeps_history:
        return target.count(interval)
    return target.count_by_token(interval).get(token, TargetCounts(0, 0))


def count_pieces(target: Target, pieces: Sequence[Interval], token: int) -> TargetCounts:
    """Return the rows and distinct ids that a load left in all of the pieces, now."""
    counts = [loaded(target, piece, token) for piece in pieces]
    return TargetCounts(sum(count.rows for count in counts), sum(count.distinct_ids for count in counts))


def difference(row: CommitRow, pieces: Sequence[Interval], counts: TargetCounts) -> str | None:
    """Describe how the counts of the pieces differ from their commit row; None when they are equal.

    For a commit row that newer ones replaced in part, only an upper bound is known.
    """
    if counts.rows != counts.distinct_ids:
        ids = counted(counts.distinct_ids, "distinct id")
        return f"the target holds {counted(counts.rows, 'row')} there with {ids}"
    whole = list(pieces) == [row.interval]
    if counts.rows == row.rows or (not whole and counts.rows < row.rows):
        return None
    return f"the target holds {counted(counts.rows, 'row')} there, its commit row says {row.rows:,}"
