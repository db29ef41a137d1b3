"""The installed package in a pipeline: found by its entry point, filled by the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from airflow_pipeline_provider.cli.main import main

PIPELINE = """\
pipeline_id: orders
timezone: America/New_York
granularity: 6h
x_time_back: 1h
start_day: 2013-11-03
end_day: 2013-11-03
source: {type: sql, conn_id: shop, table: orders, time_column: created_at, time_column_zone: UTC, key_columns: [id]}
stage: {type: object_store, path: "file://FOLDER/stage"}
target: {type: sqlite, conn_id: warehouse, table: orders}
state: {type: sql, conn_id: pipeline_state}
"""
REFERENCE_TIME = ("--reference-time", "2013-11-05T12:00:00Z")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for conn_id in ("shop", "warehouse", "pipeline_state"):
        connection = {"conn_type": "sqlite", "host": str(tmp_path / f"{conn_id}.db")}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, created_at TEXT, amount INTEGER)")
        rows = [(hour, f"2013-11-03 {hour:02}:30:00", hour * 10) for hour in range(6, 24)]
        shop.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    path = tmp_path / "orders.yaml"
    path.write_text(PIPELINE.replace("FOLDER", str(tmp_path)))
    return path


def test_a_day_of_orders_is_moved(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file), "--connect"]) == 0, capsys.readouterr()
    assert main(["run", str(file), "--until-done", *REFERENCE_TIME]) == 0, capsys.readouterr()
    assert main(["doctor", str(file), *REFERENCE_TIME]) == 0, capsys.readouterr()
    with closing(sqlite3.connect(file.parent / "warehouse.db")) as warehouse:
        rows = warehouse.execute(
            "SELECT datetime(EVENT_TIME), json_extract(BODY, '$.amount') FROM orders_latest ORDER BY EVENT_TIME"
        ).fetchall()
    assert rows == [(f"2013-11-03 {hour:02}:30:00", hour * 10) for hour in range(6, 24)]


def test_a_mistake_in_the_section_is_reported_with_its_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("conn_id: warehouse", "con_id: warehouse"))
    assert main(["check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "orders.yaml:9" in out
    assert "did you mean 'conn_id'" in out
