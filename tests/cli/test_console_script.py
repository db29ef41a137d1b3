"""The installed script as other processes see it: what it imports, two at once, one that is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

SCRIPT = Path(sys.executable).with_name("airflow-pipelines")
IMPORTED = """
import sys
before = set(sys.modules)
from airflow_pipeline_provider.cli.main import main
code = main(sys.argv[1:])
heavy = {"airflow", "pyarrow", "duckdb", "pandas", "snowflake", "elastic_transport", "sqlalchemy", "alembic"}
print(sorted(heavy & (set(sys.modules) - before)), file=sys.stderr)
sys.exit(code)
"""
HANGING = """
import sys, time
from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.connectors.registry import register
from airflow_pipeline_provider.connectors.sql.source import SqlSource

class Hanging(SqlSource):
    def open(self, slice_, readers=1):
        print("hanging", file=sys.stderr, flush=True)
        time.sleep(600)

register("source", "sql", Hanging, replace=True)
sys.exit(main(sys.argv[1:]))
"""
SECONDS = 240  # of a process; a busy machine imports Airflow slowly


@dataclass
class Machine:
    """A pipeline from SQLite over files into DuckDB, its state in SQLite, and processes that move it."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "p").mkdir()
        with sqlite3.connect(self.folder / "events.db") as events:
            events.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT)")
            moment = datetime(2013, 11, 3, 3, 30)
            while moment <= datetime(2013, 11, 4, 5, 0):
                events.execute("INSERT INTO events (at) VALUES (?)", (f"{moment:%Y-%m-%dT%H:%M:%SZ}",))
                moment += timedelta(minutes=30)
        events.close()
        self.write()

    def write(self) -> None:
        values: dict[str, Any] = {
            "pipeline_id": "events",
            "timezone": "America/New_York",
            "granularity": "5h",
            "x_time_back": "1d",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "source": {
                "type": "sql",
                "conn_id": "events_db",
                "table": "events",
                "time_column": "at",
                "key_columns": ["id"],
            },
            "stage": {"type": "object_store", "path": f"{self.folder}/stage"},
            "target": {"type": "duckdb", "path": f"{self.folder}/lake.duckdb", "table": "main.events"},
            "state": {"type": "sql", "conn_id": "pipeline_state", "lease": "3s"},
        }
        (self.folder / "p" / "events.yaml").write_text(yaml.safe_dump(values))

    @property
    def environment(self) -> dict[str, str]:
        connections = {"EVENTS_DB": "events.db", "PIPELINE_STATE": "state.db"}
        return {
            **os.environ,
            **{
                f"AIRFLOW_CONN_{name}": json.dumps({"conn_type": "sqlite", "host": f"{self.folder}/{file}"})
                for name, file in connections.items()
            },
        }

    def start(self, *arguments: str, code: str | None = None) -> subprocess.Popen[str]:
        """The console script, or Python code in its place."""
        command = [str(SCRIPT)] if code is None else [sys.executable, "-c", code]
        process = subprocess.Popen(
            [*command, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, code: str | None = None) -> tuple[int, str, str]:
        process = self.start(*arguments, code=code)
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err

    def run_all(self) -> tuple[str, ...]:
        """Arguments that move all there is."""
        at = ("--reference-time", "2013-11-05T12:00:00Z", "-o", "json")
        return ("run", "events", "--until-done", "--folder", str(self.folder / "p"), *at)

    def leases(self) -> list[str]:
        with sqlite3.connect(self.folder / "state.db") as state:
            tables = [
                row[0] for row in state.execute("SELECT name FROM sqlite_master WHERE name LIKE '%leases'")
            ]
            found = [row[0] for table in tables for row in state.execute(f"SELECT owner FROM {table}")]
        state.close()
        return found

    def moved(self) -> list[int]:
        import duckdb

        with duckdb.connect(str(self.folder / "lake.duckdb")) as connection:
            rows = connection.execute("SELECT BODY->>'id' FROM main.events").fetchall()
        return sorted(int(row[0]) for row in rows)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def expected(folder: Path) -> list[int]:
    with sqlite3.connect(folder / "events.db") as events:
        rows = events.execute(
            "SELECT id FROM events WHERE at >= '2013-11-03T04:00:00Z' AND at < '2013-11-04T05:00:00Z'"
        ).fetchall()
    events.close()
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["check"], id="check"),
        pytest.param(["plan", "events", "--day", "2013-11-03"], id="plan"),
        pytest.param(["plan", "events", "--day", "2013-11-03", "-o", "json"], id="plan-json"),
    ],
)
def test_what_needs_no_airflow_imports_none(machine: Machine, arguments: list[str]) -> None:
    code, out, err = machine.run(*arguments, "--folder", str(machine.folder / "p"), code=IMPORTED)
    assert (code, err) == (0, "[]\n")
    assert "events" in out


@pytest.mark.parametrize(
    ("has_rows", "imported"),
    [
        pytest.param(False, ["duckdb", "sqlalchemy"], id="an empty window"),
        pytest.param(True, ["duckdb", "pyarrow", "sqlalchemy"], id="rows"),
    ],
)
def test_run_imports_neither_airflow_nor_what_only_rows_need(
    machine: Machine, has_rows: bool, imported: list[str]
) -> None:
    at = ("--folder", str(machine.folder / "p"), "--reference-time", "2013-11-05T12:00:00Z")
    assert machine.run("run", "events", *at)[0] == 0  # makes the tables
    if not has_rows:
        with sqlite3.connect(machine.folder / "events.db") as events:
            events.execute("DELETE FROM events")
        events.close()
    code, out, err = machine.run("run", "events", *at, code=IMPORTED)
    assert code == 0, err
    assert ("no rows" in out) == (not has_rows)
    assert err.splitlines()[-1] == str(imported)


def test_help_and_version_import_next_to_nothing(machine: Machine) -> None:
    code, out, err = machine.run("--version")
    assert (code, err) == (0, "")
    assert out.startswith("airflow-pipelines ")
    code, out, err = machine.run("run", "--help")
    assert (code, err) == (0, "")
    assert "--until-done" in out
    assert "exit codes: 0 success" in out


def test_a_reader_that_leaves_early_is_no_error(machine: Machine) -> None:
    process = machine.start("plan", "events", "--day", "2013-11-03", "--folder", str(machine.folder / "p"))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(SECONDS) == 141


def test_two_processes_at_once_move_everything_once(machine: Machine) -> None:
    processes = [machine.start(*machine.run_all()) for _ in range(2)]
    answers = [process.communicate(timeout=SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert machine.moved() == expected(machine.folder)
    windows = [window for out, _ in answers for window in json.loads(out)["windows"]]
    committed = [window["start"] for window in windows if window["status"] == "committed"]
    assert sorted(committed) == sorted(set(committed))
    assert len(committed) == 5
    assert machine.leases() == []


@pytest.mark.parametrize(
    ("number", "code", "held"),
    [
        pytest.param(signal.SIGINT, 130, 0, id="interrupted"),
        pytest.param(signal.SIGKILL, -9, 1, id="killed"),
    ],
)
def test_a_process_that_ends_in_the_middle_leaves_its_window_to_the_next(
    machine: Machine, number: signal.Signals, code: int, held: int
) -> None:
    first = machine.start(*machine.run_all(), code=HANGING)
    assert first.stderr is not None
    while "hanging" not in first.stderr.readline():
        assert first.poll() is None
    first.send_signal(number)
    first.communicate(timeout=SECONDS)
    assert first.returncode == code
    assert len(machine.leases()) == held
    code, out, err = machine.run(*machine.run_all())
    assert code == 0, err
    assert machine.moved() == expected(machine.folder)
    assert [window["status"] for window in json.loads(out)["windows"]] == ["committed"] * 5
