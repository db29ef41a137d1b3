"""Runs by hand: with Params exactly that window, with bad ones a sentence, without any the planner's choice."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.rest import Refused, wait
from tests.integration.real_airflow.stories import THE_LONG_DAY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]
BELOW = ("validate", "extract", "stage", "load", "audit", "drain")


@pytest.fixture
def done(world: World, manual: str) -> str:
    """The pipeline with all its days moved, and nobody at work: a task cleared alone leaves a lease behind."""
    world.airflow.quiet(manual, len(lake.windows(*THE_LONG_DAY, 12)))
    wait(lambda: not world.leases(manual), "leases end")
    return manual


def test_params_replace_exactly_that_window(world: World, done: str) -> None:
    """The second 1 o'clock, which is a part of a window that was moved whole."""
    start = lake.instant(THE_LONG_DAY[0]) + timedelta(hours=2)
    world.search.late("manual", start + timedelta(minutes=1))
    local = start.astimezone(lake.NEW_YORK).isoformat()
    params = {"window_start": local, "window_end": (start + timedelta(hours=1)).isoformat(), "exact": True}
    run_id = world.airflow.trigger(done, params)
    assert world.airflow.finished(done, run_id) == "success"
    world.assert_equal(done, "weather", lake.whole(*THE_LONG_DAY))
    tasks = world.airflow.tasks(done, run_id)
    assert tasks["drain"]["state"] == "skipped"  # a run for a named window starts no other
    labels = {name: task["rendered_map_index"] for name, task in tasks.items()}
    token = world.committed(done)[start, start + timedelta(hours=1)]
    assert re.fullmatch(rf"(\d+) = \1 rows?, token {token}", labels.pop("audit"))
    assert (labels.pop("generate_window"), labels.pop("validate")) == ("2013-11-03 [01:00, 02:00) EST", "run")
    assert set(labels.values()) == {None}
    window = f"{start:%Y-%m-%dT%H:%M:%SZ}/{start + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    for task_id in tasks:
        path = f"dags/{done}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        (link,) = world.airflow.get(path)["extra_links"].values()
        assert link.endswith(f"/dags/{done}/plugin/windows?window={window}")
    described = world.airflow.dag(done)["description"]
    assert described.endswith(f".{done.upper()}, windows of 12h in America/New_York")
    assert world.airflow.xcom(done, run_id, "generate_window", "window")["kind"] == "window"


def test_nothing_to_do_is_said_where_people_look(world: World, done: str) -> None:
    run_id = world.airflow.trigger(done)
    assert world.airflow.finished(done, run_id) == "success"
    tasks = world.airflow.tasks(done, run_id)
    assert {name: task["state"] for name, task in tasks.items()} == {
        "generate_window": "success",
        **dict.fromkeys(BELOW, "skipped"),
    }
    assert tasks["generate_window"]["rendered_map_index"] == "after_end_day"
    assert tasks["generate_window"]["rendered_fields"]["reason"] == "after_end_day"
    assert world.airflow.xcom(done, run_id, "generate_window", "reason") == "after_end_day"
    detail = world.airflow.xcom(done, run_id, "generate_window", "detail")
    assert "nothing is left to do" in detail
    assert detail in world.airflow.log(done, run_id, "generate_window")


START, END = "2013-11-03T01:00:00-04:00", "2013-11-03T01:00:00-05:00"


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        pytest.param(
            {"window_start": START}, "window_end: expected both window_start and window_end", id="half"
        ),
        pytest.param({"window_start": END, "window_end": START}, "expected an instant after", id="backwards"),
        pytest.param(
            {"window_start": START, "window_end": "2013-11-04T01:00:00-05:00"},
            "inside of one day",
            id="two days",
        ),
        pytest.param(
            {"window_start": START, "window_end": END},
            "expected a window of the day plan, got 2013-11-03 [01:00 EDT, 01:00 EST) ",
            id="no window of the day plan",
        ),
        pytest.param({"window_strat": START}, "unknown 'window_strat'", id="unknown key"),
    ],
)
def test_bad_params_fail_with_a_sentence(
    world: World, done: str, conf: dict[str, Any], sentence: str
) -> None:
    before = world.warehouse.tokens(done)
    run_id = world.airflow.trigger(done, conf)
    assert world.airflow.finished(done, run_id) == "failed"
    assert world.airflow.states(done, run_id)["generate_window"] == "failed"
    assert sentence in world.airflow.log(done, run_id, "generate_window")
    assert world.warehouse.tokens(done) == before


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"window_start": 5, "window_end": 6}, id="numbers"),
        pytest.param({"window_start": START, "window_end": END, "exact": "yes"}, id="no boolean"),
        pytest.param({"window_start": "noon", "window_end": END}, id="no date"),
        pytest.param({"window_start": START, "window_end": "2013-11-03T03:00:00"}, id="naive"),
    ],
)
def test_params_that_are_no_instants_never_become_a_run(
    world: World, done: str, conf: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refused:
        world.airflow.trigger(done, conf)
    assert refused.value.status == 400
