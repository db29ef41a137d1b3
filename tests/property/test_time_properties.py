"""Durations and timestamps come back as they went in."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from airflow_pipeline_provider.core.durations import (
    Duration,
    parse_duration,
    parse_time_to_seconds,
    seconds_to_time_string,
)
from airflow_pipeline_provider.core.time_utils import calculate_day_from_timestamp, convert_to_pendulum
from tests.property.strategies import UTC, instants, zones

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
