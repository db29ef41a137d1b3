"""DAGs that wait for a day by its partition key run once for it, over both clock changes, under a real scheduler.

The pipelines run on embedded parts, so the test needs Airflow alone. Airflow 3.2 cannot wait for all windows of a
day: there the DAG file that asks for it has an import error, and the others run.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

import airflow_pipeline_provider
from tests.integration.real_airflow.lake import whole
from tests.integration.real_airflow.rest import Airflow, wait

pytestmark = pytest.mark.integration

# two windows of the 25 hours, two of the 23
DAYS = {"long": (date(2013, 11, 3), "13h", 2), "short": (date(2013, 3, 10), "12h", 2)}
EVERY = timedelta(minutes=30)  # a row

PIPELINE = """
pipeline_id: {id}
timezone: America/New_York
granularity: {granularity}
x_time_back: 1d
start_day: {day}
end_day: {day}
max_backlog_days: null
source: {{type: sql, conn_id: {name}_events, table: events, time_column: at, key_columns: [id]}}
stage: {{type: object_store, path: {data}/stage/{id}}}
target: {{type: duckdb, path: {data}/{id}.duckdb, table: main.events}}
state: {{type: sql, conn_id: {name}_{short}_state}}
airflow: {{retries: 5, retry_delay: 1s}}
"""

LOADER = '''"""A dag for each pipeline."""
from airflow_pipeline_provider import load_pipelines

load_pipelines(globals(), "{name}")
'''

OF_WINDOWS = '''"""A dag for each pipeline that waits for all windows of a day."""
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable

from airflow_pipeline_provider import WholeDayMapper

for pipeline_id, granularity in {pipelines}.items():
    asset = Asset(f"{{pipeline_id}}.window_partitions")
    mapper = WholeDayMapper(timezone="America/New_York", granularity=granularity)
    timetable = PartitionedAssetTimetable(assets=asset, default_partition_mapper=mapper)
    with DAG(f"{{pipeline_id}}_of_windows", schedule=timetable):
        EmptyOperator(task_id="report")
'''
EXAMPLE = Path(airflow_pipeline_provider.__file__).parent / "example_dags" / "example_partitioned_consumer.py"


class Downstream(NamedTuple):
    """An installation with the pipelines, by short name, and their consumers, none of them begun."""

    airflow: Airflow
    name: str
    ids: dict[str, str]
    rolls_up: bool

    def of_days(self, short: str) -> str:
        return f"{self.ids[short]}_daily"

    def of_both(self, short: str) -> str:
        """Waits for a day that is complete in both pipelines."""
        return f"{self.ids[short]}_and_flights_daily"

    def of_windows(self, short: str) -> list[str]:
        return [f"{self.ids[short]}_of_windows"] if self.rolls_up else []

    def runs(self, dag_id: str) -> list[tuple[Any, str]]:
        return [(run["partition_key"], run["state"]) for run in self.airflow.runs(dag_id)]


@pytest.fixture
def downstream(airflow: dict[str, str], tmp_path: Path) -> Iterator[Downstream]:
    installation, name = Airflow(), f"keyed{uuid4().hex[:6]}"
    folder = Path(installation.dags_folder) / name
    ids = {short: f"{name}_{short}" for short in DAYS}
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT)")
        for day, _, _ in DAYS.values():
            at, end = whole(day, day)
            while at < end:
                connection.execute("INSERT INTO events (at) VALUES (?)", (f"{at:%Y-%m-%dT%H:%M:%SZ}",))
                at += EVERY
    connection.close()
    for conn, file in [("events", "events"), *((f"{short}_state", short) for short in DAYS)]:
        installation.connection(f"{name}_{conn}", conn_type="sqlite", host=f"{tmp_path}/{file}.db")
    folder.mkdir()
    for short, (day, granularity, _) in DAYS.items():
        text = PIPELINE.format(
            id=ids[short], granularity=granularity, day=day, name=name, short=short, data=tmp_path
        )
        (folder / f"{short}.yaml").write_text(text)
    pipelines = {ids[short]: granularity for short, (_, granularity, _) in DAYS.items()}
    loader = folder.with_suffix(".py")
    loader.write_text(LOADER.format(name=name))
    folder.with_name(f"{name}_of_windows.py").write_text(OF_WINDOWS.format(pipelines=pipelines))
    for orders, flights in (("long", "short"), ("short", "long")):
        text = EXAMPLE.read_text().replace("example_orders", ids[orders])
        consumer = folder.with_name(f"{name}_{orders}.py")
        consumer.write_text(text.replace("example_flights", ids[flights]))
    with closing(installation):
        version = tuple(map(int, installation.get("version")["version"].split(".")[:2]))
        yield Downstream(installation, name, ids, rolls_up=version >= (3, 3))
    for file in folder.parent.glob(f"{name}*.py"):
        file.unlink()
    shutil.rmtree(folder)


def test_a_dag_downstream_runs_once_for_each_day(downstream: Downstream) -> None:
    airflow, ids = downstream.airflow, downstream.ids
    if not downstream.rolls_up:
        errors = wait(
            lambda: airflow.import_errors(downstream.name), "the DAG file that Airflow 3.2 cannot load"
        )
        ((file, error),) = errors.items()
        assert file.endswith(f"{downstream.name}_of_windows.py")
        assert "WholeDayMapper needs Airflow 3.3" in error
        assert "use the asset <pipeline_id>.day_partitions" in error
    for short in DAYS:
        of_days, of_both = downstream.of_days(short), downstream.of_both(short)
        for dag_id in (of_days, of_both, *downstream.of_windows(short)):
            airflow.unpause(dag_id)
    for dag_id in ids.values():  # after the DAGs downstream: Airflow keeps no event for a paused DAG
        airflow.unpause(dag_id)
    for short, (day, _, windows) in DAYS.items():
        airflow.assert_succeeded(ids[short], airflow.quiet(ids[short], windows))
        for dag_id in (downstream.of_days(short), *downstream.of_windows(short)):
            airflow.quiet(dag_id, 1)
            assert downstream.runs(dag_id) == [(day.isoformat(), "success")]

    # A replaced window: the day is complete again, while its other window was not sent again.
    day, granularity, windows = DAYS["long"]
    start, day_end = whole(day, day)
    end = start + timedelta(hours=int(granularity.removesuffix("h")))
    airflow.trigger(ids["long"], {"window_start": start.isoformat(), "window_end": end.isoformat()})
    airflow.assert_succeeded(ids["long"], airflow.quiet(ids["long"], windows + 1))
    of_days = downstream.of_days("long")
    runs = airflow.quiet(of_days, 2)
    assert downstream.runs(of_days) == [(day.isoformat(), "success")] * 2
    rows = (day_end - start) // EVERY
    assert [airflow.xcom(of_days, run["dag_run_id"], "summarize") for run in runs] == [
        {"day": day.isoformat(), "rows": rows, "token": token} for token in (windows, windows + 1)
    ]
    for dag_id in downstream.of_windows("long"):
        assert downstream.runs(dag_id) == [(day.isoformat(), "success")]
    assert [downstream.runs(downstream.of_both(short)) for short in DAYS] == [[], []]
    assert bool(airflow.import_errors(downstream.name)) != downstream.rolls_up
