"""Metrics of a run as an OpenTelemetry collector receives them by OTLP over HTTP from Airflow's own client."""

from __future__ import annotations

import atexit
import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.stats_client import start_stats

from .conftest import Folder

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="this Airflow came without OTLP over HTTP"
)


class Collector(ThreadingHTTPServer):
    """A server that stores the posted data."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []

    def points(self) -> dict[str, list[tuple[dict[str, str], Any]]]:
        """Map names without Airflow's prefix to (tags, data point) of the pipelines' metrics."""
        found: dict[str, list[tuple[dict[str, str], Any]]] = {}
        for metric in self.metrics():
            if metric.name.startswith("airflow.pipeline."):
                data = getattr(metric, metric.WhichOneof("data"))
                found.setdefault(metric.name.removeprefix("airflow.pipeline."), []).extend(
                    ({tag.key: tag.value.string_value for tag in point.attributes}, point)
                    for point in data.data_points
                )
        return found

    def metrics(self) -> Iterator[Any]:
        """Yield each metric that was posted."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        for body in self.bodies:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    yield from scope.metrics


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Collector]:
    """Start a collector for Airflow's stats; a test's parameter adds environment variables."""
    import airflow.sdk.serde  # noqa: F401  (starts the stats by itself when it is imported: with none yet)
    from opentelemetry import metrics

    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "600000")  # the test flushes explicitly
        for name, value in getattr(request, "param", {}).items():
            monkeypatch.setenv(name, value)
        with monkeypatch.context() as patch:
            # its last flush comes after the collector stops
            patch.setattr(atexit, "register", lambda *_: None)
            start_stats()
        yield server
        metrics.get_meter_provider().shutdown()  # type: ignore[attr-defined]
        monkeypatch.undo()
        start_stats()
        server.shutdown()


def test_a_committed_window(folder: Folder, run_dag: Callable[..., Any], collector: Collector) -> None:
    from opentelemetry import metrics

    folder.write(backlog="wait", granularity="13h")
    run_dag(folder.dag())
    metrics.get_meter_provider().force_flush()  # type: ignore[attr-defined]
    seen, tags = collector.points(), {"pipeline": folder.pipeline_id}
    assert [(its, point.as_int) for its, point in seen["windows_committed"]] == [(tags, 1)]
    assert [(its, point.as_int) for its, point in seen["rows"]] == [(tags, 39)]
    ((its, size),) = seen["bytes"]
    assert its == tags
    assert size.as_int > 500
    ((its, lag),) = seen["lag_seconds"]
    assert its == tags
    assert lag.as_double > 10 * 365 * 86_400  # November 2013
    ((its, due),) = seen["due_timestamp_seconds"]
    assert its == tags
    assert due.as_double > 1_383_000_000
    phases = {its["phase"]: point for its, point in seen["phase_seconds"]}
    assert phases.keys() == {"generate", "validate", "extract", "stage", "load", "audit"}
    assert all(taken(point) > 0 for point in phases.values())
    assert not [
        name for name in seen if folder.pipeline_id in name
    ]  # tags are tags here, not parts of a name


@pytest.mark.parametrize(
    "collector",
    [
        {
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=airflow",
        }
    ],
    ids=[""],
    indirect=True,
)
def test_tasks_send_increments_under_one_id_if_the_environment_asks_for_it(collector: Collector) -> None:
    """Each task is a process of its own: cumulative counters of all of them would stay at 1."""
    from opentelemetry import metrics as otel
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    from airflow_pipeline_provider.observability import metrics
    from airflow_pipeline_provider.operators.airflow_stats import airflow_stats

    with airflow_stats():
        metrics.count(metrics.WINDOWS_COMMITTED, pipeline="flights")
    otel.get_meter_provider().force_flush()  # type: ignore[attr-defined]
    (body,) = collector.bodies
    (sent,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    resource = {each.key: each.value.string_value for each in sent.resource.attributes}
    assert resource["service.instance.id"] == "airflow"
    (metric,) = [each for each in collector.metrics() if each.name == "airflow.pipeline.windows_committed"]
    assert metric.sum.aggregation_temporality == 1  # delta; 2 is cumulative


def taken(point: Any) -> float:
    """Return the milliseconds of one duration: from a histogram, or in Airflow 3.2 from a gauge."""
    if not hasattr(point, "count"):
        return float(point.as_double)
    assert point.count == 1
    return float(point.sum)
