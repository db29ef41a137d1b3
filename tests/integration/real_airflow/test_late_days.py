"""A scheduler judges a day in the minute in which it is due, whatever the schedule of the maintenance DAG.

Two pipelines that never run. The day of `early` was due before the DAG was there; that of `soon` becomes due a minute
or two after its file was written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.state.sql import SqlState
from tests.doubles.receiver import Receiver, receiving
from tests.integration.real_airflow.rest import Airflow, wait

pytestmark = pytest.mark.integration

ZONE = "Asia/Kathmandu"
MINUTE = timedelta(minutes=1)
TO_PARSE_AGAIN = timedelta(seconds=50)
PIPELINE = """
pipeline_id: {id}
timezone: {zone}
x_time_back: 0d
granularity: 1d
schedule: null
start_day: {day}
expect: {{day_complete_by: "{due:%H:%M}"}}
source: {{type: sql, conn_id: {id}, table: flights, time_column: at, key_columns: [id]}}
stage: {{type: object_store, path: {data}/stage}}
target: {{type: duckdb, path: {data}/target.duckdb, table: main.flights}}
state: {{type: sql, conn_id: {id}}}
airflow: {{on_late: {{tests.doubles.notifiers.Webhook: {{url: "{url}"}}}}}}
"""
LOADER = """from airflow_pipeline_provider.factory import load_maintenance

load_maintenance(globals(), "{name}", schedule="0 0 1 1 *", dag_id="{name}")
"""


class Late(NamedTuple):
    """An installation, the folder of its pipelines, where their state is, and who receives notices."""

    airflow: Airflow
    folder: Path
    data: Path
    receiver: Receiver

    @property
    def dag_id(self) -> str:
        return f"{self.folder.name}.deadlines"

    def write(self, short: str, due: datetime) -> str:
        """Write a pipeline whose only day that was due is the one before `due`; return its task."""
        pipeline_id = f"{self.folder.name}_{short}"
        self.airflow.connection(pipeline_id, conn_type="sqlite", host=f"{self.data}/{short}.db")
        day = due.date() - timedelta(days=1)
        text = PIPELINE.format(
            id=pipeline_id, zone=ZONE, day=day, due=due, data=self.data, url=self.receiver.url
        )
        (self.folder / f"{short}.yaml").write_text(text)
        return f"expectations__{pipeline_id}"

    def missed(self, short: str) -> list[str]:
        """The first instants of the days that the ledger calls late."""
        identity = Identity(f"{self.folder.name}_{short}", ZONE)
        with closing(SqlState.from_url(f"sqlite:///{self.data}/{short}.db", identity)) as state:
            entries = [entry for entry in state.entries() if entry.kind is Kind.MISSED]
        return [entry.interval.start.astimezone(ZoneInfo(ZONE)).isoformat() for entry in entries]


@pytest.fixture
def late(airflow: dict[str, str], tmp_path: Path) -> Iterator[Late]:
    with closing(Airflow()) as installation, receiving() as receiver:
        folder = Path(installation.dags_folder) / f"late{uuid4().hex[:6]}"
        folder.mkdir()
        folder.with_suffix(".py").write_text(LOADER.format(name=folder.name))
        yield Late(installation, folder, tmp_path, receiver)
        folder.with_suffix(".py").unlink()
        shutil.rmtree(folder)


def test_a_day_is_judged_when_it_is_due(late: Late) -> None:
    airflow, dag_id = late.airflow, late.dag_id
    past = datetime.now(ZoneInfo(ZONE)).replace(second=0, microsecond=0) - 5 * MINUTE
    early = late.write("early", past)
    airflow.unpause(dag_id)
    (first,) = airflow.quiet(dag_id, 1)
    airflow.assert_succeeded(dag_id, [first])
    assert datetime.fromisoformat(first["run_after"]) == past
    assert airflow.xcom(dag_id, first["dag_run_id"], early) == [sentence(past)]

    due = (datetime.now(ZoneInfo(ZONE)) + TO_PARSE_AGAIN + MINUTE).replace(second=0, microsecond=0)
    soon = late.write("soon", due)
    wait(lambda: len(airflow.runs(dag_id)) > 1, f"a run at {due}", 300)
    began = datetime.fromisoformat(airflow.runs(dag_id)[-1]["start_date"])
    assert due <= began, "judged before the day was due"
    assert began < due + MINUTE, "judged a minute late"
    runs = airflow.quiet(dag_id, 2)
    airflow.assert_succeeded(dag_id, runs)
    states = airflow.states(dag_id, runs[1]["dag_run_id"])
    assert states == {"choose_due": "success", early: "skipped", soon: "success"}
    assert datetime.fromisoformat(runs[1]["run_after"]) == due
    assert airflow.xcom(dag_id, runs[1]["dag_run_id"], soon) == [sentence(due)]

    for short, at in (("early", past), ("soon", due)):
        midnight = at.replace(hour=0, minute=0) - timedelta(days=1)
        assert late.missed(short) == [midnight.isoformat()]
    notices = late.receiver.texts("late")
    assert [sentence(at) in text for at, text in zip((past, due), notices, strict=True)] == [True, True]
    assert airflow.runs(late.folder.name) == [], "the maintenance DAG has not run"


def sentence(due: datetime) -> str:
    return (
        f"{due.date() - timedelta(days=1)} is late: it was due to be complete by {due:%Y-%m-%d %H:%M} +0545"
    )
