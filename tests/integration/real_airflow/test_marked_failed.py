"""Runs and tasks that are marked as failed: another run gets their window at once, not after `state.lease`."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.integration.real_airflow.conftest import World, connections
from tests.integration.real_airflow.rest import wait
from tests.integration.real_airflow.stories import THE_LONG_DAY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and no request is answered: a task waits there until it is ended."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield int(server.getsockname()[1])


def test_the_window_of_a_run_that_is_marked_as_failed_is_free(
    world: World, marked: str, silent_port: int
) -> None:
    airflow = world.airflow
    search = connections()["nyc_search"]
    silent = {**search, "host": "127.0.0.1", "schema": "http", "port": silent_port}
    airflow.connection("nyc_search_silent", **silent)

    def task_runs(run_id: str) -> str:
        wait(
            lambda: airflow.states(marked, run_id).get("validate") == "running",
            "validate waits for the source",
        )
        wait(lambda: world.leases(marked), "the window is leased")
        return run_id

    airflow.mark_failed(marked, run_id := task_runs(airflow.trigger(marked)))
    wait(lambda: not world.leases(marked), "the task that was ended gives the lease back", 60)
    assert airflow.states(marked, run_id)["validate"] == "failed"

    airflow.mark_failed(marked, run_id := task_runs(airflow.trigger(marked)), "validate")
    assert airflow.finished(marked, run_id) == "failed"
    wait(lambda: not world.leases(marked), "the task that was ended gives the lease back", 60)

    # A run marked as failed while it waits for a retry has no process; its lease is a matter of minutes
    # (tests/dags/test_killed.py).
    airflow.connection("nyc_search_silent", **search)
    assert airflow.finished(marked, airflow.trigger(marked)) == "success"
    world.assert_complete(marked, "weather", *THE_LONG_DAY)
    assert world.leases(marked) == []
