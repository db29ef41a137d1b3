"""`layout: single_task`: one task moves a window, with the promises of seven."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import DataError, LeaseHeldError
from airflow_pipeline_provider.operators import move
from airflow_pipeline_provider.operators.base import PipelineOperator
from airflow_pipeline_provider.phases.leases import exclusive
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.testing.faults import at, hooked

from .conftest import Folder, stored_runs
from .test_asset_events import DAY, HALF_DAYS, events, run_dated  # noqa: F401  (a fixture)
from .test_generated_dag import states, xcom
from .test_killed import state_of, terminated_at
from .test_labels import shown

SINGLE = "{layout: single_task, retries: 0}"
RETRIED = "{layout: single_task, retries: 1}"
FIRST = ("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")


def test_one_task_moves_the_window_and_starts_the_next_run(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(airflow=SINGLE)
    run = run_dag(folder.dag())
    assert states(run) == {"move_window": "success"}
    assert list(folder.target().values()) == folder.source(*FIRST)
    assert shown(run, "move_window") == ["2013-11-03 [00:00 EDT, 04:00 EST): 15 = 15 rows, token 1"]
    assert xcom(run, "move_window")["PIPELINE_ID"] == folder.pipeline_id
    assert xcom(run, "move_window", "audit")["target_rows"] == 15
    (drained,) = (run for run in stored_runs(folder.pipeline_id) if run.run_id.startswith("drain__"))
    assert drained.run_id.endswith("__t1")
    assert [extra["token"] for extra in events(folder, "windows")] == [1]


def test_nothing_to_do_is_a_success_with_its_reason(
    folder: Folder,
    run_dated: Callable[..., Any],  # noqa: F811
) -> None:
    folder.write(**{**HALF_DAYS, "granularity": "1d", "airflow": SINGLE})
    run_dated(folder.dag())
    run = run_dated(folder.dag())
    assert states(run) == {"move_window": "success"}
    assert shown(run, "move_window") == ["after_end_day"]
    assert xcom(run, "move_window", "reason") == "after_end_day"
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 1}]


def test_a_task_below_is_skipped_without_a_window(
    folder: Folder,
    run_dated: Callable[..., Any],  # noqa: F811
) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator

    folder.write(**{**HALF_DAYS, "granularity": "1d", "airflow": SINGLE})
    for expected in ("success", "skipped"):
        dag = folder.dag()
        dag.get_task("move_window") >> EmptyOperator(task_id="below", dag=dag, trigger_rule="all_done")
        assert states(run_dated(dag)) == {"move_window": "success", "below": expected}


@pytest.mark.parametrize("backlog", ["wait", "drain"])
def test_a_try_after_the_commit_sends_the_events_and_loads_nothing_again(
    folder: Folder, run_dag: Callable[..., Any], backlog: str
) -> None:
    folder.write(backlog=backlog, airflow=RETRIED)
    dag = folder.dag()
    task = dag.get_task("move_window")
    task.retry_delay = timedelta(0)

    def crash() -> None:
        raise RuntimeError("the worker crashed")

    with hooked(at("audit.released", 1, crash)):
        run = run_dag(dag)
    assert states(run) == {"move_window": "success"}
    assert [extra["token"] for extra in events(folder, "windows")] == [1]
    assert shown(run, "move_window") == ["2013-11-03 [00:00 EDT, 04:00 EST): 15 = 15 rows, token 1"]
    assert list(folder.target().values()) == folder.source(*FIRST)
    drained = [run for run in stored_runs(folder.pipeline_id) if run.run_id.startswith("drain__")]
    assert len(drained) == (backlog == "drain")


def test_a_try_after_it_started_the_next_run_sends_its_events(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that exists counts as started."""
    folder.write(airflow=RETRIED)
    dag = folder.dag()
    dag.get_task("move_window").retry_delay = timedelta(0)
    start, tries = move.request_run, []

    def start_and_crash(dag_id: str, run_id: str, *conf_and_note: Any) -> None:
        tries.append(run_id)
        start(dag_id, run_id, *conf_and_note)
        if len(tries) == 1:
            raise RuntimeError("the worker crashed")

    monkeypatch.setattr(move, "request_run", start_and_crash)
    assert states(run_dag(dag)) == {"move_window": "success"}
    assert len(tries) == 2
    assert len(set(tries)) == 1
    assert [extra["token"] for extra in events(folder, "windows")] == [1]
    drained = [run.run_id for run in stored_runs(folder.pipeline_id) if run.run_id.startswith("drain__")]
    assert drained == tries[:1]


@pytest.mark.parametrize(("settings", "tries"), [(SINGLE, 1), (RETRIED, 2)])
def test_the_last_try_sends_its_events_without_a_next_run_that_airflow_refuses(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, settings: str, tries: int
) -> None:
    from airflow.sdk.api.client import DagRunOperations
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    refused = []

    def refuse(self: Any, dag_id: str, run_id: str, *_: Any, **__: Any) -> ErrorResponse:
        refused.append(run_id)
        return ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 403})

    monkeypatch.setattr(DagRunOperations, "trigger", refuse)
    folder.write(airflow=settings)
    dag = folder.dag()
    dag.get_task("move_window").retry_delay = timedelta(0)
    run = run_dag(dag)
    assert states(run) == {"move_window": "success"}
    assert len(refused) == tries
    assert [extra["token"] for extra in events(folder, "windows")] == [1]
    (label,) = shown(run, "move_window")
    assert label.endswith("token 1, next run not started")
    assert list(folder.target().values()) == folder.source(*FIRST)


@pytest.mark.parametrize(
    "point",
    [
        "generate.leased",
        "generate.bound",
        "validate.judged",
        "extract.part_begun",
        "stage.token_minted",
        "load.copied",
        "audit.counted",
    ],
)
def test_a_killed_task_releases_its_lease(folder: Folder, run_dag: Callable[..., Any], point: str) -> None:
    folder.write(backlog="wait", airflow=SINGLE)
    dag = folder.dag()
    with terminated_at(point):
        assert states(run_dag(dag)) == {"move_window": "failed"}
    state = state_of(folder)
    assert state.leases(expired=True) == []
    assert Kind.FAILED not in {entry.kind for entry in state.entries()}
    assert states(run_dag(dag)) == {"move_window": "success"}
    assert list(folder.target().values()) == folder.source(*FIRST)


def test_a_failure_is_in_the_ledger_with_its_task(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(backlog="wait", airflow=SINGLE)

    def fail() -> None:
        raise DataError("the counts differ")

    with hooked(at("audit.counted", 1, fail)):
        assert states(run_dag(folder.dag())) == {"move_window": "failed"}
    (failed,) = (entry for entry in state_of(folder).entries() if entry.kind is Kind.FAILED)
    assert (failed.detail["phase"], failed.detail["task"]) == ("audit", "move_window")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param(
            {"airflow": "{layout: one_task}"}, "must be tasks or single_task, got 'one_task'", id="value"
        ),
        pytest.param(
            {
                "airflow": SINGLE,
                "source": "{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], "
                "distribute: tasks}",
            },
            "airflow.layout: must be tasks with source.distribute: tasks",
            id="a task for each slice",
        ),
        pytest.param(
            {"airflow": SINGLE, "own_tasks": "{after_load: ./gates.py:check}"},
            "airflow.layout: must be tasks with own_tasks",
            id="own tasks",
        ),
        pytest.param(
            {"airflow": "{layout: single_task, tasks: {load: {retries: 1}}}"},
            "airflow.tasks.load: is not used: layout: single_task has one task, move_window",
            id="settings of a phase",
        ),
        pytest.param(
            {"airflow": "{tasks: {move_window: {retries: 1}}}"},
            "airflow.tasks.move_window: is not used: layout: tasks has no task move_window",
            id="settings of the single task",
        ),
    ],
)
def test_check_reports_what_does_not_fit(
    folder: Folder, capsys: pytest.CaptureFixture[str], changes: dict[str, str], problem: str
) -> None:
    from airflow_pipeline_provider.cli.main import main

    file = folder.write(**changes)
    main(["check", str(file)])
    assert problem in " ".join("".join(capsys.readouterr()).split())


def test_settings_of_the_single_task(folder: Folder) -> None:
    folder.write(airflow="{layout: single_task, tasks: {default: {queue: slow}, move_window: {retries: 7}}}")
    task = folder.dag().get_task("move_window")
    assert (task.queue, task.retries) == ("slow", 7)


@pytest.mark.parametrize("run_type", ["manual", "backfill"])
@pytest.mark.parametrize("more", [{}, {"only_incomplete": True}], ids=["", "only_incomplete"])
def test_a_try_after_the_commit_of_a_named_window_moves_it_no_second_time(
    folder: Folder,
    run_dag: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, Any],
    run_type: str,
) -> None:
    from airflow_pipeline_provider.operators import move
    from airflow_pipeline_provider.phases.values import RunKind

    folder.write(**{**HALF_DAYS, "granularity": "1d", "airflow": RETRIED})
    dag = folder.dag()
    dag.get_task("move_window").retry_delay = timedelta(0)
    if run_type == "backfill":  # `dag.test` makes manual runs only
        request_of = move.run_request
        monkeypatch.setattr(move, "run_request", lambda *of: request_of(*of)._replace(kind=RunKind.BACKFILL))

    def crash() -> None:
        raise RuntimeError("the worker crashed")

    with hooked(at("audit.released", 1, crash)):
        run = run_dag(dag, run_conf={"window_start": DAY["start"], "window_end": DAY["end"], **more})
    assert states(run) == {"move_window": "success"}
    assert [entry.token for entry in state_of(folder).entries() if entry.kind is Kind.COMMITTED] == [1]
    assert [extra["token"] for extra in events(folder, "windows")] == [1]
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 1}]
    assert xcom(run, "move_window", "window")["kind"] == ("window" if run_type == "manual" else run_type)


def test_a_try_after_the_commit_waits_for_its_turn_to_send_the_events(
    folder: Folder, run_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live run that has not begun ends as skipped there, and leaves its window to the holder of the turn."""
    file = folder.write(airflow=RETRIED, state="{type: variable, verify_after: 1s}")
    dag = folder.dag()
    dag.get_task("move_window").retry_delay = timedelta(0)
    stack, waited = ExitStack(), []

    def crash() -> None:
        other = stack.enter_context(open_runtime(load_pipeline(file, options_model=options_model)))
        stack.enter_context(exclusive(other, "other/run", follows=True))
        raise RuntimeError("the worker crashed")

    def wait(_: Any, error: LeaseHeldError) -> None:
        waited.append(error.owner)
        stack.close()
        raise AirflowRescheduleException(datetime.now(timezone.utc))

    monkeypatch.setattr(PipelineOperator, "wait_for_lease", wait)
    with hooked(at("audit.released", 1, crash)):
        assert states(run_dag(dag)) == {"move_window": "success"}
    assert waited == ["other/run"]
    assert [extra["token"] for extra in events(folder, "windows")] == [1]
