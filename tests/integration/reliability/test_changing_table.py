"""`source.history: changes`: a table whose rows are updated all the time while its windows move, over a clock change.

Embedded (SQLite, files, DuckDB), 6,000 rows; RELIABILITY=full takes 130,000.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
import yaml

from airflow_pipeline_provider.cli.main import main

pytestmark = pytest.mark.integration

ROWS = 130_000 if os.environ.get("RELIABILITY") == "full" else 6_000
FIRST = datetime(2013, 11, 2, 4, tzinfo=timezone.utc)  # midnight in New York
LAST = datetime(
    2013, 11, 5, 5, tzinfo=timezone.utc
)  # midnight after a day of 24, one of 25 and one of 24 hours
UPDATED = datetime(
    2013, 11, 4, 17, tzinfo=timezone.utc
)  # where updates put rows while windows before it move
BEFORE = (
    "--reference-time",
    "2013-11-05T15:00:00Z",
)  # the newest window that is ready then ends before UPDATED
AFTER = ("--reference-time", "2013-11-07T12:00:00Z")
MOST_RECHECKS = 6


def text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Table:
    """The source; each update gives a row a later time, a new value and a number of its own."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self.path, self.rng = path, rng
        self.numbers = 0
        span = (LAST - FIRST) / timedelta(microseconds=1)
        rows = [(n, text(FIRST + timedelta(microseconds=rng.randrange(int(span)))), 0) for n in range(ROWS)]
        with self.connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at TEXT, version INTEGER)"
            )
            connection.execute("CREATE INDEX orders_times ON orders (updated_at)")
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            yield connection

    def update_some(self, rows: int, earliest: datetime) -> None:
        """Move rows to later times, none before `earliest`."""
        with self.connection() as connection:
            for n in self.rng.sample(range(ROWS), rows):
                [(old,)] = connection.execute("SELECT updated_at FROM orders WHERE id = ?", [n]).fetchall()
                left = LAST - max(earliest, datetime.fromisoformat(old.replace("Z", "+00:00")))
                later = LAST - left * self.rng.uniform(0.05, 0.95)
                self.numbers += 1
                connection.execute(
                    "UPDATE orders SET updated_at = ?, version = ? WHERE id = ?",
                    [text(later), self.numbers, n],
                )

    @contextmanager
    def updated_meanwhile(self) -> Iterator[None]:
        """Update rows in a thread during the block."""
        stop = threading.Event()

        def update() -> None:
            while not stop.wait(0.02):
                self.update_some(max(1, ROWS // 2_000), UPDATED)

        with ThreadPoolExecutor(1) as pool:
            updates = pool.submit(update)
            try:
                yield
            finally:
                stop.set()
            updates.result()
        assert self.numbers, "nothing was updated meanwhile"

    def rows(self) -> dict[int, tuple[str, int]]:
        with self.connection() as connection:
            return {n: (at, version) for n, at, version in connection.execute("SELECT * FROM orders")}


def latest(path: Path) -> dict[int, tuple[str, int]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            "SELECT CAST(json_extract(BODY, '$.id') AS INTEGER), json_extract_string(BODY, '$.updated_at'), "
            "CAST(json_extract(BODY, '$.version') AS INTEGER) FROM \"orders_LATEST\""
        ).fetchall()
    rows = {n: (at, version) for n, at, version in found}
    assert len(rows) == len(found), "a record stands twice in the view of the latest"
    return rows


def test_the_latest_versions_are_the_sources_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"sqlite:///{tmp_path / 'shop.db'}")
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_STATE", f"sqlite:///{tmp_path / 'state.db'}")
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    table = Table(tmp_path / "shop.db", random.Random(seed))
    file = tmp_path / "orders.yaml"
    source = {"type": "sql", "conn_id": "shop", "table": "orders", "time_column": "updated_at"}
    config = {
        "pipeline_id": "orders",
        "timezone": "America/New_York",
        "granularity": "3h",
        "start_day": "2013-11-02",
        "end_day": "2013-11-04",
        "source": {**source, "key_columns": ["id"], "history": "changes"},
        "stage": {"type": "object_store", "path": str(tmp_path / "stage")},
        "target": {"type": "duckdb", "path": str(tmp_path / "lake.duckdb"), "table": "main.orders"},
        "state": {"type": "sql", "conn_id": "pipeline_state"},
    }
    file.write_text(yaml.safe_dump(config))
    with table.updated_meanwhile():
        assert main(["run", str(file), "--until-done", *BEFORE]) == 0
        main(
            ["recheck", str(file), "--days", "7", "--here", *BEFORE]
        )  # nothing grew, and leaving is no finding
    assert main(["run", str(file), "--until-done", *AFTER]) == 0
    assert latest(tmp_path / "lake.duckdb") == table.rows()
    table.update_some(ROWS // 20, FIRST)  # late ones too: into windows that were loaded already
    for _ in range(MOST_RECHECKS):
        assert main(["recheck", str(file), "--days", "7", "--here", *AFTER]) == 0
        if latest(tmp_path / "lake.duckdb") == table.rows():
            break
    found, expected = latest(tmp_path / "lake.duckdb"), table.rows()
    differ = [n for n in expected if found.get(n) != expected[n]]
    assert (len(found), differ[:5]) == (ROWS, [])
    assert main(["doctor", str(file), "--days", "7", *AFTER]) == 0
    assert main(["status", str(file), "--fail-if-behind", "1h", *AFTER]) == 0
