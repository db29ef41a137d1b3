"""The maintenance DAG reloads late rows by runs of the pipeline's own DAG, and reports missing rows."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.exceptions import ConfigError

from .conftest import Folder, stored_runs

LOADER = """
from airflow_pipeline_provider.factory import load_maintenance, load_pipelines

load_pipelines(globals(), "pipelines")  # a dag for each file
load_maintenance(globals(), "pipelines", {options})
"""


def with_maintenance(folder: Folder, **options: Any) -> str:
    """Write the DAG file and return the id of the maintenance DAG, a new one, because Airflow keeps every DAG."""
    dag_id = f"maintenance_of_{folder.pipeline_id}"
    given = ", ".join(f"{key}={value!r}" for key, value in {"dag_id": dag_id, **options}.items())
    (folder.path / "dags" / "pipelines.py").write_text(LOADER.format(options=given))
    return dag_id


def states(run: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for ti in run.get_task_instances():
        found.setdefault(ti.task_id.partition("__")[0], []).append(str(ti.state))
    return found


def runs_of(dag_id: str) -> list[tuple[str, dict[str, Any] | None]]:
    return [(run.run_id, run.conf) for run in stored_runs(dag_id)]


@pytest.fixture
def moved(folder: Folder, run_dag: Callable[..., Any]) -> Folder:
    """Commit one window of the whole 25-hour day."""
    folder.write(granularity="1d", backlog="wait")
    assert str(run_dag(folder.dag()).state) == "success"
    return folder


def test_late_rows_are_reloaded_by_a_run_of_the_pipelines_own_dag(
    moved: Folder, run_dag: Callable[..., Any]
) -> None:
    maintenance = with_maintenance(moved)
    moved.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    before = len(runs_of(moved.pipeline_id))
    run = run_dag(moved.dags()[maintenance])
    assert (str(run.state), states(run)) == (
        "success",
        {
            "choose_pipeline": ["success"],
            "recheck": ["success"],
            "reload": ["success"],
            "drift": ["skipped"],
            "cleanup": ["success"],
        },
    )
    (started,) = runs_of(moved.pipeline_id)[before:]
    assert started == (
        f"recheck__{moved.pipeline_id}.20131103T040000Z-20131104T050000Z__20131106T120000Z",
        {
            "window_start": "2013-11-03T04:00:00Z",
            "window_end": "2013-11-04T05:00:00Z",
            "exact": True,
            "only_drifted": True,
        },
    )
    assert str(run_dag(moved.dag(), run_conf=started[1]).state) == "success"
    assert sorted(moved.target().values()) == moved.source("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")
    again = run_dag(moved.dags()[maintenance])
    assert states(again)["reload"] == ["skipped"]


@pytest.mark.parametrize(("on_shrink", "state"), [("fail", "failed"), ("warn", "success")])
def test_missing_rows_are_reported_and_nothing_is_changed(
    moved: Folder, run_dag: Callable[..., Any], on_shrink: str, state: str
) -> None:
    maintenance = with_maintenance(moved, on_shrink=on_shrink)
    rows = moved.target()
    moved.sql("DELETE FROM events WHERE at = '2013-11-03T12:00:00Z'")
    run = run_dag(moved.dags()[maintenance])
    assert (str(run.state), states(run)["drift"], states(run)["reload"]) == (state, [state], ["skipped"])
    assert moved.target() == rows


def test_accepted_missing_rows_fail_the_run_once(moved: Folder, run_dag: Callable[..., Any]) -> None:
    moved.write(granularity="1d", backlog="wait", audit="{on_shrink: accept}")
    maintenance = with_maintenance(moved)
    moved.sql("DELETE FROM events WHERE at = '2013-11-03T12:00:00Z'")
    assert states(run_dag(moved.dags()[maintenance]))["drift"] == ["failed"]
    assert states(run_dag(moved.dags()[maintenance]))["drift"] == ["skipped"]
    moved.sql("DELETE FROM events WHERE at = '2013-11-03T13:00:00Z'")
    assert states(run_dag(moved.dags()[maintenance]))["drift"] == ["failed"]


def test_a_pipeline_without_its_source_does_not_block_others(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write()
    other = f"{folder.pipeline_id}.z"
    folder.write(
        other, source="{type: sql, conn_id: events_db, table: gone, time_column: at, key_columns: [id]}"
    )
    maintenance = with_maintenance(folder)
    run = run_dag(folder.dags()[maintenance])
    assert str(run.state) == "failed"
    found = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    assert found[f"recheck__{folder.pipeline_id}"] == "success"
    assert (found[f"recheck__{other}"], found[f"cleanup__{other}"]) == ("failed", "success")


def test_the_dag_is_built_only_if_airflow_requests_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write()
    folder.write("broken", text="][")
    maintenance = with_maintenance(folder, schedule=None)
    assert {maintenance, folder.pipeline_id} <= set(folder.dags())
    assert len(folder.dags()[maintenance].tasks) == 5
    for wanted in (maintenance, folder.pipeline_id):
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", wanted)
        assert list(folder.dags()) == [wanted]


def test_params_limit_a_run_to_one_day_of_one_pipeline(moved: Folder, run_dag: Callable[..., Any]) -> None:
    other = f"{moved.pipeline_id}__z"
    moved.write(other, granularity="1d", backlog="wait")
    maintenance = with_maintenance(moved)
    moved.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    conf = {"pipeline": moved.pipeline_id, "day": "2013-11-03"}
    run = run_dag(moved.dags()[maintenance], run_conf=conf)
    assert str(run.state) == "success"
    found = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    mine = {task: found[f"{task}__{moved.pipeline_id}"] for task in ("recheck", "reload", "drift", "cleanup")}
    assert mine == {"recheck": "success", "reload": "success", "drift": "skipped", "cleanup": "skipped"}
    assert {state for task, state in found.items() if task.endswith(other)} == {"skipped"}
    (started,) = [run_id for run_id, _ in runs_of(moved.pipeline_id) if run_id.startswith("recheck__")]
    assert "20131103T040000Z-20131104T050000Z" in started


@pytest.mark.parametrize(
    ("conf", "starts"),
    [
        ({"pipeline": "other"}, False),
        ({"pipeline": "{{ 1 }}"}, False),
        ({"pipeline": ["flights"]}, False),
        ({"day": "yesterday"}, False),
        ({"day": "2013-11-3"}, False),
        ({"day": "2013-02-30"}, True),
        ({"day": "2013-11-02"}, True),
        ({"day": "2013-11-04"}, True),
    ],
)
def test_other_params_recheck_nothing(
    moved: Folder, run_dag: Callable[..., Any], conf: dict[str, Any], starts: bool
) -> None:
    from airflow.sdk.exceptions import AirflowException

    maintenance = with_maintenance(moved)
    moved.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    before = runs_of(moved.pipeline_id)
    if starts:
        run = run_dag(moved.dags()[maintenance], run_conf=conf)
        assert states(run)["recheck"] == ["failed"]
    else:
        with pytest.raises((AirflowException, ValueError)):
            run_dag(moved.dags()[maintenance], run_conf=conf)
    assert runs_of(moved.pipeline_id) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"on_shrink": "delete"}, "on_shrink: expected fail or warn, got 'delete'"),
        ({"days": 0}, "days: expected a whole number, 1 or more, got 0"),
    ],
)
def test_invalid_arguments_are_reported(folder: Folder, options: dict[str, Any], sentence: str) -> None:
    with_maintenance(folder, **options)
    with pytest.raises(ConfigError, match=sentence):
        folder.dags()


def airflow_pipelines(*arguments: str) -> int:
    """Run `airflow pipelines …` in this process, by the functions that Airflow's command line calls."""
    import argparse

    from airflow_pipeline_provider.cli.commands import COMMANDS
    from airflow_pipeline_provider.cli.definition import get_pipelines_cli_commands

    (group,) = get_pipelines_cli_commands()
    command = next(one for one in COMMANDS if one.name == arguments[0])
    action = next(one for one in group.subcommands if one.name == arguments[0])
    parser = argparse.ArgumentParser()
    for argument in command.arguments:
        parser.add_argument(*argument.flags, **argument.options)
    with pytest.raises(SystemExit) as ended:
        action.func(parser.parse_args(arguments[1:]))
    return int(ended.value.code or 0)


def test_reprocess_and_recheck_start_runs_of_the_dag(
    moved: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(runs_of(moved.pipeline_id))
    place = (moved.pipeline_id, "--folder", str(moved.path / "dags" / "pipelines"))
    day = ("--from", "2013-11-03", "--to", "2013-11-03")
    assert airflow_pipelines("reprocess", *place, *day) == 0
    ((run_id, conf),) = runs_of(moved.pipeline_id)[before:]
    assert run_id.startswith(f"reprocess__{moved.pipeline_id}.20131103T040000Z-20131104T050000Z__")
    assert conf.pop("by") == pwd.getpwuid(os.geteuid()).pw_name
    assert conf == {
        "window_start": "2013-11-03T04:00:00Z",
        "window_end": "2013-11-04T05:00:00Z",
        "exact": True,
    }
    assert f"run {run_id}" in capsys.readouterr().out
    moved.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    assert airflow_pipelines("recheck", *place) == 0
    assert runs_of(moved.pipeline_id)[-1][0].startswith("recheck__")
    assert len(runs_of(moved.pipeline_id)) == before + 2


def test_a_dag_unknown_to_airflow_is_reported(
    folder: Folder, airflow_db: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write()
    place = (folder.pipeline_id, "--folder", str(folder.path / "dags" / "pipelines"))
    assert airflow_pipelines("reprocess", *place, "--from", "2013-11-03", "--to", "2013-11-03") == 2
    assert f"Airflow has no DAG '{folder.pipeline_id}' yet" in capsys.readouterr().err


def test_a_late_day_is_reported_once(folder: Folder, run_dag: Callable[..., Any]) -> None:
    """The day of 25 hours was never moved, and was due long ago."""
    folder.write(granularity="1d", backlog="wait", expect='{day_complete_by: "09:00"}')
    other = f"{folder.pipeline_id}.z"
    folder.write(other, granularity="1d", backlog="wait")
    maintenance = with_maintenance(folder)
    task_id = f"expectations__{folder.pipeline_id}"
    assert f"expectations__{other}" not in folder.dags()[maintenance].task_ids
    returned = [
        run_dag(folder.dags()[maintenance]).get_task_instance(task_id).xcom_pull(task_id) for _ in "12"
    ]
    assert returned == [["2013-11-03 is late: it was due to be complete by 2013-11-04 09:00 EST"], []]
    skipped = run_dag(folder.dags()[maintenance], run_conf={"day": "2013-11-03"})
    assert str(skipped.get_task_instance(task_id).state) == "skipped"
