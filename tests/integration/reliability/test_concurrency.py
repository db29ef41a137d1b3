"""Sixteen processes after the same windows: nothing is lost, nothing doubled, and everyone comes to an end."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
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
from airflow_pipeline_provider.exceptions import LeaseHeldError, SupersededError, TransientError
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest

PROCESSES = 16
PATIENCE = (
    200.0  # seconds that one request is tried again after transient errors; then it has not come to an end
)
DONE = ("complete", "after_end_day")
NOW = parse_utc("2013-11-06T12:00:00Z")
DAY_START = parse_utc("2013-11-03T04:00:00Z")  # a day of 25 hours in New York


@dataclass(frozen=True)
class Order:
    """What one process does: live runs until nothing is left, and these named windows before, between and after."""

    number: int
    named: tuple[tuple[RunKind, Interval], ...] = ()
    live: int = 40


@dataclass
class Place:
    """A pipeline over real stores; `environment` has its connections."""

    config: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)


def work(place: Place, order: Order, start: Any, results: Any) -> None:
    """One process: each request is tried again after a transient error, as Airflow does."""
    try:
        logging.disable(logging.WARNING)  # sixteen processes that wait for a lease have much to say
        os.environ.update(place.environment)
        config = parse_pipeline(place.config, options_model=options_model)
        start.wait()
        results.put((order.number, list(_moved(config, order))))
    except BaseException as error:
        results.put((order.number, [f"{type(error).__name__}: {error}"]))
        raise


def _moved(config: Any, order: Order) -> Iterator[str]:
    """How each request of the order ended."""
    dice = random.Random(order.number)
    named = [
        RunRequest(f"race/{order.number}-named-{n}", kind, NOW, interval)
        for n, (kind, interval) in enumerate(order.named)
    ]
    live = [RunRequest(f"race/{order.number}-live-{n}", RunKind.LIVE, NOW) for n in range(order.live)]
    while named or live:
        request = (named if named and (not live or dice.random() < 0.5) else live).pop()
        reason = _one(config, request)
        yield reason
        if request.kind is RunKind.LIVE and reason in DONE:
            live.clear()
        if reason == "leased":
            time.sleep(dice.uniform(0.5, 2))  # where Airflow would wait for the next tick


def _one(config: Any, request: RunRequest) -> str:
    pause = random.Random(request.run)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with open_runtime(config) as runtime:
                outcome = run_window(runtime, request)
            return "moved" if outcome.audited else str(outcome.reason)
        except SupersededError:
            return "superseded"
        except (LeaseHeldError, TransientError):
            time.sleep(pause.uniform(0.2, 2))
    return "gave up"


def race(place: Place, orders: list[Order]) -> dict[int, list[str]]:
    """Run them all from one starting shot; how each of its requests ended, by the process's number."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "airflow.sdk", "pyarrow.parquet", "duckdb", "sqlalchemy"])
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=work, args=(place, order, start, results)) for order in orders]
    for process in processes:
        process.start()
    start.set()
    ended = dict(results.get(timeout=240) for _ in processes)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes), ended
    return ended


@pytest.fixture(params=["sqlite and duckdb", "postgres"])
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
    if request.param == "postgres":
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
    """Everybody wants the first window by name."""
    first = windows(timedelta(hours=5))[0]
    return [Order(n, ((RunKind.WINDOW, first),), live=0) for n in range(PROCESSES)]


def live_runs(_: list[Interval]) -> list[Order]:
    return [Order(n) for n in range(PROCESSES)]


def mixed_runs(day: list[Interval]) -> list[Order]:
    """Live runs beside backfills of the day's windows, beside windows of other bounds that overlap them."""
    odd = windows(timedelta(hours=2, minutes=30))
    return [
        Order(n, ((RunKind.BACKFILL, day[n % 5]), (RunKind.WINDOW, odd[n % 10])), live=40 if n % 2 else 0)
        for n in range(PROCESSES)
    ]


@pytest.mark.parametrize("orders", [live_runs, mixed_runs], ids=["live", "live, backfill and odd windows"])
def test_all_windows_are_moved(place: Place, orders: Callable[[list[Interval]], list[Order]]) -> None:
    ended = race(place, orders(windows(timedelta(hours=5))))
    seen = Counter(reason for reasons in ended.values() for reason in reasons)
    assert set(seen) <= {"moved", "leased", "superseded", *DONE}, seen
    assert seen["moved"] >= 5
    assert_whole(place)


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
