"""Servers that are away for a while, and come back."""

from __future__ import annotations

from collections import Counter

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


def test_an_outage_fails_runs_and_a_run_by_hand_drains_it(world: World, flights_march: str) -> None:
    airflow = world.airflow
    (failed,) = airflow.quiet(flights_march, 1)
    assert failed["state"] == "failed"
    validate = airflow.tasks(flights_march, failed["dag_run_id"])["validate"]
    assert (validate["state"], validate["try_number"]) == ("failed", 2)
    assert "127.0.0.1:9" in airflow.log(flights_march, failed["dag_run_id"], "validate")
    assert world.committed(flights_march) == {}
    assert world.leases(flights_march) == []  # nobody has to wait for what nobody will do

    airflow.connection("nyc_search_outage", **connections()["nyc_search"])
    airflow.trigger(flights_march)
    planned = lake.windows(*lake.MARCH, 8)
    runs = airflow.quiet(flights_march, 1 + len(planned))
    assert Counter(run["state"] for run in runs) == {"success": len(planned), "failed": 1}
    assert sorted(world.committed(flights_march)) == planned
    world.assert_complete(flights_march, "flights", *lake.MARCH)
