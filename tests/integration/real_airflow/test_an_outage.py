"""Servers that are away for a while, and come back."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World, connections
from tests.integration.real_airflow.rest import wait

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


def test_a_task_that_is_retried_converges(world: World, retried: str) -> None:
    """The stage is away when extract begins, and comes back between two of its tries."""
    airflow = world.airflow

    def waiting() -> str | None:
        for run in airflow.runs(retried):
            if airflow.states(retried, run["dag_run_id"]).get("extract") == "up_for_retry":
                return str(run["dag_run_id"])
        return None

    run_id = wait(waiting, "extract waits for its retry")
    airflow.connection("nyc_aws_outage", **connections()["nyc_aws"])
    assert airflow.finished(retried, run_id) == "success"
    assert airflow.tasks(retried, run_id)["extract"]["try_number"] > 1
    day = lake.days(*lake.NOVEMBER)[1]
    assert sorted(world.committed(retried)) == [lake.whole(day, day)]
    world.assert_complete(retried, "weather", day, day)


def test_outages_fail_runs_and_a_run_by_hand_drains_the_rest(world: World, flights_march: str) -> None:
    """The source is away at first, comes back, and goes away once more in the middle of the drain."""
    airflow = world.airflow
    (first,) = airflow.quiet(flights_march, 1)
    assert_failed_in_validate(world, flights_march, first)
    assert world.committed(flights_march) == {}

    airflow.connection("nyc_search_outage", **connections()["nyc_search"])
    airflow.trigger(flights_march)
    wait(lambda: len(world.committed(flights_march)) >= 2, "two windows are drained")
    airflow.connection("nyc_search_outage", **connections()["nyc_search_outage"])
    second = wait(lambda: failed(world, flights_march)[1:], "a run fails again")[0]
    assert_failed_in_validate(world, flights_march, second)
    assert second["dag_run_id"].startswith("drain__")
    yesterday = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()
    recent = airflow.runs(flights_march, run_after_gte=yesterday, state="failed")
    assert [run["dag_run_id"] for run in recent] == [second["dag_run_id"]], "what Airflow's home page counts"
    planned = lake.windows(*lake.MARCH, 8)
    done = sorted(world.committed(flights_march))
    assert done == planned[: len(done)]
    assert len(done) < len(planned)

    airflow.connection("nyc_search_outage", **connections()["nyc_search"])
    airflow.trigger(flights_march)
    runs = airflow.quiet(flights_march, 2 + len(planned))
    assert Counter(run["state"] for run in runs) == {"success": len(planned), "failed": 2}
    assert sorted(world.committed(flights_march)) == planned
    world.assert_complete(flights_march, "flights", *lake.MARCH)


def failed(world: World, dag_id: str) -> list[dict[str, Any]]:
    return [run for run in world.airflow.runs(dag_id) if run["state"] == "failed"]


def assert_failed_in_validate(world: World, dag_id: str, run: dict[str, Any]) -> None:
    """After a retry, with the server's address in the log, and without keeping the window from others."""
    assert run["state"] == "failed"
    validate = world.airflow.tasks(dag_id, run["dag_run_id"])["validate"]
    assert (validate["state"], validate["try_number"]) == ("failed", 2)
    assert "127.0.0.1:9" in world.airflow.log(dag_id, run["dag_run_id"], "validate")
    assert world.leases(dag_id) == []
