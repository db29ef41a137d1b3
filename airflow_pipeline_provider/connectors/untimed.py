"""Count the rows that no window can hold: without a time, or with one that only a wrong unit explains."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow_pipeline_provider.connectors.base import Source
from airflow_pipeline_provider.core.intervals import Interval

EPOCH_SECONDS = Interval(
    datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(1970, 2, 20, tzinfo=timezone.utc)
)
"""Where seconds since 1970 lie that were taken for milliseconds, and 0."""


def count_unusable(source: Source, first: datetime) -> int | None:
    """Return how many rows no day from `first` on can hold; None when the source cannot count them."""
    rows = source.count_untimed()
    if rows is None or first < EPOCH_SECONDS.end:
        return rows
    return rows + source.count(EPOCH_SECONDS)
