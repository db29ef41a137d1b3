"""Metrics from Airflow's OpenTelemetry client to a real collector, Prometheus, and the queries of panels and rules.

Only `make reliability` runs it: the collector takes minutes to build.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from uuid import uuid4

import pytest
from airflow.version import version

from airflow_pipeline_provider.observability import metrics
from docs.reference import prometheus_name
from tests import monitoring_files as files
from tests.prometheus_queries import Prometheus

pytestmark = pytest.mark.integration

HOUR = 3600
SETTINGS = {  # docs/how-to/monitoring.md
    "AIRFLOW__METRICS__OTEL_ON": "True",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=airflow",
}
SENDER = """
import json, sys
from tests.stats_client import start_stats
start_stats()
from tests.prometheus_queries import send
send(sys.argv[1], json.loads(sys.argv[2]))
"""
TIMERS_ARE_GAUGES = version.startswith("3.2.")


def send_from_a_process_of_its_own(pipeline: str, values: dict[str, float], url: str) -> None:
    """Send each metric once, as a task does: its process ends, and the next one counts from zero."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SENDER, pipeline, json.dumps(values)],
        env={**os.environ, **SETTINGS, "OTEL_EXPORTER_OTLP_ENDPOINT": url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_metrics_of_several_processes_add_up_and_panels_have_results(collector: dict[str, str]) -> None:
    ask, pipeline = Prometheus(collector["COLLECTOR_QUERY_URL"]), f"flights-{uuid4().hex[:8]}"
    values = {name: 3.0 + n for n, name in enumerate(metrics.METRICS)}
    values[metrics.DUE_TIMESTAMP_SECONDS] = time.time() - 3 * HOUR
    of_mine = f'{{pipeline="{pipeline}"}}'
    for _ in range(2):
        send_from_a_process_of_its_own(pipeline, values, collector["COLLECTOR_OTLP_URL"])

    # labels, names, values and units
    for name, metric in metrics.METRICS.items():
        in_prometheus, expected, tags = prometheus_name(name, metric), values[name], {pipeline}
        if metric.kind == "counter":
            expected *= 2
        elif metric.kind == "timer":
            tags |= {"load"}
            in_prometheus += "" if TIMERS_ARE_GAUGES else "_milliseconds"
            expected *= 1000 * (1 if TIMERS_ARE_GAUGES else 2)
        series = in_prometheus + of_mine
        if metric.kind == "timer" and not TIMERS_ARE_GAUGES:
            ask.wait_for(f"histogram_count({series})", lambda found: [value for _, value in found] == [2])
            series = f"histogram_sum({series})"
        wanted = [pytest.approx(expected)]
        ((labels, _),) = ask.wait_for(
            series,
            lambda found, wanted=wanted: [value for _, value in found] == wanted,  # type: ignore[misc]
        )
        assert {labels[tag] for tag in metric.tags} == tags

    # rules: those that wait for nothing fire
    ask.wait_for(
        f"ALERTS{of_mine}",
        lambda found: (
            {(labels["alertname"], labels["alertstate"]) for labels, _ in found}
            == files.alerts_of_a_pipeline()
        ),
    )

    # panels: as Grafana fills in the variables. Two samples of a counter make an increase.
    time.sleep(3)
    send_from_a_process_of_its_own(pipeline, values, collector["COLLECTOR_OTLP_URL"])
    ask.wait_for(f"increase(airflow_pipeline_rows_total{of_mine}[1m]) > 0")
    for query in files.panel_queries():
        names = {selector.name for selector in query.selectors}
        if any(name.endswith(("_sum", "_bucket")) for name in names):
            continue  # StatsD's histogram
        filled = query.expr.replace("$pipeline", pipeline).replace("$__range", "1h")
        empty = TIMERS_ARE_GAUGES and any(name.endswith("_milliseconds") for name in names)
        found = ask(filled) if empty else ask.wait_for(filled)
        assert bool(found) != empty, query.place
        assert all(value > 0 for _, value in found), (query.place, found)
