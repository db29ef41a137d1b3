"""The days of any timezone tile time, and the windows of any granularity tile any day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_pipeline_provider.core.days import (
    _changes,
    day_interval,
    day_of,
    shift_back,
    tile_day,
    transitions,
    zone_of,
)
from airflow_pipeline_provider.core.durations import Duration
from tests.property.strategies import UTC, granularities, instants, zones, zones_and_days

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@given(zones_and_days(), granularities)
def test_windows_tile_the_day(zone_and_day: tuple[str, date], granularity: Duration) -> None:
    zone, day = zone_and_day
    whole = day_interval(day, zone)
    windows = tile_day(day, zone, granularity)
    bounds = [whole.start, *(window.end for window in windows)]
    assert [window.start for window in windows] == bounds[:-1]
    assert bounds[-1] == whole.end
    assert not any(window.is_empty for window in windows)
    if granularity.days:
        assert len(windows) == (0 if whole.is_empty else 1)
    else:
        assert all(window.seconds == granularity.seconds for window in windows[:-1])
        assert all(window.seconds <= granularity.seconds for window in windows[-1:])


@given(zones_and_days())
def test_consecutive_days_touch_and_hold_their_own_instants(zone_and_day: tuple[str, date]) -> None:
    zone, day = zone_and_day
    interval = day_interval(day, zone)
    assert interval.end == day_interval(day + DAY, zone).start
    if not interval.is_empty:
        assert day_of(interval.start, zone) == day
        assert day_of(interval.end - timedelta(microseconds=1), zone) == day
        assert interval.start.astimezone(zone_of(zone)).date() == day


@given(zones, instants)
def test_the_day_of_an_instant_holds_it(zone: str, instant: datetime) -> None:
    assert day_interval(day_of(instant, zone), zone).holds(instant)


@settings(max_examples=40)
@given(zones_and_days(), st.integers(0, 59))
def test_a_day_is_the_greatest_local_date_reached_so_far(zone_and_day: tuple[str, date], phase: int) -> None:
    """An oracle without bisection: walk by minutes (St John's reaches a midnight for one minute, and again)."""
    zone, day = zone_and_day
    tz = zone_of(zone)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - 60 * HOUR + phase * SECOND
    greatest = start.astimezone(tz).date()
    for minute in range(5 * 24 * 60):
        instant = start + minute * 60 * SECOND
        greatest = max(greatest, instant.astimezone(tz).date())
        if minute % 30 == 0 and minute > 30 * 60:  # a day reached before the walk began is not known to it
            assert day_of(instant, zone) == greatest


@given(zones_and_days())
def test_transitions_are_exact(zone_and_day: tuple[str, date]) -> None:
    zone, day = zone_and_day
    tz = zone_of(zone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    for change in transitions(zone, noon - 200 * DAY, noon + 200 * DAY):
        before, after = (change - SECOND).astimezone(tz), change.astimezone(tz)
        assert before.utcoffset() != after.utcoffset()


@settings(max_examples=20)
@given(zones, st.integers(1900, 2090))
def test_one_look_a_day_misses_no_transition(zone: str, year: int) -> None:
    start = datetime(year, 1, 1, tzinfo=UTC)
    tz = zone_of(zone)
    offsets = [(start + hours * HOUR / 2).astimezone(tz).utcoffset() for hours in range(48 * 366 + 1)]
    seen = sum(a != b for a, b in pairwise(offsets))
    assert len(list(_changes(start, start + 366 * DAY, tz))) == seen


@given(zones, instants, st.integers(0, 40), st.integers(0, 200_000))
def test_shifting_back_never_goes_forward(zone: str, instant: datetime, days: int, seconds: int) -> None:
    shifted = shift_back(instant, Duration(days, seconds), zone)
    assert shifted == shift_back(instant, Duration(days, 0), zone) - seconds * SECOND
    # a clock that was set back by up to a day may give the hours of the calendar part back, no more than that
    assert shifted <= instant - days * DAY - seconds * SECOND + 25 * HOUR


@given(zones_and_days(), st.integers(0, 86_399), st.integers(1, 3))
def test_days_back_lead_to_that_calendar_day(
    zone_and_day: tuple[str, date], second: int, days_back: int
) -> None:
    """From anywhere on a day whose wall times are single, `n` days back is on the n-th date before it."""
    zone, day = zone_and_day
    interval = day_interval(day, zone)
    instant = interval.start + second * SECOND
    local = instant.astimezone(zone_of(zone))
    wanted = local.date() - days_back * DAY
    reached = day_of(shift_back(instant, Duration(days_back, 0), zone), zone)
    if day_interval(wanted, zone).is_empty:
        assert reached < wanted
    else:
        assert reached == wanted
