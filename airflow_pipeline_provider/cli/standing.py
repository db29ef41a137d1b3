"""How far a pipeline is: what is ready, where its oldest gap lies, how far that is behind."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.day_status import DayReport, day_status
from airflow_pipeline_provider.core.days import day_interval, day_of
from airflow_pipeline_provider.core.intervals import Interval, gaps
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.planning import (
    Known,
    Plan,
    PlanRules,
    day_plan,
    horizon,
    plan_live,
    ready_at,
    target_day,
)
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.base import Lease

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Day:
    """A day and how it stands."""

    day: date
    whole: Interval
    report: DayReport


@dataclass(frozen=True)
class Standing:
    """`continuation` is where the oldest gap begins (the end of what is looked at, without one), `ready_until` the
    end of the newest window that is ready; None: nothing is looked at, or nothing is ready.  `behind_seconds` is the
    time from the one to the other.  `plan` is what a run would get now."""

    target_day: date
    continuation: datetime | None
    ready_until: datetime | None
    plan: Plan
    leases: tuple[Lease, ...]
    days: tuple[Day, ...]

    @property
    def behind_seconds(self) -> float:
        if self.continuation is None or self.ready_until is None:
            return 0.0
        return max(0.0, (self.ready_until - self.continuation).total_seconds())


class Readable(Protocol):
    """What of a state is asked here: a `State`, or one that was read together with others."""

    def first_day(self, day: date | None) -> date | None: ...

    def coverage(self, within: Interval) -> Coverage: ...

    def leases(self) -> list[Lease]: ...

    def entries(self, within: Interval) -> list[Entry]: ...


def standing(config: PipelineConfig, state: Readable, reference_time: datetime, days: int) -> Standing:
    """How the pipeline stands at the reference time, with up to `days` days before and with the target day.

    Reads only: a pipeline that never ran is not begun by looking at it.
    """
    rules = config.rules
    target = target_day(rules, reference_time)
    first_day = state.first_day(None) if rules.start_day is None else None
    span = horizon(rules, reference_time, first_day)
    shown = shown_days(rules, reference_time, days, first_day)
    covered = state.coverage(span) if span else Coverage()
    leases = tuple(state.leases())
    known = Known(
        covered.done,
        blocked=tuple(covered.blocked(config.max_attempts)),
        leased=tuple(lease.interval for lease in leases),
    )
    missing = gaps(span, covered.done) if span else []
    continuation = missing[0].start if missing else span.end if span else None
    whole = whole_of(rules, shown)
    entries = state.entries(whole) if whole else []
    return Standing(
        target,
        continuation,
        ready_until(rules, reference_time, span) if span else None,
        plan_live(rules, reference_time, known, first_day),
        leases,
        tuple(_day(rules, config.max_attempts, day, entries, reference_time) for day in shown),
    )


def shown_days(
    rules: PlanRules, reference_time: datetime, days: int, first_day: date | None = None
) -> list[date]:
    """Up to `days` days before and with the target day, from the first day that there is."""
    target = target_day(rules, reference_time)
    last = min(target, rules.end_day or target)
    first = max(last - (days - 1) * _DAY, min(rules.start_day or first_day or target, target))
    return [first + n * _DAY for n in range((last - first).days + 1)]


def whole_of(rules: PlanRules, shown: list[date]) -> Interval | None:
    """All of these days; None for none."""
    if not shown:
        return None
    first, last = (day_interval(day, rules.timezone) for day in (shown[0], shown[-1]))
    return Interval(first.start, last.end)


def _day(
    rules: PlanRules, max_attempts: int, day: date, entries: list[Entry], reference_time: datetime
) -> Day:
    whole = day_interval(day, rules.timezone)
    report = day_status(
        whole,
        [entry for entry in entries if entry.interval.overlaps(whole)],
        now=reference_time,
        settle_seconds=rules.settle_seconds,
        max_attempts=max_attempts,
        timezone=rules.timezone,
    )
    return Day(day, whole, report)


def ready_until(rules: PlanRules, reference_time: datetime, span: Interval) -> datetime | None:
    """The end of the newest window of the span that is ready; None while none is."""
    day = day_of(span.end - _INSTANT, rules.timezone)
    first = day_of(span.start, rules.timezone)
    while day >= first:
        windows = day_plan(rules, day)
        ready = bisect_right(windows, reference_time, key=lambda window: ready_at(rules, window))
        if ready:
            return windows[ready - 1].end
        day -= _DAY
    return None


def ready_seconds(runtime: Runtime, reference_time: datetime) -> float:
    """How much time is ready and neither committed nor waived, all in all."""
    rules = runtime.config.rules
    first_day = runtime.state.first_day(None) if rules.start_day is None else None
    span = horizon(rules, reference_time, first_day)
    until = ready_until(rules, reference_time, span) if span else None
    if span is None or until is None or until <= span.start:
        return 0.0
    left = gaps(Interval(span.start, until), runtime.state.coverage(span).done)
    return sum(gap.seconds for gap in left)
