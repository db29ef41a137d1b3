"""Due times and comparable windows in every time zone, around clock changes too."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_pipeline_provider.core.days import (
    clock_reaches,
    day_interval,
    day_of,
    in_zone,
    tile_day,
    zone_of,
)
from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.expectations import (
    CompleteBy,
    Deadline,
    days_completed_late,
    due_at,
    late_days,
)
from airflow_pipeline_provider.core.intervals import Interval, merge
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.usual_rows import comparable
from tests.property.strategies import UTC, coarse_granularities, zones_and_days

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
times = st.integers(0, 24 * 60 - 1)


@settings(max_examples=60)
@given(zones_and_days(), times)
def test_the_clock_reaches_a_time_at_the_first_such_minute(
    zone_and_day: tuple[str, date], minutes: int
) -> None:
    """An oracle without bisection: walk by seconds where offsets have them, else by minutes."""
    zone, day = zone_and_day
    tz = zone_of(zone)
    wall = datetime(day.year, day.month, day.day) + minutes * MINUTE
    found = clock_reaches(day, minutes, zone)
    assert in_zone(found, tz).replace(tzinfo=None) >= wall
    at = wall.replace(tzinfo=UTC) - DAY
    while at < found:
        assert in_zone(at, tz).replace(tzinfo=None) < wall
        at += 7 * MINUTE
    before = found - timedelta(seconds=1)
    assert in_zone(before, tz).replace(tzinfo=None) < wall


@given(zones_and_days(), times, st.integers(1, 5))
def test_no_day_is_due_before_it_ends(zone_and_day: tuple[str, date], minutes: int, days: int) -> None:
    zone, day = zone_and_day
    complete_by = CompleteBy(days, minutes)
    due, whole = due_at(day, complete_by, zone), day_interval(day, zone)
    assert due >= whole.end
    assert due <= due_at(day + DAY, complete_by, zone)
    early, late = (list(late_days([day], complete_by, at, [], zone)) for at in (due - MINUTE, due))
    assert early == []
    assert [miss.interval for miss in late] == ([] if whole.is_empty else [whole])
    assert list(late_days([day], complete_by, due, [whole], zone)) == []


@given(zones_and_days(), times, st.integers(1, 3), st.integers(-72 * 60, 72 * 60))
def test_a_deadline_finds_each_instant_at_which_a_day_is_due(
    zone_and_day: tuple[str, date], minutes: int, days: int, offset: int
) -> None:
    zone, day = zone_and_day
    deadline = Deadline(zone, CompleteBy(days, minutes))
    at = day_interval(day, zone).start + offset * MINUTE
    dues = [due_at(day + n * DAY, deadline.complete_by, zone) for n in range(-10, 11)]
    assert deadline.last_until(at) == max(due for due in dues if due <= at)
    assert deadline.first_after(at) == min(due for due in dues if due > at)


@given(zones_and_days(), times, coarse_granularities, st.data())
def test_a_day_was_late_if_it_was_not_complete_when_it_was_due(
    zone_and_day: tuple[str, date], minutes: int, granularity: Duration, data: st.DataObject
) -> None:
    """The same as a check at that instant finds, whatever was committed when."""
    zone, day = zone_and_day
    complete_by, windows = CompleteBy(1, minutes), tile_day(day, zone, granularity)
    due = due_at(day, complete_by, zone)
    offsets = st.integers(-120, 120).map(lambda offset: offset * MINUTE)
    entries = [
        Entry(Kind.COMMITTED, window, due + data.draw(offsets), token=number, rows=1)
        for number, window in enumerate(windows, 1)
    ]
    begun = Entry(Kind.FAILED, day_interval(day, zone), due - DAY)
    (found,) = (list(days_completed_late([day], complete_by, [*entries, begun], zone)),)
    at_due = [entry.interval for entry in entries if entry.at <= due]
    missed = list(late_days([day], complete_by, due, merge(at_due), zone))
    assert [miss.interval for miss in found] == [miss.interval for miss in missed]
    assert [miss.completed for miss in found] == [max(entry.at for entry in entries)] * len(missed)


@given(zones_and_days(), coarse_granularities, st.data())
def test_comparable_windows_have_the_same_weekday_and_clock(
    zone_and_day: tuple[str, date], granularity: Duration, data: st.DataObject
) -> None:
    zone, day = zone_and_day
    windows = tile_day(day, zone, granularity)
    if not windows:
        return
    window = data.draw(st.sampled_from(windows))
    whole, tz = day_interval(day, zone), zone_of(zone)
    for week, before in enumerate(comparable(window, 4, zone), 1):
        if before is None:
            continue
        other = day_interval(day - week * 7 * DAY, zone)
        assert other.covers(before)
        assert not before.is_empty
        assert day_of(before.start, zone).weekday() == day.weekday()
        if window.start == whole.start:
            assert before.start == other.start
        else:
            assert in_zone(before.start, tz).time() == in_zone(window.start, tz).time()
        assert before.end == other.end if window.end == whole.end else before.seconds == window.seconds


@given(zones_and_days())
def test_a_whole_day_is_compared_with_whole_days(zone_and_day: tuple[str, date]) -> None:
    zone, day = zone_and_day
    whole = day_interval(day, zone)
    if whole.is_empty:
        return
    others = [day_interval(day - week * 7 * DAY, zone) for week in range(1, 5)]
    expected: list[Interval | None] = [None if other.is_empty else other for other in others]
    assert comparable(whole, 4, zone) == expected
