"""Durations and timestamps come back as they went in."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from airflow_pipeline_provider.core.days import tile_day
from airflow_pipeline_provider.core.durations import (
    Duration,
    parse_duration,
    parse_time_to_seconds,
    seconds_to_time_string,
)
from airflow_pipeline_provider.core.time_utils import calculate_day_from_timestamp, convert_to_pendulum
from airflow_pipeline_provider.core.wording import local_window
from tests.property.strategies import UTC, coarse_granularities, instants, zones, zones_and_days

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(0, 10**40))
@example(0)
def test_seconds_round_trip(seconds: int) -> None:
    assert parse_time_to_seconds(seconds_to_time_string(seconds)) == seconds


@given(st.builds(Duration, st.integers(0, 10**9), st.integers(0, 10**9)))
def test_durations_round_trip_and_keep_calendar_days_apart(duration: Duration) -> None:
    assert parse_duration(str(duration)) == duration


@given(st.text("0123456789dhms -+.", max_size=12))
def test_text_is_a_duration_or_a_named_error(text: str) -> None:
    try:
        assert parse_time_to_seconds(text) >= 0
    except ValueError as error:
        assert repr(text) in str(error)  # noqa: PT017  (either way is right: the property is about the message)


@given(instants, zones)
def test_every_way_to_write_an_instant_means_it(instant: datetime, zone: str) -> None:
    microseconds = (instant - EPOCH) // timedelta(microseconds=1)
    local = instant.astimezone(ZoneInfo(zone))
    shown = convert_to_pendulum(local, zone)
    assert shown.astimezone(UTC) == instant
    assert (shown.isoformat(), shown.fold) == (local.isoformat(), local.fold)
    ways = [local.isoformat(), local.replace(tzinfo=None), shown, shown.isoformat()]
    if abs(microseconds) >= 10**14:
        ways += [microseconds]
    if abs(microseconds * 1000) >= 10**17:
        ways += [microseconds * 1000 + 999]
    for way in ways:
        assert convert_to_pendulum(way, zone).astimezone(UTC) == instant, way


@given(st.text(max_size=30) | st.binary() | st.floats() | st.integers() | st.none() | st.dates() | st.times())
def test_anything_is_an_instant_or_a_named_error(thing: object) -> None:
    try:
        assert convert_to_pendulum(thing, "America/St_Johns").tzinfo is not None
    except (TypeError, ValueError) as error:
        assert str(error).startswith("timestamp: ")  # noqa: PT017


@given(instants, zones, st.integers(0, 90_000))
def test_elapsed_time_back_is_the_day_of_that_earlier_instant(
    instant: datetime, zone: str, seconds: int
) -> None:
    assume(seconds < 86_400)
    day = calculate_day_from_timestamp(instant, seconds_to_time_string(seconds), zone)
    earlier = instant - timedelta(seconds=seconds)
    assert day.astimezone(UTC) <= earlier
    assert day == calculate_day_from_timestamp(earlier, "0s", zone)


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia", "America/St_Johns"])
@given(back=st.sampled_from(["0s", "1d", "1d2h", "26h", "7d"]), instant=instants)
def test_a_day_starts_at_its_own_first_instant(zone: str, back: str, instant: datetime) -> None:
    day = calculate_day_from_timestamp(instant, back, zone)
    assert calculate_day_from_timestamp(day, "0s", zone) == day
    assert day.timezone_name == zone


_WINDOW = re.compile(
    r"(?P<day>\S+) \[(?P<start>\S+)(?: (?P<name>\S+))?, (?:(?P<date>\d{4}-\S+) )?(?P<end>\S+)"
    r"(?: (?P<end_name>\S+))?\)(?: (?P<both>\S+))?"
)


def meant(day: date, clock: str, name: str, zone: ZoneInfo) -> set[datetime]:
    """Return the instants at which, or up to which, the clock of this name reads this."""
    parts = [Decimal(part) for part in clock.split(":")]
    seconds = sum(part * size for part, size in zip(parts, (3600, 60, 1), strict=False))
    wall = datetime(day.year, day.month, day.day) + timedelta(microseconds=int(seconds * 10**6))
    around = [wall.replace(tzinfo=UTC) + timedelta(hours=hours) for hours in range(-48, 49, 3)]
    guesses = {wall.replace(tzinfo=UTC) - (one.astimezone(zone).utcoffset() or timedelta()) for one in around}
    moment = timedelta(microseconds=1)
    return {
        one
        for one in guesses
        if (one.astimezone(zone).replace(tzinfo=None) == wall and one.astimezone(zone).tzname() == name)
        or (
            (one - moment).astimezone(zone).replace(tzinfo=None) + moment == wall
            and (one - moment).astimezone(zone).tzname() == name
        )
    }


@settings(max_examples=300)
@given(zones_and_days(), coarse_granularities)
@example(("America/Sao_Paulo", date(2018, 11, 3)), Duration(0, 7200))
@example(("Asia/Beirut", date(2022, 3, 26)), Duration(0, 7200))
@example(("America/St_Johns", date(2006, 10, 28)), Duration(0, 3600))
@example(("Pacific/Apia", date(2011, 12, 29)), Duration(1, 0))
def test_the_text_of_a_window_means_its_bounds(place: tuple[str, date], granularity: Duration) -> None:
    name, day = place
    zone = ZoneInfo(name)
    windows = tile_day(day, name, granularity)
    for window in windows:
        found = _WINDOW.fullmatch(local_window(window, name))
        assert found is not None
        first = date.fromisoformat(found["day"])
        last = date.fromisoformat(found["date"]) if found["date"] else first
        assert window.start in meant(first, found["start"], found["name"] or found["both"], zone)
        assert window.end in meant(last, found["end"], found["end_name"] or found["both"], zone)
    if windows and windows[-1].start.astimezone(zone).date() == day:
        assert not _WINDOW.fullmatch(local_window(windows[-1], name))["date"]  # type: ignore[index]
