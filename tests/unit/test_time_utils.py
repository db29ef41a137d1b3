"""Durations, timestamps of every kind, and the day they belong to."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import dateutil.tz
import numpy as np
import pandas as pd
import pendulum
import pytest

from airflow_pipeline_provider.core.durations import quote
from airflow_pipeline_provider.core.time_utils import (
    Duration,
    calculate_day_from_timestamp,
    convert_to_pendulum,
    parse_duration,
    parse_time_to_seconds,
    seconds_to_time_string,
    shown_in,
)

NY = "America/New_York"
UTC = timezone.utc
HUGE = 10**5000  # Python refuses to write it out


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("1d2h30m20s", 95_420),
            ("0s", 0),
            ("0d0h0m0s", 0),
            ("90m", 5_400),
            ("26h", 93_600),
            ("1d20s", 86_420),
            ("007m", 420),
            ("99999999999d", 99_999_999_999 * 86_400),
        ],
    )
    def test_parse(self, text: str, seconds: int) -> None:
        assert parse_time_to_seconds(text) == seconds

    @pytest.mark.parametrize(
        "text",
        [
            "", " ", "1", "h", "-1h", "+1h", "1h-30m", "2h1d", "1h1h", "1h 30m", " 1h", "1h\n", "1.5h", "1H", "1w",
            "1e3s", "٣h", "PT1H", "1d2h30m20sx", "0x1h", "1_0h", None, 5, 1.5, b"1h", True, ["1h"], HUGE,
        ],
        ids=lambda text: quote(text, 20),
    )  # fmt: skip
    def test_junk_is_named(self, text: Any) -> None:
        with pytest.raises(ValueError) as caught:
            parse_time_to_seconds(text)
        assert quote(text) in str(caught.value)
        assert str(caught.value).startswith("time: expected a duration such as")

    def test_the_field_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"x_time_back: .*'soon'"):
            parse_duration("soon", "x_time_back")

    def test_numbers_of_thousands_of_digits_are_refused(self) -> None:
        with pytest.raises(ValueError, match="granularity: expected numbers of a sensible length, got '9999"):
            parse_duration("9" * 5000 + "h", "granularity")

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (95_420, "1d2h30m20s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_600, "1h"),
            (86_400, "1d"),
            (90_000, "1d1h"),
            (86_399, "23h59m59s"),
        ],
    )
    def test_write(self, seconds: int, text: str) -> None:
        assert seconds_to_time_string(seconds) == text

    @pytest.mark.parametrize("seconds", [-1, -HUGE], ids=["minus one", "huge"])
    def test_negative_is_named(self, seconds: int) -> None:
        with pytest.raises(ValueError, match=f"^seconds: expected 0 or more, got {quote(seconds)}$"):
            seconds_to_time_string(seconds)

    @pytest.mark.parametrize("seconds", [1.5, 2.0, "5", None, True, math.nan, timedelta(1)], ids=repr)
    def test_what_is_no_whole_number_is_named(self, seconds: Any) -> None:
        with pytest.raises(TypeError) as caught:
            seconds_to_time_string(seconds)
        assert f"seconds: expected a whole number, got {seconds!r}" in str(caught.value)

    def test_calendar_days_stay_apart_from_elapsed_hours(self) -> None:
        assert parse_duration("1d26h") == Duration(days=1, seconds=93_600)
        assert str(parse_duration("1d26h")) == "1d26h"
        assert str(Duration(0, 0)) == "0s"
        assert parse_duration("2d1m").elapsed_seconds == 172_860

    def test_long_values_are_cut_in_messages(self) -> None:
        assert quote("x" * 1000) == "'" + "x" * 199 + "…"


# --- timestamps

WEEK_3 = "2024-01-15T00:00:00-05:00"


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        # date-times of all kinds
        (datetime(2024, 1, 15, 10), None, "2024-01-15T10:00:00+00:00"),
        (datetime(2024, 1, 15, 10), NY, "2024-01-15T10:00:00-05:00"),
        (datetime(2024, 1, 15, 10, tzinfo=UTC), NY, "2024-01-15T05:00:00-05:00"),
        (datetime(2024, 1, 15, 10, tzinfo=ZoneInfo("Asia/Tokyo")), None, "2024-01-15T10:00:00+09:00"),
        (datetime(2024, 1, 15, tzinfo=timezone(timedelta(hours=5.5))), None, "2024-01-15T00:00:00+05:30"),
        (datetime(2013, 11, 3, 1, 30, fold=0), NY, "2013-11-03T01:30:00-04:00"),
        (datetime(2013, 11, 3, 1, 30, fold=1), NY, "2013-11-03T01:30:00-05:00"),
        (datetime(2013, 11, 3, 1, 30, fold=1, tzinfo=ZoneInfo(NY)), None, "2013-11-03T01:30:00-05:00"),
        (datetime(2013, 11, 3, 1, 30, fold=1, tzinfo=ZoneInfo(NY)), "UTC", "2013-11-03T06:30:00+00:00"),
        (datetime(2013, 3, 10, 2, 30), NY, "2013-03-10T03:30:00-04:00"),
        (
            datetime(2013, 11, 3, 1, 30, fold=1, tzinfo=dateutil.tz.gettz(NY)),
            None,
            "2013-11-03T01:30:00-05:00",
        ),
        (pendulum.datetime(2024, 1, 15, 10, tz="Asia/Tokyo"), NY, "2024-01-14T20:00:00-05:00"),
        (pendulum.naive(2024, 1, 15, 10), NY, "2024-01-15T10:00:00-05:00"),
        (pd.Timestamp("2013-11-03 06:30:00.123456789"), "UTC", "2013-11-03T06:30:00.123456+00:00"),
        (pd.Timestamp("2013-11-03 06:30Z").tz_convert(NY), None, "2013-11-03T01:30:00-05:00"),
        (pd.Timestamp(-1), None, "1969-12-31T23:59:59.999999+00:00"),
        (datetime(1, 1, 1), None, "0001-01-01T00:00:00+00:00"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999), None, "9999-12-31T23:59:59.999999+00:00"),
        # dates: the first instant of the day
        (date(2024, 1, 15), None, "2024-01-15T00:00:00+00:00"),
        (date(2024, 1, 15), NY, WEEK_3),
        (pendulum.date(2024, 1, 15), NY, WEEK_3),
        (date(2018, 11, 4), "America/Sao_Paulo", "2018-11-04T01:00:00-02:00"),
        (date(2024, 11, 3), "America/Havana", "2024-11-03T00:00:00-04:00"),
        (date(2011, 12, 30), "Pacific/Apia", "2011-12-31T00:00:00+14:00"),
        # ISO 8601
        ("2024-01-15", NY, WEEK_3),
        ("20240115", NY, WEEK_3),
        ("2024-W03-1", NY, WEEK_3),
        ("2024W031", NY, WEEK_3),
        ("2024-015", NY, WEEK_3),
        ("2024-366", None, "2024-12-31T00:00:00+00:00"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T01:00:00-02:00"),
        ("2024-01-15T10", NY, "2024-01-15T10:00:00-05:00"),
        ("2024-01-15T10:20", None, "2024-01-15T10:20:00+00:00"),
        ("2024-01-15 10:20:30", None, "2024-01-15T10:20:30+00:00"),
        ("20240115T102030Z", None, "2024-01-15T10:20:30+00:00"),
        ("2024-01-15t10:20:30z", NY, "2024-01-15T05:20:30-05:00"),
        ("2024-01-15T10:20:30.123456999Z", None, "2024-01-15T10:20:30.123456+00:00"),
        ("2024-01-15T10:20:30,5+0530", None, "2024-01-15T10:20:30.500000+05:30"),
        ("2024-01-15T10:20-08", None, "2024-01-15T10:20:00-08:00"),
        ("2024-W03-1T10:20-08:00", NY, "2024-01-15T13:20:00-05:00"),
        ("1950-01-01T00:00:00-00:44:30", "UTC", "1950-01-01T00:44:30+00:00"),
        ("2013-11-03T01:30:00", NY, "2013-11-03T01:30:00-04:00"),
        # epoch numbers
        (0, None, "1970-01-01T00:00:00+00:00"),
        (-1, None, "1969-12-31T23:59:59+00:00"),
        (1_705_312_800, NY, "2024-01-15T05:00:00-05:00"),
        (1_705_312_800_123, None, "2024-01-15T10:00:00.123000+00:00"),
        (1_705_312_800_123_456, None, "2024-01-15T10:00:00.123456+00:00"),
        (1_705_312_800_123_456_789, None, "2024-01-15T10:00:00.123456+00:00"),
        (-1_705_312_800_123_456_789, None, "1915-12-18T13:59:59.876543+00:00"),
        (99_999_999_999, None, "5138-11-16T09:46:39+00:00"),
        (100_000_000_000, None, "1973-03-03T09:46:40+00:00"),
        (99_999_999_999_999, None, "5138-11-16T09:46:39.999000+00:00"),
        (100_000_000_000_000, None, "1973-03-03T09:46:40+00:00"),
        (99_999_999_999_999_999, None, "5138-11-16T09:46:39.999999+00:00"),
        (100_000_000_000_000_000, None, "1973-03-03T09:46:40+00:00"),
        (1_705_312_800.123456, None, "2024-01-15T10:00:00.123456+00:00"),
        (0.7, None, "1970-01-01T00:00:00.700000+00:00"),
        (-0.5, None, "1969-12-31T23:59:59.500000+00:00"),
        (1.705312800123e12, None, "2024-01-15T10:00:00.123000+00:00"),
        (np.int64(1_705_312_800), None, "2024-01-15T10:00:00+00:00"),
        (np.uint64(1_705_312_800_123_456_789), None, "2024-01-15T10:00:00.123456+00:00"),
        (np.float64(0.25), None, "1970-01-01T00:00:00.250000+00:00"),
        (np.float32(0.25), None, "1970-01-01T00:00:00.250000+00:00"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_convert(value: Any, zone: str | None, expected: str) -> None:
    shown = convert_to_pendulum(value, zone)
    assert type(shown) is pendulum.DateTime
    assert shown.isoformat() == expected
    if zone is not None:
        assert shown.timezone_name == zone


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        (b"2024-01-15", TypeError),
        ([], TypeError),
        ({"a": 1}, TypeError),
        ((2024, 1, 15), TypeError),
        (time(10), TypeError),
        (timedelta(1), TypeError),
        (pendulum.duration(days=1), TypeError),
        (pendulum.interval(pendulum.datetime(2024, 1, 1), pendulum.datetime(2024, 1, 2)), TypeError),
        (pd.Timedelta(1), TypeError),
        (np.timedelta64(1, "s"), TypeError),
        (np.datetime64(1, "s"), TypeError),
        (1j, TypeError),
        (Decimal("1.5"), TypeError),
        (Fraction(1, 2), TypeError),
        (pd.NaT, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (-math.inf, ValueError),
        (np.float64("nan"), ValueError),
        (10**21, ValueError),
        (5 * 10**20, ValueError),
        (HUGE, ValueError),
        (1e30, ValueError),
        ("", ValueError),
        (" 2024-01-15", ValueError),
        ("2024-01-15\n", ValueError),
        ("now", ValueError),
        ("2024", ValueError),
        ("2024-01", ValueError),
        ("2024-1-5", ValueError),
        ("2024-0115", ValueError),
        ("1705312800", ValueError),
        ("10:00", ValueError),
        ("T10:00", ValueError),
        ("P1D", ValueError),
        ("1d2h", ValueError),
        ("2024-01-15/2024-01-16", ValueError),
        ("2024-02-30", ValueError),
        ("2023-02-29T10:00Z", ValueError),
        ("2023-366", ValueError),
        ("2023-000", ValueError),
        ("2024-W60-1", ValueError),
        ("2024-W03-8", ValueError),
        ("0000-01-01", ValueError),
        ("2024-01-15T24:00", ValueError),
        ("2024-01-15T10:60", ValueError),
        ("2024-01-15T10:00:60", ValueError),
        ("2024-01-15T10:00+25:00", ValueError),
        ("2024-01-15T10:00+05:60", ValueError),
        ("2024-01-15T10:00:00 +02:00", ValueError),
        ("2024-01-15Z", ValueError),
        ("٢٠٢٤-01-15", ValueError),
        ("15/01/2024", ValueError),
        ("x" * 5000, ValueError),
    ],
    ids=lambda value: quote(value, 40),
)
def test_convert_names_what_it_cannot_read(value: Any, error: type[Exception]) -> None:
    for zone in (None, NY):
        with pytest.raises(error) as caught:
            convert_to_pendulum(value, zone)
        assert str(caught.value).startswith("timestamp: ")
        assert quote(value) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        (datetime(1, 1, 1), "Asia/Tokyo"),
        (datetime(9999, 12, 31, 23), NY),
        (datetime(1, 1, 1, tzinfo=UTC), NY),
        ("9999-12-31T23:00:00Z", "Asia/Tokyo"),
        (date(1, 1, 1), NY),
        ("9999-12-31", "UTC"),
        (-99_999_999_999_999, "UTC"),
    ],
    ids=str,
)
def test_the_ends_of_the_calendar_are_a_clear_error(value: Any, zone: str) -> None:
    with pytest.raises(ValueError, match=r"timestamp: .*(outside of the years|expected a date from)"):
        convert_to_pendulum(value, zone)


class NowhereInParticular(tzinfo):
    """A tzinfo that knows no offset: its datetimes are naive, says Python."""

    def utcoffset(self, when: datetime | None) -> None:
        return None

    tzname = dst = utcoffset


class Summers(tzinfo):
    """A zone of its own making, with a summer but no name."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None if when is None else timedelta(hours=2 if 3 < when.month < 11 else 1)

    def tzname(self, when: datetime | None) -> str:
        return "summers"

    def dst(self, when: datetime | None) -> None:
        return None


@pytest.mark.parametrize(("month", "offset"), [(1, "+01:00"), (7, "+02:00")])
def test_a_zone_without_a_name_stands_by_its_offset(month: int, offset: str) -> None:
    value = datetime(2024, month, 15, 10, tzinfo=Summers())
    assert convert_to_pendulum(value).isoformat() == f"2024-0{month}-15T10:00:00{offset}"
    assert convert_to_pendulum(value, "UTC").timestamp() == value.timestamp()


def test_a_datetime_whose_zone_has_no_offset_is_naive() -> None:
    value = datetime(2024, 1, 15, 10, tzinfo=NowhereInParticular())
    assert convert_to_pendulum(value, NY).isoformat() == "2024-01-15T10:00:00-05:00"


@pytest.mark.parametrize(
    "zone",
    [
        *["Mars/Olympus", "", "America", "../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000, 5, 1.5, [], {}],
        *[Summers(), NowhereInParticular()],
    ],
    ids=lambda zone: quote(zone, 30),
)
def test_an_unknown_timezone_is_named(zone: Any) -> None:
    for call in (
        lambda: convert_to_pendulum(0, zone),
        lambda: calculate_day_from_timestamp(0, "1d", zone),
        lambda: shown_in(datetime(2024, 1, 1, tzinfo=UTC), zone),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value).startswith("timezone: expected a name of the tz database")
        assert quote(zone, 60)[:60] in str(caught.value)


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (ZoneInfo(NY), NY),
        (pendulum.timezone(NY), NY),
        (UTC, "UTC"),
        (timezone(timedelta(hours=-5)), "-05:00"),
        (pendulum.timezone(-18_000), "-05:00"),
        (dateutil.tz.tzutc(), "UTC"),
    ],
    ids=repr,
)
def test_a_zone_may_be_an_object(zone: tzinfo, name: str) -> None:
    shown = convert_to_pendulum(1_705_312_800, zone)
    assert shown.timezone_name == name
    assert shown.timestamp() == 1_705_312_800


# --- days


@pytest.mark.parametrize(
    ("timestamp", "back", "zone", "expected"),
    [
        ("2024-01-15T10:00:00Z", "0s", "UTC", "2024-01-15T00:00:00+00:00"),
        ("2024-01-15T10:00:00Z", "1d", "UTC", "2024-01-14T00:00:00+00:00"),
        ("2024-01-15T00:00:00Z", "1s", "UTC", "2024-01-14T00:00:00+00:00"),
        ("2024-01-15T01:00:00Z", "1d2h", "UTC", "2024-01-13T00:00:00+00:00"),
        ("2024-01-15T03:00:00Z", "0s", NY, "2024-01-14T00:00:00-05:00"),
        # the day after a day of 23 hours: the calendar day back, not 24 hours back
        ("2013-03-11T00:30:00", "1d", NY, "2013-03-10T00:00:00-05:00"),
        ("2013-03-11T00:30:00", "24h", NY, "2013-03-09T00:00:00-05:00"),
        ("2018-11-05T00:30:00", "1d", "America/Sao_Paulo", "2018-11-04T01:00:00-02:00"),
        ("2018-11-05T00:30:00", "24h", "America/Sao_Paulo", "2018-11-03T00:00:00-03:00"),
        # and after one of 25 hours
        ("2013-11-04T00:30:00", "1d", NY, "2013-11-03T00:00:00-04:00"),
        ("2013-11-03T23:30:00", "24h", NY, "2013-11-03T00:00:00-04:00"),
        # the calendar part is taken first: 03:30 on the 10th is 02:30 elapsed hours into it
        ("2013-03-11T03:30:00", "1d2h", NY, "2013-03-10T00:00:00-05:00"),
        ("2013-03-11T03:30:00", "1d3h", NY, "2013-03-09T00:00:00-05:00"),
        # a skipped date is never a target day
        ("2011-12-31T10:00:00", "1d", "Pacific/Apia", "2011-12-29T00:00:00-10:00"),
        ("2011-12-31T10:00:00", "2d", "Pacific/Apia", "2011-12-29T00:00:00-10:00"),
        ("2012-01-01T10:00:00", "1d", "Pacific/Apia", "2011-12-31T00:00:00+14:00"),
        (1_705_312_800_000, "1d", NY, "2024-01-14T00:00:00-05:00"),
        (date(2024, 1, 15), "0s", NY, WEEK_3),
    ],
)
def test_day_from_timestamp(timestamp: Any, back: str, zone: str, expected: str) -> None:
    day = calculate_day_from_timestamp(timestamp, back, zone)
    assert type(day) is pendulum.DateTime
    assert day.isoformat() == expected
    assert day.timezone_name == zone


@pytest.mark.parametrize(
    ("timestamp", "back", "error", "message"),
    [
        (None, "1d", TypeError, "timestamp: .*None"),
        ("soon", "1d", ValueError, "timestamp: .*'soon'"),
        (0, "1 day", ValueError, "time_back: .*'1 day'"),
        (0, None, ValueError, "time_back: .*None"),
        (0, "-1d", ValueError, "time_back: .*'-1d'"),
        (0, "99999999d", ValueError, "^time_back: 99999999d before .* is outside of the calendar"),
        (0, "999999999999999999999999d", ValueError, "is outside of the calendar"),
        (0, "999999999999999999999999h", ValueError, "is outside of the calendar"),
        ("0001-01-06T00:00:00", "5d", ValueError, "day: expected a date from 0001-01-05"),
    ],
)
def test_day_from_timestamp_names_bad_input(
    timestamp: Any, back: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        calculate_day_from_timestamp(timestamp, back, "UTC")


def test_the_caller_may_name_the_field() -> None:
    with pytest.raises(TypeError, match="reference_time: expected a datetime"):
        calculate_day_from_timestamp(None, "1d", "UTC", name="reference_time")
