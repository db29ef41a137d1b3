"""Send metrics of pipelines to registered sinks.

`METRICS` lists them. All have the tag `pipeline`. A task that Airflow runs again may count its work again.

By default there is no sink, and metrics cost nothing. The operators send them to Airflow's stats
(`operators.airflow_stats`). A custom sink receives the metrics of the phases in the same process::

    with sending_to(sink):
        run_window(runtime, request)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import NamedTuple, Protocol

from airflow_pipeline_provider.core.days import day_interval, day_of
from airflow_pipeline_provider.core.intervals import Interval, gaps
from airflow_pipeline_provider.core.planning import PlanRules, horizon
from airflow_pipeline_provider.core.readiness import first_window, ready_at, target_day

logger = logging.getLogger(__name__)

WINDOWS_COMMITTED = "pipeline.windows_committed"
WINDOWS_FAILED = "pipeline.windows_failed"
WINDOWS_BLOCKED = "pipeline.windows_blocked"
ROWS = "pipeline.rows"
ROWS_QUARANTINED = "pipeline.rows_quarantined"
BYTES = "pipeline.bytes"
SCHEMA_CHANGES = "pipeline.schema_changes"
UNTIMED_ROWS = "pipeline.untimed_rows"
LATE_DAYS = "pipeline.late_days"
UNUSUAL_WINDOWS = "pipeline.unusual_windows"
LAG_SECONDS = "pipeline.lag_seconds"
DUE_TIMESTAMP_SECONDS = "pipeline.due_timestamp_seconds"
PHASE_SECONDS = "pipeline.phase_seconds"


class Metric(NamedTuple):
    """A metric; `kind` is counter, gauge or timer, `tags` are the names of its tags."""

    kind: str
    meaning: str
    tags: tuple[str, ...] = ("pipeline",)


METRICS = {
    WINDOWS_COMMITTED: Metric("counter", "windows that the audit committed, replacements included"),
    WINDOWS_FAILED: Metric("counter", "failures that Airflow does not retry"),
    WINDOWS_BLOCKED: Metric("counter", "failures after which the window is blocked (`max_attempts`)"),
    ROWS: Metric("counter", "rows loaded into the target; a load that was already there adds nothing"),
    ROWS_QUARANTINED: Metric(
        "counter",
        "rows of committed windows that the target could not accept (`audit.on_reject: quarantine`)",
    ),
    BYTES: Metric("counter", "bytes of the part files that held the loaded rows"),
    SCHEMA_CHANGES: Metric(
        "counter",
        "changes of the documents that the audit found, one for each field or column (`contract`: warn, fail)",
    ),
    UNTIMED_ROWS: Metric("gauge", "rows of the source without a usable event time, counted by validate"),
    LATE_DAYS: Metric("gauge", "late days (`expect.day_complete_by`) at the last run of the maintenance DAG"),
    UNUSUAL_WINDOWS: Metric(
        "gauge",
        "committed windows with other rows than expected (`expect.rows`) at the last run of the maintenance DAG",
    ),
    LAG_SECONDS: Metric(
        "gauge", "seconds after a commit from the first instant that is neither committed nor waived to now"
    ),
    DUE_TIMESTAMP_SECONDS: Metric(
        "gauge",
        "Unix time at which the first window that is neither committed nor waived was or will be ready, sent after a "
        "commit; 0 after `end_day`. Now minus this value is how long a window has been due, also if no run starts",
    ),
    PHASE_SECONDS: Metric(
        "timer",
        "time that a phase took, also if it failed; Airflow sends every timer in milliseconds",
        ("pipeline", "phase"),
    ),
}

Tags = Mapping[str, str]


class Sink(Protocol):
    """A receiver of metrics; an error of a sink is logged and does not fail the phase."""

    def count(self, name: str, by: int, tags: Tags) -> None:
        """Increase a counter by `by`."""

    def gauge(self, name: str, value: float, tags: Tags) -> None:
        """Set a gauge to its current value."""

    def timing(self, name: str, seconds: float, tags: Tags) -> None:
        """Record a duration."""


_sinks: tuple[Sink, ...] = ()


@contextmanager
def sending_to(*sinks: Sink) -> Iterator[None]:
    """Send the metrics of this process to these sinks too during the block."""
    global _sinks
    before, _sinks = _sinks, (*_sinks, *sinks)
    try:
        yield
    finally:
        _sinks = before


def has_sinks() -> bool:
    """Return whether there is a sink; if not, skip computing an expensive metric."""
    return bool(_sinks)


def count(name: str, by: int = 1, **tags: str) -> None:
    """Increase a counter by `by`."""
    _send(name, lambda sink: sink.count(name, by, tags))


def gauge(name: str, value: float, **tags: str) -> None:
    """Set a gauge to its current value."""
    _send(name, lambda sink: sink.gauge(name, value, tags))


def timing(name: str, seconds: float, **tags: str) -> None:
    """Record a duration."""
    _send(name, lambda sink: sink.timing(name, seconds, tags))


def phase_ended(pipeline: str, phase: str, seconds: float, counts: Mapping[str, int]) -> None:
    """Send the metrics of a phase that ended, successful or not; only a load that moved rows has a count `bytes`."""
    timing(PHASE_SECONDS, seconds, pipeline=pipeline, phase=phase)
    if phase == "load" and "bytes" in counts:
        count(ROWS, counts["rows"], pipeline=pipeline)
        count(BYTES, counts["bytes"], pipeline=pipeline)


def _send(name: str, call: Callable[[Sink], None]) -> None:
    for sink in _sinks:
        try:
            call(sink)
        except Exception as error:  # noqa: BLE001  a failed metric must not fail a phase
            logger.warning("metric %s could not be sent: %s", name, error)


def lag_seconds(
    rules: PlanRules, done: Iterable[Interval], now: datetime, first_day: date | None = None
) -> float | None:
    """Return the elapsed seconds from the first instant that is neither committed nor waived to `now`.

    Only the days of the planner count: from the pipeline's first day, at most `max_backlog_days` back, to the target
    day. If nothing is missing, return the seconds since the end of the target day, the smallest possible lag. Return
    None if there is no such day. `done` lists the committed and waived intervals of these days.
    """
    span = horizon(rules, now, first_day)
    if span is None:
        return None
    missing = gaps(span, done)
    end = missing[0].start if missing else span.end
    return max(0.0, (now - end).total_seconds())


def due_timestamp(
    rules: PlanRules, done: Iterable[Interval], now: datetime, first_day: date | None = None
) -> float | None:
    """Return the Unix time at which the first window that is neither committed nor waived was or will be ready.

    The days and `done` are those of `lag_seconds`; if nothing is missing in them, the next day's first window counts.
    Return 0 if `end_day` leaves no window, and None before the first day.
    """
    span = horizon(rules, now, first_day)
    if span is None:
        return 0.0 if rules.end_day is not None and rules.end_day < target_day(rules, now) else None
    missing = gaps(span, done)
    if missing:
        gap = missing[0]
    else:
        following = day_of(span.end, rules.zone)
        if rules.end_day is not None and following > rules.end_day:
            return 0.0
        gap = day_interval(following, rules.zone)
    return ready_at(rules, first_window(rules, gap)).timestamp()
