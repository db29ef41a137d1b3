"""Derive the request of a DAG run from its type, conf and Params."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators.generate import run_request
from airflow_pipeline_provider.phases.values import RunKind

RUN_AFTER = datetime(2013, 11, 4, 12, tzinfo=timezone.utc)
WINDOW = {"window_start": "2013-11-03T04:00:00Z", "window_end": "2013-11-03T06:00:00Z"}
DECLARED = {"window_start": None, "window_end": None, "exact": False}


def context(run_type: str = "manual", conf: dict[str, Any] | None = None, **more: Any) -> Any:
    run = SimpleNamespace(dag_id="flights", run_id="r1", run_type=run_type, run_after=RUN_AFTER, conf=conf)
    return {
        "dag_run": run,
        "dag": SimpleNamespace(params=DECLARED),
        "params": {**DECLARED, **(conf or {})},
        **more,
    }


def config(schedule: str | None = "auto") -> Any:
    return SimpleNamespace(schedule=schedule)


@pytest.mark.parametrize("run_type", ["scheduled", "manual", "asset_triggered", "operator_triggered"])
def test_without_params_the_planner_chooses(run_type: str) -> None:
    request = run_request(context(run_type), config())
    assert (request.run, request.kind, request.reference_time) == ("flights/r1", RunKind.LIVE, RUN_AFTER)
    assert request.interval is None


def test_a_drained_run_uses_the_reference_time_of_its_parent() -> None:
    request = run_request(context(conf={"reference_time": "2013-11-03T07:00:00+00:00"}), config())
    assert request.reference_time == datetime(2013, 11, 3, 7, tzinfo=timezone.utc)


def test_params_name_the_window() -> None:
    conf = {"window_start": "2013-11-03T00:00:00-04:00", "window_end": "2013-11-03T01:00:00-05:00"}
    request = run_request(context(conf=conf), config())
    assert request.kind is RunKind.WINDOW
    assert request.interval is not None
    assert msgspec.to_builtins(request.interval) == ["2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z"]


HALF_ID = "flights.20131103T040000Z-20131103T050000Z"


@pytest.mark.parametrize(
    ("run_id", "more", "exact"),
    [
        pytest.param("manual__1", {}, False, id="by hand"),
        pytest.param("manual__1", {"exact": False}, False, id="by hand, as the form sends it"),
        pytest.param("manual__1", {"exact": True}, True, id="exact"),
        pytest.param(f"reprocess__{HALF_ID}__20131106T120000Z", {"by": "ada"}, True, id="old reprocess"),
        pytest.param(
            f"recheck__{HALF_ID}__20131106T120000Z", {"only_drifted": True}, True, id="an old reload"
        ),
        pytest.param(
            "recheck__flights.20131103T040000Z-20131103T060000Z__x", {}, False, id="the id of another window"
        ),
    ],
)
def test_only_a_run_by_hand_must_follow_the_day_plan(run_id: str, more: dict[str, Any], exact: bool) -> None:
    """A version before `exact` left runs in the queue whose ids name their windows."""
    asked = context(
        conf={"window_start": "2013-11-03T04:00:00Z", "window_end": "2013-11-03T05:00:00Z", **more}
    )
    asked["dag_run"].run_id = run_id
    assert run_request(asked, config()).exact is exact


def test_keys_that_airflow_adds_to_the_conf_are_accepted() -> None:
    conf = {"openlineage": {"parentRunId": "0190", "parentJobName": "parent.go", "rootParentRunId": "0190"}}
    request = run_request(context("operator_triggered", conf=conf), config())
    assert (request.kind, request.interval) == (RunKind.LIVE, None)


def test_a_time_as_rendered_by_airflow_is_accepted() -> None:
    conf = {"window_start": "2013-11-03 04:00:00+00:00", "window_end": "2013-11-03 06:00:00.000000+00:00"}
    request = run_request(context(conf=conf), config())
    assert request.interval is not None
    assert msgspec.to_builtins(request.interval) == ["2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z"]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"window_start": "2013-11-03T00:00:00-04:00"}, "window_end: expected both"),
        ({"window_end": "2013-11-03T00:00:00-04:00"}, "window_start: expected both"),
        ({"window_start": "2013-11-03T00:00:00", "window_end": "2013-11-03T01:00:00Z"}, "without an offset"),
        (
            {"window_start": "2013-11-03T05:00:00Z", "window_end": "2013-11-03T04:00:00Z"},
            "after window_start",
        ),
        (
            {"window_start": "2013-11-03T05:00:00Z", "window_end": "2013-11-03T05:00:00Z"},
            "after window_start",
        ),
        ({"window_start": "yesterday", "window_end": "2013-11-03T05:00:00Z"}, "ISO 8601 .*'yesterday'"),
        ({"window_start": 5, "window_end": "2013-11-03T05:00:00Z"}, "ISO 8601 .*got 5"),
        ({"window_strat": "2013-11-03T05:00:00Z"}, "unknown 'window_strat'; known: .*window_start"),
        ({"only_drifted": "yes"}, "expected true or false as only_drifted, got 'yes'"),
        ({"exact": "yes"}, "expected true or false as exact, got 'yes'"),
        ({"reference_time": "2013-11-03"}, "reference_time: expected ISO 8601 with an offset"),
        ({"only_incomplete": 1}, "expected true or false as only_incomplete, got 1"),
        ({**WINDOW, "accept_shrink": "13"}, "expected a whole number of rows as accept_shrink.*got '13'"),
        ({**WINDOW, "accept_shrink": True}, "expected a whole number of rows"),
        ({**WINDOW, "accept_shrink": 0}, "expected a whole number of rows"),
        ({"accept_shrink": 13}, "accept_shrink: expected window_start and window_end with it"),
    ],
    ids=[
        "no end",
        "no start",
        "naive",
        "backwards",
        "empty",
        "no time",
        "a number",
        "unknown key",
        "no boolean",
        "exact",
        "reference",
        "no flag",
        "rows as text",
        "rows as flag",
        "no rows",
        "rows of no window",
    ],
)
def test_an_invalid_conf_is_reported(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_request(context(conf=conf), config())


def test_a_backfill_moves_its_data_interval() -> None:
    bounds = {
        "data_interval_start": RUN_AFTER.replace(hour=5),
        "data_interval_end": RUN_AFTER.replace(hour=7),
    }
    request = run_request(context("backfill", **bounds), config())
    assert request.kind is RunKind.BACKFILL
    assert request.interval is not None
    assert msgspec.to_builtins(request.interval) == ["2013-11-04T05:00:00Z", "2013-11-04T07:00:00Z"]


def test_a_run_of_the_page_carries_what_was_chosen_there() -> None:
    conf = {**WINDOW, "by": "ann", "only_incomplete": True, "accept_shrink": 13}
    request = run_request(context(conf=conf), config())
    assert (request.by, request.only_incomplete, request.accept_shrink) == ("ann", True, 13)
    bounds = {
        "data_interval_start": RUN_AFTER.replace(hour=5),
        "data_interval_end": RUN_AFTER.replace(hour=7),
    }
    request = run_request(context("backfill", conf=conf, **bounds), config())
    assert (request.by, request.only_incomplete, request.accept_shrink) == ("ann", True, None)


@pytest.mark.parametrize("schedule", ["0 * * * *", None])
def test_a_backfill_of_another_schedule_is_refused(schedule: str | None) -> None:
    with pytest.raises(ConfigError, match="Set schedule: auto"):
        run_request(context("backfill"), config(schedule))
