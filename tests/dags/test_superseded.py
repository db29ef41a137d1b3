"""A run that loses its window to another run ends without an error, in every phase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.state.sql import SqlState

from .conftest import Folder
from .test_generated_dag import TASKS, states


@pytest.mark.parametrize(
    ("task_id", "distribute"),
    [("validate", "threads"), ("extract", "threads"), ("extract", "tasks"), ("load", "threads")],
    ids=["validate", "extract", "mapped extract", "load"],
)
def test_losing_the_window_skips_the_remaining_tasks(
    folder: Folder, run_dag: Callable[..., Any], task_id: str, distribute: str
) -> None:
    source = "{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], slices: 2, "
    folder.write(source=f"{source} distribute: {distribute}}}")
    dag = folder.dag()
    state = SqlState.from_url(
        f"sqlite:///{folder.path}/state.db", Identity(folder.pipeline_id, "America/New_York")
    )

    def lose_it(_: Any) -> None:
        for lease in state.leases():
            state.release(lease.interval, lease.owner)
            state.acquire(lease.interval, "another/run", 600)

    dag.get_task(
        "generate_window" if task_id == "validate" else TASKS[TASKS.index(task_id) - 1]
    )._post_execute_hook = lambda context, result: lose_it(context)
    run = run_dag(dag)
    seen = states(run)
    before = TASKS[: TASKS.index(task_id)]
    assert {task: seen[task] for task in TASKS} == {
        task: "success" if task in before else "skipped" for task in TASKS
    }
    assert str(run.state) == "success"
    if task_id == "validate":
        labels = {ti.task_id: ti.rendered_map_index for ti in run.get_task_instances()}
        assert labels["validate"] == "superseded"
    assert {lease.owner for lease in state.leases()} == {"another/run"}
