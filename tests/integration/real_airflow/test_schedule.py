"""Scheduled runs over past days: the first one starts, drain does the rest."""

from __future__ import annotations

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.test_backfill import interval

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


def test_one_scheduled_run_drains_all_that_was_missed(world: World, flights: str) -> None:
    planned = lake.windows(*lake.NOVEMBER, 6)
    runs = world.airflow.quiet(flights, len(planned))
    assert len(runs) == len(planned)
    world.airflow.assert_succeeded(flights, runs)
    (scheduled,) = (run for run in runs if run["run_type"] == "scheduled")
    assert interval(scheduled) == planned[-1]
    drained = [run for run in runs if run is not scheduled]
    assert {run["triggered_by"] for run in drained} == {"operator"}
    assert all(run["dag_run_id"].startswith("drain__") for run in drained)
    assert sorted(world.committed(flights)) == planned
    world.assert_complete(flights, "flights", *lake.NOVEMBER)


def test_one_task_for_a_window_drains_all_that_was_missed(world: World, single_task: str) -> None:
    planned = lake.windows(*lake.NOVEMBER, 8)
    runs = world.airflow.quiet(single_task, len(planned))
    assert len(runs) == len(planned)
    world.airflow.assert_succeeded(single_task, runs)
    for run in runs:
        tasks = world.airflow.tasks(single_task, run["dag_run_id"])
        assert {name: task["state"] for name, task in tasks.items()} == {"move_window": "success"}
    assert sorted(world.committed(single_task)) == planned
    world.assert_complete(single_task, "weather", *lake.NOVEMBER)


def test_a_cron_is_a_tick_and_the_planner_chooses(world: World, cron: str) -> None:
    runs = world.airflow.quiet(cron, 1)
    assert len(runs) == 1
    world.airflow.assert_succeeded(cron, runs)
    day = lake.days(*lake.NOVEMBER)[1]
    world.assert_complete(cron, "weather", day, day)


def test_state_in_variables_runs_and_drains(world: World, variable: str) -> None:
    day = lake.days(*lake.NOVEMBER)[1]
    planned = lake.windows(day, day, 12)
    runs = world.airflow.quiet(variable, len(planned))
    assert len(runs) == 3
    world.airflow.assert_succeeded(variable, runs)
    world.assert_equal(variable, "weather", lake.whole(day, day))
    assert sorted(world.warehouse.tokens(variable)) == planned
    names = {row["key"] for row in world.airflow.listed("variables", "variables")}
    assert {f"pipelines.{variable}.state", f"pipelines.{variable}.{day}"} <= names


def test_a_backfill_with_state_in_variables_waits_its_turn_beside_live_runs(
    world: World, variable: str
) -> None:
    airflow, day = world.airflow, lake.days(*lake.NOVEMBER)[1]
    planned = lake.windows(day, day, 12)
    airflow.quiet(variable, len(planned))
    before = world.warehouse.tokens(variable)
    start, end = lake.whole(day, day)
    number = airflow.backfill(variable, lake.iso(start), lake.iso(end), reprocess="completed")
    live = [airflow.trigger(variable) for _ in range(2)]
    airflow.backfilled(number)
    for run_id in live:
        airflow.finished(variable, run_id)
    runs = airflow.quiet(variable, len(planned) + len(live))
    world.airflow.assert_succeeded(variable, runs)
    backfilled = [run for run in runs if run["run_type"] == "backfill"]
    assert sorted(interval(run) for run in backfilled) == planned
    for run in backfilled:
        generated = airflow.tasks(variable, run["dag_run_id"])["generate_window"]
        assert generated["try_number"] <= 2, (
            "waiting uses up no try: one of the scheduled run, one of the backfill"
        )
    after = world.warehouse.tokens(variable)
    assert min(after.values()) > max(before.values()), (
        "every window was moved again, under a token of its own"
    )
    assert len(set(after.values())) == len(planned)
    world.assert_equal(variable, "weather", lake.whole(day, day))


def test_a_backfill_of_a_cron_is_refused(world: World, cron: str) -> None:
    sentence = "a backfill moves the windows of the day plan, which only `schedule: auto`"
    dag_id, airflow = cron, world.airflow
    airflow.quiet(dag_id, 1)
    before = world.warehouse.tokens(dag_id)
    day = lake.NOVEMBER[0].replace(day=3)
    start, end = lake.whole(day, day)
    airflow.backfilled(airflow.backfill(dag_id, lake.iso(start), lake.iso(end), reprocess="completed"))
    runs = [run for run in airflow.runs(dag_id) if run["run_type"] == "backfill"]
    assert runs
    assert {run["state"] for run in runs} == {"failed"}
    for run in runs:
        assert sentence in airflow.log(dag_id, run["dag_run_id"], "generate_window")
    assert world.warehouse.tokens(dag_id) == before
