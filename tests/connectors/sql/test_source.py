"""Source `sql` on SQLite files, and its functions of time and JSON; PostgreSQL is in tests/integration."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import duckdb
import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.base import Identity, Slice
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.connectors.sql import source as sql
from airflow_pipeline_provider.connectors.sql.rows import json_text
from airflow_pipeline_provider.connectors.sql.source import SqlSource
from airflow_pipeline_provider.connectors.sql.times import TimeColumn, TimeKind, wall_ranges
from airflow_pipeline_provider.connectors.sql_dialect import Dialect
from airflow_pipeline_provider.core.datasets import table_parts
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, TransientError
from airflow_pipeline_provider.testing.source_kit import (
    END,
    START,
    WINDOW,
    Expected,
    KitRow,
    Load,
    Loaded,
    SnapshotConformance,
    read_all,
    rows_of,
)

UTC = timezone.utc
MICRO = timedelta(microseconds=1)


def options(**fields: Any) -> Any:
    base = {"type": "sql", "conn_id": "kit", "table": "events", "time_column": "at", "key_columns": "id"}
    return SqlSource.Options.model_validate({**base, **fields})


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """An empty SQLite file behind the Airflow connection `kit`; in WAL mode, so a reader stops no writer."""
    path = tmp_path / "a folder" / "events 100%.db"
    path.parent.mkdir()
    monkeypatch.setenv("AIRFLOW_CONN_KIT", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        yield connection


def source_over(
    database: sqlite3.Connection, rows: Sequence[Sequence[Any]], shape: str = "id, at", **fields: Any
) -> SqlSource:
    """The source over a table `events` with these rows."""
    database.execute("DROP TABLE IF EXISTS events")
    database.execute(f"CREATE TABLE events ({shape})")
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO events VALUES ({marks})", rows)
    return SqlSource(options(**fields), Identity("kit", "UTC"))


def ids(source: SqlSource, interval: Interval = WINDOW) -> list[str]:
    """Record ids in the interval without the table's name; the count must agree."""
    found = [record for record, _, _ in rows_of(read_all(source, interval)).elements()]
    assert source.count(interval) == len(found)
    return sorted(record.removeprefix("events/") for record in found)


# --- the kit, with every way in which SQLite holds a time


def iso_z(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def wall(zone: str) -> Callable[[datetime], str]:
    return lambda moment: str(moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None))


def offset(hours: int) -> Callable[[datetime], str]:
    return lambda moment: moment.astimezone(timezone(timedelta(hours=hours))).isoformat(" ")


WAYS = {
    "Z": (iso_z, None),
    "wall time, Tokyo": (wall("Asia/Tokyo"), "Asia/Tokyo"),
    "offset": (offset(-12), "Asia/Tokyo"),
}


class TestSqliteConformance(SnapshotConformance):
    @pytest.fixture(params=list(WAYS))
    def way(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def load(self, database: sqlite3.Connection, way: str) -> Load:
        write, zone = WAYS[way]

        def load(rows: Sequence[KitRow]) -> Loaded:
            stored = [(r.key, None if r.event_time is None else write(r.event_time), r.text) for r in rows]
            source = source_over(
                database,
                stored,
                'id TEXT PRIMARY KEY, "at" TEXT, "text" TEXT',
                time_column_zone=zone,
                page_size=self.page_size,
            )
            expected = {
                f"events/{json.dumps([key], ensure_ascii=False)}": Expected(
                    row.event_time,
                    json.dumps(
                        {"id": key, "at": at, "text": text}, separators=(",", ":"), ensure_ascii=False
                    ),
                )
                for row, (key, at, text) in zip(rows, stored, strict=True)
                if row.event_time is not None
            }
            return Loaded(source, expected, lambda: database.execute("DELETE FROM events"))

        return load

    @pytest.fixture
    def missing(self, database: sqlite3.Connection) -> SqlSource:
        return SqlSource(options(table="no_such_table"), Identity("kit", "UTC"))


# --- times


def test_texts_of_all_forms_live_side_by_side(database: sqlite3.Connection) -> None:
    inside = {
        "T and Z": "2013-11-03T05:00:00Z",
        "blank": "2013-11-03 05:30",
        "fraction": "2013-11-03 05:30:00.5",
        "nanoseconds, floored": "2013-11-03T06:59:59.999999999Z",
        "offset": "2013-11-03 01:30:00-04:00",
        "another day's date": "2013-11-02T17:00:00-12:00",
        "the day after": "2013-11-03T19:30+14:00",
    }
    outside = {
        "at the end": "2013-11-03T07:00:00Z",
        "before": "2013-11-03 04:59:59.999999",
        "offset, before": "2013-11-03T05:30:00+01:00",
        "a date": "2013-11-03",
    }
    source = source_over(database, [*inside.items(), *outside.items()], time_column_zone="UTC")
    assert ids(source) == sorted(json.dumps([key]) for key in inside)
    assert ids(source, Interval(START - timedelta(days=2), END + timedelta(days=2))) == sorted(
        json.dumps([key]) for key in {**inside, **outside}
    )


@pytest.mark.parametrize(
    "value", [None, 1383454800, 1383454800.5, "", "yesterday", "05:30", b"2013-11-03 05:30"]
)
def test_what_is_no_time_is_untimed_and_in_no_window(database: sqlite3.Connection, value: Any) -> None:
    source = source_over(database, [(1, "2013-11-03T05:30:00Z"), (2, value)])
    assert source.count_untimed() == 1
    assert ids(source) == ["[1]"]
    assert ids(source, Interval(datetime(1, 2, 1, tzinfo=UTC), datetime(9999, 11, 1, tzinfo=UTC))) == ["[1]"]


@pytest.mark.parametrize("value", [1383454800, "yesterday", b"x"])
def test_a_column_without_any_time_is_refused(database: sqlite3.Connection, value: Any) -> None:
    with pytest.raises(DataError, match=r"time column 'at'.*convert it with `query`"):
        source_over(database, [(1, value)]).check()


def test_a_day_that_is_none_is_named(database: sqlite3.Connection) -> None:
    source = source_over(database, [(1, "2013-11-03T05:30:00Z"), (2, "2013-02-30T00:00:00Z")])
    with pytest.raises(DataError, match="2013-02-30"):
        source.count(Interval(datetime(2013, 2, 1, tzinfo=UTC), END))


@pytest.mark.parametrize("ask", ["check", "count", "read"])
def test_wall_times_need_a_stated_zone(database: sqlite3.Connection, ask: str) -> None:
    source = source_over(database, [(1, "2013-11-03 05:30:00")])
    asks = {
        "check": source.check,
        "count": lambda: source.count(WINDOW),
        "read": lambda: read_all(source, WINDOW),
    }
    with pytest.raises(ConfigError, match=r"source\.time_column_zone: column 'at'"):
        asks[ask]()


def test_a_single_wall_time_among_others_needs_a_zone_too(database: sqlite3.Connection) -> None:
    source = source_over(database, [(1, "2013-11-03T05:30:00Z"), (2, "2013-11-03 06:30:00")])
    source.check()
    with pytest.raises(ConfigError, match="time_column_zone"):
        read_all(source, WINDOW)


def test_a_repeated_hour_is_read_once_and_a_missing_one_too(database: sqlite3.Connection) -> None:
    """2013-11-03 in New York: 01:00-02:00 twice; 2013-03-10: 02:00-03:00 not at all."""
    times = ["2013-11-03 00:30:00", "2013-11-03 01:30:00", "2013-11-03 02:30:00", "2013-03-10 02:30:00"]
    source = source_over(database, list(enumerate(times)), time_column_zone="America/New_York")

    def hour(day: date, utc_hour: int) -> list[str]:
        start = datetime.combine(day, time(utc_hour), UTC)
        return ids(source, Interval(start, start + timedelta(hours=1)))

    november, march = date(2013, 11, 3), date(2013, 3, 10)
    assert [hour(november, h) for h in (4, 5, 6, 7)] == [["[0]"], ["[1]"], [], ["[2]"]]
    assert [hour(march, h) for h in (6, 7, 8)] == [[], ["[3]"], []]


ZONES = {
    "America/New_York": [date(2013, 3, 10), date(2013, 11, 3)],
    "Australia/Lord_Howe": [date(2013, 4, 7), date(2013, 10, 6)],  # by half an hour
    "Africa/Cairo": [date(2014, 5, 16), date(2014, 9, 26)],  # at midnight
    "Pacific/Apia": [date(2011, 12, 29), date(2011, 12, 31)],  # skipped 2011-12-30
    "America/Sao_Paulo": [date(2013, 2, 17), date(2013, 10, 20)],
    "Asia/Kathmandu": [date(1985, 12, 31), date(2020, 1, 1)],
}


@pytest.mark.parametrize(("zone", "days"), ZONES.items(), ids=list(ZONES))
def test_wall_ranges_are_exactly_the_interval(zone: str, days: list[date]) -> None:
    """Every wall time of the days around a clock change lies in the ranges of the one hour that its instant is in."""
    column = TimeColumn("at", TimeKind.NAIVE, ZoneInfo(zone))
    for day in days:
        first = datetime.combine(day, time.min) - timedelta(days=1)
        walls = [
            first + timedelta(minutes=15 * i) + edge
            for i in range(4 * 24 * 3)
            for edge in (-MICRO, 0 * MICRO)
        ]
        instants = {w: column.instant_of(w) for w in walls}
        begin = first.replace(tzinfo=UTC) - timedelta(days=1)
        for number in range(24 * 5):
            start = begin + timedelta(hours=number)
            interval = Interval(start, start + timedelta(hours=1))
            ranges = wall_ranges(interval, ZoneInfo(zone))
            assert all(low < high for low, high in ranges)
            inside = [w for w in walls if interval.holds(instants[w])]
            assert inside == [w for w in walls if any(low <= w < high for low, high in ranges)]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        pytest.param(
            datetime(2013, 11, 3, 1, 30), TimeKind.NAIVE, "2013-11-03T05:30:00+00:00", id="first of two"
        ),
        pytest.param(
            datetime(2013, 3, 10, 2, 30), TimeKind.NAIVE, "2013-03-10T07:30:00+00:00", id="in the gap"
        ),
        pytest.param(
            date(2013, 11, 3), TimeKind.NAIVE, "2013-11-03T04:00:00+00:00", id="a date is its midnight"
        ),
        pytest.param(
            "2013-11-03T05:30:00.1234569Z", TimeKind.TEXT, "2013-11-03T05:30:00.123456+00:00", id="floored"
        ),
        pytest.param(
            "1969-12-31 23:59:59.9999999z",
            TimeKind.TEXT,
            "1969-12-31T23:59:59.999999+00:00",
            id="before 1970",
        ),
        pytest.param("2013-11-03  05:30+00:30 ", TimeKind.TEXT, "2013-11-03T05:00:00+00:00", id="blanks"),
        pytest.param("2013-11-03", TimeKind.TEXT, "2013-11-03T04:00:00+00:00", id="text of a date"),
    ],
)
def test_the_instant_of_a_value(value: Any, kind: TimeKind, expected: str) -> None:
    assert TimeColumn("at", kind, ZoneInfo("America/New_York")).instant_of(value).isoformat() == expected


# --- rows


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (2**70, str(2**70)),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (5e-324, "5e-324"),
        (float("nan"), '"NaN"'),
        (float("-inf"), '"-Infinity"'),
        (Decimal("1.10"), '"1.10"'),
        (
            Decimal("12345678901234567890.123456789012345678901"),
            '"12345678901234567890.123456789012345678901"',
        ),
        (date(2013, 11, 3), '"2013-11-03"'),
        (time(5, 30), '"05:30:00"'),
        (datetime(2013, 11, 3, 5, 30, 0, 1), '"2013-11-03T05:30:00.000001"'),
        (datetime(2013, 11, 3, 1, 30, tzinfo=timezone(timedelta(hours=-4))), '"2013-11-03T05:30:00Z"'),
        (timedelta(days=-1, seconds=3600), '"P-1DT3600.000000S"'),
        (b"\x00\xff", '"AP8="'),
        (memoryview(b"ab"), '"YWI="'),
        (UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (ip_address("::1"), '"::1"'),
        ([1, [None, Decimal("2.50")], "é"], '[1,[null,"2.50"],"é"]'),
        ({"b": 1, "a": [1.5]}, '{"b":1,"a":[1.5]}'),
        ('quote " back \\ nul \x00', '"quote \\" back \\\\ nul \\u0000"'),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_values_as_json(value: Any, expected: str) -> None:
    assert json_text(value) == expected
    json.loads(expected)


def test_columns_choose_what_the_body_holds_and_in_which_order(database: sqlite3.Connection) -> None:
    rows = [(1, "2013-11-03T05:30:00Z", "x", 0.1)]
    columns = 'id, "at", "a ""b"" %s", Order_'
    source = source_over(database, rows, columns, columns=["Order_", 'a "b" %s'], name="shop")
    assert list(rows_of(read_all(source, WINDOW))) == [
        ("shop/[1]", START + timedelta(minutes=30), '{"Order_":0.1,"a \\"b\\" %s":"x"}')
    ]


def test_record_ids_keep_any_two_keys_apart(database: sqlite3.Connection) -> None:
    keys = [("a", "b,c"), ("a,b", "c"), ('a","b', "c"), (1, "x"), ("1", "x"), (b"1", "x"), (1.5, "x")]
    rows = [(*key, "2013-11-03T05:30:00Z") for key in keys]
    source = source_over(database, rows, "k, l, at", key_columns=["k", "l"])
    assert len(set(ids(source))) == len(keys)


def test_pages_of_random_rows_bring_each_once(database: sqlite3.Connection) -> None:
    """Equal times, and keys of several types and of several columns, on every seam between pages of 3."""
    chooser = random.Random(7)
    pool = [1, 2, 10, -1, 0.5, "a", "B", "é", "", b"a", "1"]
    keys = {(chooser.choice(pool), chooser.choice(pool), chooser.randrange(3)) for _ in range(300)}
    times = ["2013-11-03T05:00:00Z", "2013-11-03 05:00:00", "2013-11-03T06:00:00.5Z", "2013-11-03T07:00:00Z"]
    rows = [(*key, chooser.choice(times)) for key in keys]
    source = source_over(
        database, rows, "k, l, m, at", key_columns=["k", "l", "m"], time_column_zone="UTC", page_size=3
    )
    assert len(ids(source)) == sum(row[3] != times[3] for row in rows) > 100


def test_a_query_reads_like_a_table(database: sqlite3.Connection) -> None:
    source_over(database, [(i, 1383454800 + 60 * i, i % 2) for i in range(10)], "id, seconds, odd")
    query = """
        SELECT id, strftime('%Y-%m-%dT%H:%M:%SZ', seconds, 'unixepoch') AS at, '100%?' AS note
        FROM events WHERE odd = 1 -- half of them"""
    source = SqlSource(options(table=None, query=query), Identity("kit", "UTC"))
    assert [record for record, _, _ in sorted(rows_of(read_all(source, WINDOW)))] == [
        f"query/[{i}]" for i in (1, 3, 5, 7, 9)
    ]
    assert source.count(WINDOW) == 5
    assert source.newest_event_time() == START + timedelta(minutes=9)


def test_a_query_may_end_with_a_semicolon(database: sqlite3.Connection) -> None:
    source_over(database, [(1, "2013-11-03T05:30:00Z"), (2, None)])
    source = SqlSource(options(table=None, query="SELECT * FROM events ;\n"), Identity("kit", "UTC"))
    assert (source.count(WINDOW), source.count_untimed()) == (1, 1)


# --- what is wrong, in one sentence


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        pytest.param({"table": "nothing"}, FatalError, "no such table", id="no table"),
        pytest.param(
            {"time_column": "att"}, FatalError, "no column 'att'.*did you mean 'at'", id="no time column"
        ),
        pytest.param({"time_column": "AT"}, FatalError, "no column 'AT'.*matched exactly", id="another case"),
        pytest.param(
            {"key_columns": ["id", "idd"]}, FatalError, r"source\.key_columns.*'idd'", id="no key column"
        ),
        pytest.param({"columns": ["zzz"]}, FatalError, r"source\.columns.*it has id, at", id="no column"),
        pytest.param({"conn_id": "nowhere"}, FatalError, "'nowhere' is not defined", id="no connection"),
        pytest.param({"conn_id": "lost"}, FatalError, "unable to open database file", id="no file"),
        pytest.param({"conn_id": "memory"}, ConfigError, "path of a file", id="in memory"),
        pytest.param({"conn_id": "text"}, FatalError, "not a database", id="another file"),
        pytest.param({"conn_id": "web"}, ConfigError, "expected a database", id="no database"),
        pytest.param({"conn_id": "odd"}, FatalError, "odd", id="unknown type"),
        pytest.param({"table": None, "query": "SELEKT 1"}, FatalError, "syntax error", id="bad query"),
    ],
)
def test_mistakes_are_said_in_one_sentence(
    database: sqlite3.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    (tmp_path / "text.txt").write_text("this is no database, but it is long enough to look at it")
    for name, conn in {
        "LOST": {"conn_type": "sqlite", "host": str(tmp_path / "no" / "file.db")},
        "MEMORY": {"conn_type": "sqlite", "host": ":memory:"},
        "TEXT": {"conn_type": "sqlite", "host": str(tmp_path / "text.txt")},
        "WEB": {"conn_type": "http", "host": "127.0.0.1", "password": "hunter22"},
        "ODD": {"conn_type": "no_such_type", "host": "x", "password": "hunter22"},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(conn))
    source_over(database, [(1, "2013-11-03T05:30:00Z")])
    source = SqlSource(options(**fields), Identity("kit", "UTC"))
    for ask in (source.check, lambda: source.count(WINDOW), lambda: read_all(source, WINDOW)):
        with pytest.raises(error, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert "hunter22" not in str(caught.value)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param([(1, 1), (None, 1), (None, 2)], "'id' is NULL in 2 of 3 rows", id="a key is NULL"),
        pytest.param([(1, 1), (1, 1)], r"two rows have events/\[1\]", id="a key twice in a page"),
        pytest.param([(1, 1), (2, 1), (2, 1), (2, 1)], "do not identify a row", id="a key twice at a seam"),
    ],
)
def test_keys_that_do_not_identify_a_row(
    database: sqlite3.Connection, rows: list[tuple[Any, int]], said: str
) -> None:
    stored = [(key, f"2013-11-03T05:{minute:02}:00Z") for key, minute in rows]
    source = source_over(database, stored, page_size=2)
    with pytest.raises(DataError, match=said):
        read_all(source, WINDOW)


OUTSIDE = [
    "2013-11-03T07:00:00Z",
    "2013-11-03 06:59:59-01:00",
    "2013-11-03T04:59:59Z",
    "2013-11-03T05:30:00+02:00",
]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("page_size", [1, 2, 5000])
@pytest.mark.parametrize("at", OUTSIDE)
@pytest.mark.parametrize("keys", [(9, 9), (9, 9, 9), (None, None), (None, 9)], ids=str)
def test_rows_of_other_windows_are_not_judged(
    database: sqlite3.Connection, keys: tuple[Any, ...], at: str, page_size: int, zone: str
) -> None:
    """A condition on texts finds rows beyond the window's bounds, of other zones by hours."""
    stored = [(1, "2013-11-03T05:00:00Z"), *((key, at) for key in keys), (2, "2013-11-03T06:59:59.999999Z")]
    source = source_over(database, stored, page_size=page_size, time_column_zone=zone)
    assert ids(source) == ["[1]", "[2]"]
    assert source.count(WINDOW) == 2


def test_a_day_that_is_none_is_an_error_of_its_own_window_only(database: sqlite3.Connection) -> None:
    """SQLite reads February 30 as March 2."""
    march = [datetime(2013, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
    source = source_over(database, [(1, "2013-03-01T12:00:00Z"), (2, "2013-02-30"), (3, "2013-02-30T05:00:00+05:00")],
                         time_column_zone="UTC")  # fmt: skip
    assert ids(source, Interval(march[0], march[1])) == ["[1]"]
    assert source.count(Interval(march[0], march[1])) == 1
    for ask in (source.count, lambda window: read_all(source, window)):
        with pytest.raises(DataError, match="2013-02-30"):
            ask(Interval(march[1], march[2]))


def test_a_locked_file_is_worth_another_try(
    tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.connectors.databases.BUSY_SECONDS", 0.05)
    source = source_over(database, [(1, "2013-11-03T05:30:00Z")])
    database.execute("PRAGMA journal_mode=DELETE")
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TransientError, match="locked"):
        source.count(WINDOW)
    database.execute("COMMIT")
    assert source.count(WINDOW) == 1


def test_leaving_the_view_frees_the_file(database: sqlite3.Connection) -> None:
    source = source_over(database, [(i, "2013-11-03T05:30:00Z") for i in range(9)], page_size=2)
    database.execute("PRAGMA journal_mode=DELETE")
    with source.open(Slice(0, 1, WINDOW)) as iterators:
        next(iterators[0])
    database.execute("DELETE FROM events")
    assert source.count(WINDOW) == 0


def test_the_source_only_reads(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mode` in the connection's extra is SQLite's: with ro the file needs no permission to write."""
    source_over(database, [(1, "2013-11-03T05:30:00Z")])
    database.execute("PRAGMA journal_mode=DELETE")
    path = tmp_path / "a folder" / "events 100%.db"
    conn = {"conn_type": "sqlite", "host": str(path), "extra": {"mode": "ro"}}
    monkeypatch.setenv("AIRFLOW_CONN_KIT", json.dumps(conn))
    assert SqlSource(options(), Identity("kit", "UTC")).count(WINDOW) == 1


class StrictCursor:
    """A cursor that cannot be closed while a result is unread, as in MySQL's driver."""

    def __init__(self, cursor: Any) -> None:
        self._cursor, self._unread = cursor, False
        self.fetchall, self.fetchmany = self._reading("fetchall"), self._reading("fetchmany")

    def execute(self, statement: str, values: Sequence[Any]) -> None:
        self._cursor.execute(statement, list(values))
        self._unread = True

    @property
    def description(self) -> Any:
        return self._cursor.description

    def _reading(self, name: str) -> Callable[..., list[Any]]:
        def read(*size: int) -> list[Any]:
            rows: list[Any] = getattr(self._cursor, name)(*size)
            self._unread = name == "fetchmany" and bool(rows)
            return rows

        return read

    def close(self) -> None:
        if self._unread:
            raise duckdb.Error("Unread result found")
        self._cursor.close()


class StrictConnection:
    def __init__(self, path: Path) -> None:
        self._connection = duckdb.connect(str(path))

    def cursor(self) -> StrictCursor:
        return StrictCursor(self._connection.cursor())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def other_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of another kind (here DuckDB) behind the connection `kit`: no view that spans statements."""
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute('CREATE TABLE events (id INTEGER, "at" TIMESTAMPTZ)')
        connection.executemany(
            "INSERT INTO events VALUES (?, ?)", [(n, WINDOW.start + n * MICRO) for n in range(25)]
        )
    hook = SimpleNamespace(placeholder="?", escape_word_format='"{}"')
    monkeypatch.setattr(sql, "opener", lambda *_, **__: ("other", hook, lambda: StrictConnection(path)))
    return path


@pytest.mark.parametrize("page_size", [1, 10, 25, 1000])
def test_a_database_of_another_kind_is_read_by_one_statement(other_database: Path, page_size: int) -> None:
    source = SqlSource(options(page_size=page_size), Identity("kit", "UTC"))
    source.check()
    assert ids(source) == sorted(f"[{n}]" for n in range(25))


def test_an_error_among_the_rows_of_another_database_is_reported_as_it_is(other_database: Path) -> None:
    with duckdb.connect(str(other_database)) as connection:
        connection.execute("INSERT INTO events SELECT * FROM events WHERE id = 3")
    source = SqlSource(options(page_size=2), Identity("kit", "UTC"))
    with pytest.raises(DataError, match=r"do not identify a row: two rows have events/\[3\]"):
        read_all(source, WINDOW)


def test_a_relative_path_is_one(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_over(database, [(1, "2013-11-03T05:30:00Z")])
    monkeypatch.chdir(tmp_path)
    for uri in (
        "sqlite:///a%20folder%2Fevents%20100%25.db",
        f"sqlite:///{tmp_path}/a%20folder/events%20100%25.db",
    ):
        monkeypatch.setenv("AIRFLOW_CONN_KIT", uri)
        assert SqlSource(options(), Identity("kit", "UTC")).count(WINDOW) == 1


# --- options


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"query": "SELECT 1"}, "exactly one of table and query, got both"),
        ({"table": None}, "exactly one of table and query, got none"),
        ({"key_columns": []}, "key_columns"),
        ({"page_size": 0}, "page_size"),
        ({"time_column_zone": "Mars/Base"}, "Mars/Base"),
        ({"tabel": "x"}, "tabel"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_options_are_checked(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        options(**fields)


@pytest.mark.parametrize(
    ("dialect", "name", "expected"),
    [
        (Dialect("postgres", "%s"), "public.weather", '"public"."weather"'),
        (Dialect("postgres", "%s"), 'public."my.table"', '"public"."my.table"'),
        (Dialect("postgres", "%s"), '"a""b%"', '"a""b%%"'),
        (Dialect("mysql", "%s", "`{}`"), "order", "`order`"),
        (Dialect("sqlite"), "Weather", '"Weather"'),
    ],
)
def test_tables_are_quoted(dialect: Dialect, name: str, expected: str) -> None:
    assert dialect.table(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        'a"b', 'raw."x.y', '"unclosed.x', 'secret.data"', 'x"; DROP TABLE y; --', 'a""b', '"a"b', '"a" "b"', '"',
        '""', 'a.""', "a..b", ".a", "a.", ".", " ", "a. .b", "a\nb", "a\u200bb",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_table_with_an_unbalanced_quote_or_an_empty_part_is_refused(name: str) -> None:
    """Its parts would be cut elsewhere than they were written, so another table would be read."""
    with pytest.raises(ValidationError, match="must be"):
        options(table=name)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("weather", ["weather"]),
        ("a b.c", ["a b", "c"]),
        (' "a" . "b.c" ', ["a", "b.c"]),
        ('raw."x""y"', ["raw", 'x"y']),
        ("x'y.a%b;-- ", ["x'y", "a%b;--"]),
        ("sérver.db.schema.table", ["sérver", "db", "schema", "table"]),
    ],
)
def test_the_parts_of_a_table(name: str, parts: list[str]) -> None:
    assert table_parts(name) == parts
    assert options(table=name).table == name


def test_it_is_registered() -> None:
    assert connector_class("source", "sql") is SqlSource


# --- types of columns ---------------------------------------------------------------------------------------------

TIMES = ("strict_date_optional_time", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd HH:mm:ss.SSS", "yyyy-MM-dd HH:mm")


def shown_types(source: SqlSource) -> dict[str, tuple[str, str | None]]:
    return {field.path[0]: (str(field.type), field.note) for field in source.field_types() or ()}


def test_declared_types_of_a_sqlite_table_are_proposed(database: sqlite3.Connection) -> None:
    source = source_over(
        database,
        [],
        'id INTEGER PRIMARY KEY, at DATETIME, day DATE, name VARCHAR(20), "a.b" text, price DECIMAL(12 , 2), '
        "units NUMERIC, ratio DOUBLE PRECISION, done BOOLEAN, doc JSON, photo BLOB, big UNSIGNED BIG INT, n, "
        "made TIMESTAMP, clock TIME, weird XYZ, wide DECIMAL(60)",
    )
    assert shown_types(source) == {
        "id": ("integer", None),
        "at": ("timestamp", None),
        "day": ("date", None),
        "name": ("text", None),
        "a.b": ("text", None),
        "price": ("decimal(12,2)", None),
        "units": ("double", "SQLite computes with floats here"),
        "ratio": ("double", None),
        "done": ("integer", "SQLite stores a boolean as 0 or 1"),
        "doc": ("text", None),
        "photo": ("text", "bytes are a Base64 text"),
        "big": ("integer", None),
        "n": ("text", "declared type missing: check it"),
        "made": ("timestamp", None),
        "clock": ("text", None),
        "weird": ("text", "declared type XYZ: check it"),
        "wide": ("text", "numeric(60,0) has no decimal type on all targets"),
    }
    formats = {field.path[0]: field.formats for field in source.field_types() or ()}
    assert (formats["at"], formats["day"], formats["name"]) == (TIMES, TIMES, ())


def test_only_columns_of_the_body_have_types(database: sqlite3.Connection) -> None:
    shape = "id INTEGER, at TEXT, a REAL"
    assert shown_types(source_over(database, [], shape, columns=["a", "id"])) == {
        "a": ("double", None),
        "id": ("integer", None),
    }
    query = source_over(database, [], shape, table=None, query="SELECT id, at, a * 2 AS a FROM events")
    assert query.field_types() == []  # SQLite knows no types of a query's columns


def test_a_wall_time_of_another_zone_is_noted(database: sqlite3.Connection) -> None:
    source = source_over(
        database, [], "id INTEGER, at DATETIME, made DATETIME", time_column_zone="Europe/Berlin"
    )
    assert shown_types(source) == {
        "id": ("integer", None),
        "at": ("timestamp", "wall time of Europe/Berlin: the view reads it as UTC; use EVENT_TIME"),
        "made": ("timestamp", None),
    }


# --- fields


@pytest.mark.parametrize(
    ("fields", "columns", "expected"),
    [
        ({"include": ["no*"]}, None, '{"note":"x"}'),
        ({"include": ["id", "note"], "exclude": ["id"]}, None, '{"note":"x"}'),
        ({"exclude": ["at", "mail"]}, None, '{"id":1,"note":"x"}'),
        ({"exclude": ["mail"]}, ["mail", "note"], '{"note":"x"}'),
    ],
)
def test_fields_choose_the_columns_of_a_body_and_not_of_its_time_and_id(
    database: sqlite3.Connection, fields: dict[str, Any], columns: list[str] | None, expected: str
) -> None:
    rows = [(1, "2013-11-03T05:00:00Z", "m", "x")]
    source = source_over(database, rows, "id, at, mail, note", fields=fields, columns=columns)
    ((record_id, event_time, body),) = rows_of(read_all(source, WINDOW))
    assert (record_id, event_time.hour, body) == ("events/[1]", 5, expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exclude": ["mailx"]}, "source.fields: .* has no column 'mailx'.*did you mean 'mail'"),
        ({"exclude": ["*"]}, "source.fields: .* has no column left for BODY, of id, at, mail"),
    ],
)
def test_fields_that_no_column_has_are_an_error(
    database: sqlite3.Connection, fields: dict[str, Any], message: str
) -> None:
    source = source_over(database, [], "id, at, mail", fields=fields)
    with pytest.raises(FatalError, match=message):
        source.check()
