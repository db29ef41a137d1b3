"""An Airflow home whose pipelines are in every state that the page shows, made by real runs in this process.

SQLite → files → DuckDB, state in a database, and one pipeline with state in Airflow's Variables. Days are near the
clock, except those of `clocks`. `python -m tests.page.world HOME` fills a home whose database is migrated;
`tests/services/page/start.sh` starts an api-server on it.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest

ZONE = "America/New_York"
HOSTILE = "<img src=x onerror=alert(1)> ' OR 1=1; --"
"""A reason that a person gave; each page must show it as text."""

LOADER = """\
from airflow_pipeline_provider.factory import load_maintenance, load_pipelines

load_pipelines(globals(), "pipelines")  # a dag for each file
load_maintenance(globals(), "pipelines")
"""
PLAIN = """\
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("plain", schedule=None):
    EmptyOperator(task_id="nothing")
"""
BROKEN = "pipeline_id: broken\ntimezone: Mars/Phobos\ngranularity: 0m\n"


def environment(home: Path, state_url: str | None = None) -> dict[str, str]:
    """The settings of every process of this home: an api-server only, two users, no scheduler."""
    state = {"conn_type": "sqlite", "host": str(home / "state.db")}
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",  # `store_dags` runs twice within seconds
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_EVENTS_DB": json.dumps({"conn_type": "sqlite", "host": str(home / "events.db")}),
        "AIRFLOW_CONN_PIPELINE_STATE": state_url or json.dumps(state),
        "AIRFLOW_CONN_STATE_DOWN": "postgresql://nobody:nothing@127.0.0.1:1/nowhere",
    }


@dataclass
class World:
    """The pipelines of a home; `now` is the clock of all runs."""

    home: Path
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def __post_init__(self) -> None:
        self.runs: list[str] = []
        for name in ("dags/pipelines", "stage"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        (self.home / "dags" / "pipelines.py").write_text(LOADER)
        (self.home / "dags" / "plain.py").write_text(PLAIN)
        (self.home / "passwords.json").write_text('{"admin": "admin", "viewer": "viewer"}')

    # --- files

    def write(self, pipeline_id: str, **changes: Any) -> Path:
        """Write a pipeline file with a table of its own in the source; a change to None removes the key."""
        values: dict[str, Any] = {
            "pipeline_id": pipeline_id,
            "timezone": ZONE,
            "granularity": "2h",
            "x_time_back": "1d",
            "start_day": self.day(-7),
            "max_backlog_days": None,
            "source": {
                "type": "sql",
                "conn_id": "events_db",
                "table": pipeline_id,
                "time_column": "at",
                "key_columns": ["id"],
            },
            "stage": {"type": "object_store", "path": str(self.home / "stage" / pipeline_id)},
            "target": {
                "type": "duckdb",
                "path": str(self.home / "lake.duckdb"),
                "table": f"main.{pipeline_id}",
            },
            "state": {"type": "sql", "conn_id": "pipeline_state"},
            "audit": {"on_empty": "fail"},
            "airflow": {"tags": ["page", pipeline_id[:1]]},
            **changes,
        }
        path = self.home / "dags" / "pipelines" / f"{pipeline_id}.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}, sort_keys=False))
        self.sql(f"CREATE TABLE IF NOT EXISTS {pipeline_id} (id INTEGER PRIMARY KEY, at TEXT)")
        return path

    def day(self, back: int) -> date:
        """The day so many days from the target day of `x_time_back: 1d`."""
        return self.now.astimezone(ZoneInfo(ZONE)).date() + timedelta(days=back - 1)

    # --- source

    def sql(self, statement: str, *rows: tuple[Any, ...]) -> None:
        with closing(sqlite3.connect(self.home / "events.db")) as connection:
            connection.executemany(statement, rows) if rows else connection.execute(statement)
            connection.commit()

    def put(self, pipeline_id: str, windows: list[Interval], each: int = 3) -> None:
        """So many rows in each of the windows, at equal distances."""
        self.sql(
            f"INSERT INTO {pipeline_id} (at) VALUES (?)",
            *(
                (f"{window.start + n * (window.end - window.start) / each:%Y-%m-%dT%H:%M:%SZ}",)
                for window in windows
                for n in range(each)
            ),
        )

    def delete(self, pipeline_id: str, window: Interval, leave: int) -> None:
        bounds = f"at >= '{window.start:%Y-%m-%dT%H:%M:%SZ}' AND at < '{window.end:%Y-%m-%dT%H:%M:%SZ}'"
        self.sql(
            f"DELETE FROM {pipeline_id} WHERE id IN "
            f"(SELECT id FROM {pipeline_id} WHERE {bounds} ORDER BY id LIMIT -1 OFFSET {leave})"
        )

    # --- runs

    @contextmanager
    def runtime(self, pipeline_id: str) -> Iterator[Runtime]:
        file = self.home / "dags" / "pipelines" / f"{pipeline_id}.yaml"
        config = load_pipeline(file, options_model=options_model)
        with open_runtime(config, installation="page") as runtime:
            yield runtime

    def move(self, runtime: Runtime, window: Interval, *, by: str | None = None) -> None:
        """Run this window as a run with Params would."""
        from airflow_pipeline_provider.phases.run import run_window

        run = f"{runtime.config.pipeline_id}/manual__{len(self.runs):04d}"
        self.runs.append(run)
        run_window(runtime, RunRequest(run, RunKind.WINDOW, self.now, window, by=by))

    def fail(self, runtime: Runtime, window: Interval, times: int) -> None:
        """Run a window without rows, which `audit.on_empty: fail` refuses, and give its lease back as a task does."""
        for _ in range(times):
            with suppress(PipelineError):
                self.move(runtime, window)
            self.release_all(runtime)

    def crash(self, runtime: Runtime, window: Interval, point: str) -> None:
        """Crash at the point; the lease is over by the time anyone looks."""
        from airflow_pipeline_provider.testing.faults import Crash, failing_at

        with suppress(Crash), failing_at(point):
            self.move(runtime, window)
        self.release_all(runtime)

    def release_all(self, runtime: Runtime) -> None:
        for lease in runtime.state.leases():
            runtime.state.release(lease.interval, runtime.owner(lease.owner))


def last_window_waits(day: date | None = None) -> bool:
    """Return whether the last two hours of the day are not ready yet: until 22:00 of the next day.

    By default of the target day.
    """
    now = datetime.now(ZoneInfo(ZONE)).replace(tzinfo=None)
    day = day or now.date() - timedelta(days=1)
    return now < datetime.combine(day + timedelta(days=1), time(22))


def windows_of(runtime: Runtime, day: date) -> list[Interval]:
    return day_plan(runtime.config.rules, day)


# --- the pipelines


def flights(world: World) -> None:
    """Every state of a window, one or two days each, oldest first."""
    from airflow_pipeline_provider.phases.recheck import recheck
    from airflow_pipeline_provider.phases.waive import waive

    world.write("flights")
    with world.runtime("flights") as runtime:
        plan = {back: windows_of(runtime, world.day(back)) for back in range(-7, 1)}
        empty = {plan[-3][4], plan[-3][6]}
        world.put("flights", [w for windows in plan.values() for w in windows if w not in empty])
        left = {plan[-4][2], *empty, plan[-2][9], plan[-2][10], *plan[-1][-3:], *plan[0]}
        for window in (w for windows in plan.values() for w in windows if w not in left):
            world.move(runtime, window)
        for _ in range(2):
            world.move(runtime, plan[-6][3], by="admin")  # replaced twice
        rules = runtime.config.rules
        waive(runtime.state, rules, plan[-4][2], reason=HOSTILE, by="viewer", owner="page/viewer")
        world.fail(runtime, plan[-3][4], 2)
        world.fail(runtime, plan[-3][6], runtime.config.max_attempts)
        world.crash(runtime, plan[-2][5], "load.copied")  # unverified
        world.crash(runtime, plan[-2][10], "extract.read")  # begun, never finished
        world.put("flights", [plan[-5][5]], each=2)  # grew
        world.delete("flights", plan[-5][8], leave=1)  # shrank
        recheck(runtime, 8, world.now)
        runtime.state.acquire(plan[-1][-3], runtime.owner("flights/scheduled__held"), 86_400)


def clocks(world: World) -> None:
    """Days around the 25-hour day, all complete, after `end_day`."""
    world.write("clocks", granularity="1h", start_day=date(2013, 11, 1), end_day=date(2013, 11, 5))
    with world.runtime("clocks") as runtime:
        windows = [w for n in range(1, 6) for w in windows_of(runtime, date(2013, 11, n))]
        world.put("clocks", windows)
        for window in windows:
            world.move(runtime, window)


def changed(world: World) -> None:
    """Windows of 2h, then of 5h, which do not follow the earlier ones."""
    for granularity, days in (("2h", (-3, -2)), ("5h", (-1,))):
        world.write("changed", granularity=granularity, start_day=world.day(-3))
        with world.runtime("changed") as runtime:
            windows = [w for back in days for w in windows_of(runtime, world.day(back))]
            world.put("changed", windows)
            for window in windows:
                world.move(runtime, window)
    with world.runtime("changed") as runtime:
        world.move(runtime, windows_of(runtime, world.day(-2))[1])  # 5h over parts of four commits of 2h


def too_old(world: World) -> None:
    """Days that no run catches up with any more, and days that are ready."""
    world.write("too_old", granularity="1d", max_backlog_days=2)
    with world.runtime("too_old") as runtime:
        windows = [w for back in (-7, -6, -1) for w in windows_of(runtime, world.day(back))]
        world.put("too_old", windows)
        for window in windows:
            world.move(runtime, window)


def by_variable(world: World) -> None:
    world.write("by_variable", granularity="12h", start_day=world.day(-2), state={"type": "variable"})
    with world.runtime("by_variable") as runtime:
        windows = [w for back in (-2, -1) for w in windows_of(runtime, world.day(back))]
        world.put("by_variable", windows)
        for window in windows:
            world.move(runtime, window)


def acted(world: World) -> None:
    """A window for each action of the page: one that shrank, one that is held, one that failed, two missing."""
    from airflow_pipeline_provider.phases.recheck import recheck

    world.write("acted", granularity="12h", start_day=world.day(-4), end_day=world.day(-2))
    with world.runtime("acted") as runtime:
        (shrunk, complete), (held, failed), _ = (
            windows_of(runtime, world.day(back)) for back in (-4, -3, -2)
        )
        world.put("acted", [shrunk, complete])
        for window in (shrunk, complete):
            world.move(runtime, window)
        world.delete("acted", shrunk, leave=1)
        recheck(runtime, 6, world.now)
        world.fail(runtime, failed, 1)
        runtime.state.acquire(held, runtime.owner("acted/scheduled__held"), 86_400)


def moved(world: World) -> None:
    """A complete window and a missing one, for a run that is started from the page; nothing is scheduled."""
    file = world.write(
        "moved",
        granularity="12h",
        start_day=world.day(-3),
        end_day=world.day(-3),
        airflow={"retries": 0},
    )
    file.write_text(file.read_text() + "schedule: null\n")
    with world.runtime("moved") as runtime:
        complete, missing = windows_of(runtime, world.day(-3))
        world.put("moved", [complete, missing])
        world.move(runtime, complete)


def gone(world: World) -> None:
    """A pipeline whose file was removed: only its state is left."""
    file = world.write("gone", granularity="1d", start_day=world.day(-2))
    with world.runtime("gone") as runtime:
        windows = [w for back in (-2, -1) for w in windows_of(runtime, world.day(back))]
        world.put("gone", windows)
        world.move(runtime, windows[0])
    file.unlink()


def removed(world: World) -> None:
    """A pipeline whose file is gone, and one whose file does not load any more; Airflow still knows both DAGs."""
    for name in ("removed", "halted"):
        world.write(name, granularity="1d", start_day=world.day(-2))
        with world.runtime(name) as runtime:
            windows = [w for back in (-2, -1) for w in windows_of(runtime, world.day(back))]
            world.put(name, windows)
            world.move(runtime, windows[0])
    store_dags()
    (world.home / "dags" / "pipelines" / "removed.yaml").unlink()
    (world.home / "dags" / "pipelines" / "halted.yaml").write_text(
        "pipeline_id: halted\nmax_attempts: many\n"
    )


def others(world: World) -> None:
    world.write("never_ran")
    world.write("unreachable", state={"type": "sql", "conn_id": "state_down"})
    (world.home / "dags" / "pipelines" / "broken.yaml").write_text(BROKEN)


def fill(home: Path, *more: Callable[[World], None]) -> World:
    """Make all pipelines and `more` of them, and store their DAGs and some of their runs in Airflow's database."""
    world = World(home)
    for make in (flights, clocks, changed, too_old, by_variable, gone, removed, *more, others):
        make(world)
    store_dags()
    store_runs(world.runs[-10:])
    return world


# --- Airflow's database


def store_dags() -> None:
    """What the DAG processor does with the folder, once: DAGs, import errors, and DAGs whose file is gone."""
    import traceback

    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session
    from sqlalchemy import update

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        for dag in list(bag.dags.values()):
            try:
                LazyDeserializedDAG.from_dag(dag)
            except Exception:  # noqa: BLE001  (a broken pipeline file, which is one import error)
                bag.import_errors[dag.relative_fileloc] = traceback.format_exc(limit=-1)
                del bag.dags[dag.dag_id]
        sync_bag_to_db(bag, bundle.name, None)
        with create_session() as session:
            session.execute(update(DagModel).where(DagModel.dag_id.not_in(bag.dags)).values(is_stale=True))


def store_runs(runs: list[str]) -> None:
    """DAG runs of these names ("dag_id/run_id"); what the ledger says of all other runs is of deleted ones."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    at = datetime.now(timezone.utc)
    with create_session() as session:
        for run in runs:
            dag_id, _, run_id = run.partition("/")
            session.add(
                DagRun(
                    dag_id=dag_id,
                    run_id=run_id,
                    run_type=DagRunType.MANUAL,
                    state=DagRunState.SUCCESS,
                    run_after=at,
                    start_date=at,
                )
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    fill(parser.parse_args().home.resolve(), acted, moved)


if __name__ == "__main__":
    assert os.environ.get("AIRFLOW_HOME"), "start it through tests/services/page/start.sh"
    main()
