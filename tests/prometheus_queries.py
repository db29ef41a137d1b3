"""A real Prometheus as the tests ask it, and the metrics that they send to it by Airflow's stats."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from urllib.parse import urlencode
from urllib.request import urlopen

from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.operators.airflow_stats import airflow_stats


class Prometheus:
    """Queries to the Prometheus at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Return (labels, value) of each series of a query now."""
        with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': expr})}", timeout=30) as response:
            found = json.load(response)["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def wait_for(
        self, expr: str, condition: Callable[[list[tuple[dict[str, str], float]]], bool] = bool
    ) -> list[tuple[dict[str, str], float]]:
        """Ask until the answer is as it should be; a scrape and an evaluation take a second each."""
        until = time.monotonic() + 60
        while not condition(found := self(expr)):
            assert time.monotonic() < until, f"{expr} is still {found}"
            time.sleep(0.25)
        return found


def send(pipeline: str, values: dict[str, float]) -> None:
    """Send each declared metric once, as the phases do."""
    with airflow_stats():
        for name, metric in metrics.METRICS.items():
            if metric.kind == "counter":
                metrics.count(name, int(values[name]), pipeline=pipeline)
            elif metric.kind == "gauge":
                metrics.gauge(name, values[name], pipeline=pipeline)
            else:
                metrics.timing(name, values[name], pipeline=pipeline, phase="load")
