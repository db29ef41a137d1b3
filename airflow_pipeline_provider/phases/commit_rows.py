"""Which of the target's commit rows still speak for what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, effective

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def standing_pieces(rows: Iterable[CommitRow]) -> list[tuple[Interval, CommitRow]]:
    """Which commit row rules where in the target, the newest token: disjoint pieces in order."""
    listed = list(rows)
    entries = [Entry(Kind.COMMITTED, row.interval, _EPOCH, token=row.token) for row in listed]
    return [(piece, listed[number]) for piece, _, number in effective(entries)]
