"""The sql state store on SQLite files; PostgreSQL is in tests/integration."""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    LeaseHeldError,
    TransientError,
)
from airflow_pipeline_provider.state import sql_database
from airflow_pipeline_provider.state.about import NOTHING
from airflow_pipeline_provider.state.sql import SqlState, SqlStateOptions
from airflow_pipeline_provider.state.sql_coverage import read_coverage, save_coverage
from airflow_pipeline_provider.state.sql_tables import tables
from airflow_pipeline_provider.testing.faults import hooked
from airflow_pipeline_provider.testing.sample_rows import ZONE, hours
from airflow_pipeline_provider.testing.state_fixtures import FAR, OpenSqlState, OpenState, entry
from airflow_pipeline_provider.testing.state_kit import StateConformance

IDENTITY = Identity("flights", ZONE)


class TestSqliteState(StateConformance):
    @pytest.fixture
    def open_state(self, tmp_path: Path) -> OpenState:
        return OpenSqlState(f"sqlite:///{tmp_path}/state.db")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def state(file: Path) -> SqlState:
    return SqlState.from_url(f"sqlite:///{file}", IDENTITY)


def options(**fields: Any) -> SqlStateOptions:
    return SqlStateOptions.model_validate({"type": "sql", "conn_id": "kit", **fields})


# --- several writes at once


def lease_and_bind(state: SqlState, error: Exception | None = None) -> None:
    def work() -> None:
        state.acquire(hours(0, 1), "dag/run", FAR)
        assert [lease.owner for lease in state.leases()] == ["dag/run"], "it reads its own writes"
        state.bind_run("dag/run", hours(0, 1))
        if error is not None:
            raise error

    state.together(work)


def test_writes_together_are_one_commit(state: SqlState, file: Path) -> None:
    state.mint_token()
    points: list[str] = []
    with hooked(points.append):
        lease_and_bind(state)
    assert points == ["state.before_commit", "state.after_commit"]
    other = SqlState.from_url(f"sqlite:///{file}", IDENTITY)
    assert other.bound("dag/run") == hours(0, 1)
    assert [lease.interval for lease in other.leases()] == [hours(0, 1)]


def test_writes_together_are_undone_together(state: SqlState) -> None:
    with pytest.raises(DataError):
        lease_and_bind(state, DataError("a row cannot be read"))
    assert (state.leases(), state.bound("dag/run")) == ([], None)
    assert state.mint_token() == 1, "the store is usable afterwards"


def test_a_local_session_of_a_file_opens_it_once(state: SqlState) -> None:
    state.mint_token()
    opened: list[object] = []
    sa.event.listen(state._database().engine, "connect", lambda connection, _: opened.append(connection))
    with state.local_session():
        lease_and_bind(state)
        assert state.newest_token() == 1
    assert len(opened) == 1


# --- through an Airflow connection


@pytest.mark.parametrize(
    "conn",
    [
        pytest.param(lambda path: json.dumps({"conn_type": "sqlite", "host": str(path)}), id="host"),
        pytest.param(lambda path: json.dumps({"conn_type": "sqlite", "schema": str(path)}), id="schema"),
        pytest.param(lambda path: f"sqlite:///{path}", id="URI, absolute"),
        pytest.param(lambda path: f"sqlite:///{path.name}", id="URI, relative"),
    ],
)
def test_a_connection_names_the_file(file: Path, monkeypatch: pytest.MonkeyPatch, conn: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KIT", conn(file))
    monkeypatch.chdir(file.parent)
    with closing(SqlState(options(), IDENTITY)) as state:
        assert state.mint_token() == 1
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT pipeline_id, token FROM pipeline_pipelines").fetchall() == [
            ("flights", 1)
        ]


@pytest.mark.parametrize(
    ("conn", "error", "said"),
    [
        pytest.param(None, FatalError, "connection 'kit' is not defined", id="no connection"),
        pytest.param({"conn_type": "mysql", "host": "db"}, ConfigError, "PostgreSQL, or SQLite", id="mysql"),
        pytest.param({"conn_type": "http", "host": "db"}, ConfigError, "of type 'http'", id="no database"),
        pytest.param({"conn_type": "sqlite", "host": ":memory:"}, ConfigError, "path of a file", id="memory"),
        pytest.param({"conn_type": "sqlite"}, ConfigError, "path of a file", id="no path"),
        pytest.param(
            {"conn_type": "sqlite", "host": "/no/such/folder/x.db"},
            FatalError,
            "unable to open",
            id="no folder",
        ),
        pytest.param(
            {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "me", "password": "hunter22"},
            TransientError,
            "refused",
            id="postgres is down",
        ),
    ],
)
def test_a_connection_that_does_not_serve(
    monkeypatch: pytest.MonkeyPatch, conn: dict[str, Any] | None, error: type[Exception], said: str
) -> None:
    if conn is not None:
        monkeypatch.setenv("AIRFLOW_CONN_KIT", json.dumps(conn))
    state = SqlState(options(), IDENTITY)
    for ask in (state.now, state.mint_token, state.entries):
        with pytest.raises(error, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://u:hunter22@db/x", "'mysql'"), ("sqlite://", "path of a file")],
)
def test_a_url_that_does_not_serve(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        SqlState.from_url(url, IDENTITY).now()
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"conn_id": ""},
        {"table_prefix": "Drop Table"},
        {"table_prefix": "x" * 31},
        {"lease": "0s"},
        {"url": "x"},
    ],
)
def test_options_are_checked(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**fields)


def test_options_in_yaml_words() -> None:
    known = options(schema="ops", lease="1h30m")
    assert (known.schema_name, known.lease_seconds, known.table_prefix) == ("ops", 5400, "pipeline_")
    assert connector_class("state", "sql") is SqlState
    with pytest.raises(ConfigError, match="SQLite has no schemas"):
        SqlState.from_url("sqlite:///x.db", IDENTITY, schema="ops").now()


# --- tables


def test_migrations_make_the_tables_that_the_store_uses(file: Path, state: SqlState) -> None:
    state.mint_token()
    names = tables(None, "pipeline_")
    engine = sql_database.engine_from_url(f"sqlite:///{file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": names.version_table})
        assert compare_metadata(context, names.metadata) == []
        assert context.get_current_heads() == (sql_database.HEAD,)
    config = sql_database.migration_config()
    assert ScriptDirectory.from_config(config).get_heads() == [sql_database.HEAD]


def test_threads_create_tables_of_several_databases_at_once(tmp_path: Path) -> None:
    """As the triggerer does: Alembic keeps its context in the process."""

    def first_use(number: int) -> int:
        state = SqlState.from_url(f"sqlite:///{tmp_path}/{number}.sqlite", Identity("flights", "UTC"))
        try:
            return state.mint_token()
        finally:
            state.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(first_use, range(8))) == [1] * 8


def test_two_prefixes_share_a_file(file: Path) -> None:
    ours, theirs = (SqlState.from_url(f"sqlite:///{file}", IDENTITY, table_prefix=p) for p in ("a_", "b_"))
    assert [ours.mint_token(), ours.mint_token(), theirs.mint_token()] == [1, 2, 1]


def test_tables_of_a_newer_package_are_left_alone(file: Path, state: SqlState) -> None:
    state.mint_token()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE pipeline_alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(FatalError, match=r"version 9999, this package knows up to 0005: install the newer"):
        SqlState.from_url(f"sqlite:///{file}", IDENTITY).mint_token()


def test_a_migration_that_fails_leaves_nothing(
    file: Path, state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    create, calls = Operations.create_table, []

    def fail_third(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        if len(calls) == 3:
            raise sqlite3.OperationalError("disk I/O error")
        return create(self, *args, **kwargs)

    monkeypatch.setattr(Operations, "create_table", fail_third)
    with pytest.raises(TransientError, match="disk I/O error"):
        state.mint_token()
    monkeypatch.undo()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    assert state.mint_token() == 1


def test_instants_are_readable_by_hand(file: Path, state: SqlState) -> None:
    state.append(entry(Kind.WAIVED, Interval(hours(0, 1).start, hours(0, 1).end + timedelta(microseconds=1))))
    with closing(sqlite3.connect(file)) as connection:
        row = connection.execute("SELECT window_start, window_end, kind FROM pipeline_ledger").fetchone()
    assert row == ("2013-11-03T04:00:00.000000Z", "2013-11-03T05:00:00.000001Z", "waived")


# --- the kept fold


def commit_hours(state: SqlState, first: int, last: int) -> None:
    for number in range(first, last):
        state.append(entry(Kind.REPLACING, hours(number, number + 1), number + 1))
        state.append(entry(Kind.COMMITTED, hours(number, number + 1), number + 1))


def test_tables_of_the_first_version_are_upgraded_and_keep_their_ledger(file: Path, state: SqlState) -> None:
    database = state._database()
    with database.engine.begin() as connection:
        command.upgrade(sql_database.migration_config(connection=connection, tables=database.tables), "0001")
        connection.exec_driver_sql(
            "INSERT INTO pipeline_pipelines VALUES ('flights', 1, 7, 3600000000, NULL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO pipeline_ledger (pipeline_id, kind, window_start, window_end, at, detail) VALUES "
            "('flights', 'waived', '2013-11-03T04:00:00.000000Z', '2013-11-03T05:00:00.000000Z', "
            "'2013-11-03T06:00:00.000000Z', '{}')"
        )
    assert state.about() == NOTHING
    state.record_act("unlock", "ann")
    assert [act.by for act in state.about().acts] == ["ann"]
    assert state.coverage(hours(0, 2), keep=True).done == (hours(0, 1),)
    assert state.mint_token() == 8


def test_the_fold_of_a_ledger_that_was_lost_is_not_used(
    file: Path, state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.state.sql.UNSAVED_ENTRIES", 1)
    commit_hours(state, 0, 3)
    assert state.coverage(hours(0, 9), keep=True).done == (hours(0, 3),)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DELETE FROM pipeline_ledger WHERE token = 3")
        connection.commit()
    for _ in range(2):
        assert state.coverage(hours(0, 9), keep=True).done == (hours(0, 2),)
    commit_hours(state, 2, 4)
    assert state.coverage(hours(0, 9)).done == (hours(0, 4),)


def test_a_fold_that_was_read_before_another_was_kept_changes_nothing(
    state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.state.sql.UNSAVED_ENTRIES", 1)
    database = state._database()
    commit_hours(state, 0, 1)
    with database.read() as connection:
        old = read_coverage(database, connection, "flights")
    commit_hours(state, 1, 2)
    state.coverage(hours(0, 9), keep=True)
    database.change(lambda connection: save_coverage(database, connection, "flights", old))
    with database.read() as connection:
        assert read_coverage(database, connection, "flights").unsaved == 0


def test_a_look_that_must_not_write_keeps_nothing(file: Path, state: SqlState) -> None:
    commit_hours(state, 0, 60)
    before = file.read_bytes()
    assert state.coverage(hours(0, 60)).done == (hours(0, 60),)
    assert file.read_bytes() == before


# --- one after another


def test_a_file_that_stays_locked_is_worth_another_try(
    file: Path, state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.connectors.databases.BUSY_SECONDS", 0.05)
    state.mint_token()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransientError, match="locked"):
            state.mint_token()
        other.execute("COMMIT")
    assert state.mint_token() == 2


def test_a_file_that_is_unlocked_in_time_is_waited_for(
    file: Path, state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.connectors.databases.BUSY_SECONDS", 0.4)
    state.mint_token()
    with (
        closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("BEGIN EXCLUSIVE")
        minted = pool.submit(state.mint_token)
        time.sleep(0.6)  # longer than one round of waiting, shorter than all
        other.execute("COMMIT")
        assert minted.result() == 2


def test_a_file_that_must_not_be_written(
    file: Path, state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.mint_token()
    conn = {"conn_type": "sqlite", "host": str(file), "extra": {"mode": "ro"}}
    monkeypatch.setenv("AIRFLOW_CONN_KIT", json.dumps(conn))
    reader = SqlState(options(), IDENTITY)
    assert reader.entries() == []
    with pytest.raises(FatalError, match="readonly"):
        reader.mint_token()


def test_what_is_refused_leaves_no_trace(file: Path, state: SqlState) -> None:
    state.mint_token()
    before = file.read_bytes()
    with pytest.raises(ValueError, match="ttl_seconds"):
        state.acquire(hours(0, 1), "one", 0)
    assert file.read_bytes() == before


def test_no_connection_stays_open(state: SqlState) -> None:
    counts = {"connect": 0, "close": 0}
    for name in counts:
        sa.event.listen(
            state._database().engine, name, lambda *_, name=name: counts.update({name: counts[name] + 1})
        )
    state.acquire(hours(0, 2), "one", FAR)
    with pytest.raises(LeaseHeldError):
        state.acquire(hours(0, 2), "two", FAR)
    state.leases()
    assert counts["connect"] == counts["close"] >= 3
    counts.update(connect=0, close=0)
    with state.session():
        state.leases()
        state.mint_token()
        state.leases()
    assert counts == {"connect": 1, "close": 1}


def test_a_run_may_have_any_name(state: SqlState) -> None:
    run = "dag'; DROP TABLE pipeline_runs; --/manual__ü%s?"
    state.bind_run(run, hours(0, 2))
    assert state.bound(run) == hours(0, 2)


# --- five years


def fill_five_years(file: Path) -> None:
    """Four entries a window of an hour."""
    start = datetime(2013, 1, 1, tzinfo=timezone.utc)
    rows = []
    for number in range(5 * 365 * 24):
        bounds = [
            (start + timedelta(hours=number + end)).strftime("%Y-%m-%dT%H:%M:%S.000000Z") for end in (0, 1)
        ]
        rows += [(*bounds, kind, number + 1) for kind in ("attempt", "failed", "replacing", "committed")]
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.executemany(
            "INSERT INTO pipeline_ledger (pipeline_id, window_start, window_end, kind, token, at, detail)"
            " VALUES ('flights', ?, ?, ?, ?, '2018-01-01T00:00:00.000000Z', '{}')",
            rows,
        )
        connection.commit()


def test_a_day_is_found_among_five_years(file: Path, state: SqlState) -> None:
    """The query for a day must not read them all, and planning reads them once."""
    state.append(entry(Kind.WAIVED, hours(0, 24)))
    fill_five_years(file)
    database = state._database()
    assert len(state.coverage(hours(0, 1), keep=True).done) == 1
    with database.read() as connection:
        assert read_coverage(database, connection, "flights").unsaved == 0
    for day in (datetime(2013, 1, 2, tzinfo=timezone.utc), datetime(2017, 12, 1, tzinfo=timezone.utc)):
        assert len(state.entries(Interval(day, day + timedelta(days=1)))) == 96


def test_the_range_query_uses_its_index(file: Path, state: SqlState) -> None:
    state.append(entry(Kind.WAIVED, hours(0, 24)))
    seen: list[str] = []
    database = state._database()
    sa.event.listen(database.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    state.entries(hours(0, 1))
    query = next(sql for sql in seen if "pipeline_ledger" in sql)
    with closing(sqlite3.connect(file)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", ["x"] * query.count("?")).fetchall()
    assert "window_start>? AND window_start<?" in str(plan)


def test_an_entry_is_what_was_written(state: SqlState) -> None:
    written = Entry(Kind.FAILED, hours(0, 1), hours(0, 1).start, detail={"at": datetime(2013, 11, 3)})
    state.append(written)
    assert state.entries()[0].detail == {"at": "2013-11-03 00:00:00"}
