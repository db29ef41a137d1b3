"""The timetable of `schedule: auto`: the runs that Airflow makes live, after an outage and in a backfill."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction

from airflow_pipeline_provider.factory import timetable as module
from airflow_pipeline_provider.factory.timetable import DayPlanTimetable

NEW_YORK = pendulum.timezone("America/New_York")


def utc(text: str) -> pendulum.DateTime:
    return pendulum.instance(datetime.fromisoformat(text + "+00:00"))


def timetable(**changes: object) -> DayPlanTimetable:
    arguments: dict = {
        "timezone": "America/New_York",
        "granularity": "2h",
        "x_time_back": "1d2h",
        "settle_seconds": 600,
        "start_day": "2013-11-01",
    }
    return DayPlanTimetable(**{**arguments, **changes})


def runs(table: DayPlanTimetable, first: pendulum.DateTime, last: pendulum.DateTime) -> list:
    """Return the runs of a backfill from `first` to `last`, computed like Airflow."""
    restriction = TimeRestriction(first, last, catchup=True)
    found, previous = [], None
    while True:
        info = table.next_dagrun_info(last_automated_data_interval=previous, restriction=restriction)
        if info is None:
            return found
        found.append(info)
        previous = info.data_interval


@pytest.mark.parametrize(
    ("day", "windows"),
    [("2013-11-02", 12), ("2013-11-03", 13), ("2013-11-04", 12), ("2013-03-10", 12)],
    ids=["24 hours", "25 hours", "after the change", "23 hours"],
)
def test_a_backfill_makes_one_run_for_each_window_of_the_day(day: str, windows: int) -> None:
    start = pendulum.parse(day, tz=NEW_YORK)
    found = runs(timetable(start_day=None), start, start.end_of("day"))
    assert len(found) == windows
    bounds = [info.data_interval for info in found]
    assert bounds[0].start == start
    assert bounds[-1].end == start.add(days=1)
    assert all(a.end == b.start for a, b in pairwise(bounds))


def test_backfill_run_ids_are_unique() -> None:
    found = runs(timetable(x_time_back="1d"), utc("2013-11-02T04:00:00"), utc("2013-11-06T04:00:00"))
    moments = [info.run_after for info in found]
    assert len(set(moments)) == len(moments)
    assert moments == sorted(moments)


@pytest.mark.parametrize(
    ("now", "last_end", "expected"),
    [
        ("2013-11-05T12:00:00", None, "2013-11-04T09:00:00"),
        ("2013-11-05T12:00:00", "2013-11-02T06:00:00", "2013-11-04T09:00:00"),
        ("2013-11-05T12:00:00", "2013-11-04T11:00:00", "2013-11-04T11:00:00"),
        ("2013-10-20T12:00:00", None, "2013-11-01T04:00:00"),
    ],
    ids=["first run after unpause", "after an outage", "steady state: the next one", "before the start day"],
)
def test_the_next_live_run_is_the_latest_ready_window(
    monkeypatch: pytest.MonkeyPatch, now: str, last_end: str | None, expected: str
) -> None:
    """Missed windows get no scheduled runs; the planner and drain move them."""
    monkeypatch.setattr(module.pendulum, "now", lambda _tz: utc(now))
    last = DataInterval(utc(last_end).subtract(hours=2), utc(last_end)) if last_end else None
    restriction = TimeRestriction(utc("2013-11-01T04:00:00"), None, catchup=False)
    info = timetable().next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
    assert info is not None
    assert info.data_interval.start == utc(expected)
    assert info.run_after >= info.data_interval.end.add(minutes=10)


def test_a_pipeline_after_its_end_day_still_gets_a_run_that_drains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module.pendulum, "now", lambda _tz: utc("2026-01-01T00:00:00"))
    table = timetable(end_day="2013-11-04")
    restriction = TimeRestriction(utc("2013-11-01T04:00:00"), None, catchup=False)
    info = table.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    assert info is not None
    assert info.data_interval.end == utc("2013-11-05T05:00:00")
    again = table.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=restriction)
    assert again is None


def test_the_timetable_can_be_serialized() -> None:
    table = timetable()
    again = DayPlanTimetable.deserialize(table.serialize())
    assert again.serialize() == table.serialize()
    assert again.summary == "2h windows, America/New_York"
    assert again.description == "every 2h of a day in America/New_York, 1d2h back"
