"""Target `sqlite` keeps the contract of SQL targets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlite_target import SqliteTarget, session

from airflow_pipeline_provider.connectors import Identity
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.testing import SqlTargetConformance

CONN_ID = "warehouse"
TIMES = ("EVENT_TIME", "WINDOW_START", "WINDOW_END", "LOADED_AT")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the Airflow connection names; it does not exist yet."""
    file = tmp_path / "warehouse.db"
    connect(monkeypatch, host=str(file))
    return file


def connect(monkeypatch: pytest.MonkeyPatch, **connection: str) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps({"conn_type": "sqlite", **connection}))


def target(pipeline_id: str = "flights", table: str = "flights") -> SqliteTarget:
    options = SqliteTarget.Options(type="sqlite", conn_id=CONN_ID, table=table)
    return SqliteTarget(options, Identity(pipeline_id, "UTC"))


def query(file: Path, sql: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


class TestSqliteTarget(SqlTargetConformance):
    @pytest.fixture
    def make_target(self) -> Callable[[str], SqliteTarget]:
        return target

    @pytest.fixture
    def fetch(self, file: Path) -> Callable[[str], list[dict[str, Any]]]:
        def fetch(suffix: str) -> list[dict[str, Any]]:
            rows = query(file, f"SELECT * FROM flights{suffix}")
            for row in rows:
                row.update({name: datetime.fromisoformat(row[name].replace("Z", "+00:00")) for name in TIMES})
            return rows

        return fetch

    @pytest.fixture
    def make_other_shape(self, file: Path) -> Callable[[], object]:
        return lambda: query(file, "CREATE TABLE flights (RECORD_ID TEXT, BODY INT)")


# --- what the kit cannot know


def no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="sqlite")


def no_sqlite(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, conn_type="postgres", host="db", schema="shop")


def no_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host=str(file.parent / "none" / "warehouse.db"))


def no_database(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("hello" * 1000)


def a_table_of_the_views_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query(file, "CREATE TABLE flights_latest (a INT)")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (no_file, "connection 'warehouse' names no SQLite file"),
        (no_sqlite, "connection 'warehouse' names no SQLite file"),
        (no_folder, r"none/warehouse.db: No such file or directory; check the path"),
        (no_database, r"warehouse.db, prepare: file is not a database; check the file"),
        (a_table_of_the_views_name, '"flights_LATEST" exists and is not a view'),
    ],
)
def test_what_is_wrong_is_named(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[Path, pytest.MonkeyPatch], None],
    message: str,
) -> None:
    broken(file, monkeypatch)
    with pytest.raises(FatalError, match=message):
        target().prepare()


@pytest.mark.parametrize("table", ["main.flights", "a b", 'x"y', ""])
def test_a_name_with_a_schema_or_other_characters_is_refused(table: str) -> None:
    with pytest.raises(ValidationError, match="must be a name of letters"):
        target(table=table)


def test_a_file_that_stays_locked_is_a_transient_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.1)
    target().prepare()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match=r"warehouse.db, read commits: database is locked"):
            target().commits()


def test_probes_leave_no_file_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers() -> dict[str, str]:
        return {name: probe().detail for name, probe in target().probes()}

    assert answers()["tables and rights"] == "flights is created by the first load"
    assert not file.exists()
    target().prepare()
    assert answers()["tables and rights"] == "flights exists and may be changed"
    no_folder(file, monkeypatch)
    with pytest.raises(FatalError, match="may not be written"):
        answers()
