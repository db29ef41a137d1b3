"""Rules, and times of a day of 25 hours, for the tests of the planner."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import (
    PlanRules,
)

UTC = timezone.utc
NEW_YORK = ZoneInfo("America/New_York")
# Clocks go back on 2013-11-03, a day of 25 hours.  Hours below are elapsed since its midnight in New York, so
# "0-2" is 00:00 EDT to 01:00 EST, and "23-25" are the day's last two hours.
MIDNIGHT = datetime(2013, 11, 3, tzinfo=NEW_YORK).astimezone(UTC)


def at(hour: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hour)


def hours(text: str) -> tuple[Interval, ...]:
    """`p22-24 0-2` are the last two hours of the previous day and the first two of this one."""
    found = []
    for word in text.split():
        offset = -24 if word.startswith("p") else 0
        start, end = word.removeprefix("p").split("-")
        found.append(Interval(at(float(start) + offset), at(float(end) + offset)))
    return tuple(found)


def rules(**changed: object) -> PlanRules:
    given: dict[str, object] = {
        "timezone": "America/New_York",
        "x_time_back": parse_duration("1d2h"),
        "granularity": parse_duration("2h"),
        "settle_seconds": 600,
        "start_day": date(2013, 11, 2),
    }
    return PlanRules(**{**given, **changed})  # type: ignore[arg-type]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


# 2013-11-04 02:00 EST: exactly 1d2h after the midnight of 2013-11-03
OPENS = at(27)
