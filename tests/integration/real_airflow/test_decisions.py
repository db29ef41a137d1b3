"""Own tasks, notices, expectations, partition keys, single tasks and forms under a real scheduler.

One story of three pipelines with embedded sources and targets. `gated` has own tasks, whose gate is closed at first.
`accepted` and `kept` move a whole past day in one task; the source then loses a row of each, and what becomes of it
is decided in Airflow's form, through its REST API.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.state.about import Act
from airflow_pipeline_provider.state.sql import SqlState
from tests.doubles.receiver import Receiver, receiving
from tests.integration.real_airflow.lake import Span, whole
from tests.integration.real_airflow.rest import Airflow, wait
from tests.integration.real_airflow.stories import THE_LONG_DAY
from tests.integration.real_airflow.test_partitions import EXAMPLE

pytestmark = pytest.mark.integration

DAY = THE_LONG_DAY[0]
EVERY = timedelta(minutes=30)  # a row
WEBHOOK = "tests.doubles.notifiers.Webhook"
PLACES = ("before_extract", "after_load", "after_commit", "after_day")

PIPELINE = """
pipeline_id: {id}
timezone: America/New_York
x_time_back: 1d
start_day: {day}
end_day: {day}
max_backlog_days: null
source: {{type: sql, conn_id: {name}_events, table: {short}, time_column: at, key_columns: [id]}}
stage: {{type: object_store, path: {data}/stage/{id}}}
target: {{type: duckdb, path: {data}/{id}.duckdb, table: main.events}}
state: {{type: sql, conn_id: {name}_{short}_state}}
"""
NOTICES = "on_failure: {to}, on_late: {to}, on_drift: {to}"
SETTINGS = {
    "gated": "granularity: 1d\nexpect: {{day_complete_by: '09:00'}}\nairflow: {{retries: 0, "
    + NOTICES
    + "}}\nown_tasks: {{"
    + ", ".join(f"{place}: ./own.py:note" for place in PLACES)
    + "}}\n",
    **dict.fromkeys(
        ("accepted", "kept"),
        "granularity: 1h\nbacklog_granularity: 1d\nschedule: null\nairflow: {{layout: single_task, retries: 1, "
        + NOTICES
        + ", decide_shrinkage: {{}}}}\n",
    ),
}
OWN = '''"""A function for each place of the pipeline `gated`."""
import json
from pathlib import Path

DATA = Path({data!r})


def note(window):
    with (DATA / "calls.jsonl").open("a") as file:
        file.write(json.dumps([window.place, str(window.day), window.target_rows]) + "\\n")
    if window.place == "after_load" and not (DATA / "gate_is_open").exists():
        raise ValueError("the gate is closed")
'''
LOADER = '''"""A dag for each pipeline, the forms, and the maintenance."""
from airflow_pipeline_provider.factory import load_maintenance, load_pipelines

load_pipelines(globals(), "{name}")
load_maintenance(globals(), "{name}", schedule=None, dag_id="{name}_maintenance")
'''


class Three(NamedTuple):
    """The pipelines by short name in an installation, and who receives their notices."""

    airflow: Airflow
    name: str
    data: Path
    receiver: Receiver

    def id(self, short: str) -> str:
        return f"{self.name}_{short}"

    def source(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.data / "events.db") as connection:
            rows = connection.execute(sql).fetchall()
        connection.close()
        return rows

    def ids(self, short: str) -> list[str]:
        return sorted(str(row[0]) for row in self.source(f"SELECT id FROM {short}"))

    def target_ids(self, short: str) -> list[str]:
        import duckdb

        with duckdb.connect(str(self.data / f"{self.id(short)}.duckdb"), read_only=True) as connection:
            rows = connection.execute("SELECT json_extract_string(BODY, '$.id') FROM main.events").fetchall()
        return sorted(row[0] for row in rows)

    def ledger(self, short: str) -> tuple[list[Entry], tuple[Act, ...]]:
        identity = Identity(self.id(short), "America/New_York")
        url = f"sqlite:///{self.data}/{short}.db"
        with closing(SqlState.from_url(url, identity)) as state:
            return state.entries(), state.about().acts

    def calls(self) -> list[Any]:
        file = self.data / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def notices(self, kind: str) -> list[str]:
        """The first lines of the notices of this kind, sorted."""
        return sorted(text.splitlines()[0] for text in self.receiver.texts(kind))

    def form(self, short: str) -> tuple[str, dict[str, Any]]:
        """Wait for the form of the pipeline; return its run and what it shows."""
        dag_id = f"{self.id(short)}.shrinkage"

        def waiting() -> tuple[str, dict[str, Any]] | None:
            for run in self.airflow.runs(dag_id):
                state = self.airflow.states(dag_id, run["dag_run_id"]).get("decide")
                if state in ("awaiting_input", "deferred"):
                    path = f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances/decide/-1/hitlDetails"
                    return run["dag_run_id"], self.airflow.get(path)
            return None

        return wait(waiting, f"the form of {dag_id}")

    def answer(self, short: str, run_id: str, choice: str, **params: Any) -> None:
        path = f"dags/{self.id(short)}.shrinkage/dagRuns/{run_id}/taskInstances/decide/-1/hitlDetails"
        self.airflow.call("PATCH", path, {"chosen_options": [choice], "params_input": params})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def three(airflow: dict[str, str], tmp_path: Path, receiver: Receiver) -> Iterator[Three]:
    installation, name = Airflow(), f"decide{uuid4().hex[:6]}"
    folder = Path(installation.dags_folder) / name
    folder.mkdir()
    found = Three(installation, name, tmp_path, receiver)
    span: Span = whole(DAY, DAY)
    installation.connection(f"{name}_events", conn_type="sqlite", host=f"{tmp_path}/events.db")
    for short, settings in SETTINGS.items():
        found.source(f"CREATE TABLE {short} (id INTEGER PRIMARY KEY, at TEXT)")
        at = span[0]
        while at < span[1]:
            found.source(f"INSERT INTO {short} (at) VALUES ('{at:%Y-%m-%dT%H:%M:%SZ}')")
            at += EVERY
        installation.connection(f"{name}_{short}_state", conn_type="sqlite", host=f"{tmp_path}/{short}.db")
        to = json.dumps({WEBHOOK: {"url": receiver.url}})
        text = (PIPELINE + settings).format(
            id=found.id(short), name=name, short=short, day=DAY, data=tmp_path, to=to
        )
        (folder / f"{short}.yaml").write_text(text)
    (folder / "own.py").write_text(OWN.format(data=str(tmp_path)))
    folder.with_suffix(".py").write_text(LOADER.format(name=name))
    example = EXAMPLE.read_text().replace("example_orders", found.id("gated"))
    folder.with_name(f"{name}_daily.py").write_text(example.replace("example_flights", found.id("kept")))
    with closing(installation):
        yield found
    for file in folder.parent.glob(f"{name}*.py"):
        file.unlink()
    shutil.rmtree(folder)


def test_gates_notices_and_forms_under_a_scheduler(three: Three) -> None:
    airflow, name = three.airflow, three.name
    gated, maintenance = three.id("gated"), f"{name}_maintenance"
    for dag_id in (f"{gated}_daily", *map(three.id, SETTINGS), maintenance):
        airflow.unpause(dag_id)  # the DAG downstream first: Airflow keeps no event for a paused DAG
    for short in ("accepted", "kept"):
        airflow.trigger(three.id(short))

    # A past day of 25 hours is moved by one task; the gate holds the commit of the other pipeline.
    (held,) = airflow.quiet(gated, 1)
    states = airflow.states(gated, held["dag_run_id"])
    assert (held["state"], states["load"], states["after_load"]) == ("failed", "success", "failed")
    assert three.calls() == [["before_extract", str(DAY), None], ["after_load", str(DAY), 50]]
    for short in ("accepted", "kept"):
        (run,) = airflow.quiet(three.id(short), 1)
        airflow.assert_succeeded(three.id(short), [run])
        assert list(airflow.states(three.id(short), run["dag_run_id"])) == ["move_window"]
        assert three.target_ids(short) == three.ids(short)
        three.source(f"DELETE FROM {short} WHERE id = 7")

    # The maintenance run ends while its forms wait.
    run_id = airflow.trigger(maintenance)
    assert airflow.finished(maintenance, run_id) == "failed"  # something shrank
    forms = {short: three.form(short) for short in ("accepted", "kept")}
    again = airflow.trigger(maintenance, {"pipeline": three.id("kept"), "day": str(DAY)})
    for short, (_, shown) in forms.items():
        assert shown["subject"] == f"{three.id(short)}: 1 window shrank at the source"
        assert "| 2013-11-03 [00:00 EDT, 24:00 EST) | 50 | 49 | 50 | 1 |" in shown["body"]
        assert (shown["options"], shown["defaults"]) == (["accept", "keep", "later"], ["later"])
    assert [len(three.notices(kind)) for kind in ("failure", "late", "drift")] == [1, 1, 2]
    assert gated in three.notices("failure")[0]
    assert gated in three.notices("late")[0]

    # The gate opens: the window is committed, and the DAG downstream runs for the day.
    (three.data / "gate_is_open").touch()
    airflow.clear(gated, held["dag_run_id"], "after_load", downstream=True)

    # A second maintenance run does not wait for the form, and makes none besides it.
    assert airflow.finished(maintenance, again) == "failed"
    assert airflow.states(maintenance, again)[f"ask__{three.id('kept')}"] == "skipped"
    three.answer("accepted", forms["accepted"][0], "accept", reason="they were test flights")
    three.answer("kept", forms["kept"][0], "keep", reason="withdrawn")
    airflow.quiet(f"{gated}_daily", 1)
    assert [run["partition_key"] for run in airflow.runs(f"{gated}_daily")] == [str(DAY)]
    assert airflow.finished(gated, held["dag_run_id"]) == "success"
    after = [["after_load", str(DAY), 50], ["after_commit", str(DAY), 50], ["after_day", str(DAY), 50]]
    assert sorted(three.calls()[2:]) == sorted(after)
    assert three.target_ids("gated") == three.ids("gated")

    # accept: a run of the pipeline's own DAG loads the window without the row
    runs = airflow.quiet(three.id("accepted"), 2)
    airflow.assert_succeeded(three.id("accepted"), runs)
    started = runs[-1]["dag_run_id"]
    assert started.startswith("accept_shrink__")
    assert three.target_ids("accepted") == three.ids("accepted")
    entries, acts = three.ledger("accepted")
    assert [(act.what, act.by, act.why) for act in acts] == [
        ("accept shrink", "admin", "they were test flights")
    ]
    assert entries[-1].kind is Kind.COMMITTED
    assert (entries[-1].rows, entries[-1].run) == (49, f"{three.id('accepted')}/{started}")
    assert [entry.detail.get("by") for entry in entries if entry.kind is Kind.ATTEMPT] == [None, "admin"]

    # keep: the target is as it was, and the ledger has the name
    form = f"{three.id('kept')}.shrinkage"
    (answered,) = airflow.quiet(form, 1)
    airflow.assert_succeeded(form, [answered])
    entries, acts = three.ledger("kept")
    assert (entries[-1].kind, entries[-1].detail) == (Kind.WAIVED, {"by": "admin", "reason": "withdrawn"})
    assert (len(three.target_ids("kept")), len(three.ids("kept"))) == (50, 49)
    assert len(airflow.runs(three.id("kept"))) == 1
