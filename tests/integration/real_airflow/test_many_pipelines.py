"""Many small pipelines from two files with `matrix` on one scheduler: each window is moved once, without a warning.

Most move a window in one task, the others in six. Their tasks name a queue and a pool: with Celery, a worker that
does not listen to the queue gets none of them. All runs on embedded parts, so the test needs Airflow alone. It takes
minutes, so only `make reliability-airflow` runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.state.sql import SqlState
from tests.integration.real_airflow.rest import Airflow

pytestmark = pytest.mark.integration

CELERY = os.environ.get("EXECUTOR") == "CeleryExecutor"
DAY = date(2013, 11, 3)
ZONES = ("America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Chatham", "UTC")  # 25 hours, then 24
SINGLE, SIX = 27, 3
WINDOWS = 2  # of 13 hours, in either day
QUEUE = "heavy"
TASKS = ("generate_window", "validate", "extract", "stage", "load", "audit", "drain")
OURS = "airflow_pipeline_provider"

FILE = """
pipeline_id: {name}_{{{{ short }}}}
matrix:
{variants}
timezone: "{{{{ zone }}}}"
granularity: 13h
x_time_back: 1d
start_day: {day}
end_day: {day}
max_backlog_days: null
source: {{type: sql, conn_id: {name}_events, table: "{{{{ short }}}}", time_column: at, key_columns: [id]}}
stage: {{type: object_store, path: "{data}/stage/{{{{ short }}}}"}}
target: {{type: duckdb, path: "{data}/{{{{ short }}}}.duckdb", table: main.events}}
state: {{type: sql, conn_id: "{name}_{{{{ short }}}}_state"}}
airflow:
  layout: {layout}
  retries: 5
  retry_delay: 1s
  tasks: {{{task}: {{queue: "{{{{ queue }}}}", pool: {pool}}}}}
"""
LOADER = '''"""A dag for each variant."""
from airflow_pipeline_provider.factory import load_pipelines

load_pipelines(globals(), "{name}")
'''


class Variant(NamedTuple):
    """A pipeline: its zone, its layout, its queue, and the id of its first row, which no other variant has."""

    short: str
    zone: str
    layout: str
    queue: str
    first_id: int

    @property
    def set_apart(self) -> str:
        """The task with settings of its own: a queue, and of several tasks also the pool."""
        return "move_window" if self.layout == "single_task" else "extract"

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("move_window",) if self.layout == "single_task" else TASKS

    def times(self) -> Iterator[datetime]:
        """Yield the times of the rows: a row every 30 minutes, and a day more on either side."""
        at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=timezone.utc) - timedelta(days=1)
        for number in range(3 * 48):
            yield at + number * timedelta(minutes=30)

    def ids(self) -> list[str]:
        """Return the ids of the rows of the day."""
        zone = ZoneInfo(self.zone)
        numbered = enumerate(self.times(), self.first_id)
        return sorted(str(number) for number, at in numbered if at.astimezone(zone).date() == DAY)


VARIANTS = [
    Variant(
        short=f"p{n:02}",
        zone=ZONES[n % len(ZONES)],
        layout="tasks" if n < SIX else "single_task",
        queue=QUEUE if n < SIX or n % 3 == 0 else "default",
        first_id=1000 * n,
    )
    for n in range(SINGLE + SIX)
]


class Many(NamedTuple):
    """The pipelines in an installation, none of them begun; `sizes` of the components' logs before them."""

    airflow: Airflow
    name: str
    data: Path
    sizes: dict[Path, int]

    def id(self, variant: Variant) -> str:
        return f"{self.name}_{variant.short}"

    def target_ids(self, variant: Variant) -> list[str]:
        import duckdb

        with duckdb.connect(str(self.data / f"{variant.short}.duckdb"), read_only=True) as connection:
            rows = connection.execute("SELECT json_extract_string(BODY, '$.id') FROM main.events").fetchall()
        return sorted(row[0] for row in rows)

    def entries(self, variant: Variant) -> list[Entry]:
        identity = Identity(self.id(variant), variant.zone)
        with closing(SqlState.from_url(f"sqlite:///{self.data}/{variant.short}.db", identity)) as state:
            return state.entries()

    def new_lines(self, pattern: str) -> list[str]:
        """Return the lines that the components whose logs match the pattern have written since the beginning."""
        found = []
        for file, size in self.sizes.items():
            if file.match(pattern):
                with file.open(errors="replace") as log:
                    log.seek(size)
                    found += log.read().splitlines()
        return found

    def log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the structured lines of the task's last try: a busy Airflow may have failed to start others."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        lines = self.airflow.get(path, full_content=True)["content"]
        return [line for line in lines if isinstance(line, dict)]


def component_logs() -> dict[Path, int]:
    """Return the log of each component of the Airflow of tests/services, and its size now."""
    files = Path(os.environ["AIRFLOW_ENV_FILE"]).parent.glob("run/*.log")
    return {file: file.stat().st_size for file in files}


@pytest.fixture
def many(airflow: dict[str, str], tmp_path: Path) -> Iterator[Many]:
    installation, name = Airflow(), f"many{uuid4().hex[:6]}"
    folder = Path(installation.dags_folder) / name
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection, connection:
        for variant in VARIANTS:
            connection.execute(f"CREATE TABLE {variant.short} (id INTEGER PRIMARY KEY, at TEXT)")
            rows = [(n, f"{at:%Y-%m-%dT%H:%M:%SZ}") for n, at in enumerate(variant.times(), variant.first_id)]
            connection.executemany(f"INSERT INTO {variant.short} VALUES (?, ?)", rows)
    installation.connection(f"{name}_events", conn_type="sqlite", host=f"{tmp_path}/events.db")
    for variant in VARIANTS:
        file = f"{tmp_path}/{variant.short}.db"
        installation.connection(f"{name}_{variant.short}_state", conn_type="sqlite", host=file)
    installation.call("POST", "pools", {"name": name, "slots": 1})
    folder.mkdir()
    for layout in ("tasks", "single_task"):
        mine = [variant for variant in VARIANTS if variant.layout == layout]
        text = FILE.format(
            name=name,
            day=DAY,
            data=tmp_path,
            layout=layout,
            task=mine[0].set_apart,
            pool=name if layout == "tasks" else "default_pool",
            variants="\n".join(
                f"  - {{short: {one.short}, zone: {one.zone}, queue: {one.queue}}}" for one in mine
            ),
        )
        (folder / f"{layout}.yaml").write_text(text)
    loader = folder.with_suffix(".py")
    loader.write_text(LOADER.format(name=name))
    with closing(installation):
        yield Many(installation, name, tmp_path, component_logs())
        loader.unlink()
        shutil.rmtree(folder)
        installation.call("DELETE", f"pools/{name}")


def test_many_pipelines_move_each_window_once_and_without_a_warning(many: Many) -> None:
    airflow = many.airflow
    for variant in VARIANTS:
        airflow.unpause(many.id(variant))
    instances: list[dict[str, Any]] = []
    events = []
    for variant in VARIANTS:
        dag_id = many.id(variant)
        runs = airflow.quiet(dag_id, WINDOWS)
        airflow.assert_succeeded(dag_id, runs)
        assert len(runs) == WINDOWS
        assert [run["run_type"] for run in runs].count("scheduled") == 1  # which started the others
        assert many.target_ids(variant) == variant.ids()
        assert [entry.kind for entry in many.entries(variant)].count(Kind.COMMITTED) == WINDOWS
        for run in runs:
            tasks = airflow.tasks(dag_id, run["dag_run_id"])
            states = {name: task["state"] for name, task in tasks.items()}
            if run is runs[-1] and "drain" in states:
                assert states.pop("drain") == "skipped"  # nothing is left to start
            assert set(states.values()) == {"success"}
            assert tasks.keys() == set(variant.tasks)
            for name, task in tasks.items():
                assert task["queue"] == (variant.queue if name == variant.set_apart else "default")
                assert task["pool"] == (many.name if name == "extract" else "default_pool")
            ran = [task for task in tasks.values() if task["try_number"]]  # the last run's drain is skipped
            events += [line for task in ran for line in many.log(dag_id, run["dag_run_id"], task)]
            instances += ran

    # The pool has one slot: no two of its tasks ran side by side.
    pooled = sorted((t["start_date"], t["end_date"]) for t in instances if t["pool"] == many.name)
    assert len(pooled) == WINDOWS * SIX
    assert [end for (_, end), (start, _) in pairwise(pooled) if start < end] == []

    # Only the second worker listens to the queue; both listen to Airflow's default.
    if CELERY:
        lines = {n: "\n".join(many.new_lines(f"worker-{n}.log")) for n in (1, 2)}
        queued = {task["id"] for task in instances if task["queue"] == QUEUE}
        assert {task_id for task_id in queued if task_id in lines[2]} == queued
        assert {task_id for task_id in queued if task_id in lines[1]} == set()
        assert [task["id"] for task in instances if task["id"] in lines[1]], "the first worker ran nothing"

    # What the package logs of work that succeeds needs nobody's attention.
    of_package = [event for event in events if str(event.get("logger", "")).startswith(OURS)]
    assert len(of_package) >= len(instances)
    assert [event for event in of_package if event["level"] not in ("debug", "info")] == []
    loud = re.compile(r"\[(?:warning|error|critical)\b.*" + OURS)
    assert [line for line in many.new_lines("*.log") if loud.search(line) and many.name in line] == []
