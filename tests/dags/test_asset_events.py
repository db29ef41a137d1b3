"""Asset events for DAGs downstream: a window was committed, a day is complete."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import count, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import Folder, sync
from .test_generated_dag import states

HALF_DAYS = {"granularity": "13h", "backlog": "wait"}  # two windows of the 25 hours
DAY = {"day": "2013-11-03", "start": "2013-11-03T04:00:00Z", "end": "2013-11-04T05:00:00Z"}
FIRST = {"day": "2013-11-03", "start": "2013-11-03T04:00:00Z", "end": "2013-11-03T17:00:00Z"}
SECOND = {"day": "2013-11-03", "start": "2013-11-03T17:00:00Z", "end": "2013-11-04T05:00:00Z"}


def events(folder: Folder, asset: str) -> list[dict[str, Any]]:
    """Return `extra` of the asset's events, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    name = f"{folder.pipeline_id}.{asset}"
    query = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    query = query.where(AssetModel.name == name, AssetModel.uri == name).order_by(AssetEvent.id)
    with create_session() as session:
        found = [dict(event.extra) for event in session.scalars(query)]
    assert all(extra.pop("pipeline") == folder.pipeline_id for extra in found)
    return found


@pytest.mark.usefixtures("airflow_db")
def test_both_assets_exist_before_their_first_event(folder: Folder) -> None:
    """Otherwise Airflow creates an asset at its first event, and one of two concurrent first events fails its run."""
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    folder.write()
    sync(folder.dag())
    names = {f"{folder.pipeline_id}.windows", f"{folder.pipeline_id}.days"}
    with create_session() as session:
        known = session.scalars(select(AssetModel).where(AssetModel.name.in_(names))).all()
        assert {asset.name for asset in known} == names
        assert all(asset.active for asset in known)
    assert events(folder, "windows") == []


def test_each_commit_sends_an_event_and_a_complete_day_another(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(**HALF_DAYS)
    dag = folder.dag()
    run_dag(dag)
    assert events(folder, "windows") == [{**FIRST, "rows": 39, "token": 1}]
    assert events(folder, "days") == []
    run_dag(dag)
    assert events(folder, "windows")[1:] == [{**SECOND, "rows": 36, "token": 2}]
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 2}]


def test_an_event_holds_how_the_documents_changed(folder: Folder, run_dag: Callable[..., Any]) -> None:
    folder.write(**HALF_DAYS, contract={})
    dag = folder.dag()
    run_dag(dag)
    folder.sql("ALTER TABLE events ADD COLUMN gate TEXT")
    run_dag(dag)
    assert events(folder, "windows") == [
        {**FIRST, "rows": 39, "token": 1},
        {**SECOND, "rows": 36, "token": 2, "schema_changes": ["1 new field: gate"]},
    ]
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 2}]


WHOLE = {"window_start": "2013-11-03T00:00:00-04:00", "window_end": "2013-11-04T00:00:00-05:00"}
EARLY = {"window_start": "2013-11-03T00:00:00-04:00", "window_end": "2013-11-03T12:00:00-05:00"}
LATE = {"window_start": "2013-11-03T12:00:00-05:00", "window_end": "2013-11-04T00:00:00-05:00"}


@pytest.fixture
def run_dated(run_dag: Callable[..., Any]) -> Callable[..., Any]:
    """Run DAG runs with unique logical dates, because `dag.test` deletes a run with the same date.

    `dag.test` also keeps the Params of a run in the DAG, so each run needs its own DAG object.
    """
    numbers = count(1)

    def run(dag: Any, **arguments: Any) -> Any:
        due = datetime(2013, 12, next(numbers), tzinfo=timezone.utc)
        return run_dag(dag, **{"logical_date": due, "run_after": due, **arguments})

    return run


def test_a_replaced_window_completes_its_day_again(folder: Folder, run_dated: Callable[..., Any]) -> None:
    folder.write(**{**HALF_DAYS, "granularity": "1d"})
    run_dated(folder.dag())
    folder.sql("INSERT INTO events (at) VALUES ('2013-11-03T05:00:30Z')")
    run_dated(folder.dag(), run_conf=WHOLE)
    run_dated(folder.dag())
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 1}, {**DAY, "rows": 76, "token": 2}]


def test_a_window_followed_by_other_runs_leaves_the_event_to_them(
    folder: Folder, run_dated: Callable[..., Any]
) -> None:
    """In a backfill, the logical date of a run is the start of its window."""
    folder.write(**HALF_DAYS)
    run_dated(folder.dag())
    run_dated(folder.dag())
    first = [{**DAY, "rows": 75, "token": 2}]
    assert events(folder, "days") == first
    queued(folder.dag(), SECOND["start"])
    run_dated(folder.dag(), run_conf=EARLY)
    assert events(folder, "days") == first
    run_dated(folder.dag(), run_conf=LATE, logical_date=datetime.fromisoformat(SECOND["start"]))
    assert events(folder, "days") == [*first, {**DAY, "rows": 75, "token": 4}]


@pytest.mark.parametrize("by", ["a run without a window", "maintenance"])
def test_the_event_left_to_a_failed_run_is_sent_by(
    folder: Folder, run_dated: Callable[..., Any], by: str
) -> None:
    folder.write(**HALF_DAYS)
    run_dated(folder.dag())
    run_dated(folder.dag())
    following = queued(folder.dag(), SECOND["start"])
    run_dated(folder.dag(), run_conf=EARLY)
    run_dated(folder.dag())
    assert len(events(folder, "days")) == 1
    end(following, "failed")
    run_dated(folder.dag() if by != "maintenance" else maintenance(folder))
    assert events(folder, "days")[1:] == [{**DAY, "rows": 75, "token": 3}]
    run_dated(folder.dag())
    assert len(events(folder, "days")) == 2


def test_the_next_run_sends_the_event_of_an_audit_that_failed_after_its_commit(
    folder: Folder, run_dated: Callable[..., Any]
) -> None:
    folder.write(**{**HALF_DAYS, "granularity": "1d"})
    dag = folder.dag()

    def crash(context: Any, result: Any) -> None:
        raise RuntimeError("the worker crashed")

    dag.get_task("audit")._post_execute_hook = crash
    assert states(run_dated(dag))["audit"] == "failed"
    assert events(folder, "days") == []
    run_dated(folder.dag())
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 1}]
    run_dated(folder.dag())
    assert len(events(folder, "days")) == 1


def queued(dag: Any, logical_date: str) -> int:
    """Create a queued run and return its key in the database."""
    from airflow.api.client.local_client import Client
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    run_id = f"waits_{logical_date}"
    Client().trigger_dag(dag.dag_id, run_id=run_id, logical_date=datetime.fromisoformat(logical_date))
    with create_session() as session:
        found = session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == run_id))
        return int(found.one().id)


def end(run: int, state: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.id == run).values(state=state))


def maintenance(folder: Folder) -> Any:
    from airflow_pipeline_provider.config.loader import load_pipeline
    from airflow_pipeline_provider.connectors.registry import options_model
    from airflow_pipeline_provider.factory.maintenance import build_maintenance

    file = folder.path / "dags" / "pipelines" / f"{folder.pipeline_id}.yaml"
    config = load_pipeline(file, options_model=options_model)
    dag_id = f"{folder.pipeline_id}_maintenance"
    return build_maintenance([config], schedule=None, days=1, on_shrink="fail", dag_id=dag_id)


def test_an_audit_that_crashes_after_its_commit_sends_the_event_on_retry(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(**{**HALF_DAYS, "granularity": "1d", "airflow": "{retries: 1}"})
    dag = folder.dag()
    audit = dag.get_task("audit")
    audit.retry_delay = timedelta(0)
    seen = []

    def crash_once(context: Any, result: Any) -> None:
        seen.append([events(folder, "windows"), events(folder, "days")])
        if len(seen) == 1:
            raise RuntimeError("the worker crashed")

    audit._post_execute_hook = crash_once
    assert states(run_dag(dag))["audit"] == "success"
    assert seen == [[[], []], [[], []]]
    assert events(folder, "windows") == [{**DAY, "rows": 75, "token": 1}]
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 1}]


def test_the_documented_example_is_started_by_a_complete_day(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "downstream.md").read_text()
    example = page.partition("```python")[2].partition("```")[0]
    assert 'Asset("flights.days")' in example
    module = load_downstream(folder, example)
    folder.write(**{**HALF_DAYS, "granularity": "1d"})
    assert waiting(module.dag.dag_id) == 0
    run_dag(folder.dag())
    assert waiting(module.dag.dag_id) == 1


def load_downstream(folder: Folder, text: str) -> ModuleType:
    """Load a documented DAG file that waits for `flights`, for the folder's pipeline, and unpause its DAG."""
    file = folder.path / "dags" / "downstream.py"
    file.write_text(text.replace("flights", folder.pipeline_id))
    spec = importlib.util.spec_from_file_location("downstream", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sync(module.dag)
    unpause(module.dag.dag_id)
    return module


def unpause(dag_id: str) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagModel).where(DagModel.dag_id == dag_id).values(is_paused=False))


def waiting(dag_id: str) -> int:
    """Count the assets that have an event for the DAG's next run."""
    from airflow.models.asset import AssetDagRunQueue
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    query = select(func.count()).where(AssetDagRunQueue.target_dag_id == dag_id)
    with create_session() as session:
        return session.scalar(query) or 0


def test_a_custom_dag_sends_the_events_too(folder: Folder, run_dag: Callable[..., Any]) -> None:
    """While the DAG is parsed, the operator has only a path, and the file may have any name."""
    from airflow.sdk import DAG

    from airflow_pipeline_provider import operators

    file = folder.write(**{**HALF_DAYS, "granularity": "1d"})
    own = str(file.rename(file.with_name("renamed.yaml")))
    with DAG(f"{folder.pipeline_id}_own", schedule=None, default_args={"pipeline": own}) as dag:
        first = operators.GenerateWindowOperator(task_id="generate_window")
        names = ("ValidateWindow", "Extract", "Stage", "Load", "Audit")
        tasks = [
            getattr(operators, f"{name}Operator")(task_id=task_id)
            for name, task_id in zip(names, ("validate", "extract", "stage", "load", "audit"), strict=True)
        ]
        first >> tasks
        for upstream, downstream in pairwise(tasks):
            upstream >> downstream
        tasks[0] >> tasks[-1]
    assert str(run_dag(dag).state) == "success"
    assert events(folder, "days") == [{**DAY, "rows": 75, "token": 1}]
