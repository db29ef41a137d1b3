"""Changes that a SQL source finds by `change_column`, and what it cannot state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.sql.changes import marker_of, read_value, write_value
from airflow_pipeline_provider.connectors.sql.source import SqlSource
from airflow_pipeline_provider.core.change_markers import ChangeMarker, MarkedWindow, Seen, WindowChanges
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.testing.source_kit import WINDOW

LOWER = (
    "the greatest value of change_column 'version' is lower than when the window was read: its row was deleted, or "
    "the table was restored or filled again"
)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Three rows of the window and one of another, with versions 1 to 4."""
    path = tmp_path / "events.db"
    monkeypatch.setenv("AIRFLOW_CONN_KIT", f'{{"conn_type": "sqlite", "host": "{path}"}}')
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT, version INTEGER)")
        for number in range(4):
            hour = "05" if number < 3 else "12"
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?)", [number, f"2013-11-03T{hour}:30:00Z", number + 1]
            )
        yield connection


def source(**options: Any) -> SqlSource:
    base = {"type": "sql", "conn_id": "kit", "table": "events", "time_column": "at", "key_columns": "id"}
    return SqlSource(SqlSource.Options.model_validate({**base, **options}), Identity("kit", "UTC"))


def changes(marker: ChangeMarker, **options: Any) -> WindowChanges:
    [found] = source(**{"change_column": "version", **options}).changes([MarkedWindow(WINDOW, marker)])
    return found


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        pytest.param("SELECT 1", WindowChanges(Seen.COUNTED, 0, 3), id="nothing"),
        pytest.param(
            "UPDATE events SET version = 9 WHERE id = 1", WindowChanges(Seen.COUNTED, 1, 3), id="an update"
        ),
        pytest.param(
            "UPDATE events SET version = 9 WHERE id = 3", WindowChanges(Seen.COUNTED, 0, 3), id="elsewhere"
        ),
        pytest.param("DELETE FROM events WHERE id = 1", WindowChanges(Seen.COUNTED, 0, 2), id="a delete"),
        pytest.param(
            "UPDATE events SET version = NULL WHERE id = 1",
            WindowChanges(Seen.UNKNOWN, 0, 3, "change_column 'version' is NULL in 1 row of the window"),
            id="no value",
        ),
        pytest.param(
            "UPDATE events SET version = version - 1", WindowChanges(Seen.UNKNOWN, 0, 3, LOWER), id="restored"
        ),
        pytest.param(
            "DELETE FROM events WHERE id = 3", WindowChanges(Seen.UNKNOWN, 0, 3, LOWER), id="greatest deleted"
        ),
        pytest.param("DELETE FROM events", WindowChanges(Seen.UNKNOWN, 0, 0, LOWER), id="all deleted"),
    ],
)
@pytest.mark.parametrize(
    "origin",
    [{}, {"table": None, "query": "SELECT * FROM events WHERE id < 5 -- all"}],
    ids=["table", "query"],
)
def test_rows_beyond_the_maximum_are_changed(
    database: sqlite3.Connection, statement: str, expected: WindowChanges, origin: dict[str, Any]
) -> None:
    marker = source(change_column="version", **origin).change_marker()
    assert marker == marker_of("version", 4)
    database.execute(statement)
    assert changes(marker, **origin) == expected


def test_slices_with_different_maxima_count_beyond_the_lower_one(database: sqlite3.Connection) -> None:
    place = marker_of("version", 4).places
    found = changes(ChangeMarker(place, ("int 4", "int 2", "int 3")))
    assert (found.changed, found.rows) == (1, 3)


def test_many_markers_are_compared_with_the_greatest_value(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.connectors.sql.changed_rows.MAXIMA_AT_ONCE", 2)
    markers = [marker_of("version", version) for version in (3, 4, 5, 6, 7)]
    asked = [MarkedWindow(WINDOW, marker) for marker in (*markers, None, ChangeMarker(unknown="why"))]
    found = source(change_column="version").changes(asked)
    assert [one.reason for one in found] == [
        None,
        None,
        LOWER,
        LOWER,
        LOWER,
        "the window has no marker",
        "why",
    ]


@pytest.mark.parametrize(
    ("marker", "column", "reason"),
    [
        (
            marker_of("changed", 4),
            "version",
            "change_column was changed when the window was read, and is version now",
        ),
        (
            marker_of("version", 4),
            None,
            "change_column was version when the window was read, and is not set now",
        ),
        (ChangeMarker(unknown="why"), "version", "why"),
    ],
)
def test_a_marker_of_another_column_is_unknown(
    database: sqlite3.Connection, marker: ChangeMarker, column: str | None, reason: str
) -> None:
    assert changes(marker, change_column=column) == WindowChanges(Seen.UNKNOWN, reason=reason)


def test_a_maximum_of_a_type_that_the_column_no_longer_has_is_unknown(database: sqlite3.Connection) -> None:
    """SQLite takes no decimal number."""
    old, new = marker_of("version", Decimal("1.5")), marker_of("version", 2)
    asked = [MarkedWindow(WINDOW, marker) for marker in (old, new, None, old)]
    found = source(change_column="version").changes(asked)
    assert [(one.seen, one.changed) for one in found] == [
        (Seen.UNKNOWN, 0),
        (Seen.COUNTED, 1),
        (Seen.UNKNOWN, 0),
        (Seen.UNKNOWN, 0),
    ]
    expected = (
        "change_column 'version' cannot be compared with what it held when the window was read (decimal)"
    )
    assert [one.reason for one in found] == [expected, None, "the window has no marker", expected]


def test_a_window_without_a_marker_is_unknown(database: sqlite3.Connection) -> None:
    [found] = source(change_column="version").changes([MarkedWindow(WINDOW, None)])
    assert (found.seen, found.reason) == (Seen.UNKNOWN, "the window has no marker")


def test_without_the_key_there_is_no_marker(database: sqlite3.Connection) -> None:
    assert source().change_marker() is None


def test_an_empty_table_has_no_maximum(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM events")
    marker = source(change_column="version").change_marker()
    assert marker == ChangeMarker(unknown="change_column 'version' had no value when the window was read")


def test_a_column_that_does_not_exist_is_named(database: sqlite3.Connection) -> None:
    with pytest.raises(FatalError, match=r"source.change_column: .*no column 'versionx'.*'version'"):
        source(change_column="versionx").check()


@pytest.mark.parametrize(
    "value",
    [
        3,
        "2013-11-03 05:00",
        Decimal("1.10"),
        0.1,
        date(2013, 11, 3),
        datetime(2013, 11, 3, 5, 0, 0, 1),
        datetime(2013, 11, 3, 5, tzinfo=timezone.utc),
    ],
)
def test_a_maximum_is_kept_with_its_type(value: object) -> None:
    text = write_value(value)
    assert text is not None
    assert (type(read_value(text)), read_value(text)) == (type(value), value)


@pytest.mark.parametrize("value", [True, b"x", [1]], ids=["boolean", "bytes", "list"])
def test_a_maximum_without_an_order_is_unknown(value: object) -> None:
    assert "which has no order" in (marker_of("c", value).unknown or "")
