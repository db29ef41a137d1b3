"""The example pipeline of another shape, on its own data: a database table → files → DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import connector_class, options_model
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from demo.prepare import make_weather_db
from tests.doubles.memory_state import MemoryState

PIPELINES = Path(__file__).resolve().parents[2] / "dags" / "pipelines"


def test_the_table_reaches_duckdb_day_by_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "weather.db"
    rows = make_weather_db(database)
    monkeypatch.setenv("AIRFLOW_CONN_WEATHER_DB", f'{{"conn_type": "sqlite", "host": "{database}"}}')
    (tmp_path / "defaults.yaml").write_text((PIPELINES / "defaults.yaml").read_text())
    document = yaml.safe_load((PIPELINES / "stations.yaml").read_text())
    document["stage"]["path"] = str(tmp_path / "stage")
    document["target"]["path"] = str(tmp_path / "lake.duckdb")
    (tmp_path / "stations.yaml").write_text(yaml.safe_dump(document))
    config = load_pipeline(tmp_path / "stations.yaml", options_model=options_model)
    identity = Identity(config.pipeline_id, config.timezone)
    source, stage, target = (
        connector_class(kind, getattr(config, kind).type)(getattr(config, kind), identity)
        for kind in ("source", "stage", "target")
    )
    runtime = Runtime(config, source, stage, target, MemoryState(identity=identity))
    moved: list[int] = []
    reason = None
    for n in range(5):
        outcome = run_window(
            runtime, RunRequest(f"stations/{n}", RunKind.LIVE, parse_utc("2013-11-07T12:00:00Z"))
        )
        if outcome.audited is not None:
            moved.append(outcome.audited.target_rows)
        reason = outcome.reason
    assert reason == "after_end_day"
    assert sum(moved) == rows
    with duckdb.connect(str(tmp_path / "lake.duckdb")) as connection:
        (found,) = connection.execute("SELECT count(DISTINCT RECORD_ID) FROM main.stations").fetchall()
    assert found == (rows,)
