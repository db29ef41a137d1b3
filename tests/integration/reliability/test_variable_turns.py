"""Eight processes and kills over real Airflow Variables in PostgreSQL, which have no compare-and-set."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.phases.values import RunKind
from tests.integration.reliability.racing import DONE, Order, Place, looked, race

DAY = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-04T05:00:00Z"))
STEP = timedelta(hours=5)
CRASHES = ("generate.leased:1", "load.committed:1", "audit.committed:1", "state.before_commit:9")


@pytest.fixture
def metadata(postgres: dict[str, str]) -> Iterator[str]:
    """An empty metadata database of Airflow's, on the server that POSTGRES_URL names."""
    import sqlalchemy as sa

    name = f"turns_{uuid4().hex[:12]}"
    server = sa.create_engine(postgres["POSTGRES_URL"], isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    url = sa.make_url(postgres["POSTGRES_URL"]).set(drivername="postgresql+psycopg2", database=name)
    yield url.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    server.dispose()


@pytest.fixture
def place(metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("CREATE TABLE events (id TEXT PRIMARY KEY, at TEXT NOT NULL)")
        moments = ((DAY.start + timedelta(minutes=5 * n)).isoformat() for n in range(300))
        connection.executemany(
            "INSERT INTO events VALUES (?, ?)", ((f"r{n}", at) for n, at in enumerate(moments))
        )
    environment = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW_CONN_RACE_SOURCE": json.dumps({"conn_type": "sqlite", "host": str(source)}),
    }
    for name, value in environment.items():  # what a new process has before it imports anything
        monkeypatch.setenv(name, value)
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=dict(os.environ),
        check=True,
        capture_output=True,
    )
    return Place(
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
            "target": {"type": "duckdb", "path": str(tmp_path / "lake.duckdb"), "table": "events"},
            "state": {"type": "variable", "lease": "15s", "verify_after": "1s"},
        },
        environment,
    )


def test_live_runs_backfills_and_kills_take_turns(place: Place) -> None:
    """Four of the eight are killed once; a killed one comes back as the same run, as Airflow retries it."""
    windows = [Interval(DAY.start + n * STEP, DAY.start + (n + 1) * STEP) for n in range(5)]
    orders = [
        Order(
            number,
            ((RunKind.BACKFILL if number % 2 else RunKind.WINDOW, windows[number]),) if number < 5 else (),
            live=40 if number >= 4 else 0,
            crash_at=CRASHES[number] if number < len(CRASHES) else None,
        )
        for number in range(8)
    ]
    ended = race(place, orders)
    seen = Counter(reason for reasons in ended.values() for reason in reasons)
    assert set(seen) <= {"moved", "leased", "superseded", "already_committed", *DONE}, seen
    found = looked(place)
    assert found.committed == [str(DAY)]
    assert found.unverified == []
    assert max(Counter(found.commits).values()) == 1, "a token commits one window once"
    assert found.rows == (300, 300, 300)
    assert not found.lost_writes
    assert found.leases == 0
