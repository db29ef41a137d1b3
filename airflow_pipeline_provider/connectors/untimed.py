"""Count the rows that no window can hold: without a time, or with one that only a wrong unit explains."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from airflow_pipeline_provider.core.intervals import Interval

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.base import Source

EPOCH_SECONDS = Interval(
    datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(1970, 2, 20, tzinfo=timezone.utc)
)
"""Contains 0, and seconds since 1970 that were read as milliseconds."""


def count_unusable(source: Source, first: datetime) -> int | None:
    """Count the rows that are in no day from `first` on; None when the source cannot."""
    rows = source.count_untimed()
    if rows is None or first < EPOCH_SECONDS.end:
        return rows
    return rows + source.count(EPOCH_SECONDS)
