"""Send metrics to sinks, and compute the lag."""

from __future__ import annotations

import logging
from datetime import date, datetime, timezone
from typing import Any

import pytest

from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import PlanRules
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.observability.log_generator import phase_log

logger = logging.getLogger(__name__)


class Heard:
    """A sink that records what it receives."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def count(self, name: str, by: int, tags: metrics.Tags) -> None:
        self.lines.append((name, by, dict(tags)))

    def gauge(self, name: str, value: float, tags: metrics.Tags) -> None:
        self.lines.append((name, value, dict(tags)))

    def timing(self, name: str, seconds: float, tags: metrics.Tags) -> None:
        self.lines.append((name, seconds, dict(tags)))


class Broken(Heard):
    def count(self, name: str, by: int, tags: metrics.Tags) -> None:
        raise OSError("no route to host")


def phase(name: str, error: Exception | None = None, **counts: int) -> None:
    clock = iter([10.0, 12.5])
    with phase_log(
        logger, pipeline="flights", window=None, attempt=None, phase=name, monotonic=lambda: next(clock)
    ) as record:
        record.counts.update(counts)
        if error is not None:
            raise error


TIME = "pipeline.phase_seconds"
OF = {"pipeline": "flights"}


@pytest.mark.parametrize(
    ("name", "counts", "expected"),
    [
        ("extract", {"rows": 7, "bytes": 70}, [(TIME, 2.5, {**OF, "phase": "extract"})]),
        (
            "load",
            {"rows": 7, "bytes": 70},
            [(TIME, 2.5, {**OF, "phase": "load"}), ("pipeline.rows", 7, OF), ("pipeline.bytes", 70, OF)],
        ),
        ("load", {"rows": 7}, [(TIME, 2.5, {**OF, "phase": "load"})]),
    ],
    ids=["any phase has its time", "a load its rows and bytes", "a load that was there already has none"],
)
def test_a_sink_receives_the_metrics_of_a_phase(
    name: str, counts: dict[str, int], expected: list[Any]
) -> None:
    heard = Heard()
    with metrics.sending_to(heard):
        phase(name, **counts)
    assert heard.lines == expected


def test_a_failed_phase_sends_its_duration() -> None:
    heard = Heard()
    with metrics.sending_to(heard), pytest.raises(DataError):
        phase("audit", DataError("counts differ"))
    assert heard.lines == [(TIME, 2.5, {**OF, "phase": "audit"})]


def test_a_sink_receives_nothing_outside_its_block() -> None:
    heard = Heard()
    with metrics.sending_to(heard):
        assert metrics.has_sinks()
    metrics.count(metrics.ROWS, 1, pipeline="flights")
    assert not metrics.has_sinks()
    assert heard.lines == []


def test_a_failing_sink_affects_neither_the_phase_nor_other_sinks(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    with metrics.sending_to(Broken(), heard):
        phase("load", rows=7, bytes=70)
    assert len(heard.lines) == 3
    assert "metric pipeline.rows could not be sent: no route to host" in caplog.text


def rules(**changes: Any) -> PlanRules:
    values: dict[str, Any] = {
        "timezone": "America/New_York",
        "granularity": parse_duration("2h"),
        "x_time_back": parse_duration("1d"),
        "settle_seconds": 600,
        "start_day": date(2013, 11, 2),
        "end_day": None,
        "max_backlog_days": None,
        "on_blocked": "pass",
    }
    return PlanRules(**{**values, **changes})


NOON = datetime(
    2013, 11, 4, 17, tzinfo=timezone.utc
)  # 12:00 EST; the target day is the 3rd, which has 25 hours
HOUR = 3600.0


def done(start: str, end: str, kind: Kind = Kind.COMMITTED) -> Entry:
    return Entry(kind, Interval(parse_utc(start), parse_utc(end)), NOON, token=1)


THE_SECOND = done("2013-11-02T04:00:00Z", "2013-11-03T04:00:00Z")
THE_THIRD = done("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")


@pytest.mark.parametrize(
    ("entries", "changes", "expected"),
    [
        ([THE_SECOND, THE_THIRD], {}, 12 * HOUR),
        ([THE_SECOND], {}, 37 * HOUR),
        ([THE_THIRD], {}, 61 * HOUR),
        ([THE_THIRD], {"max_backlog_days": 0}, 12 * HOUR),
        ([done("2013-11-02T04:00:00Z", "2013-11-03T04:00:00Z", Kind.WAIVED)], {}, 37 * HOUR),
        ([THE_SECOND, done("2013-11-03T04:00:00Z", "2013-11-03T17:37:00Z")], {}, 23 * HOUR + 23 * 60),
        ([], {"start_day": None}, 37 * HOUR),
        ([], {"start_day": date(2013, 11, 9)}, None),
    ],
    ids=[
        "nothing missing: since the target day's end",
        "the target day is missing",
        "an older gap counts",
        "not one that is given up by max_backlog_days",
        "waived is no gap",
        "a window that ended anywhere",
        "no first day yet",
        "before the first day",
    ],
)
def test_the_lag_is_since_the_oldest_gap(
    entries: list[Entry], changes: dict[str, Any], expected: float | None
) -> None:
    assert metrics.lag_seconds(rules(**changes), Coverage().after(entries).done, NOON) == expected


@pytest.mark.parametrize(
    ("entries", "changes", "expected"),
    [
        ([THE_SECOND, THE_THIRD], {}, "2013-11-05T05:00:00Z"),
        ([THE_SECOND], {}, "2013-11-04T05:00:00Z"),
        ([THE_SECOND, done("2013-11-03T04:00:00Z", "2013-11-03T12:00:00Z")], {}, "2013-11-04T12:00:00Z"),
        ([THE_THIRD], {}, "2013-11-03T04:00:00Z"),
        ([THE_THIRD], {"max_backlog_days": 0}, "2013-11-05T05:00:00Z"),
        (
            [THE_SECOND, done("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", Kind.WAIVED)],
            {},
            "2013-11-05T05:00:00Z",
        ),
        ([THE_SECOND, THE_THIRD], {"x_time_back": parse_duration("0s")}, "2013-11-04T07:10:00Z"),
        ([THE_SECOND, THE_THIRD], {"end_day": date(2013, 11, 3)}, None),
        ([THE_SECOND, THE_THIRD], {"end_day": date(2013, 11, 2), "max_backlog_days": 0}, None),
        ([THE_SECOND], {"end_day": date(2013, 11, 3)}, "2013-11-04T05:00:00Z"),
    ],
    ids=[
        "nothing missing: when the next day opens",
        "the target day, since it opened",
        "the first window that is missing",
        "a gap of an older day",
        "not one that is given up by max_backlog_days",
        "waived is no gap",
        "after the end of the window and settle",
        "end_day is complete",
        "end_day is too old",
        "end_day is missing",
    ],
)
def test_the_due_timestamp_is_when_the_first_missing_window_is_ready(
    entries: list[Entry], changes: dict[str, Any], expected: str | None
) -> None:
    due = metrics.due_timestamp(rules(**changes), Coverage().after(entries).done, NOON)
    assert due == (parse_utc(expected).timestamp() if expected else 0.0)


def test_before_the_first_day_no_window_is_due() -> None:
    assert metrics.due_timestamp(rules(start_day=date(2013, 11, 9)), (), NOON) is None
