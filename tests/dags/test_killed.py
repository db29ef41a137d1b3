"""A task that Airflow ends gives its lease back; another run moves the window at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.exits import Killed
from airflow_pipeline_provider.operators.ended_runs import release_ended
from airflow_pipeline_provider.phases.leases import take
from airflow_pipeline_provider.state.owners import Execution, Owner
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.sql_database import Database
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from airflow_pipeline_provider.testing.faults import at, hooked

from .conftest import Folder, stored_runs
from .test_generated_dag import states

SECOND_DAY = Interval(parse_utc("2013-11-04T05:00:00Z"), parse_utc("2013-11-05T05:00:00Z"))
FIRST = ("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")


def state_of(folder: Folder) -> SqlState:
    url = f"sqlite:///{folder.path}/state.db"
    return SqlState.from_url(url, Identity(folder.pipeline_id, "America/New_York"))


def variables_of(folder: Folder) -> VariableState:
    identity = Identity(folder.pipeline_id, "America/New_York")
    return VariableState(VariableStateOptions(type="variable"), identity, pause_seconds=0.01)


@contextmanager
def terminated_at(point: str) -> Iterator[None]:
    """Send SIGTERM to this process at the point, as Airflow does when the task is marked as failed."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with hooked(at(point, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("point", "task_id"),
    [
        pytest.param("generate.leased", "generate_window", id="leased, the run not bound to its window"),
        pytest.param("generate.bound", "generate_window", id="generate"),
        pytest.param("validate.judged", "validate", id="validate"),
        pytest.param("extract.part_begun", "extract", id="extract"),
        pytest.param("stage.token_minted", "stage", id="stage"),
        pytest.param("load.copied", "load", id="load, inside of the transaction"),
        pytest.param("audit.counted", "audit", id="audit"),
    ],
)
def test_a_killed_task_gives_its_lease_back(
    folder: Folder, run_dag: Callable[..., Any], point: str, task_id: str
) -> None:
    folder.write(backlog="wait")
    dag = folder.dag()
    with terminated_at(point):
        killed = run_dag(dag)
    assert (str(killed.state), states(killed)[task_id]) == ("failed", "failed")
    state = state_of(folder)
    assert state.leases(expired=True) == []
    assert Kind.FAILED not in {entry.kind for entry in state.entries()}, "it does not count to max_attempts"
    assert str(run_dag(dag).state) == "success"
    assert list(folder.target().values()) == folder.source(*FIRST)


def test_a_task_that_runs_too_long_gives_its_lease_back(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(backlog="wait")
    dag = folder.dag()
    dag.get_task("extract").execution_timeout = timedelta(seconds=0.5)
    with hooked(at("extract.opened", 1, lambda: signal.sigtimedwait([], 5))):
        ended = run_dag(dag)
    assert states(ended)["extract"] == "failed"
    assert state_of(folder).leases(expired=True) == []


@pytest.mark.parametrize(
    ("ending", "try_number", "map_index", "sibling", "stays"),
    [
        pytest.param(AirflowTaskTimeout("t"), 1, -1, None, True, id="timed out, and is tried again"),
        pytest.param(AirflowTaskTimeout("t"), 2, -1, None, False, id="timed out for good"),
        pytest.param(Killed("k"), 1, -1, "extract 1", False, id="killed, not mapped"),
        pytest.param(Killed("k"), 1, 0, "extract 1", True, id="killed, another map index works"),
        pytest.param(Killed("k"), 1, 0, "validate -1", False, id="killed, the last map index"),
        pytest.param(AirflowTaskTimeout("t"), 2, 0, "extract 1", True, id="timed out, another works"),
        pytest.param(TransientError("n"), 2, 0, "extract 1", True, id="failed for good, another works"),
        pytest.param(TransientError("n"), 2, 0, None, False, id="failed for good, alone"),
    ],
)
def test_an_ended_task_leaves_the_lease_to_those_that_work_under_it(
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    ending: BaseException,
    try_number: int,
    map_index: int,
    sibling: str | None,
    stays: bool,
) -> None:
    monkeypatch.setenv("AIRFLOW__PIPELINES__INSTALLATION", "green")
    folder.write()
    state, run = state_of(folder), f"{folder.pipeline_id}/run"
    if sibling is not None:
        state.acquire(SECOND_DAY, Owner(run, None, Execution(sibling, 1, "sibling")), 600)
    context: Any = {
        "ti": SimpleNamespace(task_id="extract", map_index=map_index, try_number=try_number, max_tries=1),
        "dag_run": SimpleNamespace(dag_id=folder.pipeline_id, run_id="run"),
    }

    def work() -> None:
        with folder.dag().get_task("extract").runtime(context) as runtime:
            take(runtime, run, SECOND_DAY)
            raise ending

    with pytest.raises(type(ending)):
        work()
    assert [lease.owner for lease in state.leases()] == ([run] if stays else [])
    if not stays:
        state.acquire(SECOND_DAY, "another/run", 600)
    elif sibling is not None:
        working = Owner(run, None, Execution(sibling, 1, "sibling"), renews=True)
        [execution] = state.acquire(SECOND_DAY, working, 600).executions
        assert execution.task == sibling


def test_the_pipeline_is_free_again_with_state_in_variables(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(backlog="wait", state="{type: variable, lease: 10m, verify_after: 1s}")
    dag = folder.dag()
    with terminated_at("load.copied"):
        assert states(run_dag(dag))["load"] == "failed"
    assert variables_of(folder).leases(expired=True) == []
    assert str(run_dag(dag).state) == "success"
    assert list(folder.target().values()) == folder.source(*FIRST)


def test_a_killed_task_leaves_the_lease_of_another_run(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(backlog="wait")
    state = state_of(folder)

    def lose_the_window_and_end() -> None:
        for lease in state.leases():
            state.release(lease.interval, lease.owner)
            state.acquire(lease.interval, "another/run", 600)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with hooked(at("load.prepared", 1, lose_the_window_and_end)):
        run_dag(folder.dag())
    signal.signal(signal.SIGTERM, before)
    assert [lease.owner for lease in state.leases()] == ["another/run"]


def test_a_task_killed_before_it_opened_anything_gives_the_lease_of_its_run_back(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(backlog="wait")
    dag = folder.dag()
    before = signal.getsignal(signal.SIGTERM)
    dag.get_task("validate")._pre_execute_hook = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    killed = run_dag(dag)
    signal.signal(signal.SIGTERM, before)
    assert states(killed)["validate"] == "failed"
    assert state_of(folder).leases(expired=True) == []


@contextmanager
def renewed_before(seconds: int) -> Iterator[None]:
    """Let the store's clock be behind, so that what is written is as old."""
    with pytest.MonkeyPatch.context() as patch:
        behind = timedelta(seconds=seconds)
        patch.setattr(Database, "clock", lambda *_: datetime.now(timezone.utc) - behind)
        yield


def test_a_lease_that_is_renewed_after_the_question_stays(folder: Folder) -> None:
    """Airflow answers that no run is unfinished, and meanwhile the run's process renews."""
    folder.write()
    state, owner = state_of(folder), Owner(f"{folder.pipeline_id}/elsewhere", "green")
    with renewed_before(250):
        state.acquire(SECOND_DAY, owner, 600)

    def count_runs(*_: Any, **__: Any) -> int:
        state.acquire(SECOND_DAY, owner, 600)
        return 0

    ti = SimpleNamespace(dag_id=folder.pipeline_id, run_id="mine", get_dr_count=count_runs)
    runtime: Any = SimpleNamespace(state=state, installation="green")
    release_ended(runtime, ti)
    assert [lease.owner for lease in state.leases()] == [owner.run]


@pytest.mark.parametrize(
    ("holder", "installation", "named", "silent", "released"),
    [
        pytest.param("ended", "green", False, 250, True, id="a run that has ended"),
        pytest.param("ended", "green", True, 250, True, id="a run that has ended, the window is named"),
        pytest.param("unknown", "green", False, 250, True, id="a run that was deleted"),
        pytest.param("unknown", "green", False, 205, False, id="a run that another Airflow still works on"),
        pytest.param("ended", "green", False, 0, False, id="a process of an ended run still works"),
        pytest.param("queued", "green", False, 250, False, id="a run that is queued"),
        pytest.param("ended", "blue", False, 250, False, id="a run of another installation"),
        pytest.param("ended", None, False, 250, False, id="a command"),
    ],
)
def test_a_run_that_ended_between_its_tasks_keeps_no_window(
    folder: Folder,
    run_dag: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    holder: str,
    installation: str | None,
    named: bool,
    silent: int,
    released: bool,
) -> None:
    """Marked as failed while it waited for a retry: no task was there to give the lease back."""
    monkeypatch.setenv("AIRFLOW__PIPELINES__INSTALLATION", "green")
    folder.write(granularity="1d", end_day="2013-11-04")
    dag = folder.dag()
    ended = run_dag(dag)
    runs = {
        "ended": ended.run_id,
        "unknown": "scheduled__elsewhere",
        "queued": stored_runs(folder.pipeline_id)[-1].run_id,
    }
    state = state_of(folder)
    owner = Owner(f"{folder.pipeline_id}/{runs[holder]}", installation)
    with renewed_before(silent):
        state.acquire(SECOND_DAY, owner, 600)
    conf = dict(zip(("window_start", "window_end"), msgspec.to_builtins(SECOND_DAY), strict=True))
    run = run_dag(dag, run_conf=conf if named else {})
    assert states(run)["audit"] == ("success" if released else "skipped")
    assert len(state.leases()) == (0 if released else 1)
