"""Metrics of runs as a StatsD server on this machine receives them from Airflow's own client."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.stats_client import start_stats

from .conftest import Folder


class Listener:
    """A StatsD server that only listens."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.2)

    def received(self) -> list[tuple[str, str]]:
        """Return (name, value with its type) of the datagrams since the last call."""
        found = []
        try:
            while True:
                found += self.socket.recv(65536).decode().splitlines()
        except TimeoutError:
            return [tuple(line.split(":", 1)) for line in found]  # type: ignore[misc]


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Listener]:
    """Start a server for Airflow's stats; a test's parameter adds environment variables."""
    import airflow.sdk.serde  # noqa: F401  (starts the stats by itself when it is imported: with none yet)

    listener = Listener()
    settings = {
        "STATSD_ON": "True",
        "STATSD_HOST": "127.0.0.1",
        "STATSD_PORT": str(listener.socket.getsockname()[1]),
        **getattr(request, "param", {}),
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
    client = start_stats()
    yield listener
    client.statsd.close()
    monkeypatch.undo()
    start_stats()
    listener.socket.close()


def ours(lines: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Map the names of the pipelines' metrics to values, names without a trailing pipeline id first."""
    found: dict[str, list[str]] = {}
    for name, value in lines:
        if name.startswith("airflow.pipeline."):
            found.setdefault(name.removeprefix("airflow.pipeline."), []).append(value)
    return found


def test_a_committed_window_is_counted(folder: Folder, run_dag: Callable[..., Any], statsd: Listener) -> None:
    folder.write(backlog="wait", granularity="13h")
    run_dag(folder.dag())
    seen, mine = ours(statsd.received()), folder.pipeline_id
    assert seen["windows_committed"] == seen[f"windows_committed.{mine}"] == ["1|c"]
    assert seen["rows"] == seen[f"rows.{mine}"] == ["39|c"]
    assert seen["bytes"] == seen[f"bytes.{mine}"]
    (size,) = seen["bytes"]
    assert int(size.removesuffix("|c")) > 500
    (lag,) = seen["lag_seconds"]
    assert re.fullmatch(r"\d+(\.\d+)?\|g", lag)
    assert float(lag.removesuffix("|g")) > 10 * 365 * 86_400  # November 2013
    (due,) = seen["due_timestamp_seconds"]
    assert seen[f"due_timestamp_seconds.{mine}"] == [due]
    assert due == "1383584400.0|g"  # the second window begins 13 hours after midnight; x_time_back is a day
    phases = {name.rpartition(".")[2] for name in seen if name.startswith(f"phase_seconds.{mine}.")}
    assert phases == {"generate", "validate", "extract", "stage", "load", "audit"}
    assert all(re.fullmatch(r"\d+(\.\d+)?\|ms", value) for value in seen["phase_seconds"])
    assert not [name for name in seen if "failed" in name or "blocked" in name]


def test_failed_and_blocked_windows_are_counted(
    folder: Folder, run_dag: Callable[..., Any], statsd: Listener
) -> None:
    folder.write(backlog="wait", max_attempts="2", audit="{on_empty: fail}")
    folder.sql("DELETE FROM events")
    dag = folder.dag()
    run_dag(dag)
    first = ours(statsd.received())
    assert first["windows_failed"] == first[f"windows_failed.{folder.pipeline_id}"] == ["1|c"]
    assert "windows_blocked" not in first
    run_dag(dag)
    second = ours(statsd.received())
    assert second["windows_failed"] == ["1|c"]
    assert second["windows_blocked"] == second[f"windows_blocked.{folder.pipeline_id}"] == ["1|c"]
    assert "windows_committed" not in {**first, **second}


@pytest.mark.parametrize(
    ("statsd", "pipeline", "expected"),
    [
        ({"LEGACY_NAMES_ON": "False"}, "a.b", ["airflow.pipeline.rows"]),
        ({}, "a.b", ["airflow.pipeline.rows", "airflow.pipeline.rows.a__b"]),
        (
            {"STATSD_INFLUXDB_ENABLED": "True"},
            "ab",
            ["airflow.pipeline.rows,pipeline=ab"],
        ),
    ],
    ids=["without long names", "a dot is no level", "tags as InfluxDB has them"],
    indirect=["statsd"],
)
def test_names_and_tags(statsd: Listener, pipeline: str, expected: list[str]) -> None:
    from airflow_pipeline_provider.observability import metrics
    from airflow_pipeline_provider.operators.airflow_stats import airflow_stats

    with airflow_stats():
        metrics.count(metrics.ROWS, 7, pipeline=pipeline)
    assert statsd.received() == [(each, "7|c") for each in expected]


def test_no_metric_is_computed_when_metrics_are_off() -> None:
    from airflow_pipeline_provider.observability import metrics
    from airflow_pipeline_provider.operators.airflow_stats import airflow_stats

    with airflow_stats():
        assert not metrics.has_sinks()
