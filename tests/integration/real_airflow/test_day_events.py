"""A day is told once each time all of it was moved: by scheduled runs, by a backfill, by `reprocess`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.stories import DAY_HOURS, THE_LONG_DAY
from tests.integration.real_airflow.test_command_line import airflow_command

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]
WINDOWS = lake.windows(*THE_LONG_DAY, DAY_HOURS)


def moved(world: World, dag_id: str, runs: int) -> tuple[list[str], list[dict[str, Any]]]:
    """The states of the DAG's runs once there are so many, and the events of its days."""
    found = world.airflow.quiet(dag_id, runs)
    return sorted({run["state"] for run in found}), world.airflow.events(f"{dag_id}.days")


def about(world: World, dag_id: str, token: int) -> dict[str, Any]:
    start, end = lake.whole(*THE_LONG_DAY)
    return {
        "pipeline": dag_id,
        "day": THE_LONG_DAY[0].isoformat(),
        "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "rows": len(world.warehouse.rows(dag_id)),
        "token": token,
    }


def test_a_day_is_told_once_each_time_all_of_it_was_moved(world: World, replaced: str) -> None:
    states, events = moved(world, replaced, len(WINDOWS))
    assert (states, events) == (["success"], [about(world, replaced, len(WINDOWS))])

    start, end = lake.whole(*THE_LONG_DAY)
    backfill = world.airflow.backfill(
        replaced, lake.iso(start), lake.iso(end - lake.MILLISECOND), reprocess="completed"
    )
    world.airflow.backfilled(backfill)
    runs = len(world.airflow.runs(replaced))
    states, events = moved(world, replaced, runs)
    assert (states, events[1:]) == (["success"], [about(world, replaced, 2 * len(WINDOWS))])

    day = THE_LONG_DAY[0].isoformat()
    started = airflow_command("pipelines", "reprocess", replaced, "--from", day, "--to", day)
    assert len(started["windows"]) == len(WINDOWS)
    states, events = moved(world, replaced, runs + len(WINDOWS))
    assert (states, events[2:]) == (["success"], [about(world, replaced, 3 * len(WINDOWS))])
    assert len(world.airflow.events(f"{replaced}.windows")) == 3 * len(WINDOWS)
    assert len(world.airflow.events(f"{replaced}.window_partitions")) == 3 * len(WINDOWS)
    assert [event["partitions"] for event in world.airflow.events(f"{replaced}.day_partitions")] == [
        {day: event} for event in events
    ]
