"""Days of zones whose clocks do strange things, and the windows in them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pendulum
import pytest

from airflow_pipeline_provider.core.days import (
    FIRST_DAY,
    LAST_DAY,
    day_interval,
    day_of,
    days_in,
    in_zone,
    shift_back,
    tile_day,
    transitions,
    window_end,
    zone_of,
)
from airflow_pipeline_provider.core.durations import Duration, parse_duration
from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_utc
from airflow_pipeline_provider.core.wording import local_time

UTC = timezone.utc
NY = "America/New_York"
JOHNS = "America/St_Johns"
APIA = "Pacific/Apia"


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        pytest.param("UTC", date(2024, 1, 15), "2024-01-15T00:00:00Z", 24, id="plain"),
        pytest.param(NY, date(2013, 3, 10), "2013-03-10T05:00:00Z", 23, id="spring forward"),
        pytest.param(NY, date(2013, 11, 3), "2013-11-03T04:00:00Z", 25, id="fall back"),
        pytest.param("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00:00Z", 23, id="no midnight"),
        pytest.param("America/Sao_Paulo", date(2018, 2, 17), "2018-02-17T02:00:00Z", 25, id="23h twice"),
        pytest.param("Asia/Beirut", date(2024, 3, 31), "2024-03-30T22:00:00Z", 23, id="Beirut, no midnight"),
        pytest.param("Africa/Cairo", date(2024, 4, 26), "2024-04-25T22:00:00Z", 23, id="Cairo, no midnight"),
        pytest.param("Africa/Cairo", date(2024, 10, 31), "2024-10-30T21:00:00Z", 25, id="Cairo, 23h twice"),
        pytest.param(
            "Atlantic/Azores", date(2024, 10, 27), "2024-10-27T00:00:00Z", 25, id="Azores, 0h twice"
        ),
        pytest.param("America/Havana", date(2024, 11, 3), "2024-11-03T04:00:00Z", 25, id="Havana, 0h twice"),
        pytest.param(
            "America/Havana", date(2024, 3, 10), "2024-03-10T05:00:00Z", 23, id="Havana, no midnight"
        ),
        pytest.param(JOHNS, date(2006, 10, 28), "2006-10-28T02:30:00Z", 24, id="before midnight repeats"),
        pytest.param(JOHNS, date(2006, 10, 29), "2006-10-29T02:30:00Z", 25, id="midnight repeats"),
        pytest.param(
            "Australia/Lord_Howe", date(2024, 4, 7), "2024-04-06T13:00:00Z", 24.5, id="half hour more"
        ),
        pytest.param(
            "Australia/Lord_Howe", date(2024, 10, 6), "2024-10-05T13:30:00Z", 23.5, id="half hour less"
        ),
        pytest.param("Antarctica/Troll", date(2024, 3, 31), "2024-03-31T00:00:00Z", 22, id="two hours less"),
        pytest.param("Antarctica/Troll", date(2024, 10, 27), "2024-10-26T22:00:00Z", 26, id="two hours more"),
        pytest.param("Pacific/Kwajalein", date(1969, 9, 30), "1969-09-29T13:00:00Z", 47, id="a day repeats"),
        pytest.param("Pacific/Kwajalein", date(1993, 8, 21), "1993-08-21T12:00:00Z", 0, id="a date skipped"),
        pytest.param(APIA, date(2011, 12, 29), "2011-12-29T10:00:00Z", 24, id="before a skipped date"),
        pytest.param(APIA, date(2011, 12, 30), "2011-12-30T10:00:00Z", 0, id="the skipped date"),
        pytest.param(APIA, date(2011, 12, 31), "2011-12-30T10:00:00Z", 24, id="after a skipped date"),
        pytest.param("America/Sitka", date(1867, 10, 19), "1867-10-18T09:01:13Z", 48, id="Alaska is sold"),
        pytest.param("Asia/Manila", date(1844, 12, 31), "1844-12-31T15:56:08Z", 0, id="Manila changes sides"),
        pytest.param(
            "Africa/Monrovia", date(1972, 1, 7), "1972-01-07T00:44:30Z", 23 + 930 / 3600, id="odd seconds"
        ),
        pytest.param("America/Caracas", date(2016, 5, 1), "2016-05-01T04:30:00Z", 23.5, id="Caracas"),
        pytest.param(
            "Asia/Pyongyang", date(2018, 5, 4), "2018-05-03T15:30:00Z", 23.5, id="Pyongyang forward"
        ),
        pytest.param("Asia/Pyongyang", date(2015, 8, 14), "2015-08-13T15:00:00Z", 24.5, id="Pyongyang back"),
        pytest.param(NY, FIRST_DAY, "0001-01-05T04:56:02Z", 24, id="first day"),
        pytest.param(NY, LAST_DAY, "9999-12-27T05:00:00Z", 24, id="last day"),
    ],
)
def test_day_interval(zone: str, day: date, start: str, hours: float) -> None:
    interval = day_interval(day, zone)
    assert iso_utc(interval.start) == start
    assert interval.seconds == hours * 3600


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        pytest.param(NY, "2013-11-03T03:59:59.999999Z", date(2013, 11, 2), id="last microsecond"),
        pytest.param(NY, "2013-11-03T04:00:00Z", date(2013, 11, 3), id="first instant"),
        pytest.param(JOHNS, "2006-10-29T02:29:59Z", date(2006, 10, 28), id="before the first midnight"),
        pytest.param(JOHNS, "2006-10-29T02:30:30Z", date(2006, 10, 29), id="in the one minute"),
        pytest.param(
            JOHNS, "2006-10-29T02:31:00Z", date(2006, 10, 29), id="23:01 again, the day does not return"
        ),
        pytest.param(APIA, "2011-12-30T09:59:59Z", date(2011, 12, 29), id="before the skipped date"),
        pytest.param(APIA, "2011-12-30T10:00:00Z", date(2011, 12, 31), id="never the skipped date"),
        pytest.param("Pacific/Kwajalein", "1969-10-01T05:00:00Z", date(1969, 9, 30), id="the repeated day"),
        pytest.param(
            "America/Sitka", "1867-10-19T02:00:00Z", date(1867, 10, 19), id="the 18th again is the 19th"
        ),
    ],
)
def test_day_of(zone: str, instant: str, day: date) -> None:
    assert day_of(parse_utc(instant), zone) == day


@pytest.mark.parametrize(
    ("zone", "day", "granularity", "count", "first_starts"),
    [
        (NY, date(2013, 11, 3), "6h", 5, ["00:00 EDT", "05:00 EST", "11:00 EST", "17:00 EST", "23:00 EST"]),
        (NY, date(2013, 3, 10), "6h", 4, ["00:00 EST", "07:00 EDT", "13:00 EDT", "19:00 EDT"]),
        (NY, date(2013, 11, 3), "1h", 25, ["00:00 EDT", "01:00 EDT", "01:00 EST", "02:00 EST"]),
        (
            "America/Havana",
            date(2024, 11, 3),
            "30m",
            50,
            ["00:00 CDT", "00:30 CDT", "00:00 CST", "00:30 CST"],
        ),
        (JOHNS, date(2006, 10, 29), "30m", 50, ["00:00 NDT", "23:30 NST", "00:00 NST", "00:30 NST"]),
        ("Australia/Lord_Howe", date(2024, 4, 7), "8h", 4, ["00:00 +11", "07:30 +1030", "15:30 +1030"]),
        (NY, date(2013, 11, 3), "1d", 1, ["00:00 EDT"]),
        (NY, date(2013, 11, 3), "1d1s", 1, ["00:00 EDT"]),
        (NY, date(2013, 11, 3), "24h", 2, ["00:00 EDT", "23:00 EST"]),
        (NY, date(2013, 11, 3), "25h", 1, ["00:00 EDT"]),
        (NY, date(2013, 11, 3), "7s", 12_858, ["00:00 EDT", "00:00:07 EDT"]),
        (NY, date(2013, 11, 3), "999999999999999999h", 1, ["00:00 EDT"]),
        (APIA, date(2011, 12, 30), "1h", 0, []),
    ],
)
def test_day_plan(zone: str, day: date, granularity: str, count: int, first_starts: list[str]) -> None:
    windows = tile_day(day, zone, parse_duration(granularity))
    shown = [local_time(window.start, zone).split(" ", 1)[1] for window in windows[: len(first_starts)]]
    assert shown == first_starts
    assert len(windows) == count
    assert all(window.end == day_interval(day, zone).end for window in windows[-1:])


@pytest.mark.parametrize(
    ("zone", "instant", "back", "expected"),
    [
        pytest.param(NY, "2013-03-11T04:30:00Z", "1d", "2013-03-10T05:30:00Z", id="00:30 to 00:30 over 23 hours"),
        pytest.param(NY, "2013-11-04T05:30:00Z", "1d", "2013-11-03T04:30:00Z", id="00:30 to 00:30 over 25 hours"),
        pytest.param(NY, "2013-11-04T06:30:00Z", "1d", "2013-11-03T05:30:00Z", id="the first of two 01:30"),
        pytest.param(NY, "2013-03-11T06:30:00Z", "1d", "2013-03-10T07:30:00Z", id="02:30 is missing: past the gap"),
        pytest.param(NY, "2013-11-03T06:30:00Z", "0s", "2013-11-03T06:30:00Z", id="nothing, at the second 01:30"),
        pytest.param(NY, "2013-11-03T06:30:00Z", "30m", "2013-11-03T06:00:00Z", id="elapsed, at the second 01:30"),
        pytest.param(NY, "2013-03-11T07:30:00Z", "1d2h", "2013-03-10T05:30:00Z", id="calendar first, then elapsed"),
        pytest.param("America/Sao_Paulo", "2018-11-05T02:30:00Z", "1d", "2018-11-04T03:30:00Z", id="no 00:30"),
        pytest.param(APIA, "2011-12-30T20:00:00Z", "1d", "2011-12-29T20:00:00Z", id="onto a skipped date: before it"),
        pytest.param(APIA, "2011-12-30T20:00:00Z", "2d", "2011-12-29T20:00:00Z", id="over a skipped date"),
        pytest.param("UTC", "2024-03-01T12:00:00.000007Z", "1d", "2024-02-29T12:00:00.000007Z", id="fraction kept"),
        pytest.param("UTC", "2024-03-01T12:00:00Z", "24h", "2024-02-29T12:00:00Z", id="elapsed only"),
    ],
)  # fmt: skip
def test_shift_back(zone: str, instant: str, back: str, expected: str) -> None:
    assert iso_utc(shift_back(parse_utc(instant), parse_duration(back), zone)) == expected


def test_a_gap_up_to_midnight_leads_back_into_its_date() -> None:
    """Toronto once left out 23:30 to 00:30 (1919-03-30): 23:45 moves back, for past the gap lies the 31st."""
    gap = parse_utc("1919-04-01T03:45:00Z")
    assert local_time(gap, "America/Toronto") == "1919-03-31 23:45 EDT"
    assert local_time(shift_back(gap, Duration(1, 0), "America/Toronto"), "America/Toronto") == (
        "1919-03-30 22:45 EST"
    )


@pytest.mark.parametrize(
    ("zone", "start", "end", "expected"),
    [
        (NY, "2013-01-01T00:00:00Z", "2014-01-01T00:00:00Z", ["2013-03-10T07:00:00Z", "2013-11-03T06:00:00Z"]),
        (NY, "2013-11-03T05:59:59.500000Z", "2013-11-03T06:00:00Z", ["2013-11-03T06:00:00Z"]),
        (NY, "2013-11-03T05:00:00Z", "2013-11-03T05:59:59.500000Z", ["2013-11-03T06:00:00Z"]),
        (NY, "2013-11-03T06:00:00Z", "2013-11-04T00:00:00Z", []),
        ("UTC", "1900-01-01T00:00:00Z", "2100-01-01T00:00:00Z", []),
        ("Africa/Freetown", "1939-08-01T00:00:00Z", "1939-10-01T00:00:00Z",
         ["1939-09-01T01:00:00Z", "1939-09-05T00:40:00Z"]),
    ],
)  # fmt: skip
def test_transitions(zone: str, start: str, end: str, expected: list[str]) -> None:
    assert [iso_utc(change) for change in transitions(zone, parse_utc(start), parse_utc(end))] == expected


NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)
NAIVE = datetime(2024, 1, 15, 12)
HOUR = Duration(0, 3600)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: day_interval(NOON, NY), TypeError, "day: expected a date, got datetime"),  # type: ignore[arg-type]
        (lambda: day_interval("2024-01-15", NY), TypeError, "day: expected a date, got '2024-01-15'"),
        (lambda: day_interval(None, NY), TypeError, "day: expected a date, got None"),
        (lambda: day_interval(date.min, NY), ValueError, "day: expected a date from .*, got 0001-01-01"),
        (lambda: day_interval(date.max, NY), ValueError, "day: expected a date from .*, got 9999-12-31"),
        (lambda: day_interval(date(2024, 1, 1), "Mars/X"), ValueError, "timezone: .*'Mars/X'"),
        (lambda: tile_day(date(2024, 1, 1), "Mars/X", HOUR), ValueError, "timezone: .*'Mars/X'"),
        (lambda: tile_day(date(2024, 1, 1), NY, Duration(0, 0)), ValueError, "granularity: .*, got 0s"),
        (lambda: tile_day(date(2024, 1, 1), NY, Duration(0, -5)), ValueError, "granularity: expected more than 0s"),
        (lambda: tile_day(date(2024, 1, 1), NY, Duration(-1, 5)), ValueError, "granularity: expected more than 0s"),
        (lambda: day_of(NOON, "Mars/X"), ValueError, "timezone: .*'Mars/X'"),
        (lambda: day_of(NAIVE, NY), ValueError, "instant: expected an aware datetime"),
        (lambda: day_of(date(2024, 1, 1), NY), TypeError, "instant: expected an aware datetime"),
        (lambda: day_of(datetime(9999, 12, 31, 23, tzinfo=UTC), "Asia/Tokyo"), ValueError, "instant: .*outside"),
        (lambda: day_of(datetime(9999, 12, 31, 23, tzinfo=UTC), NY), ValueError, "got 9999-12-31"),
        (lambda: shift_back(NAIVE, HOUR, NY), ValueError, "instant: expected an aware datetime"),
        (lambda: shift_back(NOON, HOUR, "Mars/X"), ValueError, "timezone: .*'Mars/X'"),
        (lambda: shift_back(NOON, Duration(10**6, 0), NY), ValueError, "1000000d before .* outside"),
        (lambda: shift_back(NOON, Duration(0, 10**12), NY), ValueError, "277777777h46m40s before .* outside"),
        (lambda: shift_back(NOON, Duration(0, 10**30), NY), ValueError, "before .* outside"),
        (lambda: transitions("Mars/X", NOON, NOON), ValueError, "timezone: .*'Mars/X'"),
        (lambda: transitions(NY, NAIVE, NOON), ValueError, "start: expected an aware datetime"),
        (lambda: transitions(NY, NOON, NAIVE), ValueError, "end: expected an aware datetime"),
        (lambda: transitions(NY, datetime(1, 1, 1, tzinfo=UTC), NOON), ValueError, "start: expected an instant from"),
        (lambda: transitions(NY, NOON, datetime(9999, 12, 31, 23, 59, 59, 5, UTC)), ValueError, "end: .*got 9999"),
        (lambda: in_zone(NAIVE, zone_of(NY)), ValueError, "instant: expected an aware datetime"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_pendulum_values_are_taken_as_what_they_are() -> None:
    assert day_interval(pendulum.date(2013, 11, 3), NY) == day_interval(date(2013, 11, 3), NY)
    assert day_of(pendulum.datetime(2013, 11, 3, 0, tz=NY), pendulum.timezone(NY)) == date(2013, 11, 3)
    assert type(day_of(pendulum.datetime(2013, 11, 3, 0, tz=NY), NY)) is date


def test_a_window_ends_with_its_day_at_the_latest() -> None:
    day = day_interval(date(2013, 11, 3), NY)
    late = day.end - timedelta(minutes=30)
    assert window_end(late, day, HOUR) == day.end
    assert window_end(day.start, day, HOUR) == day.start + timedelta(hours=1)
    assert window_end(late, Interval(day.start, day.end), Duration(1, 0)) == day.end


def test_days_in_a_span_without_the_date_that_the_zone_skipped() -> None:
    span = Interval(parse_utc("2011-12-29T20:00:00Z"), parse_utc("2011-12-31T12:00:00Z"))
    found = list(days_in(span, "Pacific/Apia"))  # there was no 2011-12-30 there
    assert [str(day) for day, _ in found] == ["2011-12-29", "2011-12-31", "2012-01-01"]
    assert [found[0][1].start, found[-1][1].end] == [span.start, span.end]
    assert all(one.end == other.start for (_, one), (_, other) in pairwise(found))
