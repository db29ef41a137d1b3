"""Provide a DAGs folder with one pipeline on embedded parts: SQLite → files → DuckDB, state in SQLite."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

LOADER = """
from airflow_pipeline_provider.factory import load_pipelines

load_pipelines(globals(), "pipelines")  # a dag for each file
"""

PIPELINE = """
pipeline_id: {pipeline_id}
timezone: America/New_York
granularity: 5h
x_time_back: 1d
start_day: 2013-11-03
end_day: 2013-11-03
max_backlog_days: null
source: {{type: sql, conn_id: events_db, table: events, time_column: at, key_columns: [id]}}
stage: {{type: object_store, path: {folder}/stage/{pipeline_id}}}
target: {{type: duckdb, path: {folder}/lake.duckdb, table: main.{pipeline_id}}}
state: {{type: sql, conn_id: pipeline_state}}
airflow: {{retries: 0}}
"""


@dataclass
class Folder:
    """The DAGs folder of a test, with its pipelines, their source and their target."""

    path: Path
    pipeline_id: str = field(
        default_factory=lambda: f"events_{uuid4().hex[:8]}"
    )  # Airflow keeps every DAG it has parsed

    def write(self, pipeline_id: str | None = None, text: str | None = None, **changes: Any) -> Path:
        """Write a pipeline file, by default with the folder's id; `changes` are top-level keys as YAML text."""
        pipeline_id = pipeline_id or self.pipeline_id
        if text is None:
            text = PIPELINE.format(pipeline_id=pipeline_id, folder=self.path)
            kept = [line for line in text.splitlines() if line.partition(":")[0] not in changes]
            text = "\n".join([*kept, *(f"{key}: {value}" for key, value in changes.items())]) + "\n"
        file = self.path / "dags" / "pipelines" / f"{pipeline_id}.yaml"
        file.write_text(text)
        return file

    def dags(self) -> dict[str, Any]:
        """Return the names that the DAG file defines."""
        spec = importlib.util.spec_from_file_location("pipelines_dag", self.path / "dags" / "pipelines.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        from airflow.sdk import DAG

        return {name: value for name, value in vars(module).items() if isinstance(value, DAG)}

    def dag(self) -> Any:
        """Return the DAG of the folder's pipeline."""
        return self.dags()[self.pipeline_id]

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.path / "events.db") as connection:
            rows = connection.execute(statement, parameters).fetchall()
        connection.close()
        return rows

    def target(self) -> dict[str, str]:
        """Map each loaded key to its event time; fail if a record occurs twice."""
        import duckdb

        with duckdb.connect(str(self.path / "lake.duckdb")) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.execute(
                "SELECT RECORD_ID, strftime(EVENT_TIME AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') "
                f"FROM main.{self.pipeline_id}"
            ).fetchall()
        assert len(dict(rows)) == len(rows), "a record stands twice in the target"
        return dict(rows)

    def source(self, start: str, end: str) -> list[str]:
        """Return the sorted event times of the source's rows in the interval."""
        return sorted(
            row[0] for row in self.sql("SELECT at FROM events WHERE at >= ? AND at < ?", start, end)
        )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    made = Folder(tmp_path)
    (tmp_path / "dags" / "pipelines").mkdir(parents=True)
    (tmp_path / "dags" / "pipelines.py").write_text(LOADER)
    monkeypatch.setenv("AIRFLOW_CONN_EVENTS_DB", f'{{"conn_type": "sqlite", "host": "{tmp_path}/events.db"}}')
    monkeypatch.setenv(
        "AIRFLOW_CONN_PIPELINE_STATE", f'{{"conn_type": "sqlite", "host": "{tmp_path}/state.db"}}'
    )
    made.sql("CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT)")
    moment = datetime(2013, 11, 3)
    with sqlite3.connect(tmp_path / "events.db") as connection:
        while moment < datetime(2013, 11, 5):
            connection.execute("INSERT INTO events (at) VALUES (?)", (f"{moment:%Y-%m-%dT%H:%M:%SZ}",))
            moment += timedelta(minutes=20)
    connection.close()
    return made


@pytest.fixture(scope="session", autouse=True)
def one_api_for_all_tasks() -> None:
    """Keep one execution API, like Airflow 3.3; 3.2 builds one for each task of `dag.test`, which takes seconds."""
    from airflow.sdk.execution_time import supervisor

    if not hasattr(supervisor.in_process_api_server, "cache_info"):
        supervisor.in_process_api_server = cache(supervisor.in_process_api_server)  # type: ignore[assignment]


@pytest.fixture
def run_dag(airflow_db: Path) -> Callable[..., Any]:
    """Return a function that runs one DAG run to its end in this process, like Airflow, and returns the run."""
    return lambda dag, **arguments: run(dag, **arguments)


def sync(dag: Any) -> None:
    """Store the DAG in Airflow's database."""
    import os

    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.devnull, collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def run(dag: Any, **arguments: Any) -> Any:
    sync(dag)
    arguments.setdefault("logical_date", None)
    arguments.setdefault("run_after", datetime.fromisoformat("2013-11-06T12:00:00+00:00"))
    return dag.test(**arguments)


def stored_runs(dag_id: str) -> list[Any]:
    """Return the DAG's runs in Airflow's database, in the order in which they were created."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return list(session.scalars(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id)))
