"""Send the metrics of `observability.metrics` through Airflow's stats: StatsD, Datadog or OpenTelemetry.

Airflow's section ``[metrics]`` configures where they go; when it enables none, no metric is computed.  StatsD without
tags (``statsd_influxdb_enabled``) has one series for all pipelines, so it also gets names that contain the tags, as
Airflow's legacy metrics do: ``pipeline.rows.flights``, ``pipeline.phase_seconds.flights.load`` (``legacy_names_on``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import common
from airflow_pipeline_provider.core.planning import horizon
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.phases.runtime import Runtime

logger = logging.getLogger(__name__)

_SWITCHES = ("statsd_on", "statsd_datadog_enabled", "otel_on")


class AirflowStats:
    """Sink that sends metrics to the stats of Airflow's task process."""

    def __init__(self, *, long_names: bool) -> None:
        from airflow.sdk.observability.stats import Stats

        self._stats: Any = Stats
        self._long_names = long_names

    def count(self, name: str, by: int, tags: metrics.Tags) -> None:
        for each, its_tags in self._names(name, tags):
            self._stats.incr(each, by, tags=its_tags)

    def gauge(self, name: str, value: float, tags: metrics.Tags) -> None:
        for each, its_tags in self._names(name, tags):
            self._stats.gauge(each, value, tags=its_tags)

    def timing(self, name: str, seconds: float, tags: metrics.Tags) -> None:
        for each, its_tags in self._names(name, tags):
            self._stats.timing(each, timedelta(seconds=seconds), tags=its_tags)

    def _names(self, name: str, tags: metrics.Tags) -> Iterator[tuple[str, dict[str, str] | None]]:
        yield name, dict(tags)
        if self._long_names:  # a dot in a value would look like one more level
            yield ".".join([name, *(value.replace(".", "__") for value in tags.values())]), None


@contextmanager
def airflow_stats() -> Iterator[None]:
    """Send the metrics of the block to Airflow's stats, if any of them is enabled."""
    from airflow.sdk.configuration import conf

    if not any(conf.getboolean("metrics", key, fallback=False) for key in _SWITCHES):
        yield
        return
    # where tags arrive, a second name would count everything twice
    has_tags = any(
        conf.getboolean("metrics", key, fallback=False)
        for key in ("statsd_datadog_enabled", "statsd_influxdb_enabled")
    )
    long_names = (
        not has_tags
        and conf.getboolean("metrics", "statsd_on", fallback=False)
        and conf.getboolean("metrics", "legacy_names_on", fallback=True)
    )
    with metrics.sending_to(AirflowStats(long_names=long_names)):
        yield


# Both read the ledger only if metrics are enabled; an error here must not become the task's result.


def report_commit(runtime: Runtime, quarantined: int) -> None:
    """Count a committed window and its quarantined rows, and report how far behind the pipeline is."""
    if not metrics.has_sinks():
        return
    metrics.count(metrics.WINDOWS_COMMITTED, pipeline=runtime.config.pipeline_id)
    if quarantined:
        metrics.count(metrics.ROWS_QUARANTINED, quarantined, pipeline=runtime.config.pipeline_id)
    try:
        _report_progress(runtime)
    except PipelineError as error:
        logger.warning("metric %s could not be computed: %s", metrics.LAG_SECONDS, error)


def report_failure(runtime: Runtime, run: str) -> None:
    """Count the window of a run that failed for good, unless the run committed it; also count it if it is blocked."""
    if not metrics.has_sinks():
        return
    pipeline = runtime.config.pipeline_id
    try:
        interval = runtime.state.bound(run)
        entries = runtime.state.entries(interval) if interval is not None else []
        mine = [entry.kind for entry in entries if entry.run == run]
        if interval is None or mine[-1:] == [ledger.Kind.COMMITTED]:
            return
        metrics.count(metrics.WINDOWS_FAILED, pipeline=pipeline)
        if common(ledger.blocked(entries, runtime.config.max_attempts), [interval]):
            metrics.count(metrics.WINDOWS_BLOCKED, pipeline=pipeline)
    except PipelineError as error:
        logger.warning("metric %s could not be computed: %s", metrics.WINDOWS_FAILED, error)


def _report_progress(runtime: Runtime) -> None:
    config = runtime.config
    now = runtime.clock()
    first_day = runtime.state.first_day(None) if config.rules.start_day is None else None
    span = horizon(config.rules, now, first_day)
    done = runtime.state.coverage(span).done if span is not None else ()
    for name, value in (
        (metrics.LAG_SECONDS, metrics.lag_seconds(config.rules, done, now, first_day)),
        (metrics.DUE_TIMESTAMP_SECONDS, metrics.due_timestamp(config.rules, done, now, first_day)),
    ):
        if value is not None:
            metrics.gauge(name, value, pipeline=config.pipeline_id)
