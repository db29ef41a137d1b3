"""Run the generated DAG by Airflow's `dag.test`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.state.facts import read_facts
from airflow_pipeline_provider.web.catalog import facts_in

from .conftest import Folder, stored_runs

REFERENCE = datetime(2013, 11, 6, 12, tzinfo=timezone.utc)
DAY = ("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")
TASKS = ["generate_window", "validate", "extract", "stage", "load", "audit", "drain"]


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def xcom(run: Any, task_id: str, key: str = "return_value") -> Any:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(XComModel).where(
        XComModel.dag_id == run.dag_id,
        XComModel.run_id == run.run_id,
        XComModel.task_id == task_id,
        XComModel.key == key,
    )
    with create_session() as session:
        return XComModel.deserialize_value(session.scalars(query).one())


def test_a_run_moves_its_window_and_starts_the_next_run(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write()
    dag = folder.dag()
    run = run_dag(dag)
    assert str(run.state) == "success"
    assert list(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")
    assert states(run)["audit"] == "success"


def test_a_drained_run_is_due_now_and_plans_from_the_reference_time_in_its_conf(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    """Airflow counts the failures of the last 24 hours by `run_after`."""
    folder.write()
    dag = folder.dag()
    before = datetime.now(timezone.utc)
    run_dag(dag, run_after=REFERENCE)
    (drained,) = (run for run in stored_runs(folder.pipeline_id) if run.run_id.startswith("drain__"))
    assert before <= drained.run_after <= datetime.now(timezone.utc)
    assert drained.conf == {"reference_time": REFERENCE.isoformat()}
    for due in (drained.run_after, REFERENCE):  # the latter: queued by the code before
        run = run_dag(dag, run_conf=drained.conf, run_after=due)
        assert str(run.state) == "success"
        assert parse_utc(xcom(run, "generate_window", "window")["reference_time"]) == REFERENCE
    assert list(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T19:00:00Z")


def test_runs_move_the_whole_long_day_and_then_log_the_reason_to_skip(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(backlog="wait")
    dag = folder.dag()
    for _ in range(5):
        assert str(run_dag(dag).state) == "success"
    assert sorted(folder.target().values()) == folder.source(*DAY)
    run = run_dag(dag)
    assert str(run.state) == "success"
    assert {state for task, state in states(run).items() if task != "generate_window"} == {"skipped"}
    assert states(run)["generate_window"] == "success"
    assert xcom(run, "generate_window", "reason") == "after_end_day"
    assert sorted(folder.target().values()) == folder.source(*DAY)


def test_mapped_slices_move_the_same_rows(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(
        backlog="wait",
        granularity="1d",
        source="{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], "
        "slices: 3, distribute: tasks}",
    )
    run = run_dag(folder.dag())
    assert str(run.state) == "success"
    assert [str(ti.state) for ti in run.get_task_instances() if ti.task_id == "extract"] == ["success"] * 3
    assert sorted(folder.target().values()) == folder.source(*DAY)


def test_params_choose_exactly_that_window_and_replace_it(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(backlog="wait")
    dag = folder.dag()
    run_dag(dag)
    folder.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    conf = {
        "window_start": "2013-11-03 04:00:00+00:00",  # as Airflow renders {{ data_interval_start }}
        "window_end": "2013-11-03T01:00:00-05:00",
        "exact": True,
        "openlineage": {"parentRunId": "0190"},
    }
    assert str(run_dag(dag, run_conf=conf).state) == "success"
    assert sorted(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")


def test_bad_params_fail_the_run_and_move_nothing(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write()
    run = run_dag(folder.dag(), run_conf={"window_start": "2013-11-03T00:00:00-04:00"})
    assert str(run.state) == "failed"
    assert states(run)["generate_window"] == "failed"
    assert not (folder.path / "lake.duckdb").exists()


def test_no_task_can_turn_a_failed_run_into_a_success(folder: Folder) -> None:
    folder.write()
    dag = folder.dag()
    assert [task.task_id for task in dag.topological_sort()] == TASKS
    assert {task.trigger_rule.value for task in dag.tasks} == {"all_success", "none_failed"}
    below = {task.task_id for task in dag.get_task("generate_window").downstream_list}
    assert below == set(TASKS) - {"generate_window"}


def test_a_failing_load_fails_the_run(folder: Folder, run_dag: Callable[..., Any]) -> None:
    import duckdb

    folder.write()
    with duckdb.connect(str(folder.path / "lake.duckdb")) as connection:
        connection.execute(f"CREATE TABLE main.{folder.pipeline_id} (something_else INTEGER)")
    run = run_dag(folder.dag())
    assert str(run.state) == "failed"
    assert [states(run)[task] for task in ("stage", "load", "audit")] == [
        "success",
        "failed",
        "upstream_failed",
    ]


HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def test_a_finally_failed_run_releases_its_window(folder: Folder, run_dag: Callable[..., Any]) -> None:
    """The next run does not wait for the lease of a run without retries left."""
    folder.write(backlog="wait")
    dag = folder.dag()
    command = [sys.executable, "-c", HOLD, str(folder.path / "lake.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        failed = run_dag(dag)
        other.communicate()
    assert str(failed.state) == "failed"
    run = run_dag(dag)
    assert str(run.state) == "success"
    assert list(folder.target().values()) == folder.source("2013-11-03T04:00:00Z", "2013-11-03T09:00:00Z")


def test_the_serialized_dag_contains_the_facts_and_besides_the_documentation_no_other_value(
    folder: Folder,
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    folder.write(
        source="{type: sql, conn_id: events_db, query: select 1 as id, time_column: at, key_columns: [id], "
        "slices: 3, distribute: tasks, name: events}",
        default_record="{note: only for the record}",
        state="{type: sql, conn_id: pipeline_state, lease: 5m}",
    )
    dag = folder.dag()
    tasks = {task.task_id: task for task in dag.tasks}
    assert tasks["extract"].is_mapped
    serialized = DagSerialization.to_dict(dag)
    shown = {"doc_md", "description"}  # test_documentation.py
    text = json.dumps(
        {key: value for key, value in serialized["dag"].items() if key not in shown}, default=str
    )
    assert text.count("events_db") == 1
    for kept_out in ("only for the record", "select 1", "key_columns"):
        assert kept_out not in text
    facts = facts_in(json.dumps(serialized))
    assert facts is not None
    file = folder.path / "dags" / "pipelines" / str(facts.file)
    assert facts.rules == load_pipeline(file, options_model=options_model).rules
    assert facts.state == {"type": "sql", "conn_id": "pipeline_state", "lease": "5m"}
    assert facts.source == {
        "type": "sql",
        "conn_id": "events_db",
        "name": "events",
        "time_column": "at",
        "history": "events",
    }
    back = DagSerialization.from_dict(serialized)  # as the scheduler reads it
    assert read_facts(back.task_dict["generate_window"].pipeline_facts) == facts


def test_columns_of_another_file_become_a_view_and_are_not_in_the_serialized_dag(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    import duckdb
    from airflow.serialization.serialized_objects import DagSerialization

    columns = folder.path / "dags" / "pipelines" / "columns"
    columns.mkdir()
    (columns / "events.yaml").write_text(
        "- {name: NUMBER, path: id, type: integer}\n- {name: HAPPENED, path: at, type: timestamp}\n"
    )
    folder.write(columns="{include: columns/events.yaml}")
    dag = folder.dag()
    text = json.dumps(DagSerialization.to_dict(dag), default=str)
    assert "columns/events.yaml" in text  # the file, in the documentation
    assert "HAPPENED" not in text
    run = run_dag(dag)
    assert str(run.state) == "success"
    with duckdb.connect(str(folder.path / "lake.duckdb")) as connection:
        rows = connection.execute(
            f"SELECT number, epoch(happened) FROM main.{folder.pipeline_id}_typed ORDER BY number"
        ).fetchall()
    sources = folder.sql(
        "SELECT id, CAST(strftime('%s', at) AS REAL) FROM events WHERE at >= ? AND at < ? ORDER BY id",
        "2013-11-03T04:00:00Z",
        "2013-11-03T09:00:00Z",
    )
    assert rows == sources


@pytest.mark.parametrize(
    ("settings", "retries", "delay", "longest"),
    [
        pytest.param("{}", 3, 30, 600, id="no airflow section"),
        pytest.param("{retries: 9, retry_delay: 2s}", 9, 2, 600, id="short"),
        pytest.param("{retry_delay: 20m}", 3, 1200, 1200, id="longer than the longest"),
    ],
)
def test_every_task_is_retried_as_configured(
    folder: Folder, settings: str, retries: int, delay: int, longest: int
) -> None:
    folder.write(airflow=settings)
    found = {(task.retries, task.retry_delay, task.max_retry_delay) for task in folder.dag().tasks}
    assert found == {(retries, timedelta(seconds=delay), timedelta(seconds=longest))}
