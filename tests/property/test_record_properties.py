"""Driven by its own ends, the window function covers every day exactly, and so do the records."""

from __future__ import annotations

from datetime import date, datetime

from hypothesis import assume, given, settings

from airflow_pipeline_provider.core.days import day_interval, tile_day
from airflow_pipeline_provider.core.durations import Duration, parse_time_to_seconds
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.record_generation import (
    build_complete_pipeline_record,
    calculate_time_window,
    json_safe,
)
from airflow_pipeline_provider.core.time_utils import calculate_day_from_timestamp, shown_in
from tests.property.strategies import UTC, coarse_granularities, instants, zones, zones_and_days


@given(zones_and_days(), coarse_granularities)
def test_windows_driven_by_their_own_ends_are_the_day_plan(
    zone_and_day: tuple[str, date], granularity: Duration
) -> None:
    zone, day = zone_and_day
    whole = day_interval(day, zone)
    assume(not whole.is_empty)
    target_day = shown_in(whole.start, zone)
    seen: list[Interval] = []
    continuation = None
    while (window := calculate_time_window(target_day, str(granularity), continuation)) is not None:
        start, end, actual = window
        seen.append(Interval(start, end))
        assert parse_time_to_seconds(actual) == seen[-1].seconds
        assert start.timezone_name == end.timezone_name == zone
        continuation = end
    assert seen == tile_day(day, zone, granularity)


@settings(max_examples=40)
@given(zones, instants, coarse_granularities)
def test_records_cover_the_target_day(zone: str, reference: datetime, granularity: Duration) -> None:
    config = {
        "timezone": zone,
        "x_time_back": "1d",
        "granularity": str(granularity),
        "default_record": {},
        "pipeline_id": "p",
    }
    target = calculate_day_from_timestamp(reference, "1d", zone)
    done: list[datetime] = []
    while True:
        record = build_complete_pipeline_record(
            config,
            reference_time=reference,
            latest_timestamp_available=lambda day: done[-1] if done else None,
        )
        if record is None:
            break
        assert record["target_day"] == target
        assert datetime.fromisoformat(record["WINDOW_START_TIME"]).astimezone(UTC) == (
            done[-1] if done else target.astimezone(UTC)
        )
        assert json_safe(json_safe(record)) == json_safe(record)
        done.append(datetime.fromisoformat(record["WINDOW_END_TIME"]).astimezone(UTC))
    assert done[-1] == day_interval(date.fromisoformat(target.to_date_string()), zone).end
