"""Numbers for dashboards: what a pipeline did, sent to a registered sink.

`METRICS` lists them. All have the tag `pipeline`. Counts are of work done, so a task that Airflow runs again may
count again.

Nobody listens by default, and then a metric costs nothing.  The operators pass them to Airflow's own stats
(`operators.airflow_stats`); a sink of one's own hears the phases wherever they run::

    with sending_to(sink):
        run_window(runtime, request)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import NamedTuple, Protocol

from airflow_pipeline_provider.core.intervals import Interval, gaps
from airflow_pipeline_provider.core.planning import PlanRules, horizon

logger = logging.getLogger(__name__)

WINDOWS_COMMITTED = "pipeline.windows_committed"
WINDOWS_FAILED = "pipeline.windows_failed"
WINDOWS_BLOCKED = "pipeline.windows_blocked"
ROWS = "pipeline.rows"
ROWS_QUARANTINED = "pipeline.rows_quarantined"
BYTES = "pipeline.bytes"
UNTIMED_ROWS = "pipeline.untimed_rows"
LAG_SECONDS = "pipeline.lag_seconds"
PHASE_SECONDS = "pipeline.phase_seconds"


class Metric(NamedTuple):
    """What is sent under a name. `kind` is counter, gauge or timer."""

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
    UNTIMED_ROWS: Metric("gauge", "rows of the source without a usable event time, counted by validate"),
    LAG_SECONDS: Metric(
        "gauge", "seconds after a commit from the first instant that is neither committed nor waived to now"
    ),
    PHASE_SECONDS: Metric(
        "timer", "milliseconds that a phase took, also if it failed", ("pipeline", "phase")
    ),
}

Tags = Mapping[str, str]


class Sink(Protocol):
    """Somebody who listens.  An error of a sink is logged and harms nobody."""

    def count(self, name: str, by: int, tags: Tags) -> None:
        """`by` more of something."""

    def gauge(self, name: str, value: float, tags: Tags) -> None:
        """How high something stands now."""

    def timing(self, name: str, seconds: float, tags: Tags) -> None:
        """How long something took."""


_sinks: tuple[Sink, ...] = ()


@contextmanager
def sending_to(*sinks: Sink) -> Iterator[None]:
    """These sinks hear what happens in this process during the block."""
    global _sinks
    before, _sinks = _sinks, (*_sinks, *sinks)
    try:
        yield
    finally:
        _sinks = before


def anybody_listens() -> bool:
    """Ask before a number is worked out that costs something."""
    return bool(_sinks)


def count(name: str, by: int = 1, **tags: str) -> None:
    _tell(name, lambda sink: sink.count(name, by, tags))


def gauge(name: str, value: float, **tags: str) -> None:
    _tell(name, lambda sink: sink.gauge(name, value, tags))


def timing(name: str, seconds: float, **tags: str) -> None:
    _tell(name, lambda sink: sink.timing(name, seconds, tags))


def phase_ended(pipeline: str, phase: str, seconds: float, counts: Mapping[str, int]) -> None:
    """Called by the log of every phase, well or ill; only a load that moved something counts `bytes`."""
    timing(PHASE_SECONDS, seconds, pipeline=pipeline, phase=phase)
    if phase == "load" and "bytes" in counts:
        count(ROWS, counts["rows"], pipeline=pipeline)
        count(BYTES, counts["bytes"], pipeline=pipeline)


def _tell(name: str, how: Callable[[Sink], None]) -> None:
    for sink in _sinks:
        try:
            how(sink)
        except Exception as error:  # noqa: BLE001  (a metric that cannot be sent must not end a phase)
            logger.warning("metric %s could not be sent: %s", name, error)


def lag_seconds(
    rules: PlanRules, done: Iterable[Interval], now: datetime, first_day: date | None = None
) -> float | None:
    """Elapsed seconds from the first instant that is neither committed nor waived to `now`.

    Looked at are the days that the planner looks at: from the pipeline's first day, no further back than
    `max_backlog_days`, to the target day.  Nothing missing there: from the end of the target day, which a pipeline
    that keeps up never gets below.  None: no such day.  `done` is what of them was committed or waived.
    """
    span = horizon(rules, now, first_day)
    if span is None:
        return None
    missing = gaps(span, done)
    end = missing[0].start if missing else span.end
    return max(0.0, (now - end).total_seconds())
