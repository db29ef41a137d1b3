"""The example DAGs in the package load, run, and start the DAGs that wait for them."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import airflow_pipeline_provider
from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model

from .conftest import run, sync
from .test_asset_events import unpause
from .test_partition_events import api_server_gives_keys as api_server_gives_keys
from .test_partition_events import waiting

EXAMPLES = Path(airflow_pipeline_provider.__file__).parent / "example_dags"
DAGS = {
    "example_pipelines": {"example_flights", "example_orders"},
    "example_maintenance": {"example_maintenance", "example_flights.shrinkage"},
    "example_by_hand": {"example_by_hand"},
    "example_own_tasks": {"example_checked_orders"},
    "example_partitioned_consumer": {"example_orders_daily", "example_orders_and_flights_daily"},
}
NEW_YEAR = datetime(2026, 1, 1, 5, tzinfo=timezone.utc)  # midnight in New York


@pytest.fixture(autouse=True)
def files_of_functions_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PIPELINES__ALLOWED_MODULES", "./")


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the examples into a DAGs folder, with the connections and the data of those on embedded parts."""
    folder = tmp_path / "dags"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PIPELINES_DATA", str(tmp_path))
    for name in ("orders_db", "pipeline_state"):
        path = tmp_path / f"{name}.db"
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", f'{{"conn_type": "sqlite", "host": "{path}"}}')
    with sqlite3.connect(tmp_path / "orders_db.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, ordered_at TEXT)")
        for hour in range(24):
            at = NEW_YEAR + timedelta(hours=hour)
            connection.execute("INSERT INTO orders (ordered_at) VALUES (?)", (f"{at:%Y-%m-%dT%H:%M:%SZ}",))
    connection.close()
    return folder


def load(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dags(folder: Path, name: str) -> dict[str, Any]:
    from airflow.sdk import DAG

    return {dag.dag_id: dag for dag in vars(load(folder, name)).values() if isinstance(dag, DAG)}


def rows(path: Path, table: str) -> int:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        found = connection.execute(f"SELECT count(DISTINCT RECORD_ID), count(*) FROM {table}").fetchall()
    assert found[0][0] == found[0][1]
    return int(found[0][1])


def test_each_dag_file_is_listed_here() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} - {"__init__"} == set(DAGS)


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("name", DAGS)
def test_an_example_is_serialized(examples: Path, name: str) -> None:
    found = dags(examples, name)
    assert set(found) == DAGS[name]
    for dag in found.values():
        sync(dag)


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda file: file.name)
def test_a_pipeline_file_has_the_id_of_its_name(file: Path) -> None:
    assert load_pipeline(file, options_model=options_model).pipeline_id == file.stem


def test_the_orders_of_a_day_start_the_partitioned_dag(examples: Path, airflow_db: Path) -> None:
    consumers = dags(examples, "example_partitioned_consumer")
    for dag in consumers.values():
        sync(dag)
        unpause(dag.dag_id)
    for number in range(1, 5):
        assert waiting("example_orders_daily") == set()
        due = NEW_YEAR + timedelta(days=2, hours=number)
        dag = dags(examples, "example_pipelines")["example_orders"]
        assert str(run(dag, logical_date=due, run_after=due).state) == "success"
    assert rows(examples.parent / "warehouse.duckdb", "main.orders") == 24
    assert waiting("example_orders_daily") == {"2026-01-01"}


def test_the_dag_by_hand_moves_a_day(examples: Path, run_dag: Callable[..., Any]) -> None:
    """Its audit learns the pipeline's id when it runs, and yet starts a DAG that waits for the day."""
    from airflow.sdk import DAG, Asset, PartitionedAssetTimetable

    days = PartitionedAssetTimetable(assets=Asset("example_order_days.day_partitions"))
    consumer = DAG("example_order_days_consumer", schedule=days)
    sync(consumer)
    unpause(consumer.dag_id)
    dag = dags(examples, "example_by_hand")["example_by_hand"]
    done = run_dag(dag, run_after=NEW_YEAR + timedelta(days=1, hours=3))
    tasks = ["generate_window", "validate", "extract", "stage", "load", "audit", "report"]
    assert {ti.task_id: str(ti.state) for ti in done.get_task_instances()} == dict.fromkeys(tasks, "success")
    assert rows(examples.parent / "order_days.duckdb", "main.order_days") == 24
    assert waiting(consumer.dag_id) == {"2026-01-01"}


def test_own_tasks_check_each_window_and_build_the_day(examples: Path, airflow_db: Path) -> None:
    for number in (1, 2):
        due = NEW_YEAR + timedelta(days=2, hours=number)
        done = run(
            dags(examples, "example_own_tasks")["example_checked_orders"], logical_date=due, run_after=due
        )
        found = {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
        assert (found["after_load"], found["audit"]) == ("success", "success")
        assert found["after_day"] == ("success" if number == 2 else "skipped")
    assert rows(examples.parent / "checked_orders.duckdb", "main.orders") == 24
