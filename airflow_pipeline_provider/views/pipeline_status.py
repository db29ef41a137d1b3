"""Compute a pipeline's status: which days are complete, what is missing and why, how far behind it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.day_status import COMPLETE, DayReport, DayStatus, day_status
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.eta import Eta, Habits, estimate, spans_of_interest
from airflow_pipeline_provider.core.intervals import Interval, common, split, subtract
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.missing import (
    Missing,
    Why,
    days_of,
    explain,
    find_missing,
    too_old_sentence,
    within,
)
from airflow_pipeline_provider.core.planning import (
    Known,
    Plan,
    PlanRules,
    all_days,
    horizon,
    plan_live,
    recent_days,
    target_day,
)
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.source_facts import latest
from airflow_pipeline_provider.state.about import About
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.views.described import Described


@dataclass(frozen=True)
class Day:
    """A day and its status; `entries` are the ledger's that overlap it, in the order of writing."""

    day: date
    whole: Interval
    report: DayReport
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class PipelineStatus:
    """The status of a pipeline at one instant.

    `continuation` is the start of the oldest gap, or the end of the days that runs plan if there is no gap.
    `ready_until` is the end of what is committed or ready. Each is None when no day is planned, or nothing is
    ready. `plan` is what a run would get now. `missing` is all time that is neither committed nor waived since the
    first day; within the shown days it is explained by the ledger. `first_day` is the first day that was ever
    planned, None where `start_day` rules. `covered` is what of the planned days was committed, waived, or failed.
    """

    target_day: date
    first_day: date | None
    covered: Coverage
    continuation: datetime | None
    ready_until: datetime | None
    plan: Plan
    leases: tuple[Lease, ...]
    days: tuple[Day, ...]
    missing: tuple[Missing, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    """What the last validate recorded about the source within `days` (`phases.source_facts`)."""

    @property
    def behind_seconds(self) -> float:
        """Return the seconds from the oldest ready gap to the newest ready instant; 0 when nothing is ready."""
        first = next((one for one in self.missing if one.why not in (Why.NOT_SETTLED, Why.TOO_OLD)), None)
        if first is None or self.ready_until is None:
            return 0.0
        return max(0.0, (self.ready_until - first.interval.start).total_seconds())

    @property
    def too_old(self) -> tuple[Interval, ...]:
        """Return what is missing in days that are too old for any run."""
        return tuple(one.interval for one in self.missing if one.why is Why.TOO_OLD)


class TooOldDays(Struct, frozen=True):
    """Days with missing time that no run plans (`max_backlog_days`)."""

    days: int
    first: date
    last: date

    @property
    def sentence(self) -> str:
        """Return the sentence about these days, without a full stop."""
        return too_old_sentence(self.days, self.first, self.last)


def too_old_days(rules: PlanRules, pieces: Sequence[Interval]) -> TooOldDays | None:
    """Return the days of these pieces; None without any."""
    days = days_of(rules, pieces)
    return TooOldDays(len(days), days[0], days[-1]) if days else None


class Readable(Protocol):
    """The methods of a state that this module calls; a bulk read of many pipelines has them too."""

    def first_day(self, day: date | None) -> date | None:
        """Return the first day that was ever planned."""

    def about(self) -> About:
        """Return the pipeline's record."""

    def coverage(self, within: Interval) -> Coverage:
        """Return the coverage within the interval."""

    def leases(self) -> list[Lease]:
        """Return the leases that are held."""

    def entries(self, within: Interval) -> list[Entry]:
        """Return the ledger entries that overlap the interval, in the order of writing."""

    def entries_in(self, spans: Sequence[Interval]) -> list[Entry]:
        """Return the entries that overlap one of the disjoint spans, which are in order, in the order of writing."""


class MissingTime(NamedTuple):
    """Everything that is missing since the first day (None: no day is known yet), and what it was computed from."""

    first_day: date | None
    covered: Coverage
    blocked: tuple[Interval, ...]
    leases: tuple[Lease, ...]
    missing: list[Missing]


def read_missing(config: Described, state: Readable, at: datetime) -> MissingTime:
    """Read what is missing at this instant; why it was not moved is not explained yet (`core.missing.explain`)."""
    rules = config.rules
    first_day = state.first_day(None) if rules.start_day is None else None
    asked = all_days(rules, at, first_day)
    covered = state.coverage(asked) if asked else Coverage()
    leases = tuple(state.leases())
    blocked = tuple(covered.blocked(config.max_attempts))
    missing = find_missing(rules, at, covered.done, first_day=first_day, blocked=blocked, leases=leases)
    return MissingTime(first_day, covered, blocked, leases, missing)


def read_status(
    config: Described,
    state: Readable,
    reference_time: datetime,
    days: int,
    until: date | None = None,
    read: MissingTime | None = None,
) -> PipelineStatus:
    """Return the status of the pipeline at the reference time, with up to `days` days up to the target day.

    With `until`, the days are those up to this one; everything else is as without it. `read` is what `read_missing`
    returned, if it was asked before.

    Only reads: the status of a pipeline that never ran does not set its first day.
    """
    rules = config.rules
    read = read if read is not None else read_missing(config, state, reference_time)
    first_day, covered, blocked, leases, missing = read
    span = horizon(rules, reference_time, first_day)
    shown = shown_days(rules, reference_time, days, first_day, until)
    whole = whole_of(rules, shown)
    entries = state.entries(whole) if whole else []
    if whole is not None:
        missing = [*_outside(missing, whole), *explain(within(missing, whole), entries)]
        missing.sort(key=lambda one: one.interval)
    leased = tuple(lease.interval for lease in leases)
    known = Known(covered.done, blocked=blocked, leased=leased, failed=covered.failed)
    return PipelineStatus(
        target_day(rules, reference_time),
        first_day,
        covered,
        _continuation(missing, span),
        _ready_until(missing, covered.done, span),
        plan_live(rules, reference_time, known, first_day),
        leases,
        tuple(_days(config, shown, entries, reference_time, missing)),
        tuple(missing),
        latest(entries),
    )


def days_to_judge(
    config: Described, state: Readable, reference_time: datetime, days: int, read: MissingTime
) -> tuple[list[Interval], list[Interval]]:
    """Return the days whose entries decide on their status, and the other ones, which are complete.

    The state was read without commits: a day is complete if nothing of it is missing and it has no other entry.
    """
    rules = config.rules
    shown = shown_days(rules, reference_time, days, read.first_day)
    wholes = _wholes(tuple(shown), rules.timezone)
    whole = whole_of(rules, shown)
    odd = state.entries(whole) if whole is not None else []
    parts = list(zip(wholes, split(odd, wholes), split(read.missing, wholes), strict=True))
    decided = [day for day, written, gaps in parts if written or gaps]
    return decided, [day for day, written, gaps in parts if not written and not gaps]


def _outside(missing: list[Missing], whole: Interval) -> list[Missing]:
    """Return the missing time before and after the shown days."""
    parts = ((one, part) for one in missing for part in subtract([one.interval], [whole]))
    return [replace(one, interval=part) for one, part in parts]


def _continuation(missing: list[Missing], span: Interval | None) -> datetime | None:
    if span is None:
        return None
    return next((one.interval.start for one in missing if one.why is not Why.TOO_OLD), span.end)


def _ready_until(
    missing: list[Missing], done: tuple[Interval, ...], span: Interval | None
) -> datetime | None:
    """Return the end of what is committed or ready in the days that runs plan."""
    if span is None:
        return None
    ready = [one.interval.end for one in missing if one.why not in (Why.NOT_SETTLED, Why.TOO_OLD)]
    return max([piece.end for piece in common(done, [span])] + ready, default=None)


def shown_days(
    rules: PlanRules,
    reference_time: datetime,
    days: int,
    first_day: date | None = None,
    until: date | None = None,
) -> list[date]:
    """Return up to `days` days up to the target day, or up to `until`, from the first known day on."""
    target = target_day(rules, reference_time)
    begin = min(first_day or target, target)
    if until is None or until >= target:
        return recent_days(rules, reference_time, days, begin)
    earlier = recent_days(rules, reference_time, days + (target - until).days, begin)
    return [day for day in earlier if day <= until][-days:]


def whole_of(rules: PlanRules, shown: list[date]) -> Interval | None:
    """Return the interval from the first to the last of the days; None without days."""
    if not shown:
        return None
    first, last = (day_interval(day, rules.timezone) for day in (shown[0], shown[-1]))
    return Interval(first.start, last.end)


@lru_cache(maxsize=64)
def _wholes(days: tuple[date, ...], timezone: str) -> tuple[Interval, ...]:
    """Return the days; most pipelines of a list share them."""
    return tuple(day_interval(day, timezone) for day in days)


@lru_cache(maxsize=64)
def _unread(seconds: float) -> DayReport:
    """Return the report of a complete day whose commits were not read, so that its rows are not known."""
    return DayReport(DayStatus.COMPLETE, COMPLETE, seconds, 100.0, None, ())


def _days(
    config: Described,
    shown: list[date],
    entries: list[Entry],
    reference_time: datetime,
    missing: list[Missing],
) -> Iterator[Day]:
    rules = config.rules
    wholes = _wholes(tuple(shown), rules.timezone)
    parts = zip(shown, wholes, split(entries, wholes), split(missing, wholes), strict=True)
    for day, whole, written, gaps in parts:
        if not written and not gaps and not whole.is_empty:  # its commits, which cover it, were not read
            yield Day(day, whole, _unread(whole.seconds), ())
            continue
        report = day_status(
            whole,
            written,
            now=reference_time,
            settle_seconds=rules.settle_seconds,
            max_attempts=config.max_attempts,
            timezone=rules.timezone,
            ready=[one.interval for one in gaps if one.why is not Why.NOT_SETTLED],
        )
        old = [one for one in gaps if one.why is Why.TOO_OLD]
        if report.gaps and old and not subtract(report.gaps, [one.interval for one in old]):
            reason = f"{local_window(report.gaps[0], rules.timezone)} is too_old: {old[0].detail}"
            report = replace(report, reason=reason)
        yield Day(day, whole, report, tuple(written))


def eta_spans(config: Described, status: PipelineStatus, reference_time: datetime) -> list[Interval]:
    """Return the disjoint spans whose ledger entries `find_eta` reads, none for a pipeline without a backlog."""
    return spans_of_interest(config.rules, status.missing, status.ready_until or reference_time)


def find_eta(config: Described, state: Readable, status: PipelineStatus, reference_time: datetime) -> Eta:
    """Return when the backlog will be caught up, or why there is no estimate."""
    entries = state.entries_in(eta_spans(config, status, reference_time))
    return eta_from(config, entries, status, reference_time)


def eta_from(
    config: Described, entries: list[Entry], status: PipelineStatus, reference_time: datetime
) -> Eta:
    """Return the same from the entries of the intervals that `eta_spans` returned."""
    habits = Habits(drains=config.backlog == "drain", scheduled=config.schedule is not None)
    return estimate(config.rules, explain(status.missing, entries), entries, reference_time, habits)


def ready_seconds(runtime: Runtime, reference_time: datetime) -> float:
    """Return how many seconds are ready and neither committed nor waived."""
    rules = runtime.config.rules
    first_day = runtime.state.first_day(None) if rules.start_day is None else None
    span = horizon(rules, reference_time, first_day)
    if span is None:
        return 0.0
    found = find_missing(rules, reference_time, runtime.state.coverage(span).done, first_day=first_day)
    return sum(one.interval.seconds for one in found if one.why is Why.READY)
