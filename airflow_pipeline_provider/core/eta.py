"""Estimate when a backlog will be caught up, from the ledger's entries of the last windows.

Pure.  The pace is the median over the last windows of how long each took, per second of window time.  A window that
was ready before its predecessor's commit took the time between the two commits, with all that lies between runs; one
that had to become ready took the time from its attempt to its commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.durations import seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval, merge
from airflow_pipeline_provider.core.ledger import DATA_ERROR, Entry, Kind
from airflow_pipeline_provider.core.missing import Missing, Why
from airflow_pipeline_provider.core.readiness import PlanRules, ready_at
from airflow_pipeline_provider.core.wording import counted

SAMPLES = 20
LARGER_SAMPLES = 5  # windows of backlog_granularity, as far back as entries are read for them
LONGEST_PAUSE = timedelta(
    minutes=15
)  # a longer one between drained runs was an outage, which is not part of the pace
SHORTEST_SILENCE = timedelta(hours=1)
_HOUR = 3600


@dataclass(frozen=True)
class Pace:
    """`ratio` is how many seconds a second of window time takes, as the median of `windows` windows."""

    ratio: float
    windows: int


@dataclass(frozen=True)
class Eta:
    """When all that is ready will be committed: `at` in `seconds`, or None, with the reason in `detail`."""

    at: datetime | None
    seconds: float | None
    detail: str
    pace: Pace | None = None


@dataclass(frozen=True)
class Habits:
    """How runs come about: `drains`, a commit starts the next run; `scheduled`, Airflow starts runs at all."""

    drains: bool = True
    scheduled: bool = True


def spans_of_interest(rules: PlanRules, missing: Iterable[Missing], until: datetime) -> list[Interval]:
    """Return which entries of the ledger the estimate needs, disjoint; none when no gap is there to be moved.

    Those before the oldest gap that a run would move, where the last commits of a backlog are, and the newest ones,
    which show that runs continue.
    """
    first = next((one.interval.start for one in missing if _moves(one)), None)
    if first is None:
        return []
    back = timedelta(seconds=max(SAMPLES * _granularity(rules), 24 * _HOUR))
    if rules.backlog_granularity is not None:
        back = max(back, LARGER_SAMPLES * timedelta(seconds=rules.backlog_granularity.elapsed_seconds))
    return merge([Interval(first - back, first), Interval(max(first, until - back), max(first, until))])


def _granularity(rules: PlanRules) -> int:
    return min(rules.granularity.elapsed_seconds, 24 * _HOUR)


def pace_of(
    rules: PlanRules, entries: Iterable[Entry], *, drains: bool = True, larger: bool = False
) -> Pace | None:
    """Return how fast the last windows were moved; None when no commit is there with its attempt.

    `larger`: of the windows that `backlog_granularity` made longer than `granularity`, if there are any.
    """
    began: dict[str | None, datetime] = {}
    commits: list[Entry] = []
    for entry in entries:
        if entry.kind is Kind.ATTEMPT:
            began[entry.attempt] = entry.at
        elif entry.kind is Kind.COMMITTED and entry.attempt in began:
            commits.append(entry)
    commits.sort(key=lambda entry: entry.at)
    ratios: list[tuple[bool, float]] = []
    before = None
    for entry in commits:
        took = _took(rules, entry, began[entry.attempt], before, drains=drains)
        is_larger = entry.interval.seconds > _granularity(rules)
        ratios.append((is_larger, took.total_seconds() / entry.interval.seconds))
        before = entry.at
    chosen = [ratio for is_larger, ratio in ratios if is_larger] if larger else []
    chosen = (chosen or [ratio for _, ratio in ratios])[-SAMPLES:]
    return Pace(median(chosen), len(chosen)) if chosen else None


def _took(
    rules: PlanRules, entry: Entry, began: datetime, before: datetime | None, *, drains: bool
) -> timedelta:
    """Return the time for which the window held up those after it."""
    if (
        before is None
        or ready_at(rules, entry.interval) > before
        or (drains and began - before > LONGEST_PAUSE)
    ):
        return entry.at - began
    return entry.at - before


def estimate(
    rules: PlanRules,
    missing: Iterable[Missing],
    entries: Iterable[Entry],
    at: datetime,
    habits: Habits = Habits(),
) -> Eta:
    """Return when what is ready, and what becomes ready until then, will be committed."""
    missing, entries = list(missing), list(entries)
    work = [one for one in missing if _moves(one)]
    stuck = sum(one.ready and one.why is not Why.TOO_OLD and not _moves(one) for one in missing)
    aside = f"; without {counted(stuck, 'failed or blocked gap')}" if stuck else ""
    if not work:
        if stuck:
            return Eta(None, None, f"no estimate: only failed or blocked gaps are left ({stuck})")
        return Eta(None, 0.0, "all that runs look at and that is ready is committed")
    if rules.on_blocked == "stop" and any(one.why is Why.BLOCKED for one in missing):
        return Eta(None, None, "no estimate: planning stops at a blocked window (on_blocked: stop)")
    larger = rules.backlog_granularity is not None
    pace = pace_of(rules, entries, drains=habits.drains, larger=larger)
    if pace is None:
        return Eta(None, None, "no estimate yet: the ledger has no finished window near the gap to judge by")
    backlog = sum(one.interval.seconds for one in work)
    seconds = _seconds(pace.ratio, backlog, _still_to_come(rules, max(one.interval.end for one in work)))
    each = f"{seconds_to_time_string(max(1, round(pace.ratio * _HOUR)))} for an hour of data, as the last "
    each += f"{counted(pace.windows, 'window')} took"
    if seconds is None:
        return Eta(None, None, f"never at this pace, it falls further behind: {each}{aside}", pace)
    rough = seconds_to_time_string(max(1, round(seconds)))
    silent = _silent_since(rules, missing, entries, at)
    if silent is not None or not habits.scheduled:
        why = "runs are started by hand" if silent is None else f"no run since {silent:%Y-%m-%d %H:%MZ}"
        return Eta(None, None, f"no estimate, {why}: it is {rough} of work at {each}{aside}", pace)
    return Eta(at + timedelta(seconds=seconds), seconds, f"in {rough}, at {each}{aside}", pace)


def _moves(one: Missing) -> bool:
    """Return whether a run would move it: a window that failed on its data fails again until it was reviewed."""
    if one.why is Why.FAILED:
        return one.error != DATA_ERROR
    return one.why in (Why.READY, Why.UNFINISHED, Why.NEVER_RUN, Why.LEASED)


def _still_to_come(rules: PlanRules, ready_until: datetime) -> float | None:
    """Return the seconds of window time that are not ready yet; None where the pipeline has no end."""
    if rules.end_day is None:
        return None
    return max(0.0, (day_interval(rules.end_day, rules.zone).end - ready_until).total_seconds())


def _seconds(ratio: float, backlog: float, to_come: float | None) -> float | None:
    """Return how long it takes while new windows become ready, a second each second; None for never."""
    if ratio < 1:
        alone = ratio * backlog / (1 - ratio)
        if to_come is None or alone <= to_come:
            return alone
    return None if to_come is None else ratio * (backlog + to_come)


def _silent_since(
    rules: PlanRules, missing: Iterable[Missing], entries: Iterable[Entry], at: datetime
) -> datetime | None:
    """Return when something happened last, if that is so long ago that runs seem to have stopped."""
    if any(one.why is Why.LEASED for one in missing):
        return None
    last = max(entry.at for entry in entries)
    patience = max(SHORTEST_SILENCE, timedelta(seconds=2 * _granularity(rules)))
    return last if at - last > patience else None
