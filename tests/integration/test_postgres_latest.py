"""The view `_LATEST` and its indexes on PostgreSQL (POSTGRES_URL), on new tables and on those of earlier versions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.postgres import upgrade as postgres_upgrade
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget

pytestmark = pytest.mark.integration

HOUR = "\"EVENT_TIME\" >= '2026-11-02' AND \"EVENT_TIME\" < '2026-11-02 01:00'"
COLUMNS = (
    '"RECORD_ID", "EVENT_TIME", "SOURCE_NAME", "BODY", "PIPELINE_ID", "WINDOW_START", "WINDOW_END", "TOKEN", '
    '"LOADED_AT"'
)
FIRST_VIEW = (  # as the first versions created it
    f'CREATE VIEW "flights_LATEST" AS SELECT DISTINCT ON ("PIPELINE_ID", "RECORD_ID") {COLUMNS} FROM flights '
    'ORDER BY "PIPELINE_ID", "RECORD_ID", "TOKEN" DESC, "EVENT_TIME" DESC'
)

Admin = psycopg.Connection[Any]


@pytest.fixture
def schema(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    connect_as(monkeypatch, urlsplit(postgres["POSTGRES_URL"]).username, "")
    return f"latest_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def admin(postgres: dict[str, str], schema: str) -> Iterator[Admin]:
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}")  # type: ignore[arg-type]
        yield connection
        connection.execute(f"DROP SCHEMA {schema} CASCADE")  # type: ignore[arg-type]


def connect_as(monkeypatch: pytest.MonkeyPatch, login: str | None, password: str) -> None:
    import os

    parts = urlsplit(os.environ["POSTGRES_URL"])
    given = {"login": login, "password": password or parts.password, "schema": parts.path[1:]}
    where = {"conn_type": "postgres", "host": parts.hostname, "port": parts.port}
    monkeypatch.setenv("AIRFLOW_CONN_LATEST", json.dumps({**where, **given}))


def prepare(schema: str) -> None:
    options = PostgresTarget.Options(conn_id="latest", table=f"{schema}.flights")
    target = PostgresTarget(options, Identity("flights", "UTC"))
    target.prepare()
    target.close()


def fill(admin: Admin, rows: int = 20_000) -> None:
    """Ten seconds from row to row, then a second version of the first row, a day later."""
    body = '{"a": "' + "x" * 1_900 + '"}'
    for first, last, shift, token in ((1, rows, "0", 1), (1, 1, "1 day", 2)):
        admin.execute(
            f"INSERT INTO flights ({COLUMNS}) SELECT 'r/' || md5(i::text), "  # type: ignore[arg-type]
            f"'2026-11-02'::timestamptz + (i - 1) * interval '10 seconds' + interval '{shift}', 's', '{body}', "
            f"'flights', '2026-11-02', '2026-11-05', {token}, now() FROM generate_series({first}, {last}) i"
        )
    admin.execute("ANALYZE flights")


def plan(admin: Admin, query: str) -> str:
    row = admin.execute(f"EXPLAIN (FORMAT JSON) {query}").fetchone()
    assert row is not None
    return json.dumps(row[0])


def index_names(admin: Admin, schema: str) -> set[str]:
    found = admin.execute(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indisvalid AND c.relnamespace = CAST(%s AS regnamespace)",
        [schema],
    )
    return {row[0] for row in found.fetchall()}


ALL_INDEXES = {"flights_TIMES", "flights_RECORDS", "flights_EVENTS"}


def test_a_filter_on_time_reads_only_its_rows_and_the_versions_of_their_records(
    admin: Admin, schema: str
) -> None:
    prepare(schema)
    fill(admin)
    for condition in (HOUR, f"\"PIPELINE_ID\" = 'flights' AND {HOUR}"):
        query = f'SELECT * FROM "flights_LATEST" WHERE {condition}'
        assert "Seq Scan" not in plan(admin, query)
        assert "flights_RECORDS" in plan(admin, query)
        found = admin.execute(query).fetchall()
        assert len(found) == 359, "the first row of the hour has a newer version on the next day"
    everything = admin.execute('SELECT count(*), max("TOKEN") FROM "flights_LATEST"').fetchone()
    assert everything == (20_000, 2)


def make_first_table(admin: Admin, schema: str, rows: int = 100) -> None:
    prepare(schema)
    admin.execute('DROP INDEX "flights_RECORDS", "flights_EVENTS"; DROP VIEW "flights_LATEST"')
    admin.execute(FIRST_VIEW)  # type: ignore[arg-type]
    fill(admin, rows)


def test_a_table_of_an_earlier_version_is_upgraded(admin: Admin, schema: str) -> None:
    make_first_table(admin, schema, 20_000)
    admin.execute('GRANT SELECT ON "flights_LATEST" TO PUBLIC')
    assert "Seq Scan" in plan(admin, f'SELECT * FROM "flights_LATEST" WHERE {HOUR}')
    prepare(schema)
    assert index_names(admin, schema) == ALL_INDEXES
    assert "Seq Scan" not in plan(admin, f'SELECT * FROM "flights_LATEST" WHERE {HOUR}')
    granted = admin.execute("SELECT relacl::text FROM pg_class WHERE relname = 'flights_LATEST'").fetchall()
    assert any("=r/" in acl for (acl,) in granted if acl)


def test_a_large_table_is_left_to_its_owner_who_is_shown_the_statement(
    admin: Admin, schema: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_first_table(admin, schema)
    monkeypatch.setattr(postgres_upgrade, "LARGEST_TABLE", 1)
    prepare(schema)
    assert index_names(admin, schema) == {"flights_TIMES"}
    shown = [message.partition(": run ")[2] for message in caplog.messages if "CONCURRENTLY" in message]
    for statement in shown:
        admin.execute(statement)  # type: ignore[arg-type]
    assert index_names(admin, schema) == ALL_INDEXES


def test_a_role_that_owns_nothing_loads_on(
    admin: Admin, schema: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_first_table(admin, schema)
    admin.execute(f"CREATE ROLE {schema} LOGIN PASSWORD 'loader-only'")  # type: ignore[arg-type]
    try:
        admin.execute(
            f"GRANT USAGE ON SCHEMA {schema} TO {schema}; "  # type: ignore[arg-type]
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}"
        )
        connect_as(monkeypatch, schema, "loader-only")
        prepare(schema)
        assert index_names(admin, schema) == {"flights_TIMES"}
        assert sum("does not own" in message for message in caplog.messages) == 3
    finally:
        admin.execute(f"DROP OWNED BY {schema}; DROP ROLE {schema}")  # type: ignore[arg-type]


def test_a_query_on_the_view_is_not_disturbed_and_the_next_prepare_replaces_it(
    admin: Admin, schema: str, postgres: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    make_first_table(admin, schema)
    with psycopg.connect(postgres["POSTGRES_URL"]) as reader:
        for name in sorted(ALL_INDEXES - {"flights_TIMES"}):  # else CONCURRENTLY waits for the reader
            index = next(i for i in postgres_upgrade.sql.INDEXES if name.endswith(i.suffix))
            admin.execute(index.create(postgres_upgrade.ObjectName((schema, "flights"))))  # type: ignore[arg-type]
        reader.execute(f'SELECT count(*) FROM {schema}."flights_LATEST"')  # type: ignore[arg-type]
        prepare(schema)
        assert any("is not needed for the load" in message for message in caplog.messages)
        assert '"Unique"' in plan(admin, 'SELECT * FROM "flights_LATEST"')
    prepare(schema)
    assert '"Unique"' not in plan(admin, 'SELECT * FROM "flights_LATEST"')


@pytest.mark.parametrize(
    "own",
    [
        FIRST_VIEW.replace("FROM flights", "FROM flights WHERE \"PIPELINE_ID\" = 'flights'"),
        FIRST_VIEW.replace('"BODY",', '"BODY"::jsonb AS "BODY",'),
        FIRST_VIEW.replace("CREATE VIEW", "CREATE MATERIALIZED VIEW"),
    ],
    ids=["a condition", "a cast", "materialized"],
)
def test_a_view_of_the_users_own_is_left_alone(admin: Admin, schema: str, own: str) -> None:
    make_first_table(admin, schema)
    admin.execute('DROP VIEW "flights_LATEST"')
    admin.execute(own)  # type: ignore[arg-type]
    before = admin.execute("SELECT pg_get_viewdef('\"flights_LATEST\"'::regclass)").fetchone()
    prepare(schema)
    assert admin.execute("SELECT pg_get_viewdef('\"flights_LATEST\"'::regclass)").fetchone() == before


def test_an_invalid_index_is_reported_and_not_built_again(
    admin: Admin, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_first_table(admin, schema)
    with pytest.raises(psycopg.errors.UniqueViolation):
        admin.execute('CREATE UNIQUE INDEX CONCURRENTLY "flights_RECORDS" ON flights ("SOURCE_NAME")')
    prepare(schema)
    [message] = [message for message in caplog.messages if "REINDEX" in message]
    assert f'"{schema}"."flights_RECORDS"' in message
    assert index_names(admin, schema) == {"flights_TIMES", "flights_EVENTS"}
