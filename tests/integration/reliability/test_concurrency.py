"""Sixteen processes move the same windows: no row is lost or doubled, and every process ends."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind
from tests.integration.reliability.racing import DONE, Order, Place, race

PROCESSES = 16
EMBEDDED, POSTGRES = "sqlite and duckdb", "postgres"
FULL = os.environ.get("RELIABILITY") == "full"  # everything, by `make reliability`; else what CI has time for
ENDS = {"moved", "already_committed", "leased", "superseded", *DONE}
DAY_START = parse_utc("2013-11-03T04:00:00Z")  # a day of 25 hours in New York


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """State and target in SQLite and a DuckDB file, or both in PostgreSQL; the source is a SQLite table."""
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("CREATE TABLE events (id TEXT PRIMARY KEY, at TEXT NOT NULL, body TEXT)")
        rows = (
            (f"r{n:04d}", (DAY_START + timedelta(minutes=5 * n)).isoformat(), f"row {n}")
            for n in range(25 * 12)
        )
        connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
        connection.execute("PRAGMA journal_mode = WAL")
    connections: dict[str, Any] = {"RACE_SOURCE": {"conn_type": "sqlite", "host": str(source)}}
    if request.param == POSTGRES:
        connections["RACE_STATE"] = _postgres_database(
            request.getfixturevalue("postgres")["POSTGRES_URL"], request
        )
        target = {"type": "postgres", "conn_id": "race_state", "table": "lake.events"}
    else:
        connections["RACE_STATE"] = {"conn_type": "sqlite", "host": str(tmp_path / "state.db")}
        target = {"type": "duckdb", "path": str(tmp_path / "lake.duckdb"), "table": "events"}
    made = Place(
        {
            "pipeline_id": "race",
            "timezone": "America/New_York",
            "granularity": "5h",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "max_backlog_days": None,
            "source": {
                "type": "sql",
                "conn_id": "race_source",
                "table": "events",
                "time_column": "at",
                "key_columns": "id",
            },
            "stage": {"type": "object_store", "path": str(tmp_path / "stage")},
            "target": target,
            "state": {"type": "sql", "conn_id": "race_state"},
        },
        {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()},
    )
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def _postgres_database(url: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    import sqlalchemy as sa

    name = f"race_{uuid4().hex[:12]}"
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))

    def drop() -> None:
        with server.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        server.dispose()

    request.addfinalizer(drop)
    at = sa.make_url(url)
    return {
        "conn_type": "postgres",
        "host": at.host,
        "port": at.port,
        "login": at.username,
        "password": at.password,
        "schema": name,
    }


def assert_whole(place: Place) -> None:
    """Every window is committed once by its newest token, target and source have the same rows, no lease is left."""
    config = parse_pipeline(place.config, options_model=options_model)
    with open_runtime(config) as runtime:
        day = day_interval(config.start_day, config.timezone)
        entries = runtime.state.entries()
        tokens = Counter(entry.token for entry in entries if entry.kind is ledger.Kind.COMMITTED)
        assert ledger.committed(entries) == [day]
        assert ledger.unverified(entries) == []
        assert max(tokens.values()) == 1, "a token commits one window once"
        assert runtime.state.leases() == []
        counts = runtime.target.count(day)
        assert (counts.rows, counts.distinct_ids) == (300, 300) == (runtime.source.count(day), 300)


def windows(step: timedelta) -> list[Interval]:
    return [
        Interval(DAY_START + n * step, DAY_START + (n + 1) * step)
        for n in range(int(timedelta(hours=25) / step))
    ]


def one_window(_: list[Interval]) -> list[Order]:
    """Let every process move the first window by name."""
    first = windows(timedelta(hours=5))[0]
    return [Order(n, ((RunKind.WINDOW, first),), live=0) for n in range(PROCESSES)]


def live_runs(_: list[Interval]) -> list[Order]:
    return [Order(n) for n in range(PROCESSES)]


def mixed_runs(day: list[Interval]) -> list[Order]:
    """Mix live runs, backfills of the day's windows, and overlapping windows with other bounds."""
    odd = windows(timedelta(hours=2, minutes=30))
    return [
        Order(n, ((RunKind.BACKFILL, day[n % 5]), (RunKind.WINDOW, odd[n % 10])), live=40 if n % 2 else 0)
        for n in range(PROCESSES)
    ]


CASES = [(EMBEDDED, live_runs), (POSTGRES, mixed_runs)]
if FULL:
    CASES += [(POSTGRES, live_runs), (EMBEDDED, mixed_runs)]


@pytest.mark.parametrize(("place", "orders"), CASES, indirect=["place"])
def test_all_windows_are_moved(place: Place, orders: Callable[[list[Interval]], list[Order]]) -> None:
    ended = race(place, orders(windows(timedelta(hours=5))))
    seen = Counter(reason for reasons in ended.values() for reason in reasons)
    assert set(seen) <= ENDS, seen
    assert seen["moved"] >= 5
    assert_whole(place)


@pytest.mark.parametrize("place", [POSTGRES, EMBEDDED] if FULL else [POSTGRES], indirect=True)
@pytest.mark.parametrize(
    ("blue_crashes_at", "green_crashes_at"),
    [
        (None, None),
        ("extract.read", "load.committed"),
        ("generate.leased", "stage.manifest_written"),
    ],
    ids=["no kill", "both are killed", "one is killed between lease and binding"],
)
def test_equal_runs_of_two_installations_move_each_window_once(
    place: Place, blue_crashes_at: str | None, green_crashes_at: str | None
) -> None:
    """Two Airflows on one state make equal run ids.  A killed one continues at once and waits for no lease."""
    place.config["state"]["lease"] = "1h"  # far longer than the race lasts
    orders = [
        Order(0, crash_at=blue_crashes_at, installation="blue", runs=0),
        Order(1, crash_at=green_crashes_at, installation="green", runs=0),
    ]
    ended = race(place, orders)
    seen = Counter(reason for reasons in ended.values() for reason in reasons)
    assert set(seen) <= ENDS, seen
    assert_whole(place)
    with open_runtime(parse_pipeline(place.config, options_model=options_model)) as runtime:
        entries = runtime.state.entries()
    begun = Counter(entry.interval for entry in entries if entry.kind is ledger.Kind.ATTEMPT)
    kills = sum(point is not None for point in (blue_crashes_at, green_crashes_at))
    assert set(begun) == set(windows(timedelta(hours=5)))
    assert sum(begun.values()) <= 5 + kills, "a window was extracted by both"


@pytest.mark.parametrize("place", [POSTGRES, EMBEDDED] if FULL else [POSTGRES], indirect=True)
def test_one_window_is_moved_by_one_after_the_other(place: Place) -> None:
    """Each of the sixteen was asked for this window, so each moves it; at any moment one of them has it."""
    ended = race(place, one_window([]))
    assert [reasons for reasons in ended.values() if set(reasons) - {"moved", "superseded"}] == []
    config = parse_pipeline(place.config, options_model=options_model)
    with open_runtime(config) as runtime:
        first = windows(timedelta(hours=5))[0]
        assert ledger.committed(runtime.state.entries()) == [first]
        commits = [e for e in runtime.state.entries() if e.kind is ledger.Kind.COMMITTED]
        assert [e.token for e in commits] == sorted({e.token for e in commits if e.token})
        assert runtime.target.count(first) == (60, 60)
        newest = runtime.target.newest_commit(first)
        assert newest is not None
        assert newest.token == commits[-1].token
