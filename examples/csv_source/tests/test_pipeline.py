"""The installed package in a pipeline: found by its entry point, moved by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from airflow_pipeline_provider.cli.main import main

PIPELINE = """\
pipeline_id: orders
timezone: America/New_York
granularity: 6h
x_time_back: 1h
start_day: 2013-11-03
end_day: 2013-11-03
source: {type: csv, conn_id: csv_files, files: "orders-*.csv", key_column: id, time_column: created_at}
stage: {type: object_store, path: "file://FOLDER/stage"}
target: {type: duckdb, path: "FOLDER/warehouse.duckdb", table: orders}
state: {type: sql, conn_id: pipeline_state}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(
        "AIRFLOW_CONN_CSV_FILES", json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}})
    )
    monkeypatch.setenv(
        "AIRFLOW_CONN_PIPELINE_STATE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "state.db")})
    )
    rows = [f"{hour},2013-11-03T{hour:02}:30:00-05:00,{hour * 10}" for hour in range(24)]
    (tmp_path / "orders-1.csv").write_text("\n".join(["id,created_at,amount", *rows]) + "\n")
    path = tmp_path / "orders.yaml"
    path.write_text(PIPELINE.replace("FOLDER", str(tmp_path)))
    return path


def test_a_day_of_orders_is_moved(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file)]) == 0
    reference_time = ("--reference-time", "2013-11-05T12:00:00Z")
    assert main(["run", str(file), "--until-done", *reference_time]) == 0, capsys.readouterr()
    assert main(["status", str(file), *reference_time]) == 0
    assert "complete" in capsys.readouterr().out
    with duckdb.connect(str(file.parent / "warehouse.duckdb")) as connection:
        rows = connection.execute("SELECT RECORD_ID, SOURCE_NAME, BODY->>'amount' FROM orders").fetchall()
    assert sorted(rows) == sorted((str(hour), "orders-1.csv", str(hour * 10)) for hour in range(24))


def test_a_mistake_in_the_section_is_reported_with_its_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("key_column", "key_colum"))
    assert main(["check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "source.key_colum" in out
    assert "did you mean 'key_column'" in out
