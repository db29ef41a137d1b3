"""Define the day of the kits and tests: 25 hours long in New York, from 04:00 UTC."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

from airflow_pipeline_provider.core.intervals import Interval

ZONE = "America/New_York"
DAY = date(2013, 11, 3)
MIDNIGHT = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
MICRO = timedelta(microseconds=1)


def hours(start: float, end: float) -> Interval:
    """Return the interval between two numbers of hours since the start of the day."""
    return Interval(MIDNIGHT + timedelta(hours=start), MIDNIGHT + timedelta(hours=end))
