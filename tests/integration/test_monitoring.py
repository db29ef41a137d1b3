"""Metrics from Airflow's own StatsD client to a real statsd_exporter, Prometheus, its rules and queries of panels."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from airflow_pipeline_provider.observability import metrics
from docs.reference import prometheus_name
from tests import monitoring_files as files
from tests.prometheus_queries import Prometheus, send
from tests.stats_client import start_stats

HOUR = 3600


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "alerts.yaml"],
        ["check", "config", "prometheus.yaml"],
        ["test", "rules", "alerts.test.yaml"],
    ],
    ids=" ".join,
)
def test_promtool_accepts(arguments: list[str], monitoring: dict[str, str]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=files.FOLDER, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=["with tags", "without tags"])
def pipeline(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, monitoring: dict[str, str]
) -> Iterator[str]:
    """Return the id of a new pipeline; stats go to the exporter, with or without tags."""
    import airflow.sdk.serde  # noqa: F401  (starts the stats by itself when it is imported: with none yet)

    for name, value in {
        "STATSD_ON": "True",
        "STATSD_HOST": "127.0.0.1",
        "STATSD_PORT": monitoring["STATSD_EXPORTER_PORT"],
        "STATSD_INFLUXDB_ENABLED": str(request.param == "with tags"),
    }.items():
        monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
    client = start_stats()
    yield f"flights-{uuid4().hex[:8]}"
    client.statsd.close()
    monkeypatch.undo()
    start_stats()


def test_every_metric_arrives_and_rules_and_panels_have_results(
    pipeline: str, monitoring: dict[str, str]
) -> None:
    ask = Prometheus(monitoring["PROMETHEUS_URL"])
    values = {name: 3.0 + n for n, name in enumerate(metrics.METRICS)}
    values[metrics.DUE_TIMESTAMP_SECONDS] = time.time() - 3 * HOUR
    send(pipeline, values)

    # labels, names, values and units
    of_mine, of_exporter = f'{{pipeline="{pipeline}"}}', {"job": "airflow-statsd"}
    for name, metric in metrics.METRICS.items():
        in_prometheus, tags = prometheus_name(name, metric), {"pipeline": pipeline}
        if metric.kind == "timer":
            in_prometheus, tags = f"{in_prometheus}_sum", {**tags, "phase": "load"}
        ((labels, value),) = ask.wait_for(in_prometheus + of_mine)
        instance = labels.pop("instance")
        assert instance.startswith("127.0.0.1:")
        assert labels == {"__name__": in_prometheus, **of_exporter, **tags}
        assert value == pytest.approx(values[name])

    # rules: those that wait for nothing fire, on the first event of each counter
    ((_, overdue),) = ask.wait_for(f"airflow_pipeline:overdue_seconds{of_mine}")
    assert overdue == pytest.approx(3 * HOUR, abs=120)
    ask.wait_for(
        f"ALERTS{of_mine}",
        lambda found: (
            {(labels["alertname"], labels["alertstate"]) for labels, _ in found}
            == files.alerts_of_a_pipeline()
        ),
    )

    # panels: as Grafana fills in the variables. Two samples of a counter make an increase.
    send(pipeline, values)
    ask.wait_for(
        f"increase(airflow_pipeline_phase_seconds_count{of_mine}[1m]) > 0",
    )
    for query in files.panel_queries():
        if any(selector.name.endswith("_milliseconds") for selector in query.selectors):
            continue  # OpenTelemetry's histogram
        filled = query.expr.replace("$pipeline", pipeline).replace("$__range", "1h")
        found = ask(filled)
        assert found, query.place
        assert all(value > 0 for _, value in found), (query.place, found)
