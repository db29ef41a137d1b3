"""Everything at once: scheduled, manual and drained live runs, a backfill of the same days, and named windows."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.stories import AT_ONCE_DAYS, AT_ONCE_HOURS, LIVE_AT_ONCE, named_at_once
from tests.integration.real_airflow.test_backfill import backfilled, interval

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


def test_nothing_is_lost_nothing_doubled_and_everyone_ends(world: World, at_once: str) -> None:
    planned, named = lake.windows(*AT_ONCE_DAYS, AT_ONCE_HOURS), named_at_once()
    of_the_backfill = backfilled(world, at_once)
    runs = world.airflow.quiet(at_once, len(planned) + len(named) + LIVE_AT_ONCE + 1)
    world.airflow.assert_succeeded(at_once, runs)
    assert Counter(run["run_type"] for run in runs)["scheduled"] == 1
    assert [run["dag_run_id"] for run in runs if run["dag_run_id"].startswith("drain__")]
    assert sorted(interval(run) for run in of_the_backfill) == planned

    committed = world.committed(at_once)
    assert set(planned) <= set(committed), "a backfill moves its windows, whoever moved them before"
    assert set(named) <= set(committed)
    world.assert_complete(at_once, "weather", AT_ONCE_DAYS[0], AT_ONCE_DAYS[1] + timedelta(days=1))
    world.assert_left_nothing(at_once)
