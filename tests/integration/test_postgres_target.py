"""Target `postgres` on PostgreSQL (POSTGRES_URL): the kit with both drivers, and what only a server can show."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from airflow_pipeline_provider.connectors.base import Identity, LoadResult, Stage
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.postgres import session as postgres_session
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.limits import TargetLimits
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, TransientError
from airflow_pipeline_provider.testing.sample_rows import (
    MICRO,
    MIDNIGHT,
    Loader,
    MakeTarget,
    Row,
    hours,
    rows,
)
from airflow_pipeline_provider.testing.sql_target_kit import SqlTargetConformance
from airflow_pipeline_provider.testing.target_kit import Fetch

pytestmark = pytest.mark.integration

TABLE = "raw.Flights"


@pytest.fixture(scope="module")
def database(postgres: dict[str, str]) -> Iterator[str]:
    """URL of a database of this module's own, with settings that are nobody's."""
    word = f"pipeline_{uuid.uuid4().hex}"
    name = sql.Identifier(word)
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield urlsplit(postgres["POSTGRES_URL"])._replace(path=f"/{word}").geturl()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def admin(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A connection to the database, which is also the Airflow connection `kit`."""
    monkeypatch.setenv("AIRFLOW_CONN_KIT", connection_json(database))
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as connection:
        yield connection
        connection.execute("DROP SCHEMA IF EXISTS raw CASCADE")
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


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


def target_of(pipeline_id: str = "flights", **options: Any) -> PostgresTarget:
    given = {"type": "postgres", "conn_id": "kit", "table": TABLE, **options}
    return PostgresTarget(PostgresTarget.Options.model_validate(given), Identity(pipeline_id, "UTC"))


class TestPostgres(SqlTargetConformance):
    @pytest.fixture(autouse=True)
    def driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", True)

    @pytest.fixture
    def make_target(self, admin: psycopg.Connection) -> MakeTarget:
        return target_of

    @pytest.fixture
    def fetch(self, admin: psycopg.Connection) -> Fetch:
        return lambda suffix: admin.execute(f'SELECT * FROM raw."Flights{suffix}"').fetchall()

    @pytest.fixture
    def make_other_shape(self, admin: psycopg.Connection):
        def make() -> None:
            admin.execute('CREATE SCHEMA raw; CREATE TABLE raw."Flights" ("RECORD_ID" text, "BODY" integer)')

        return make


class TestPostgresWithPsycopg2(TestPostgres):
    @pytest.fixture(autouse=True)
    def driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", False)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return ObjectStoreStage(
        ObjectStoreStage.Options(type="object_store", path=str(tmp_path / "stage")), Identity("kit", "UTC")
    )


@pytest.fixture(params=[True, False], ids=["psycopg", "psycopg2"])
def both_drivers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", request.param)


def loader(stage: Stage, **options: Any) -> Loader:
    target_of(**options).prepare()
    return Loader(lambda pipeline_id: target_of(pipeline_id, **options), stage)


def load_once(manifest: Manifest, stage: Stage, **options: Any) -> LoadResult:
    """Without the kit's patience."""
    return target_of(**options).load(manifest, stage)


# --- odd settings and odd rows

ODD = (
    "-c timezone=Asia/Kathmandu -c datestyle=German -c default_transaction_isolation=serializable "
    "-c default_transaction_read_only=on -c standard_conforming_strings=off -c search_path=nowhere "
    "-c client_encoding=LATIN1 -c lock_timeout=1 -c bytea_output=escape -c extra_float_digits=-15"
)


@pytest.mark.parametrize(
    "extra", [{"options": ODD}, {"cursor": "dictcursor"}, {"client_encoding": "LATIN1"}], ids=str
)
def test_sessions_in_odd_settings(admin, database, stage, monkeypatch, both_drivers, extra):
    monkeypatch.setenv("AIRFLOW_CONN_KIT", connection_json(database, extra=extra))
    load = loader(stage)
    body = r'{"back": "\\ \n \u0000", "ü": "🛩", "q": "\"'
    window = hours(0, 2)
    assert load(window, [Row("o'neil\\ü🛩", MIDNIGHT + MICRO, body)], token=1) == LoadResult(1, 1)
    [row] = admin.execute('SELECT * FROM raw."Flights"').fetchall()
    assert (row["RECORD_ID"], row["EVENT_TIME"], row["BODY"]) == ("o'neil\\ü🛩", MIDNIGHT + MICRO, body)
    [commit] = target_of().commits(window)
    assert (commit.interval, commit.token) == (window, 1)
    assert target_of().count(window) == (1, 1)


@pytest.mark.parametrize(
    "start",
    [datetime(1, 1, 1, tzinfo=timezone.utc), datetime(9999, 12, 31, 22, tzinfo=timezone.utc)],
    ids=["year 1", "year 9999"],
)
def test_the_ends_of_the_calendar(admin, stage, both_drivers, start):
    window = Interval(start, start + timedelta(hours=1, minutes=59))
    rows_there = [Row("first", window.start), Row("last", window.end - MICRO)]
    assert loader(stage)(window, rows_there, token=1) == LoadResult(2, 2)
    [commit] = target_of().commits()
    assert commit.interval == window
    assert target_of().count(Interval(window.start, window.start + MICRO)) == (1, 1)


@pytest.mark.parametrize(
    "body",
    ["\\.", "\n\\.\n", "\\N", "\t\r\n", "", '"', "\\u0000 \\ud800", "x" * 20_000_000],
    ids=["end", "end on a line", "null", "blanks", "empty", "quote", "escapes", "20 MB"],
)
def test_bodies_that_a_text_format_would_trip_over(admin, stage, both_drivers, body):
    loader(stage)(hours(0, 2), [Row("", MIDNIGHT, body), Row("b", MIDNIGHT, "{}")], token=1)
    [row] = admin.execute("""SELECT "BODY" FROM raw."Flights" WHERE "RECORD_ID" = ''""").fetchall()
    assert row["BODY"] == body


def test_a_nul_character_is_a_data_error_and_changes_nothing(admin, stage, both_drivers):
    load = loader(stage)
    load(hours(0, 2), rows(hours(0, 2), 5), token=1)
    manifest = load.manifest(hours(0, 2), [Row("a\0b", MIDNIGHT)], token=2)
    with pytest.raises(DataError, match=r"record 'a\\x00b': its RECORD_ID contains a NUL"):
        load_once(manifest, stage)
    assert target_of().count(hours(0, 2)) == (5, 5)


# --- tables


def tables_of(admin: psycopg.Connection[dict[str, Any]], schema: str) -> set[str]:
    found = admin.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = CAST(%s AS regnamespace)", [schema]
    )
    return {row["relname"] for row in found.fetchall()} - {"t"}


def test_what_prepare_creates_and_its_index_serves(admin, stage):
    loader(stage)
    target_of().prepare()
    assert tables_of(admin, "raw") == {
        "Flights",
        "Flights_COMMITS",
        "Flights_EVENTS",
        "Flights_FENCE",
        "Flights_LATEST",
        "Flights_RECORDS",
        "Flights_TIMES",
    }
    admin.execute("SET enable_seqscan = off")
    [plan] = (
        admin.execute(
            """EXPLAIN (FORMAT JSON) DELETE FROM raw."Flights" WHERE "PIPELINE_ID" = 'p' AND "EVENT_TIME" >= now()"""
        )
        .fetchone()
        .values()
    )
    assert "Flights_TIMES" in json.dumps(plan)


def test_an_index_of_ones_own_is_enough(admin):
    target_of().prepare()
    admin.execute(
        'DROP INDEX raw."Flights_TIMES"; '
        'CREATE INDEX mine ON raw."Flights" ("PIPELINE_ID", "EVENT_TIME", "RECORD_ID")'
    )
    target_of().prepare()
    assert "Flights_TIMES" not in tables_of(admin, "raw")


@pytest.mark.parametrize(
    ("sql_before", "said"),
    [
        ('CREATE TABLE raw."Flights_LATEST" (a int)', "Flights_LATEST.*is not a view"),
        ('CREATE TABLE raw."Flights_COMMITS" (a int)', "Flights_COMMITS.*PIPELINE_ID text is missing"),
        ('CREATE TABLE raw."Flights_FENCE" (a int)', "Flights_FENCE.*PIPELINE_ID text is missing"),
        ('CREATE VIEW raw."Flights" AS SELECT 1 AS a', "another shape"),
    ],
)
def test_a_name_that_is_taken_is_refused_and_nothing_created(admin, sql_before, said):
    admin.execute(f"CREATE SCHEMA raw; {sql_before}")
    before = tables_of(admin, "raw")
    with pytest.raises(FatalError, match=said):
        target_of().prepare()
    assert tables_of(admin, "raw") == before


@pytest.mark.parametrize("change", ["DELETE FROM {}", "INSERT INTO {0} SELECT * FROM {0}"])
def test_a_broken_fence_is_said(admin, stage, change):
    load = loader(stage)
    admin.execute(change.format('raw."Flights_FENCE"'))
    with pytest.raises(FatalError, match="expected exactly one row, got"):
        load(hours(0, 2), rows(hours(0, 2), 3), token=1)
    assert target_of().count(hours(0, 2)) == (0, 0)


def test_the_fence_table_of_an_older_version_gets_its_column(admin, stage, both_drivers):
    load = loader(stage)
    load(hours(0, 2), rows(hours(0, 2), 5), token=1)
    admin.execute('ALTER TABLE raw."Flights_FENCE" DROP COLUMN "PIPELINES"')
    target = target_of()
    assert target.pipelines() == {}
    target.prepare()
    target.register({"n": 1}, lambda _: None)
    assert target.pipelines() == {"flights": {"n": 1}}
    assert load(hours(0, 2), rows(hours(0, 2), 6), token=2).rows == 6


def test_load_before_prepare_is_said(admin, stage):
    load = Loader(target_of, stage)
    with pytest.raises(FatalError, match=r"call prepare\(\) before load"):
        load(hours(0, 2), rows(hours(0, 2), 3), token=1)


def test_a_table_without_schema_lies_where_the_search_path_says(admin, database, stage, monkeypatch):
    admin.execute("CREATE SCHEMA raw; CREATE TABLE public.plain (a int)")
    extra = {"options": "-c search_path=raw,public"}
    monkeypatch.setenv("AIRFLOW_CONN_KIT", connection_json(database, extra=extra))
    assert target_of(table="plain").commits() == []
    load = loader(stage, table="plain")
    assert load(hours(0, 2), rows(hours(0, 2), 3), token=1).rows == 3
    assert "plain" in tables_of(admin, "raw")
    extra = {"options": "-c search_path=nowhere"}
    monkeypatch.setenv("AIRFLOW_CONN_KIT", connection_json(database, extra=extra))
    with pytest.raises(FatalError, match=r"write schema\.plain"):
        target_of(table="plain").prepare()


# --- rights


@pytest.fixture
def role(admin: psycopg.Connection, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A role without any right; the Airflow connection `kit` logs in with it."""
    name = f"loader_{uuid.uuid4().hex[:12]}"
    admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'loader'")
    monkeypatch.setenv("AIRFLOW_CONN_LOADER", connection_json(database, login=name, password="loader"))
    yield name
    admin.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_a_role_that_may_not_create_loads_into_what_is_there(admin, stage, role):
    target_of().prepare()
    admin.execute(f"GRANT USAGE ON SCHEMA raw TO {role}")
    admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA raw TO {role}")
    load = loader(stage, conn_id="loader")
    assert load(hours(0, 2), rows(hours(0, 2), 3), token=1).rows == 3


REJECTED = [Row("a\0b", MIDNIGHT), Row("long", MIDNIGHT, '{"text":"too long"}')]
LIMITS = TargetLimits(max_body_bytes=10, takes_nul=False)


def test_a_role_that_may_not_create_loads_without_the_quarantine_table(admin, stage, role, caplog):
    """It is told what to create; the rows come from the stage when the table is there."""
    test_a_role_that_may_not_create_loads_into_what_is_there(admin, stage, role)
    load = loader(stage, conn_id="loader")
    manifest = load.manifest(hours(0, 2), [*rows(hours(0, 2), 3), *REJECTED], token=2, limits=LIMITS)
    assert load.load(manifest) == LoadResult(3, 3)
    [message] = [r.getMessage() for r in caplog.records if "cannot be created" in r.getMessage()]
    assert "permission denied for schema raw" in message
    target = target_of(conn_id="loader")
    assert target.quarantined() is None
    admin.execute(message.rpartition(": CREATE")[1].strip(": ") + message.rpartition(": CREATE")[2])
    with pytest.raises(FatalError, match="permission denied"):
        load_once(load.manifest(hours(0, 2), REJECTED, token=3, limits=LIMITS), stage, conn_id="loader")
    admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA raw TO {role}")
    assert target.restore_quarantine(manifest, stage) == 2
    assert [row.record_id for row in target.quarantined_rows(2, 10)] == [r"a\u0000b", "long"]
    assert dict(target.probes())["tables and rights"]().status == "ok"
    admin.execute(f'REVOKE DELETE ON raw."Flights_QUARANTINE" FROM {role}')
    with pytest.raises(FatalError, match="permission denied for table Flights_QUARANTINE"):
        dict(target.probes())["tables and rights"]()


@pytest.mark.parametrize(
    ("length", "suffix"), [(52, "_QUARANTINE"), (53, "_QUARANT"), (55, "_QUARANT")], ids=str
)
def test_the_quarantine_table_of_a_long_name_is_not_cut_off(admin, stage, length, suffix):
    table = "t" * length
    load = loader(stage, table=f"raw.{table}")
    manifest = load.manifest(hours(0, 2), [*rows(hours(0, 2), 3), *REJECTED], token=1, limits=LIMITS)
    assert load.load(manifest) == LoadResult(3, 3)
    assert target_of(table=f"raw.{table}").quarantine_table() == f"raw.{table}{suffix}"
    assert f"{table}{suffix}" in tables_of(admin, "raw")
    load(hours(0, 2), rows(hours(0, 2), 2), token=2)
    assert target_of(table=f"raw.{table}").quarantined() == []


def test_of_two_loads_that_create_the_quarantine_table_at_once_both_succeed(admin, stage):
    load = loader(stage)
    manifests = [
        load.manifest(
            hours(n, n + 1),
            [Row(f"r{n}", MIDNIGHT + timedelta(hours=n), '"too long for it"')],
            token=n + 1,
            limits=LIMITS,
        )
        for n in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load.load, manifests))
    assert [count.rows for count in target_of().quarantined() or []] == [1, 1, 1, 1]
    found = admin.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'Flights_QUARANTINE'").fetchall()
    assert len(found) == 1


def test_what_a_role_may_not_is_fatal(admin, stage, role):
    with pytest.raises(FatalError, match="permission denied"):
        target_of(conn_id="loader").prepare()
    load = loader(stage)
    admin.execute(f"GRANT USAGE ON SCHEMA raw TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA raw TO {role}")
    manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 3), token=1)
    with pytest.raises(FatalError, match="permission denied"):
        load_once(manifest, stage, conn_id="loader")


def test_rows_that_a_policy_hides_are_an_error_and_not_a_smaller_count(admin, stage, role):
    loader(stage)(hours(0, 2), rows(hours(0, 2), 3), token=1)
    admin.execute(f"GRANT USAGE ON SCHEMA raw TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA raw TO {role}")
    admin.execute('ALTER TABLE raw."Flights" ENABLE ROW LEVEL SECURITY')
    with pytest.raises(FatalError, match="row-level security"):
        target_of(conn_id="loader").count(hours(0, 2))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"password": "canary-7Q", "login": "nobody"}, FatalError, "nobody"),
        ({"schema": "no_such_database"}, FatalError, "no_such_database"),
        ({"port": 1}, TransientError, "refused"),
        ({"conn_type": "mysql"}, ConfigError, "type postgres"),
    ],
    ids=["no such user", "no such database", "server down", "another type"],
)
def test_a_connection_that_does_not_serve(database, monkeypatch, both_drivers, changes, error, said):
    monkeypatch.setenv("AIRFLOW_CONN_KIT", connection_json(database, **changes))
    with pytest.raises(error, match=said) as caught:
        target_of().prepare()
    assert "canary" not in str(caught.value)


# --- locks, and what a network does


def test_a_fence_that_stays_taken_is_transient(admin, database, stage, both_drivers):
    load = loader(stage)
    manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 3), token=1)
    with psycopg.connect(database) as other:
        other.execute('UPDATE raw."Flights_FENCE" SET "TOKEN" = 5')
        with pytest.raises(TransientError, match="lock timeout"):
            load_once(manifest, stage, statement_timeout="3s")
    assert load_once(manifest, stage) == LoadResult(3, 3)


class Disturbed(ObjectStoreStage):
    """Does something to the server when the second part is about to be read."""

    def __init__(self, stage: ObjectStoreStage, disturb: Callable[[], object]) -> None:
        super().__init__(stage.options, stage.identity)
        self.disturb, self.opened = disturb, 0

    def open_read(self, path: str) -> AbstractContextManager[BinaryIO]:
        self.opened += 1
        if self.opened == 2:
            self.disturb()
        return super().open_read(path)


def test_a_server_that_ends_the_session_in_the_middle_of_copy_is_transient(admin, stage, both_drivers):
    load = loader(stage)
    load(hours(0, 2), rows(hours(0, 2), 5), token=1)
    manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 2500, "new"), token=2, part_bytes=5_000)

    def end_others() -> None:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'COPY%'"
        )

    with pytest.raises(TransientError):
        load_once(manifest, Disturbed(stage, end_others))
    assert target_of().count(hours(0, 2)) == (5, 5)
    assert load_once(manifest, stage) == LoadResult(2500, 2500)


def test_an_error_of_the_stage_comes_through_as_it_is(admin, stage, both_drivers):
    load = loader(stage)
    manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 2500), token=1, part_bytes=5_000)

    def fail() -> None:
        raise OSError("the stage's own words")

    with pytest.raises(OSError, match=r"^the stage's own words$"):
        load_once(manifest, Disturbed(stage, fail))
    assert target_of().count(hours(0, 2)) == (0, 0)


class Proxy:
    """TCP to the server; `fault` says what becomes of what we send with `word` in it and of its reply."""

    def __init__(self, to: tuple[str, int], fault: str, word: bytes) -> None:
        self._to, self._fault, self._word = to, fault, word
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._sockets = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                server = socket.create_connection(self._to)
                self._sockets += [client, server]
                self._mute = self._hole = False
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if up and self._word in data:
                    if self._fault == "cut before":
                        source.shutdown(socket.SHUT_RDWR)
                        sink.shutdown(socket.SHUT_RDWR)
                        return
                    self._hole = self._fault == "black hole"
                    self._mute = self._fault == "cut after"
                if up and self._hole:
                    continue
                if not up and self._mute:  # the reply: done at the server, unknown here
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)


@pytest.mark.parametrize(
    ("fault", "word", "committed"),
    [
        pytest.param("cut after", b"COMMIT\0", True, id="the reply to COMMIT is lost"),
        pytest.param("cut before", b"COMMIT\0", False, id="COMMIT is lost"),
        pytest.param("black hole", b"COMMIT\0", False, id="silence at COMMIT"),
        pytest.param("black hole", b"PGCOPY", False, id="silence in COPY"),
    ],
)
def test_a_connection_that_breaks_is_transient_and_the_commit_row_decides(
    admin, database, stage, monkeypatch, both_drivers, fault, word, committed
):
    load = loader(stage)
    load(hours(0, 2), rows(hours(0, 2), 5), token=1)
    manifest = load.manifest(hours(0, 2), rows(hours(0, 2), 7, "new"), token=2)
    monkeypatch.setattr(postgres_session, "GRACE_SECONDS", 0.2)
    parts = urlsplit(database)
    with closing(Proxy((parts.hostname, parts.port), fault, word)) as proxy:
        plain = connection_json(database, port=proxy.port, extra={"sslmode": "disable"})
        monkeypatch.setenv("AIRFLOW_CONN_PROXIED", plain)
        with pytest.raises(TransientError) as caught:
            load_once(manifest, stage, conn_id="proxied", statement_timeout="3s")
    if fault == "black hole":
        assert "PostgreSQL did not answer within 3 s" in str(caught.value)
    assert target_of().newest_token() == (2 if committed else 1)
    assert load_once(manifest, stage) == LoadResult(7, 7, already=committed)
    assert target_of().count(hours(0, 2)) == (7, 7)
