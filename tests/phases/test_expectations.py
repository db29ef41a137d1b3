"""Expectations of a pipeline file: what the audit refuses, and what a check of the ledger records once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace as with_fields
from datetime import timedelta

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.days import day_interval, parse_day
from airflow_pipeline_provider.core.expectations import Miss, Unmet, open_misses
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.expectations import check_expectations
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import Outcome
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.testing.faults import Crash, failing_at
from airflow_pipeline_provider.views.status import StatusQuery, read_status_of
from tests.phases.conftest import Pipeline
from tests.phases.test_schema_changes import loaded, open_sql, open_variable

DAY = day_interval(parse_day("2013-11-03", "day"), "America/New_York")  # 25 hours
WEEKS = [
    Interval(start, start + timedelta(hours=2))
    for start in (parse_utc(f"2013-{day}T16:00:00Z") for day in ("10-13", "10-20", "10-27"))
]
WINDOW = Interval(parse_utc("2013-11-03T17:00:00Z"), parse_utc("2013-11-03T19:00:00Z"))
"""The local hours [12:00, 14:00) of four Sundays; the last is after the clock change."""
TIMES = {"start_day": "2013-10-01", "granularity": "1h", "x_time_back": "0d"}
USUAL = {**TIMES, "expect": {"rows": {"of_last": "3w"}}}
BY_NINE = {"x_time_back": "0d", "expect": {"day_complete_by": "09:00"}}


def put(pipeline: Pipeline, window: Interval, number: int) -> None:
    for n in range(number):
        pipeline.rows.put(f"{window.start}-{n}", window.start + timedelta(seconds=n), "{}")


def move(pipeline: Pipeline, runtime: Runtime, window: Interval) -> Outcome:
    return pipeline.move(runtime, kind=RunKind.WINDOW, interval=window)


def move_weeks(pipeline: Pipeline, runtime: Runtime, *numbers: int) -> None:
    for window, number in zip(WEEKS, numbers, strict=True):
        put(pipeline, window, number)
        assert move(pipeline, runtime, window).audited is not None


def of_kind(pipeline: Pipeline, kind: Kind) -> list[Entry]:
    return [entry for entry in pipeline.entries() if entry.kind is kind]


def test_an_unusual_window_is_committed_with_a_warning(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runtime = pipeline.runtime(**USUAL)
    move_weeks(pipeline, runtime, 4, 5, 40)
    put(pipeline, WINDOW, 1)
    assert move(pipeline, runtime, WINDOW).audited is not None
    expected = (
        "not as expected: 2013-11-03 [12:00, 14:00) EST has 1 row, usual are 5: the median of the same weekday and "
        "hour of the last 3 weeks"
    )
    assert expected in caplog.messages
    assert caplog.messages.count(expected) == 1
    assert (
        "the number of rows is not judged: 2 of the last 3 weeks have a committed window to compare with"
        in (caplog.messages)
    )


def test_an_unusual_window_can_hold_its_commit_until_it_is_accepted(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(**USUAL, audit={"on_unusual": "fail"})
    move_weeks(pipeline, runtime, 4, 5, 40)
    put(pipeline, WINDOW, 1)
    with pytest.raises(DataError, match=r"has 1 row, usual are 5: .*--here --accept-unusual") as caught:
        move(pipeline, runtime, WINDOW)
    assert caught.value.detail == {"unusual": {"what": "few", "rows": 1, "usual": 5.0, "weeks": 3}}
    (failed,) = of_kind(pipeline, Kind.FAILED)
    assert failed.detail["unusual"] == caught.value.detail["unusual"]
    assert [entry.interval for entry in of_kind(pipeline, Kind.COMMITTED)] == WEEKS
    accepting = with_fields(runtime, accepts_unusual=True)
    assert move(pipeline, accepting, WINDOW).audited is not None
    last = of_kind(pipeline, Kind.COMMITTED)[-1]
    assert (last.interval, last.detail["accepted_rows"]) == (WINDOW, failed.detail["unusual"])
    assert check_expectations(runtime, 7, "m/1").judgement.misses == ()


@pytest.mark.parametrize(
    ("rows", "number", "word"),
    [({"min": 1}, 0, "expected 1 or more"), ({"min": 3}, 2, "expected 3 or more")],
)
def test_a_minimum_needs_no_history(pipeline: Pipeline, rows: dict[str, int], number: int, word: str) -> None:
    put(pipeline, WINDOW, number)
    with pytest.raises(DataError, match=word):
        move(pipeline, pipeline.runtime(**TIMES, expect={"rows": rows}, audit={"on_unusual": "fail"}), WINDOW)
    assert of_kind(pipeline, Kind.COMMITTED) == []


def test_an_audit_that_crashed_after_its_commit_is_not_judged_again(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime()
    claim, staged = loaded(pipeline, runtime)
    with failing_at("audit.committed"), pytest.raises(Crash):
        audit(runtime, claim, staged)
    stricter = pipeline.runtime(expect={"rows": {"min": 9}}, audit={"on_unusual": "fail"})
    assert audit(stricter, claim, staged).token == staged.token
    assert len(of_kind(pipeline, Kind.COMMITTED)) == 1


# --- the check


@pytest.mark.parametrize(
    ("at", "late"),
    [("2013-11-04T13:59:59Z", []), ("2013-11-04T14:00:00Z", [Unmet.LATE])],
    ids=["08:59", "09:00"],
)
def test_a_day_of_25_hours_is_late_from_nine_on(pipeline: Pipeline, at: str, late: list[Unmet]) -> None:
    pipeline.now = parse_utc(at)
    runtime = pipeline.runtime(**BY_NINE)
    found = check_expectations(runtime, 7, "m/1")
    assert [miss.what for miss in found.new] == late
    assert [miss.interval for miss in found.new] == [DAY] * len(late)


@pytest.mark.parametrize("open_state", [open_sql, open_variable])
def test_each_kind_of_state_records_a_late_day_once(
    pipeline: Pipeline, open_state: Callable[[Pipeline, Identity], State]
) -> None:
    runtime = pipeline.runtime(**BY_NINE)
    state = open_state(pipeline, runtime.state.identity)
    runtime = with_fields(runtime, state=state)
    whats = [
        [miss.what for miss in check_expectations(runtime, 7, run).new]
        for run in ("m/1", "m/1", "m/2", "m/3")
    ]
    assert whats == [[Unmet.LATE], [Unmet.LATE], [], []]
    state.append(next(entry for entry in state.entries() if entry.kind is Kind.MISSED))  # two checks at once
    (entry,) = (entry for entry in state.entries() if entry.kind is Kind.MISSED)
    assert (entry.interval, entry.run, entry.detail) == (
        DAY,
        "m/1",
        {"what": "late", "due": "2013-11-04T14:00:00Z"},
    )


def test_a_crash_after_the_write_loses_no_notice(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(**BY_NINE)
    with failing_at("expectations.recorded"), pytest.raises(Crash):
        check_expectations(runtime, 7, "m/1")
    assert [miss.what for miss in check_expectations(runtime, 7, "m/1").new] == [Unmet.LATE]
    assert len(of_kind(pipeline, Kind.MISSED)) == 1


def test_a_day_that_completes_resolves_its_miss(pipeline: Pipeline) -> None:
    sent = Gauges()
    with metrics.sending_to(sent):
        runtime = pipeline.runtime(**BY_NINE)
        check_expectations(runtime, 7, "m/1")
        assert sent.last == {"pipeline.late_days": 1, "pipeline.unusual_windows": 0}
        pipeline.move_all(runtime)
        found = check_expectations(runtime, 7, "m/2")
    assert (found.new, found.judgement.misses) == ((), ())
    assert sent.last == {"pipeline.late_days": 0, "pipeline.unusual_windows": 0}
    assert open_misses(pipeline.entries(), [DAY]) == []


def test_a_day_that_was_complete_too_late_is_a_miss_also_afterwards(pipeline: Pipeline) -> None:
    """No run judged the day between the time that it was due and its last commit."""
    runtime, sent = pipeline.runtime(**BY_NINE), Gauges()
    pipeline.now = parse_utc("2013-11-04T13:59:00Z")
    pipeline.move(runtime)
    pipeline.now = completed = parse_utc("2013-11-04T14:01:00Z")
    pipeline.move_all(runtime)
    pipeline.now = parse_utc("2013-11-05T11:00:00Z")
    with metrics.sending_to(sent):
        first, second = (check_expectations(runtime, 7, f"m/{n}") for n in (1, 2))
    assert [(miss.interval, miss.completed) for miss in first.new] == [(DAY, completed)]
    assert [miss.sentence("America/New_York") for miss in second.judgement.misses] == [
        "2013-11-03 was late: it was due to be complete by 2013-11-04 09:00 EST, and was complete at "
        "2013-11-04 09:01 EST"
    ]
    assert second.new == ()
    assert sent.last["pipeline.late_days"] == 0
    assert open_misses(pipeline.entries(), [DAY]) == []
    read = read_status_of(runtime.config, runtime.state, StatusQuery(pipeline.now, 7))
    assert [miss.completed for miss in read.report.unexpected.misses] == [completed]  # type: ignore[union-attr]


def test_a_window_that_is_replaced_is_judged_again(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(**USUAL)
    move_weeks(pipeline, runtime, 4, 5, 40)
    put(pipeline, WINDOW, 1)
    move(pipeline, runtime, WINDOW)
    first = check_expectations(runtime, 7, "m/1")
    assert [(miss.what, miss.interval, miss.rows, miss.usual) for miss in first.new] == [
        (Unmet.FEW, WINDOW, 1, 5.0)
    ]
    assert [one.interval for one in first.judgement.not_judged] == []
    assert check_expectations(runtime, 7, "m/2").new == ()
    put(pipeline, WINDOW, 6)
    move(pipeline, runtime, WINDOW)
    assert check_expectations(runtime, 7, "m/3").judgement.misses == ()
    assert open_misses(pipeline.entries(), []) == []


def test_a_miss_between_count_and_write_does_not_void_a_recheck(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(**USUAL)
    put(pipeline, WINDOW, 1)
    move(pipeline, runtime, WINDOW)
    put(pipeline, WINDOW, 2)
    count = runtime.target.count

    def count_late(interval: Interval) -> object:
        token = of_kind(pipeline, Kind.COMMITTED)[-1].token
        miss = Miss(Unmet.FEW, WINDOW, token, rows=1, least=9)
        runtime.state.append(Entry(Kind.MISSED, WINDOW, pipeline.now, token=token, detail=miss.detail))
        return count(interval)

    runtime.target.count = count_late  # type: ignore[method-assign, assignment]
    (grown,) = recheck(runtime, 7).grown
    assert grown.interval == WINDOW


def test_without_expectations_nothing_is_read(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pipeline.runtime()
    monkeypatch.setattr(runtime.state, "entries", None)
    assert check_expectations(runtime, 7, "m/1").judgement.misses == ()


class Gauges:
    """The last value of each gauge."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}

    def count(self, *_: object) -> None:
        """Ignore counters."""

    def timing(self, *_: object) -> None:
        """Ignore timers."""

    def gauge(self, name: str, value: float, _tags: object) -> None:
        if name in (metrics.LATE_DAYS, metrics.UNUSUAL_WINDOWS):
            self.last[name] = value
