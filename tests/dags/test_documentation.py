"""What Airflow's pages show of a pipeline: description, documentation with its file, links to its windows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import PIPELINE, Folder
from .test_generated_dag import TASKS, states, xcom
from .test_maintenance import with_maintenance

LINK = "_link_WindowLink"
FIRST = "2013-11-03T04:00:00Z/2013-11-03T09:00:00Z"


def test_the_dag_is_described_by_its_source_and_target(folder: Folder) -> None:
    folder.write()
    assert folder.dag().description == (
        f"sql events → duckdb main.{folder.pipeline_id}, windows of 5h in America/New_York"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{type: elasticsearch, index: 'flights-*'}", "elasticsearch flights-*"),
        ("{type: elasticsearch, index: [flights-1, flights-2]}", "elasticsearch flights-1, flights-2"),
        (
            "{type: sql, conn_id: events_db, query: SELECT 1, time_column: at, key_columns: [id]}",
            "sql",
        ),
    ],
)
def test_a_source_is_named_by_its_data(folder: Folder, source: str, name: str) -> None:
    folder.write(source=source)
    assert folder.dag().description.startswith(f"{name} → duckdb ")


def test_the_documentation_shows_the_file_with_comments_and_without_secrets(folder: Folder) -> None:
    text = PIPELINE.format(pipeline_id=folder.pipeline_id, folder=folder.path)
    text += (
        "# ask Ada before you change this; password: hunter2\n"
        "default_record: {note: '```', password: hunter2}\n"
    )
    folder.write(text=text)
    shown = folder.dag().doc_md
    assert "hunter2" not in shown
    fenced = shown.partition("````yaml\n")[2].partition("\n````")[0]
    assert fenced.strip() == text.replace("hunter2", "***").strip()
    assert shown.startswith(f"**sql events → duckdb main.{folder.pipeline_id}".replace("_", r"\_"))


def test_a_long_file_is_cut_at_a_line(folder: Folder) -> None:
    text = PIPELINE.format(pipeline_id=folder.pipeline_id, folder=folder.path)
    folder.write(text=text + "# a line of a long comment\n" * 2000)
    shown = folder.dag().doc_md
    assert len(shown) < 21_000
    assert shown.endswith("# a line of a long comment\n# … the rest of the file is left out\n```")


def test_the_file_is_in_the_serialized_dag_once_and_not_in_its_tasks(folder: Folder) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    folder.write(
        source="{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], "
        "slices: 3, distribute: tasks}",
        default_record="{note: only for the record}",
    )
    tasks = {task.task_id: task for task in folder.dag().tasks}
    assert tasks["extract"].is_mapped
    serialized = DagSerialization.to_dict(folder.dag())
    assert json.dumps(serialized, default=str).count("only for the record") == 1
    assert "only for the record" in serialized["dag"]["doc_md"]


@pytest.mark.parametrize(
    ("base_url", "prefix"),
    [("", ""), ("https://airflow.example.org/team-a/", "/team-a")],
    ids=["no base_url", "behind a prefix"],
)
def test_each_task_links_to_its_window(
    folder: Folder,
    run_dag: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    base_url: str,
    prefix: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    folder.write()
    run = run_dag(folder.dag())
    links = {task: xcom(run, task, LINK) for task in TASKS}
    link = f"{prefix}/dags/{folder.pipeline_id}/plugin/windows?window={FIRST}"
    assert links == dict.fromkeys(TASKS, link)


def test_mapped_slices_link_to_their_window(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(
        backlog="wait",
        source="{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id], "
        "slices: 2, distribute: tasks}",
    )
    run = run_dag(folder.dag())
    found = {str(value) for value in xcoms(run, "extract")}
    assert found == {f"/dags/{folder.pipeline_id}/plugin/windows?window={FIRST}"}


def test_a_task_without_a_window_links_to_the_tab(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write()
    run = run_dag(folder.dag(), run_conf={"window_start": "2013-11-03T00:00:00-04:00"})
    assert states(run)["generate_window"] == "failed"
    assert xcom(run, "generate_window", LINK) == f"/dags/{folder.pipeline_id}/plugin/windows"


def test_a_reload_links_to_the_window_of_the_pipeline(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(backlog="wait", granularity="1d")
    run_dag(folder.dag())
    folder.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    maintenance = with_maintenance(folder)
    run = run_dag(folder.dags()[maintenance])
    window = "2013-11-03T04:00:00Z/2013-11-04T05:00:00Z"
    assert xcoms(run, f"reload__{folder.pipeline_id}") == [
        f"/dags/{folder.pipeline_id}/plugin/windows?window={window}"
    ]
    assert xcoms(run, f"recheck__{folder.pipeline_id}") == []


def xcoms(run: Any, task_id: str) -> list[Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(XComModel).where(
        XComModel.dag_id == run.dag_id,
        XComModel.run_id == run.run_id,
        XComModel.task_id == task_id,
        XComModel.key == LINK,
    )
    with create_session() as session:
        return [XComModel.deserialize_value(row) for row in session.scalars(query)]


def test_a_file_that_is_removed_while_it_is_read_is_not_shown(folder: Folder, tmp_path: Path) -> None:
    from airflow_pipeline_provider.config.loader import load_pipeline
    from airflow_pipeline_provider.connectors.registry import options_model
    from airflow_pipeline_provider.factory import build_dag

    config = load_pipeline(folder.write(), options_model=options_model)
    assert "yaml" not in (build_dag(config, tmp_path / "gone.yaml").doc_md or "")
