"""The metrics of `observability.metrics` through Airflow's own stats: StatsD, Datadog or OpenTelemetry.

Airflow sends what is configured in its section ``[metrics]``; with nothing switched on there, nothing is worked out.
StatsD without tags sees one series for all pipelines, so it also gets names that hold the tags, as Airflow's own
older metrics do: ``pipeline.rows.flights``, ``pipeline.phase_seconds.flights.load`` (``[metrics] legacy_names_on``).
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
    """A sink that hands on to the stats of Airflow's task process."""

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
    """Airflow's stats hear the metrics of the block, when any is switched on."""
    from airflow.sdk.configuration import conf

    if not any(conf.getboolean("metrics", key, fallback=False) for key in _SWITCHES):
        yield
        return
    plain_statsd = conf.getboolean("metrics", "statsd_on", fallback=False) and not conf.getboolean(
        "metrics", "statsd_datadog_enabled", fallback=False
    )
    long_names = plain_statsd and conf.getboolean("metrics", "legacy_names_on", fallback=True)
    with metrics.sending_to(AirflowStats(long_names=long_names)):
        yield


# Both read the ledger, and only if somebody listens; what goes wrong here must not become the task's own result.


def report_commit(runtime: Runtime, quarantined: int) -> None:
    """A window was committed, without so many rows; how far behind that leaves the pipeline."""
    if not metrics.anybody_listens():
        return
    metrics.count(metrics.WINDOWS_COMMITTED, pipeline=runtime.config.pipeline_id)
    if quarantined:
        metrics.count(metrics.ROWS_QUARANTINED, quarantined, pipeline=runtime.config.pipeline_id)
    try:
        _report_lag(runtime)
    except PipelineError as error:
        logger.warning("metric %s could not be worked out: %s", metrics.LAG_SECONDS, error)


def report_failure(runtime: Runtime, run: str) -> None:
    """The run failed for good; its window, if it has one that it did not commit, is a failed one, perhaps blocked."""
    if not metrics.anybody_listens():
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
        logger.warning("metric %s could not be worked out: %s", metrics.WINDOWS_FAILED, error)


def _report_lag(runtime: Runtime) -> None:
    config = runtime.config
    now = runtime.clock()
    first_day = runtime.state.first_day(None) if config.rules.start_day is None else None
    span = horizon(config.rules, now, first_day)
    done = runtime.state.coverage(span).done if span is not None else ()
    lag = metrics.lag_seconds(config.rules, done, now, first_day)
    if lag is not None:
        metrics.gauge(metrics.LAG_SECONDS, lag, pipeline=config.pipeline_id)
