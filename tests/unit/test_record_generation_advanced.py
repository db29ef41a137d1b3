"""Where a day may be continued: not at all yet, early, in the middle, late, and beyond its bounds."""

from __future__ import annotations

import logging
from typing import Any

import pendulum
import pytest

from airflow_pipeline_provider.core.record_generation import (
    build_complete_pipeline_record,
    calculate_time_window,
    generate_pipeline_time_window_record,
)

DAY = pendulum.datetime(2024, 1, 15, tz="UTC")
NEXT_DAY = DAY.add(days=1)
CONFIG = {
    "timezone": "UTC",
    "x_time_back": "1d",
    "granularity": "3h",
    "default_record": {"source_name": "elasticsearch", "target_name": "snowflake"},
    "pipeline_id": "flights",
}
REFERENCE = NEXT_DAY.add(hours=10)


def at(hours: int, minutes: int = 0, seconds: int = 0) -> pendulum.DateTime:
    return DAY.add(hours=hours, minutes=minutes, seconds=seconds)


WINDOWS = [
    pytest.param(None, at(0), at(3), "3h", id="NONE"),
    pytest.param(at(2), at(2), at(5), "3h", id="EARLY"),
    pytest.param(at(12), at(12), at(15), "3h", id="MIDDLE"),
    pytest.param(at(22), at(22), NEXT_DAY, "2h", id="LATE"),
]
NO_WINDOWS = [
    pytest.param(NEXT_DAY.add(hours=2), "complete", id="beyond the day"),
    pytest.param(NEXT_DAY.add(years=1), "complete", id="a year beyond"),
    pytest.param(DAY.subtract(hours=2), "before_target_day", id="before the day"),
    pytest.param(DAY.subtract(seconds=1), "before_target_day", id="a second before"),
    pytest.param(NEXT_DAY, "complete", id="exact boundary"),
]


class TestContinuation:
    @pytest.mark.parametrize(("continuation", "start", "end", "actual"), WINDOWS)
    def test_window(self, continuation: Any, start: Any, end: Any, actual: str) -> None:
        assert calculate_time_window(DAY, "3h", continuation) == (start, end, actual)

    @pytest.mark.parametrize(("continuation", "reason"), NO_WINDOWS)
    def test_no_window(self, continuation: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            assert calculate_time_window(DAY, "3h", continuation) is None
        assert reason in caplog.text

    def test_the_day_itself_is_inside(self) -> None:
        assert calculate_time_window(DAY, "3h", DAY) == (at(0), at(3), "3h")


class TestCapping:
    @pytest.mark.parametrize(
        ("continuation", "granularity", "end", "actual"),
        [
            pytest.param(at(22), "5h", NEXT_DAY, "2h", id="22:00 + 5h"),
            pytest.param(at(23, 30), "1h", NEXT_DAY, "30m", id="23:30 + 1h"),
            pytest.param(at(23), "1h", NEXT_DAY, "1h", id="exactly up to the end"),
            pytest.param(at(22, 59, 59), "1h", at(23, 59, 59), "1h", id="a second before the end"),
            pytest.param(at(23, 59, 59), "1h", NEXT_DAY, "1s", id="the last second"),
            pytest.param(at(23, 59), "90s", NEXT_DAY, "1m", id="the last minute"),
            pytest.param(at(0, 0, 1), "1d", NEXT_DAY, "23h59m59s", id="a day, a second late"),
            pytest.param(None, "100d", NEXT_DAY, "1d", id="a hundred days"),
            pytest.param(None, "99999999999999999999h", NEXT_DAY, "1d", id="longer than the calendar"),
            pytest.param(at(12), "1s", at(12, 0, 1), "1s", id="the smallest"),
            pytest.param(
                at(23, 59, 59).add(microseconds=999_999), "1h", NEXT_DAY, "0s", id="the last microsecond"
            ),
        ],
    )
    def test_end(self, continuation: Any, granularity: str, end: Any, actual: str) -> None:
        window = calculate_time_window(DAY, granularity, continuation)
        assert window is not None
        assert window == (continuation or DAY, end, actual)

    @pytest.mark.parametrize(
        ("zone", "day", "continuation", "granularity", "actual"),
        [
            pytest.param(
                "America/New_York", (2013, 11, 3), "2013-11-04T04:00:00Z", "5h", "1h", id="23:00 of 25 hours"
            ),
            pytest.param(
                "America/New_York", (2013, 3, 10), "2013-03-11T02:00:00Z", "5h", "2h", id="22:00 of 23 hours"
            ),
            pytest.param("Australia/Lord_Howe", (2024, 4, 7), None, "1d", "1d30m", id="24.5 hours"),
            pytest.param("Pacific/Kwajalein", (1969, 9, 30), None, "1d", "1d23h", id="a day that repeats"),
        ],
    )
    def test_the_end_of_an_uneven_day(
        self, zone: str, day: tuple[int, int, int], continuation: Any, granularity: str, actual: str
    ) -> None:
        window = calculate_time_window(pendulum.datetime(*day, tz=zone, fold=0), granularity, continuation)
        assert window is not None
        assert (window[1].isoformat()[11:19], window[2]) == ("00:00:00", actual)


class TestRecordIntegration:
    @pytest.mark.parametrize(("continuation", "start", "end", "actual"), WINDOWS)
    def test_record(self, continuation: Any, start: Any, end: Any, actual: str) -> None:
        record = build_complete_pipeline_record(
            CONFIG, reference_time=REFERENCE, latest_timestamp_available=lambda day: continuation
        )
        assert record is not None
        assert (record["target_day"], record["target_day_str"]) == (DAY, "2024-01-15")
        assert (record["window_start_time"], record["window_end_time"]) == (start, end)
        assert record["time_interval"] == record["TIME_INTERVAL"] == actual
        assert record["WINDOW_START_TIME"] == start.isoformat()
        assert record["WINDOW_END_TIME"] == end.isoformat()
        assert record["source_name"] == "elasticsearch"
        assert record["STAGE_PATH"] == f"2024-01-15/{record['WINDOW_ID']}"

    @pytest.mark.parametrize(("continuation", "reason"), NO_WINDOWS)
    def test_none_goes_all_the_way_up(self, continuation: Any, reason: str) -> None:
        called = []
        arguments: Any = {
            "reference_time": REFERENCE,
            "latest_timestamp_available": lambda day: continuation,
        }
        assert generate_pipeline_time_window_record(CONFIG, **arguments) is None
        functions = {"FIELD": lambda record: called.append(record)}
        assert build_complete_pipeline_record(CONFIG, **arguments, record_functions=functions) is None
        assert called == []

    def test_a_day_is_moved_window_by_window(self) -> None:
        ends: list[pendulum.DateTime] = []
        intervals = []
        while record := build_complete_pipeline_record(
            {**CONFIG, "granularity": "5h"},
            reference_time=REFERENCE,
            latest_timestamp_available=lambda day: ends[-1] if ends else None,
        ):
            ends.append(record["window_end_time"])
            intervals.append(record["TIME_INTERVAL"])
        assert intervals == ["5h", "5h", "5h", "5h", "4h"]
        assert ends[-1] == NEXT_DAY

    def test_each_day_is_asked_for_its_own_continuation(self) -> None:
        """The rest of an old day is not stranded at the day change: progress is kept per day."""
        progress = {"2024-01-15": at(22), "2024-01-16": None}
        starts = [
            build_complete_pipeline_record(
                CONFIG,
                reference_time=REFERENCE.add(days=later),
                latest_timestamp_available=lambda day: progress[day.to_date_string()],
            )
            for later in (0, 1)
        ]
        assert [record and record["window_start_time"] for record in starts] == [at(22), NEXT_DAY]
