"""A user who may only trigger the DAG can do no more than docs/runs.md lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import airflow_pipeline_provider
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators.generate import CONF_KEYS, RESERVED_KEYS, run_request
from airflow_pipeline_provider.phases.values import RunKind

from .conftest import Folder
from .test_generated_dag import states, xcom

PACKAGE = Path(airflow_pipeline_provider.__file__).parent
SCHEMA = json.loads((PACKAGE / "config" / "pipeline.schema.json").read_text())
NOON = datetime(2013, 11, 6, 12, tzinfo=timezone.utc)


def ask(conf: dict[str, Any], run_type: str = "manual", **context: Any) -> Any:
    run = SimpleNamespace(dag_id="flights", run_id="r1", run_type=run_type, run_after=NOON, conf=conf)
    params = {"window_start": None, "window_end": None}
    dag = SimpleNamespace(params=params)
    known: Any = {"dag_run": run, "dag": dag, "params": {**params, **conf}, **context}
    return run_request(known, SimpleNamespace(schedule="auto"))  # type: ignore[arg-type]


def test_the_documented_keys_are_the_accepted_ones() -> None:
    page = (PACKAGE.parent / "docs" / "runs.md").read_text().partition("\n## ")[0]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted((*CONF_KEYS, *RESERVED_KEYS))


@pytest.mark.parametrize("key", sorted({*SCHEMA["properties"], "conn_id", "pipeline", "params", "dag"}))
def test_a_conf_cannot_set_a_key_of_the_pipeline_file(key: str) -> None:
    with pytest.raises(ConfigError, match=f"conf: unknown '{key}'"):
        ask({key: {"type": "sql", "conn_id": "other"}})


def test_values_of_reserved_keys_are_ignored() -> None:
    hostile = {"window_start": "2013-11-03T05:00:00Z", "window_end": "2013-11-03T06:00:00Z"}
    request = ask({"openlineage": hostile})
    assert (request.kind, request.interval, request.reference_time) == (RunKind.LIVE, None, NOON)


def test_a_backfill_reads_no_conf() -> None:
    bounds = {"data_interval_start": NOON.replace(hour=2), "data_interval_end": NOON.replace(hour=4)}
    conf = {"window_start": "2013-11-03T05:00:00Z", "reference_time": "2030-01-01T00:00:00Z", "x": 1}
    request = ask(conf, "backfill", **bounds)
    assert (request.kind, request.reference_time) == (RunKind.BACKFILL, NOON)
    assert msgspec.to_builtins(request.interval) == ["2013-11-06T02:00:00Z", "2013-11-06T04:00:00Z"]


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        ("2013-11-02T05:00:00Z", "2013-11-02T06:00:00Z", "before_start_day"),
        ("2013-11-04T15:00:00Z", "2013-11-04T16:00:00Z", "after_end_day"),
    ],
)
def test_a_window_outside_the_pipelines_days_is_skipped(
    folder: Folder, run_dag: Callable[..., Any], start: str, end: str, reason: str
) -> None:
    folder.write()
    run = run_dag(folder.dag(), run_conf={"window_start": start, "window_end": end})
    assert str(run.state) == "success"
    assert {state for task, state in states(run).items() if task != "generate_window"} == {"skipped"}
    assert xcom(run, "generate_window", "reason") == reason
    assert not (folder.path / "lake.duckdb").exists()


def test_a_triggered_run_does_not_delete_rows_missing_at_the_source(
    folder: Folder, run_dag: Callable[..., Any]
) -> None:
    folder.write(backlog="wait")
    dag = folder.dag()
    run_dag(dag)
    before = folder.target()
    folder.sql("DELETE FROM events")
    conf = {"window_start": "2013-11-03T00:00:00-04:00", "window_end": "2013-11-03T04:00:00-05:00"}
    run = run_dag(dag, run_conf=conf)
    assert str(run.state) == "failed"
    assert states(run)["load"] == "failed"
    assert folder.target() == before
