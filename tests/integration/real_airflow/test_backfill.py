"""Backfills through the REST API, without conf, over a day of 25 hours and one of 23."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.stories import THE_LONG_DAY, WEATHER_HOURS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


def backfilled(world: World, dag_id: str) -> list[dict[str, Any]]:
    """The runs of the DAG's first backfill, once it has ended."""
    first = min(backfill["id"] for backfill in world.airflow.get("backfills", dag_id=dag_id)["backfills"])
    world.airflow.backfilled(first)
    return [run for run in world.airflow.runs(dag_id) if run["run_type"] == "backfill"]


def interval(run: dict[str, Any]) -> lake.Span:
    return parsed(run["data_interval_start"]), parsed(run["data_interval_end"])


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@pytest.mark.parametrize(
    ("story", "days", "hours", "windows_a_day"),
    [
        pytest.param("weather", lake.NOVEMBER, WEATHER_HOURS, [6, 7, 6], id="25 hours, 4h"),
        pytest.param("weather_march", lake.MARCH, 4, [6, 6, 6], id="23 hours, 4h, mapped slices"),
    ],
)
def test_the_runs_are_the_windows_of_the_days(
    world: World,
    begun: dict[str, str],
    story: str,
    days: tuple[Any, Any],
    hours: int,
    windows_a_day: list[int],
) -> None:
    dag_id = begun[story]
    runs = backfilled(world, dag_id)
    world.airflow.assert_succeeded(dag_id, runs)
    assert sorted(interval(run) for run in runs) == lake.windows(*days, hours)
    starts = Counter(interval(run)[0].astimezone(lake.NEW_YORK).date() for run in runs)
    assert [starts[day] for day in lake.days(*days)] == windows_a_day
    world.airflow.quiet(dag_id, len(runs))
    world.assert_complete(dag_id, "weather", *days)


def test_a_second_backfill_reads_the_windows_anew(world: World, weather: str) -> None:
    """Only its own windows change: late documents come in, nothing doubles, and the days stay complete."""
    backfilled(world, weather)
    world.airflow.quiet(weather, len(lake.windows(*lake.NOVEMBER, WEATHER_HOURS)))
    before = world.warehouse.tokens(weather)
    chosen = lake.windows(*THE_LONG_DAY, WEATHER_HOURS)[:3]  # 1 o'clock comes twice in them
    late = chosen[1][0] + timedelta(minutes=30)
    world.search.late("weather", late)
    first, last = chosen[0][0], chosen[-1][0]
    again = world.airflow.backfill(weather, lake.iso(first), lake.iso(last), reprocess="completed")
    world.airflow.backfilled(again)
    world.assert_complete(weather, "weather", *lake.NOVEMBER)
    after = world.warehouse.tokens(weather)
    assert {window for window in before if after[window] != before[window]} == set(chosen)
    assert len(world.airflow.runs(weather)) <= len(lake.windows(*lake.NOVEMBER, WEATHER_HOURS)) + 1
