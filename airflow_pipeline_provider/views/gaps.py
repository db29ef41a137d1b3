"""Report what is missing of a pipeline's days, and why."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from msgspec import Struct

from airflow_pipeline_provider.core.days import day_of, days_in
from airflow_pipeline_provider.core.intervals import join_near
from airflow_pipeline_provider.core.missing import Missing, Why, days_of, explain, split_next, within
from airflow_pipeline_provider.core.planning import horizon
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.pipeline_status import (
    Readable,
    TooOldDays,
    read_missing,
    shown_days,
    whole_of,
)
from airflow_pipeline_provider.views.times import LocalInterval, local_fields

MOST_SPANS = 90  # of the ledger, read at once: few enough for one query
_WEEK = timedelta(weeks=1)  # nothing is read over years without a gap
_INSTANT = timedelta(microseconds=1)


class Gap(LocalInterval, frozen=True):
    """Missing time; `days` counts the local days that it overlaps."""

    seconds: float
    days: int
    reason: Why
    detail: str
    failures: int
    ready: bool


class PipelineGaps(Struct, frozen=True):
    """Missing time of one pipeline."""

    pipeline_id: str
    timezone: str
    reference_time: datetime
    first_day: date | None
    last_day: date | None
    gaps: tuple[Gap, ...]

    @property
    def too_old(self) -> TooOldDays | None:
        """Return the days that are too old for any run."""
        old = [gap for gap in self.gaps if gap.reason is Why.TOO_OLD]
        days = sorted({day for gap in old for day, _ in days_in(gap.interval, self.timezone)})
        return TooOldDays(len(days), days[0], days[-1]) if days else None


def read_gaps(config: Described, state: Readable, at: datetime, days: int | None = None) -> PipelineGaps:
    """Return what is missing, explained by the ledger, in order of time.

    `days` limits it to the last days up to the target day (None: all days that runs plan). Days that are too old
    for any run are always included. `first_day` and `last_day` are None when no day is planned.
    """
    rules = config.rules
    read = read_missing(config, state, at)
    span = horizon(rules, at, read.first_day)
    if span is not None and days is not None:
        span = whole_of(rules, shown_days(rules, at, days, read.first_day))
    missing = [one for one in read.missing if one.why is Why.TOO_OLD]
    first = last = None
    if span is not None:
        rest = within((one for one in read.missing if one.why is not Why.TOO_OLD), span)
        entries = state.entries_in(join_near((one.interval for one in rest), _WEEK, MOST_SPANS))
        missing += split_next(rules, explain(rest, entries), at)
        first, last = (day_of(instant, rules.timezone) for instant in (span.start, span.end - _INSTANT))
    gaps = tuple(_gap(config, one) for one in missing)
    return PipelineGaps(config.pipeline_id, config.timezone, at, first, last, gaps)


def _gap(config: Described, one: Missing) -> Gap:
    return Gap(
        **local_fields(one.interval, config.timezone),
        seconds=one.interval.seconds,
        days=len(days_of(config.rules, [one.interval])),
        reason=one.why,
        detail=one.detail,
        failures=one.failures,
        ready=one.ready,
    )
