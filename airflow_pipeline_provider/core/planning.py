"""Choose the next window, or the reason why there is none, from rules, reference time and ledger.

Pure: no clock, no I/O.  `core.readiness` computes when a window may run; its names are re-exported here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from airflow_pipeline_provider.core.backlog_windows import backlog_plan, next_window
from airflow_pipeline_provider.core.days import day_interval, day_of
from airflow_pipeline_provider.core.intervals import (
    Interval,
    common,
    gaps,
    iso_utc,
    merge,
    subtract,
    to_utc,
)
from airflow_pipeline_provider.core.missing import too_old, too_old_text
from airflow_pipeline_provider.core.readiness import (
    PlanRules,
    all_days,
    day_plan,
    first_window,
    horizon,
    oldest_day,
    opens,
    ready_at,
    recent_days,
    settled_at,
    target_day,
)
from airflow_pipeline_provider.core.wording import local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError

__all__ = [
    "Known",
    "Plan",
    "PlanRules",
    "Reason",
    "all_days",
    "day_plan",
    "horizon",
    "opens",
    "plan_live",
    "plan_window",
    "ready_at",
    "recent_days",
    "target_day",
]

MOST_LISTED = 3  # windows that an error names

_DAY = timedelta(days=1)


class Reason(str, Enum):
    """Why there is nothing to do."""

    COMPLETE = "complete"
    NOT_SETTLED = "not_settled"
    LEASED = "leased"
    BLOCKED = "blocked"
    BEFORE_START_DAY = "before_start_day"
    AFTER_END_DAY = "after_end_day"
    SUPERSEDED = "superseded"  # a newer run owns the window; set by the phases, never by the planner


class Known(NamedTuple):
    """What the ledger and the leases hold, in any order; only what is in `all_days` matters.

    `committed`: at any time, replaced or not.  `leased`: by other runs than the one that plans.
    `failed`: windows that failed and are not done since, which no larger window may hold.
    """

    committed: tuple[Interval, ...] = ()
    waived: tuple[Interval, ...] = ()
    blocked: tuple[Interval, ...] = ()
    leased: tuple[Interval, ...] = ()
    failed: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Either an interval to move or the reason why there is none; `day` is the local day that it is about.

    `detail` is a sentence in local time without a full stop.
    """

    interval: Interval | None
    day: date
    reason: Reason | None
    detail: str

    def __post_init__(self) -> None:
        if (self.interval is None) == (self.reason is None):
            raise ValueError(f"a plan has an interval or a reason, got {self.interval} and {self.reason}")


def plan_live(
    rules: PlanRules, reference_time: datetime, known: Known, first_day: date | None = None
) -> Plan:
    """Return the first gap of the earliest incomplete day if it is ready, else the reason why not.

    Leased gaps are skipped; blocked ones too, unless `on_blocked` is "stop".  Readiness grows with time, so where the
    first gap is not ready no later one is.  Where there is nothing to move, missing days that are too old for any run
    are counted in the plan's sentence.
    """
    reference_time = to_utc(reference_time, "reference_time")
    done = merge((*known.committed, *known.waived))
    plan = _plan_live(rules, reference_time, known, done, first_day)
    left_out = too_old(rules, reference_time, done, first_day) if plan.interval is None else []
    return replace(plan, detail=f"{plan.detail}; {too_old_text(rules, left_out)}") if left_out else plan


def _plan_live(
    rules: PlanRules, reference_time: datetime, known: Known, done: list[Interval], first_day: date | None
) -> Plan:
    target = target_day(rules, reference_time)
    span = horizon(rules, reference_time, first_day)
    if span is None:
        return _nothing_left(rules, target, first_day)
    leased = subtract(common(known.leased, [span]), done)
    blocked = subtract(common(known.blocked, [span]), done)
    free = gaps(span, (*done, *leased, *blocked))
    if rules.on_blocked == "stop" and blocked and (not free or blocked[0].start < free[0].start):
        return _blocked(rules, blocked, "planning stops there (on_blocked: stop)")
    if free:
        window = next_window(rules, free[0], reference_time, known.failed)
        ready = ready_at(rules, window)
        if ready <= reference_time:
            text = f"{local_window(window, rules.zone)}, ready since {local_time(ready, rules.zone)}"
            return Plan(window, day_of(window.start, rules.zone), None, f"the first gap is {text}")
    if leased and (not free or ready_at(rules, first_window(rules, leased[0])) <= reference_time):
        return _leased(rules, leased)
    if free:
        return _not_settled(rules, window, ready, leased, blocked)
    if blocked:
        return _blocked(rules, blocked, "all else is complete")
    return _nothing_left(rules, target, first_day)


def plan_window(
    rules: PlanRules, interval: Interval, now: datetime, *, cut: bool, exact: bool = True
) -> Plan:
    """Return exactly this window, for a backfill (`cut`: end at the latest with the start's day) or for Params.

    `now` is the wall clock.  ConfigError: the window is empty, or spans two days and must not be cut, or is not in
    the day plan and not `exact`.
    """
    now = to_utc(now, "now")
    if interval.is_empty:
        raise ConfigError(f"window: expected an end after its start, got the empty {interval}")
    day = day_of(interval.start, rules.zone)
    whole = day_interval(day, rules.zone)
    window = Interval(interval.start, min(interval.end, whole.end))
    text = local_window(window, rules.zone)
    if window != interval:
        if not cut:
            raise ConfigError(
                f"window: expected one inside of one day of {rules.timezone}, got "
                f"{local_window(interval, rules.zone)}; {day} ends at "
                f"{local_time(whole.end, rules.zone)}: run one window for each day"
            )
        text += f" (cut to {day})"
    if rules.start_day and day < rules.start_day:
        return Plan(None, day, Reason.BEFORE_START_DAY, f"{text} is before start_day {rules.start_day}")
    if rules.end_day and day > rules.end_day:
        return Plan(None, day, Reason.AFTER_END_DAY, f"{text} is after end_day {rules.end_day}")
    if not exact:
        _check_planned(rules, day, window)
    if now < (settled := settled_at(window, rules.settle_seconds)):
        times = f"settled at {local_time(settled, rules.zone)}, and it is {local_time(now, rules.zone)}"
        return Plan(None, day, Reason.NOT_SETTLED, f"{text} is {times}")
    return Plan(window, day, None, f"{text} is the window that was asked for")


def _check_planned(rules: PlanRules, day: date, window: Interval) -> None:
    """Raise ConfigError for a window that is not in the day plan; the error names the nearest ones."""
    planned = day_plan(rules, day)
    if window in planned or _is_larger(rules, day, planned, window):
        return
    near = [one for one in planned if one.overlaps(window)]
    first = near if len(near) <= MOST_LISTED else near[: MOST_LISTED - 1]
    listed = [_named(rules, one) for one in first]
    if len(near) > MOST_LISTED:
        listed.append(f"and {len(near) - len(first)} more, up to {_named(rules, near[-1])}")
    raise ConfigError(
        f"window: expected a window of the day plan, got {_named(rules, window)}; the nearest: {'; '.join(listed)}. "
        "Name one of them, or move exactly what was asked for with the Param exact: true (command line: --exact)"
    )


def _is_larger(rules: PlanRules, day: date, planned: list[Interval], window: Interval) -> bool:
    """Return whether these are whole windows of the day plan inside of one window of the `backlog_plan`."""
    return (
        rules.backlog_granularity is not None
        and any(one.covers(window) for one in backlog_plan(rules, day))
        and any(one.start == window.start for one in planned)
        and any(one.end == window.end for one in planned)
    )


def _named(rules: PlanRules, window: Interval) -> str:
    """Return the window in local time, and in UTC to copy."""
    return f"{local_window(window, rules.timezone)} ({iso_utc(window.start)} to {iso_utc(window.end)})"


# --- reasons


def _nothing_left(rules: PlanRules, target: date, first_day: date | None) -> Plan:
    """Return the plan for when none of the days that are looked at has a gap."""
    if rules.start_day and target < rules.start_day:
        at = local_time(opens(rules, rules.start_day), rules.zone)
        text = f"the target day {target} is before start_day {rules.start_day}, which opens at {at}"
        return Plan(None, target, Reason.BEFORE_START_DAY, text)
    oldest = oldest_day(rules, target, first_day)
    since = f"from {oldest} " if oldest > (rules.start_day or first_day or oldest) else ""
    if rules.end_day and target > rules.end_day:
        text = (
            f"the target day {target} is after end_day {rules.end_day}, and nothing is left to do "
            f"{since}up to there"
        )
        return Plan(None, rules.end_day, Reason.AFTER_END_DAY, text)
    text = f"everything {since}up to the end of the target day {target} is complete"
    if target != rules.end_day:
        following = target + _DAY
        text += f"; {following} opens at {local_time(opens(rules, following), rules.zone)}"
    return Plan(None, target, Reason.COMPLETE, text)


def _not_settled(
    rules: PlanRules, window: Interval, ready: datetime, leased: list[Interval], blocked: list[Interval]
) -> Plan:
    day = day_of(window.start, rules.zone)
    begin = day_interval(day, rules.zone).start
    passed = [piece for piece in (*leased, *blocked) if piece.start < window.start]
    if passed:
        head = f"before {local_time(window.start, rules.zone)} only leased or blocked windows are left"
    elif window.start > begin:
        head = f"{day} is complete up to {local_time(window.start, rules.zone)}"
    else:
        head = f"nothing is left to do before {day}"
    text = f"{local_window(window, rules.zone)} is ready at {local_time(ready, rules.zone)}"
    return Plan(None, day, Reason.NOT_SETTLED, f"{head}; the next window {text}")


def _leased(rules: PlanRules, leased: list[Interval]) -> Plan:
    text = f"another run works on {local_window(leased[0], rules.zone)}{_more(leased)}"
    return Plan(
        None, day_of(leased[0].start, rules.zone), Reason.LEASED, f"{text}, and no other window is ready"
    )


def _blocked(rules: PlanRules, blocked: list[Interval], what: str) -> Plan:
    text = (
        f"{local_window(blocked[0], rules.zone)}{_more(blocked)} failed too often on its data; {what}: "
        "look at the failures, then run the window by hand"
    )
    return Plan(None, day_of(blocked[0].start, rules.zone), Reason.BLOCKED, text)


def _more(pieces: list[Interval]) -> str:
    return f" (and {len(pieces) - 1} more)" if len(pieces) > 1 else ""
