"""Source `sql` on PostgreSQL (POSTGRES_URL): the kit, and the types and rights that only a server has."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql

from airflow_pipeline_provider.connectors.base import Identity, Slice
from airflow_pipeline_provider.connectors.sql.source import SqlSource
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, SnapshotLostError
from airflow_pipeline_provider.testing.source_kit import (
    START,
    WINDOW,
    Expected,
    KitRow,
    Load,
    Loaded,
    SnapshotConformance,
    read_all,
    rows_of,
    spread,
)

pytestmark = pytest.mark.integration

UTC = timezone.utc


@pytest.fixture(scope="module")
def database(postgres: dict[str, str]) -> Iterator[str]:
    """URL of a database of this module's own, in a session zone that is nobody's."""
    word = f"pipeline_{uuid.uuid4().hex}"
    name = sql.Identifier(word)
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        admin.execute(sql.SQL("ALTER DATABASE {} SET timezone TO 'Asia/Kathmandu'").format(name))
        yield urlsplit(postgres["POSTGRES_URL"])._replace(path=f"/{word}").geturl()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def admin(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A connection to the database, which is also the Airflow connection `kit`."""
    parts = urlsplit(database)
    conn = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path[1:],
    }
    monkeypatch.setenv("AIRFLOW_CONN_KIT", json.dumps(conn))
    monkeypatch.setenv("AIRFLOW_CONN_DICTS", json.dumps({**conn, "extra": {"cursor": "dictcursor"}}))
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def source(**fields: Any) -> SqlSource:
    base = {"type": "sql", "conn_id": "kit", "table": "events", "time_column": "at", "key_columns": "id"}
    return SqlSource(SqlSource.Options.model_validate({**base, **fields}), Identity("kit", "UTC"))


class TestPostgresConformance(SnapshotConformance):
    @pytest.fixture(params=["timestamptz", "timestamp", "timestamp in Tokyo"])
    def way(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def load(self, admin: psycopg.Connection, way: str) -> Load:
        zone = {"timestamptz": None, "timestamp": "UTC"}.get(way, "Asia/Tokyo")
        kind = "timestamptz" if zone is None else "timestamp"

        def stored(moment: datetime | None) -> datetime | None:
            if moment is None or zone is None:
                return moment
            return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)

        def shown(moment: datetime) -> str:
            return (stored(moment) or moment).isoformat().replace("+00:00", "Z")

        def load(rows: Sequence[KitRow]) -> Loaded:
            admin.execute("DROP TABLE IF EXISTS events")
            admin.execute(f"CREATE TABLE events (id text PRIMARY KEY, at {kind}, text text)")
            with admin.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO events VALUES (%s, %s, %s)",
                    [(row.key, stored(row.event_time), row.text) for row in rows],
                )
            expected = {
                f"events/{json.dumps([row.key], ensure_ascii=False)}": Expected(
                    row.event_time,
                    json.dumps(
                        {"id": row.key, "at": shown(row.event_time), "text": row.text},
                        separators=(",", ":"),
                        ensure_ascii=False,
                    ),
                )
                for row in rows
                if row.event_time is not None
            }
            made = source(time_column_zone=zone, page_size=self.page_size)
            return Loaded(made, expected, lambda: admin.execute("DELETE FROM events"))

        return load

    @pytest.fixture
    def missing(self, admin: psycopg.Connection) -> SqlSource:
        return source(table="no_such_table")

    @pytest.mark.parametrize(
        "text",
        ["", "ü é ✈ 🛫", 'a "quoted" \\ one', "line\nbreak\ttab", "\x1f\x7f", "1.10", "null", "x" * 200_000],
    )
    def test_a_body_is_read_byte_for_byte(self, load: Load, text: str) -> None:
        """Without NUL, which PostgreSQL's text cannot hold."""
        super().test_a_body_is_read_byte_for_byte(load, text)


# --- types


VALUES = [
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("numeric", "12345678901234567890.10", '"12345678901234567890.10"'),
    ("numeric", "'NaN'", '"NaN"'),
    ("float8", "0.1", "0.1"),
    ("float8", "'-Infinity'", '"-Infinity"'),
    ("float4", "1.1", "1.1"),
    ("boolean", "true", "true"),
    ("date", "'2013-11-03'", '"2013-11-03"'),
    ("time", "'05:30:00.5'", '"05:30:00.500000"'),
    ("timestamp", "'2013-11-03 05:30:00.000001'", '"2013-11-03T05:30:00.000001"'),
    ("timestamptz", "'2013-11-03 05:30:00+02'", '"2013-11-03T03:30:00Z"'),
    ("interval", "'1 day 01:00:00.000001'", '"P1DT3600.000001S"'),
    ("bytea", "'\\x00ff'", '"AP8="'),
    ("uuid", "'00000000-0000-0000-0000-000000000005'", '"00000000-0000-0000-0000-000000000005"'),
    ("inet", "'10.0.0.1/8'", '"10.0.0.1/8"'),
    ("json", '\'{"b": 1.10, "a" : 1e400}\'', '{"b": 1.10, "a" : 1e400}'),
    (
        "jsonb",
        '\'{"b": 1.10, "a": 100000000000000000000000000001}\'',
        '{"a": 100000000000000000000000000001, "b": 1.10}',
    ),
    ("json", "NULL", "null"),
    ("numeric[]", "'{1.10,NULL}'", '["1.10",null]'),
    ("text[]", "'{{a,b},{c,d}}'", '[["a","b"],["c","d"]]'),
    ("char(4)", "'ab'", '"ab  "'),
    ("mood", "'fine'", '"fine"'),
]


@pytest.mark.parametrize(("kind", "literal", "expected"), VALUES, ids=[f"{k} {v}"[:40] for k, v, _ in VALUES])
def test_values_keep_what_they_are(admin: psycopg.Connection, kind: str, literal: str, expected: str) -> None:
    if kind == "mood":
        admin.execute("CREATE TYPE mood AS ENUM ('fine', 'sad')")
    admin.execute(f"CREATE TABLE events (id int, at timestamptz, v {kind})")  # type: ignore[call-overload]
    admin.execute(f"INSERT INTO events VALUES (1, %s, {literal}::{kind})", [START])  # type: ignore[call-overload]
    assert list(rows_of(read_all(source(columns="v"), WINDOW))) == [
        ("events/[1]", START, f'{{"v":{expected}}}')
    ]


KEYS = {
    "uuid": [str(uuid.UUID(int=n)) for n in (1, 2, 2**127)],
    "numeric": ["1", "1.5", "-2", "10"],
    "float8": ["0.1", "0.30000000000000004", "-1e300", "Infinity"],
    "timestamptz": ["2013-11-03 05:30:00.000001+00", "1970-01-01"],
    "bytea": ["\\x00", "\\xff"],
    "boolean": ["true", "false"],
    "char(4)": ["a", "b", "é"],
    'text COLLATE "C"': ["a", "B", "é", ""],
}


@pytest.mark.parametrize("kind", list(KEYS))
def test_keys_of_any_type_page(admin: psycopg.Connection, kind: str) -> None:
    admin.execute(f"CREATE TABLE events (k {kind}, n int, at timestamptz)")  # type: ignore[call-overload]
    for key in KEYS[kind]:
        for number in range(3):
            admin.execute("INSERT INTO events VALUES (%s, %s, %s)", [key, number, START])
    read = rows_of(read_all(source(key_columns=["k", "n"], page_size=2), WINDOW))
    assert len(read) == sum(read.values()) == 3 * len(KEYS[kind])


def test_a_date_is_its_midnight_in_the_stated_zone(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE events (id int, at date)")
    admin.execute("INSERT INTO events SELECT n, date '2013-11-01' + n FROM generate_series(0, 5) n")
    made = source(time_column_zone="America/New_York")
    day = Interval(datetime(2013, 11, 3, 4, tzinfo=UTC), datetime(2013, 11, 4, 5, tzinfo=UTC))
    assert [row[:2] for row in rows_of(read_all(made, day))] == [("events/[2]", day.start)]
    assert made.count(day) == 1


def test_wall_times_around_a_clock_change_are_read_once(admin: psycopg.Connection) -> None:
    """Every half hour of 25 and of 23 hours: each row in exactly one of the windows, by count and by reading."""
    admin.execute("CREATE TABLE events (id int PRIMARY KEY, at timestamp)")
    zone = ZoneInfo("America/New_York")
    number = 0
    for day in (date(2013, 11, 3), date(2013, 3, 10)):
        for half in range(-6, 54):
            at = datetime.combine(day, time.min) + timedelta(minutes=30 * half)
            admin.execute("INSERT INTO events VALUES (%s, %s)", [number, at])
            number += 1
    made = source(time_column_zone=zone.key)
    seen: list[str] = []
    for begin in (datetime(2013, 11, 3, tzinfo=UTC), datetime(2013, 3, 10, tzinfo=UTC)):
        for hour in range(-12, 48):
            window = Interval(begin + timedelta(hours=hour), begin + timedelta(hours=hour + 1))
            rows = rows_of(read_all(made, window))
            assert made.count(window) == sum(rows.values())
            seen += [record for record, _, _ in rows]
    assert sorted(seen) == sorted(f"events/[{n}]" for n in range(number))


def test_infinite_times_are_in_no_window(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE events (id int, at timestamptz)")
    admin.execute("INSERT INTO events VALUES (1, 'infinity'), (2, '-infinity'), (3, NULL), (4, %s)", [START])
    made = source()
    assert (made.count(WINDOW), made.count_untimed(), made.newest_event_time()) == (1, 3, START)
    assert len(read_all(made, WINDOW)) == 1


# --- names


def test_names_are_matched_exactly(admin: psycopg.Connection) -> None:
    admin.execute('CREATE SCHEMA "My Schema"')
    admin.execute('CREATE TABLE "My Schema"."or.der" ("Key%" int, "time" timestamptz, "a""b" text)')
    admin.execute('INSERT INTO "My Schema"."or.der" VALUES (1, %s, %s)', [START, "100%"])
    made = source(
        table='My Schema."or.der"', time_column="time", key_columns="Key%", name="orders", page_size=1
    )
    assert list(rows_of(read_all(made, WINDOW))) == [
        ("orders/[1]", START, '{"Key%":1,"time":"2013-11-03T05:00:00Z","a\\"b":"100%"}')
    ]
    admin.execute('DROP SCHEMA "My Schema" CASCADE')


def test_a_query_may_hold_percent_signs_and_comments(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE events (id int, at timestamptz, note text)")
    admin.execute("INSERT INTO events SELECT n, %s, 'n' || n FROM generate_series(1, 20) n", [START])
    made = source(
        table=None, query="SELECT id, at, 7 % 4 AS m FROM events WHERE note LIKE 'n1%' -- 50%", page_size=4
    )
    assert made.count(WINDOW) == sum(rows_of(read_all(made, WINDOW)).values()) == 11


def test_a_connection_that_gives_rows_as_dicts(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE events (id int, at timestamptz)")
    admin.execute("INSERT INTO events VALUES (1, %s)", [START])
    assert sum(rows_of(read_all(source(conn_id="dicts"), WINDOW)).values()) == 1


# --- what is wrong


@pytest.mark.parametrize(
    ("shape", "fields", "error", "said"),
    [
        pytest.param("id int, at timestamp", {}, ConfigError, r"source\.time_column_zone", id="wall times"),
        pytest.param(
            "id int, at text", {}, DataError, "to be timestamptz, timestamp or date", id="text times"
        ),
        pytest.param("id int, at int", {}, DataError, "cast it with `query`", id="epoch times"),
        pytest.param(
            "id int, at timestamptz", {"key_columns": "idd"}, FatalError, "'idd'.*did you mean 'id'", id="key"
        ),
        pytest.param(
            "id int, at timestamptz", {"table": "Events"}, FatalError, '"Events" does not exist', id="case"
        ),
        pytest.param(
            "id int, at timestamptz",
            {"table": None, "query": "SELECT id, at, id FROM events"},
            FatalError,
            "two columns named id",
            id="twice",
        ),
        pytest.param(
            "id int, at timestamptz",
            {"table": None, "query": "SELEKT 1"},
            FatalError,
            "syntax error",
            id="syntax",
        ),
    ],
)
def test_mistakes_are_said_on_an_empty_table_already(
    admin: psycopg.Connection, shape: str, fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    admin.execute(f"CREATE TABLE events ({shape})")  # type: ignore[call-overload]
    for ask in (source(**fields).check, lambda: source(**fields).count(WINDOW)):
        with pytest.raises(error, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_missing_right_is_said(
    admin: psycopg.Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"guest_{uuid.uuid4().hex[:12]}"
    admin.execute("CREATE TABLE events (id int, at timestamptz)")
    admin.execute("GRANT USAGE ON SCHEMA public TO public")
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'guest-secret'").format(sql.Identifier(role)))
    parts = urlsplit(database)
    monkeypatch.setenv(
        "AIRFLOW_CONN_KIT",
        parts._replace(netloc=f"{role}:guest-secret@{parts.hostname}:{parts.port}").geturl(),
    )
    with pytest.raises(FatalError, match="permission denied for table events") as caught:
        source().check()
    assert "guest-secret" not in str(caught.value)
    admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(1, 0), (None, 0)], "'id' is NULL in 1 of 2 rows"),
        ([(1, 0), (2, 0), (2, 0)], "do not identify a row"),
        ([(1, 0), (1, 0)], "do not identify a row"),
    ],
)
def test_keys_that_do_not_identify_a_row(
    admin: psycopg.Connection, rows: list[tuple[Any, int]], said: str
) -> None:
    admin.execute("CREATE TABLE events (id int, at timestamptz)")
    for key, _ in rows:
        admin.execute("INSERT INTO events VALUES (%s, %s)", [key, START])
    with pytest.raises(DataError, match=said):
        read_all(source(page_size=2), WINDOW)


def test_a_view_that_the_server_ends_is_lost(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE events (id text PRIMARY KEY, at timestamptz)")
    with admin.cursor() as cursor:
        cursor.executemany("INSERT INTO events VALUES (%s, %s)", [row[:2] for row in spread(30)])
    made = source(page_size=10)
    with made.open(Slice(0, 1, WINDOW)) as iterators:
        next(iterators[0])
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(SnapshotLostError):
            next(iterators[0])
    assert sum(rows_of(read_all(made, WINDOW)).values()) == 30


def test_no_session_is_left_behind(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE events (id int, at timestamptz)")
    made = source()
    with made.open(Slice(0, 1, WINDOW)), pytest.raises(FatalError):
        source(table="no_such_table").check()
    made.count(WINDOW)
    made.close()
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    for _ in range(100):
        if admin.execute(others).fetchone() == (0,):
            break
        threading.Event().wait(0.05)
    assert admin.execute(others).fetchone() == (0,)


def test_a_query_writes_nothing_on_any_path(admin: psycopg.Connection) -> None:
    """A function that writes fails wherever the query is executed, also in transactions that see one statement."""
    admin.execute("CREATE TABLE notes (a integer); CREATE SEQUENCE numbers")
    admin.execute("CREATE TABLE events (id integer, at timestamptz)")
    admin.execute("INSERT INTO events VALUES (1, %s), (2, NULL)", [WINDOW.start])
    admin.execute(
        "CREATE FUNCTION note() RETURNS integer LANGUAGE sql AS 'INSERT INTO notes VALUES (1) RETURNING a'"
    )
    for call in ("note()", "nextval('numbers')"):
        made = source(table=None, query=f"SELECT id, at FROM events WHERE {call} > 0")
        for path in (
            lambda made=made: made.count(WINDOW),
            lambda made=made: made.count_untimed(),
            lambda made=made: made.newest_event_time(),
            lambda made=made: read_all(made, WINDOW),
        ):
            with pytest.raises(FatalError, match="in a read-only transaction"):
                path()
    assert admin.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    assert admin.execute("SELECT is_called FROM numbers").fetchone() == (False,)


def test_types_of_columns_are_those_of_the_database(admin: psycopg.Connection) -> None:
    admin.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
    admin.execute("CREATE DOMAIN cents AS numeric(9,2)")
    columns = {  # column -> (its type in PostgreSQL, the proposed type, the note)
        "id": ("bigint", "integer", None),
        "at": ("timestamptz", "timestamp", None),
        "small": ("smallint", "integer", None),
        "price": ("numeric(12,2)", "decimal(12,2)", None),
        "cents": ("cents", "decimal(9,2)", None),
        "any_number": (
            "numeric",
            "decimal(38,9)",
            "numeric without digits: more than 9 after the point are rounded",
        ),
        "huge": ("numeric(60,2)", "text", "numeric(60,2) has no decimal type on all targets"),
        "tens": ("numeric(5,-2)", "text", "numeric(5,-2) has no decimal type on all targets"),
        "ratio": ("double precision", "double", None),
        "ok": ("boolean", "boolean", None),
        "day": ("date", "date", None),
        "wall": ("timestamp", "timestamp", None),
        "code": ("char(3)", "text", None),
        "key": ("uuid", "text", None),
        "doc": ("jsonb", "json", None),
        "tags": ("text[]", "array", None),
        "moods": ("mood[]", "array", None),
        "mood": ("mood", "text", None),
        "addr": ("inet", "text", None),
        "raw": ("bytea", "text", "bytes are a Base64 text"),
        "took": ("interval", "text", "an interval is an ISO 8601 text"),
        "place": ("point", "text", "type point: check it"),
    }
    shape = ", ".join(f"{name} {kind}" for name, (kind, _, _) in columns.items())
    admin.execute(f"CREATE TABLE events ({shape})")
    expected = {name: (kind, note) for name, (_, kind, note) in columns.items()}
    for made in (source(), source(table=None, query="SELECT * FROM events")):
        fields = made.field_types()
        assert {field.path[0]: (str(field.type), field.note) for field in fields or ()} == expected
