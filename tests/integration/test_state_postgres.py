"""The sql state store on PostgreSQL (POSTGRES_URL): the kit, and what only a server can show."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import FatalError, LeaseHeldError, TransientError
from airflow_pipeline_provider.state.sql import SqlState, SqlStateOptions
from airflow_pipeline_provider.testing.sample_rows import ZONE, hours
from airflow_pipeline_provider.testing.state_fixtures import FAR, OpenSqlState, OpenState, entry
from airflow_pipeline_provider.testing.state_kit import StateConformance

pytestmark = pytest.mark.integration

IDENTITY = Identity("flights", ZONE)


@pytest.fixture(scope="module")
def database(postgres: dict[str, str]) -> Iterator[str]:
    """URL of a database of this module's own."""
    word = f"pipeline_{uuid.uuid4().hex}"
    name = sql.Identifier(word)
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield urlsplit(postgres["POSTGRES_URL"])._replace(path=f"/{word}").geturl()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def schema(database: str) -> str:
    """A name that is not there yet: the store creates it."""
    return f"ops_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


class TestPostgresState(StateConformance):
    @pytest.fixture
    def open_state(self, database: str, schema: str) -> OpenState:
        return OpenSqlState(database, schema)


def connection_json(url: str, **changes: Any) -> str:
    parts = urlsplit(url)
    conn = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path[1:],
    }
    return json.dumps({**conn, **changes})


def through_airflow(monkeypatch: pytest.MonkeyPatch, conn: str, schema: str) -> SqlState:
    monkeypatch.setenv("AIRFLOW_CONN_KIT", conn)
    options = SqlStateOptions.model_validate({"type": "sql", "conn_id": "kit", "schema": schema})
    return SqlState(options, IDENTITY)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"sslmode": "disable", "application_name": "pipelines"},
        {"cursor": "dictcursor"},
        {"options": "-c timezone=Asia/Kathmandu -c default_transaction_isolation=serializable"},
    ],
    ids=str,
)
def test_an_airflow_connection_serves_with_its_extra(
    database: str, schema: str, monkeypatch: pytest.MonkeyPatch, extra: dict[str, str]
) -> None:
    with closing(through_airflow(monkeypatch, connection_json(database, extra=extra), schema)) as state:
        assert state.mint_token() == 1
        state.append(entry(Kind.REPLACING, hours(0, 2), 1))
        assert state.entries()[0].interval == hours(0, 2)
        assert state.acquire(hours(0, 2), "one", FAR).interval == hours(0, 2)
        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(lambda _: state.mint_token(), range(16))) == list(range(2, 18))


def test_both_drivers_serve(database: str, schema: str) -> None:
    for number, driver in enumerate(("psycopg", "psycopg2"), start=1):
        url = database.replace("postgresql://", f"postgresql+{driver}://")
        assert SqlState.from_url(url, IDENTITY, schema=schema).mint_token() == number


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        pytest.param({"password": "hunter22", "login": "nobody"}, FatalError, "nobody", id="no such user"),
        pytest.param({"schema": "no_such_database"}, FatalError, "no_such_database", id="no such database"),
        pytest.param({"port": 1}, TransientError, "refused", id="server down"),
        pytest.param(
            {"host": "no-such-host.invalid"}, TransientError, "resolve|translate", id="no such host"
        ),
    ],
)
def test_a_connection_that_does_not_serve(
    database: str,
    schema: str,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    state = through_airflow(monkeypatch, connection_json(database, **changes), schema)
    with pytest.raises(error, match=said) as caught:
        state.mint_token()
    assert "\n" not in str(caught.value)
    assert "hunter22" not in str(caught.value)


@pytest.fixture
def guest(admin: psycopg.Connection, database: str) -> Iterator[tuple[str, str]]:
    """A role without rights, and the database's URL for it."""
    role = f"guest_{uuid.uuid4().hex[:12]}"
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'guest-secret'").format(sql.Identifier(role)))
    parts = urlsplit(database)
    yield role, parts._replace(netloc=f"{role}:guest-secret@{parts.hostname}:{parts.port}").geturl()
    admin.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(role)))
    admin.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(role)))


def test_missing_rights_are_said(
    database: str, schema: str, admin: psycopg.Connection, guest: tuple[str, str]
) -> None:
    role, url = guest
    theirs = SqlState.from_url(url, IDENTITY, schema=schema)
    with pytest.raises(FatalError, match="permission denied for database"):
        theirs.mint_token()
    SqlState.from_url(database, IDENTITY, schema=schema).mint_token()
    names = {"schema": sql.Identifier(schema), "role": sql.Identifier(role)}
    admin.execute(sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}").format(**names))
    with pytest.raises(FatalError, match="permission denied for table"):
        theirs.mint_token()
    admin.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}").format(**names))
    admin.execute(sql.SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}").format(**names))
    assert theirs.mint_token() == 2  # without the right to create anything


def test_a_lost_connection_is_worth_another_try(
    database: str, schema: str, admin: psycopg.Connection
) -> None:
    state = SqlState.from_url(database, IDENTITY, schema=schema)
    state.mint_token()

    def cut(connection: Any) -> None:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        connection.exec_driver_sql("SELECT 1")

    with pytest.raises(TransientError, match="terminat"):
        state._database().write("flights", cut)
    assert state.mint_token() == 2


def test_one_pipelines_changes_wait_for_each_other_and_for_no_other(database: str, schema: str) -> None:
    opened = {
        p: SqlState.from_url(database, Identity(p, ZONE), schema=schema) for p in ("flights", "weather")
    }
    for state in opened.values():
        state.mint_token()
    inside, leave = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        inside.set()
        assert leave.wait(30)

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(opened["flights"]._database().write, "flights", hold)
        assert inside.wait(30)
        waiting = pool.submit(opened["flights"].mint_token)
        assert opened["weather"].mint_token() == 2
        assert opened["flights"].entries() == []  # readers do not wait
        time.sleep(0.3)
        assert not waiting.done()
        leave.set()
        held.result(30)
        assert waiting.result(30) == 2


def test_leases_end_by_the_servers_clock(database: str, schema: str, admin: psycopg.Connection) -> None:
    state = SqlState.from_url(database, IDENTITY, schema=schema)
    state.acquire(hours(0, 2), "one", FAR)
    with pytest.raises(LeaseHeldError):
        state.acquire(hours(0, 2), "two", FAR)
    table = sql.Identifier(schema, "pipeline_leases")
    admin.execute(sql.SQL("UPDATE {} SET until = clock_timestamp() - interval '1 s'").format(table))
    assert state.acquire(hours(0, 2), "two", FAR).owner == "two"


def test_no_session_is_left_behind(database: str, schema: str, admin: psycopg.Connection) -> None:
    state = SqlState.from_url(f"{database}?application_name={schema}", IDENTITY, schema=schema)
    state.mint_token()
    state.entries()
    with pytest.raises(ValueError, match="ttl"):
        state.acquire(hours(0, 2), "one", -1)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    deadline = time.monotonic() + 5
    while (left := admin.execute(count, [schema]).fetchone()) != (0,) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == (0,)


def test_instants_are_timestamps_people_can_query(
    database: str, schema: str, admin: psycopg.Connection
) -> None:
    state = SqlState.from_url(database, IDENTITY, schema=schema)
    state.append(entry(Kind.FAILED, hours(0, 2), detail={"error": "DataError", "message": "é"}))
    table = sql.Identifier(schema, "pipeline_ledger")
    query = sql.SQL("SELECT window_end - window_start, detail::json->>'message', now() - at FROM {}")
    length, message, age = admin.execute(query.format(table)).fetchone() or (None, None, None)
    assert (length, message) == (timedelta(hours=2), "é")
    assert timedelta(0) <= age < timedelta(minutes=1)
