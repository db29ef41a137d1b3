"""One pipeline in Airflow's database, with a state of its own, for tests that change it or ask about a change."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.web.catalog import forget_catalog
from airflow_pipeline_provider.web.maintenance_dags import forget_maintenance
from airflow_pipeline_provider.web.stores import forget_stores, open_state
from tests.page.conftest import PREFIX, Login
from tests.page.world import World, environment, windows_of

HEADERS = {
    "X-Airflow-Pipelines": "1",
    "Origin": "http://testserver",
    "Sec-Fetch-Site": "same-origin",
}


@dataclass
class Place:
    """A pipeline of twelve-hour windows: two complete, one that shrank, one that failed, the others missing."""

    world: World
    dag_id: str
    maintenance: str
    plan: dict[int, list[Interval]]

    @property
    def complete(self) -> Interval:
        return self.plan[-3][0]

    @property
    def shrunk(self) -> Interval:
        return self.plan[-2][0]

    @property
    def failed(self) -> Interval:
        return self.plan[-2][1]

    @property
    def missing(self) -> list[Interval]:
        return self.plan[-1]

    def url(self, action: str) -> str:
        return f"{PREFIX}/api/pipelines/{self.dag_id}/{action}"

    def state(self) -> State:
        from airflow_pipeline_provider.web.pipelines import find

        found = find(self.dag_id)
        assert found is not None
        return open_state(found.facts)

    def entries(self, window: Interval) -> list[Any]:
        with closing(self.state()) as state:
            return state.entries(window)

    def run(self, window: Interval) -> None:
        with self.world.runtime(self.dag_id) as runtime:
            self.world.move(runtime, window)


def fill(world: World, name: str, **changes: Any) -> dict[int, list[Interval]]:
    world.write(name, granularity="12h", start_day=world.day(-3), end_day=world.day(-1), **changes)
    with world.runtime(name) as runtime:
        plan = {back: windows_of(runtime, world.day(back)) for back in (-3, -2, -1)}
        failed = plan[-2][1]
        world.put(name, [w for windows in plan.values() for w in windows if w != failed])
        for window in (*plan[-3], plan[-2][0]):
            world.move(runtime, window)
        world.fail(runtime, failed, 1)
        world.delete(name, plan[-2][0], leave=1)
        recheck(runtime, 3, world.now)
    return plan


def connect(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Give this process the connections of the home."""
    for key, value in environment(home).items():
        if key.startswith("AIRFLOW_CONN_"):
            patch.setenv(key, value)


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Iterator[Place]:
    connect(tmp_path, monkeypatch)
    from airflow.api.common.delete_dag import delete_dag

    world, name = World(tmp_path), f"p_{uuid4().hex[:8]}"
    plan = fill(world, name, **changes)
    maintenance = f"maintenance_of_{name}"
    store(tmp_path, name, maintenance=maintenance)
    forget_catalog()
    forget_maintenance()
    forget_stores()
    yield Place(world, name, maintenance, plan)
    forget_stores()
    for dag_id in (name, maintenance):  # the tests of other modules list Airflow's DAGs
        delete_dag(dag_id)


def store(home: Path, *names: str, maintenance: str | None = None) -> None:
    """Write the DAGs of these pipeline files to Airflow's database, as the DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    from airflow_pipeline_provider.config.loader import load_pipeline
    from airflow_pipeline_provider.connectors.registry import options_model
    from airflow_pipeline_provider.factory.dag import build_dag
    from airflow_pipeline_provider.factory.maintenance import build_maintenance

    files = [home / "dags" / "pipelines" / f"{name}.yaml" for name in names]
    configs = [load_pipeline(file, options_model=options_model) for file in files]
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.devnull, collect_dags=False)
    for config, file in zip(configs, files, strict=True):
        bag.bag_dag(build_dag(config, file))
    if maintenance is not None:
        bag.bag_dag(build_maintenance(configs, schedule=None, days=3, on_shrink="warn", dag_id=maintenance))
    sync_bag_to_db(bag, "dags-folder", None)


def body_of(*windows: Interval, **more: Any) -> dict[str, Any]:
    return {"windows": [{"start": iso_utc(w.start), "end": iso_utc(w.end)} for w in windows], **more}


def bounds(window: Interval, **more: Any) -> dict[str, Any]:
    return {"start": iso_utc(window.start), "end": iso_utc(window.end), **more}


def post(place: Place, client: Login, action: str, body: Any, role: str = "admin", **headers: Any) -> Any:
    sent = {key: value for key, value in {**HEADERS, **headers}.items() if value is not None}
    return client(role).post(place.url(action), json=body, headers=sent)


def runs_of(dag_id: str) -> list[tuple[str, dict[str, Any], str, str | None]]:
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id)).all()
        return [(row.run_id, row.conf, str(row.run_type), row.triggering_user_name) for row in rows]


def audit_of(dag_id: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    from airflow.models import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(Log).where(Log.dag_id == dag_id).order_by(Log.id)).all()
        return [
            (row.event, row.owner, json.loads(row.extra)) for row in rows if row.event.startswith("pipeline_")
        ]
