"""In Airflow, a run that finds another run's lease waits without a retry, or leaves its window and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.operators import base
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions

from .conftest import Folder
from .test_generated_dag import states, xcom

WINDOW = ["2013-11-03T00:00:00-04:00", "2013-11-03T04:00:00-05:00"]
FIRST = msgspec.convert(WINDOW, Interval)
STORES = {
    "sql": "{type: sql, conn_id: pipeline_state, lease: 2s}",
    "variable": "{type: variable, lease: 10s, verify_after: 1s}",
}


def state_of(folder: Folder, store: str) -> State:
    identity = Identity(folder.pipeline_id, "America/New_York")
    if store == "sql":
        return SqlState.from_url(f"sqlite:///{folder.path}/state.db", identity)
    return VariableState(VariableStateOptions(type="variable"), identity, pause_seconds=0.01)


def reschedules(run: Any, task_id: str) -> int:
    from airflow.models.taskreschedule import TaskReschedule
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    ti = next(ti for ti in run.get_task_instances() if ti.task_id == task_id)
    with create_session() as session:
        query = select(func.count()).select_from(TaskReschedule).where(TaskReschedule.ti_id == ti.id)
        return int(session.scalar(query) or 0)


@pytest.mark.parametrize("store", STORES)
def test_a_named_window_waits_for_the_lease_without_using_up_a_retry(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    monkeypatch.setattr(base, "LOOK_AGAIN_SECONDS", (0.1, 0.2))
    folder.write(backlog="wait", state=STORES[store])
    dag, state = folder.dag(), state_of(folder, store)
    state.acquire(FIRST, "flights/a_run_that_died", 600)
    real, looks = base.PipelineOperator.wait_for_lease, []

    def released_after_the_second_look(self: Any, error: Any) -> Any:
        looks.append(error.message)
        if len(looks) == 2:
            state.release(FIRST, "flights/a_run_that_died")
        return real(self, error)

    monkeypatch.setattr(base.PipelineOperator, "wait_for_lease", released_after_the_second_look)
    run = run_dag(dag, run_conf=dict(zip(("window_start", "window_end"), WINDOW, strict=True)))
    assert str(run.state) == "success"
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")
    generated = next(ti for ti in run.get_task_instances() if ti.task_id == "generate_window")
    assert (generated.try_number, reschedules(run, "generate_window")) == (1, 2)
    assert all("held by flights/a_run_that_died since" in look and " ES" in look for look in looks)


def test_a_live_run_ends_and_names_the_run_whose_commit_starts_the_next(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(state=STORES["variable"])
    state = state_of(folder, "variable")
    with state.exclusive("flights/backfill__x", 600, follows=True):
        run = run_dag(folder.dag())
        assert str(run.state) == "success"
        assert {task: state for task, state in states(run).items() if state != "skipped"} == {
            "generate_window": "success"
        }
        assert xcom(run, "generate_window", "reason") == "leased"
        detail = xcom(run, "generate_window", "detail")
        assert "held by flights/backfill__x since" in detail
        assert detail.endswith("its commit starts a run that also plans for this one")
    assert state.asked_to_follow() == run.run_after
