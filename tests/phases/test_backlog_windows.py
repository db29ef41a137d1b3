"""A day that lies back is moved as one window; all that reads the ledger works with it as with hours."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from airflow_pipeline_provider.core.backlog_windows import back_since
from airflow_pipeline_provider.core.day_status import DayStatus
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Check, Kind, effective
from airflow_pipeline_provider.core.planning import day_plan, ready_at
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from airflow_pipeline_provider.views.lanes import lane_of
from airflow_pipeline_provider.views.pipeline_status import read_status
from airflow_pipeline_provider.views.reprocess import preview_span
from airflow_pipeline_provider.views.window_states import WindowState, planned_at
from tests.phases.conftest import Pipeline

SUNDAY = date(2013, 11, 3)  # of 25 hours
ZONE = "America/New_York"
WHOLE = day_interval(SUNDAY, ZONE)
KEYS = {"granularity": "1h", "backlog_granularity": "1d", "start_day": "2013-11-03", "end_day": "2013-11-03"}


@pytest.fixture
def runtime(pipeline: Pipeline) -> Runtime:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", timedelta(minutes=20))
    return pipeline.runtime(**KEYS)


def moved(pipeline: Pipeline) -> list[Interval]:
    return [entry.interval for entry in pipeline.entries() if entry.kind is Kind.COMMITTED]


def hours(start: int, end: int) -> Interval:
    return Interval(WHOLE.start + timedelta(hours=start), WHOLE.start + timedelta(hours=end))


def test_a_day_begun_in_hours_is_finished_as_one_window(pipeline: Pipeline, runtime: Runtime) -> None:
    pipeline.now = back_since(runtime.config.rules, SUNDAY) - timedelta(seconds=1)
    for _ in range(3):
        pipeline.move(runtime)
    pipeline.now += timedelta(seconds=1)
    pipeline.move_all(runtime)
    assert moved(pipeline) == [hours(0, 1), hours(1, 2), hours(2, 3), hours(3, 25)]
    pipeline.assert_target_is(WHOLE)
    status = read_status(runtime.config, runtime.state, pipeline.now, 1)
    assert (status.days[0].report.status, status.missing, status.behind_seconds) == (
        DayStatus.COMPLETE,
        (),
        0.0,
    )


def test_the_last_run_of_the_schedule_moves_the_last_day_as_one_window(
    pipeline: Pipeline, runtime: Runtime
) -> None:
    """The pipeline begins long after its `end_day`; a retry of the run gets the window that it has."""
    rules = runtime.config.rules
    reference = ready_at(rules, day_plan(rules, SUNDAY)[-1])
    request = RunRequest("flights/scheduled__last", RunKind.LIVE, reference)
    claims = [generate(runtime, request).claim for _ in range(2)]
    assert [claim.interval for claim in claims if claim is not None] == [WHOLE, WHOLE]


def test_the_page_shows_hours_of_a_day_that_one_window_committed(
    pipeline: Pipeline, runtime: Runtime
) -> None:
    pipeline.move_all(runtime)
    assert moved(pipeline) == [WHOLE]
    rules = runtime.config.rules
    lane = lane_of(planned_at(rules, pipeline.now, 5, None), SUNDAY, pipeline.entries(), [])
    assert [cell.state for cell in lane.windows] == [WindowState.COMPLETE] * 25
    assert [(odd.window.interval, odd.rows) for odd in lane.commits] == [(WHOLE, 75)]


def test_late_rows_of_a_larger_window_are_found_and_loaded(pipeline: Pipeline, runtime: Runtime) -> None:
    pipeline.move_all(runtime)
    pipeline.rows.put("late", parse_utc("2013-11-03T09:10:00Z"), "{}")
    [grown] = recheck(runtime, 7).grown
    assert (grown.interval, grown.source, grown.target) == (WHOLE, 76, 75)
    pipeline.move(runtime, kind=RunKind.WINDOW, interval=grown.interval, exact=False, only_drifted=True)
    pipeline.assert_target_is(WHOLE)
    assert [one.verdict for one in recheck(runtime, 7).findings] == [Check.EQUAL]


def test_one_hour_of_a_larger_window_is_moved_again(pipeline: Pipeline, runtime: Runtime) -> None:
    pipeline.move_all(runtime)
    pipeline.rows.put("late", parse_utc("2013-11-03T09:10:00Z"), "{}")
    plan = day_plan(runtime.config.rules, SUNDAY)
    preview = preview_span(runtime.config, runtime.state, pipeline.now, WHOLE)
    assert [(one.interval, one.action, one.rows) for one in preview] == [
        (hour, "replace", None) for hour in plan
    ]
    pipeline.move(runtime, kind=RunKind.WINDOW, interval=plan[5], exact=False)
    pipeline.assert_target_is(WHOLE)
    pieces = [piece for piece, _, _ in effective(pipeline.entries())]
    assert pieces == [hours(0, 5), plan[5], hours(6, 25)]
    assert [one.verdict for one in recheck(runtime, 7).findings] == [Check.EQUAL] * 3


def test_the_status_plans_what_a_run_gets_after_a_failure(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(**KEYS, audit={"on_empty": "fail"})
    for _ in range(2):
        status = read_status(runtime.config, runtime.state, pipeline.now, 1)
        with pytest.raises(DataError):
            pipeline.move(runtime)
        failed = [entry.interval for entry in pipeline.entries() if entry.kind is Kind.FAILED]
        assert failed[-1] == status.plan.interval
    assert failed == [WHOLE, hours(0, 1)]
