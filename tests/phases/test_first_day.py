"""The first day of a pipeline without start_day comes from no caller, and only moves earlier."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.doctor import examine
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import Outcome
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from tests.doubles.memory_state import _Pipeline

from .conftest import Pipeline

FUTURE = parse_utc("2040-01-01T00:00:00Z")
NO_DAYS: dict[str, Any] = {"start_day": None, "end_day": None, "granularity": "1d"}


def runtime(pipeline: Pipeline, **changes: Any) -> Runtime:
    return pipeline.runtime(**NO_DAYS, **changes)


def day_of(outcome: Outcome) -> str | None:
    return None if outcome.claim is None else str(outcome.claim.day)


@pytest.mark.parametrize("reference", [FUTURE, parse_utc("8999-01-02T00:00:00Z")])
def test_a_reference_time_in_the_future_is_refused_and_leaves_nothing(
    pipeline: Pipeline, reference: Any
) -> None:
    with pytest.raises(ConfigError, match="reference_time: expected an instant up to now"):
        pipeline.move(runtime(pipeline), reference_time=reference)
    assert runtime(pipeline).state.first_day(None) is None
    with pytest.raises(ConfigError, match="reference_time: expected an instant up to now"):
        recheck(runtime(pipeline), 3, reference)


def test_a_clock_a_little_ahead_is_taken_for_now(pipeline: Pipeline) -> None:
    outcome = pipeline.move(runtime(pipeline), reference_time=pipeline.now + timedelta(minutes=4))
    assert outcome.claim is not None
    assert outcome.claim.reference_time == pipeline.now


@pytest.mark.parametrize(
    ("reference", "run_after", "first"),
    [
        ("2013-11-06T12:00:00Z", None, "2013-11-05"),
        ("2013-11-06T12:00:00Z", "2013-11-04T12:00:00Z", "2013-11-03"),
        ("2013-11-06T12:00:00Z", "2040-01-01T00:00:00Z", "2013-11-05"),
    ],
)
def test_the_first_day_is_of_when_the_run_was_due_and_of_the_stores_clock(
    pipeline: Pipeline, reference: str, run_after: str | None, first: str
) -> None:
    due = None if run_after is None else parse_utc(run_after)
    pipeline.move(runtime(pipeline), reference_time=parse_utc(reference), run_after=due)
    assert str(runtime(pipeline).state.first_day(None)) == first


@pytest.mark.parametrize("due", [timedelta(0), timedelta(days=1)], ids=["the worker", "the scheduler too"])
def test_a_clock_that_is_ahead_of_the_store_moves_no_window_that_is_not_over(
    pipeline: Pipeline, due: timedelta
) -> None:
    """By the store it is noon of 2013-11-06 in UTC, by the worker a day later."""
    ahead = replace(runtime(pipeline, x_time_back="0d"), clock=lambda: pipeline.now + timedelta(days=1))
    said = pipeline.now + due
    planned = generate(ahead, pipeline.request(reference_time=said, run_after=said))
    assert (planned.claim, planned.reason) == (None, "not_settled")
    day = Interval(parse_utc("2013-11-06T05:00:00Z"), parse_utc("2013-11-07T05:00:00Z"))
    named = pipeline.request("flights/named", kind=RunKind.WINDOW, interval=day)
    assert generate(ahead, named._replace(reference_time=said, run_after=said)).reason == "not_settled"
    pipeline.now += timedelta(days=1)
    claim = generate(runtime(pipeline), named).claim
    assert claim is not None
    pipeline.now -= timedelta(days=1)
    assert validate(ahead, claim).reason == "not_settled"


@pytest.mark.parametrize(
    ("changes", "earliest"),
    [
        pytest.param(NO_DAYS, "1969-12-31 19:00 EST", id="no start_day"),
        pytest.param({}, "1969-12-31 19:00 EST", id="a later start_day"),
        pytest.param({"start_day": "1950-07-01"}, "1950-07-01 00:00 EDT", id="an earlier start_day"),
    ],
)
@pytest.mark.parametrize("what", ["reference_time", "window", "backfill"])
def test_a_year_in_the_far_past_is_refused_and_leaves_nothing(
    pipeline: Pipeline, changes: dict[str, Any], earliest: str, what: str
) -> None:
    """A mistyped year would be committed as an empty window."""
    start = parse_utc("1001-01-02T00:00:00Z")
    asked: dict[str, Any] = {"reference_time": start}
    if what != "reference_time":
        kind = RunKind.WINDOW if what == "window" else RunKind.BACKFILL
        asked = {"kind": kind, "interval": Interval(start, start + timedelta(hours=2))}
    name = "reference_time" if what == "reference_time" else "window"
    with pytest.raises(ConfigError, match=f"{name}: expected an instant from {earliest} on, got 1001-01-01"):
        pipeline.move(pipeline.runtime(**changes), **asked)
    assert pipeline.store.pipelines.get("flights", _Pipeline()) == _Pipeline()
    assert pipeline.stage_files() == []


def test_a_start_day_before_1970_is_moved(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(start_day="1950-07-01", end_day="1950-07-01", granularity="1d")
    assert day_of(pipeline.move(runtime)) == "1950-07-01"


def test_a_reference_time_before_the_first_day_is_refused(pipeline: Pipeline) -> None:
    """Such a window would be in no report: planner, status and gaps begin at the first day."""
    due = pipeline.now
    with pytest.raises(
        ConfigError, match="a target day from 2013-11-05 on, the pipeline's first day, got 2010"
    ):
        pipeline.move(runtime(pipeline), reference_time=parse_utc("2010-05-05T12:00:00Z"), run_after=due)
    assert pipeline.entries() == []
    assert pipeline.runtime().state.leases() == []
    named = Interval(parse_utc("2010-05-05T04:00:00Z"), parse_utc("2010-05-06T04:00:00Z"))
    assert day_of(pipeline.move(runtime(pipeline), kind=RunKind.WINDOW, interval=named)) == "2010-05-05"


def test_an_outage_is_caught_up_whatever_the_first_run_was_given(pipeline: Pipeline) -> None:
    with pytest.raises(ConfigError):
        pipeline.move(runtime(pipeline), reference_time=FUTURE)
    assert day_of(pipeline.move(runtime(pipeline))) == "2013-11-05"
    pipeline.now += timedelta(days=4)
    assert [day_of(pipeline.move(runtime(pipeline))) for _ in range(4)] == [
        "2013-11-06",
        "2013-11-07",
        "2013-11-08",
        "2013-11-09",
    ]


@pytest.mark.parametrize("committed", [True, False])
def test_a_first_day_in_the_future_is_found_and_repaired_by_the_next_run(
    pipeline: Pipeline, committed: bool
) -> None:
    """As an older version, or a store with a wrong clock, left it."""
    if committed:
        assert day_of(pipeline.move(runtime(pipeline))) == "2013-11-05"
    pipeline.now += timedelta(days=4)
    runtime(pipeline).state.first_day(date(2039, 12, 31))
    pipeline.store.pipelines["flights"].first_day = date(2039, 12, 31)
    findings = examine(runtime(pipeline), pipeline.now, 7, "flights").findings
    [found] = [one for one in findings if one.kind == "first_day_ahead"]
    assert found.command[:2] == (("state", "rebuild") if committed else ("run", "flights"))
    assert day_of(pipeline.move(runtime(pipeline))) == ("2013-11-06" if committed else "2013-11-09")
    assert str(runtime(pipeline).state.first_day(None)) == ("2013-11-05" if committed else "2013-11-09")
