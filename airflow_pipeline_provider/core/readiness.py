"""Compute when a window may run: `ready_at` serves the planner, the timetable and drain.

Pure functions of a pipeline's rules and instants.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

from airflow_pipeline_provider.core import days
from airflow_pipeline_provider.core.days import day_interval, day_of, shift_back, window_end
from airflow_pipeline_provider.core.durations import backlog_granularity_problem
from airflow_pipeline_provider.core.intervals import Interval, intersect, to_utc
from airflow_pipeline_provider.core.time_utils import Duration
from airflow_pipeline_provider.exceptions import ConfigError

MIN_GRANULARITY_SECONDS = 60
_INSTANT = timedelta(microseconds=1)
_DAY = timedelta(days=1)
# Two offsets of one zone differ by at most 24 hours and some minutes (the date line moved), so this is safe.
_OFFSETS_APART = timedelta(days=2)


@dataclass(frozen=True)
class PlanRules:
    """The part of a pipeline's configuration that determines its windows.

    `x_time_back` is how far the target day is behind the reference time, `settle_seconds` how long after its end a
    window's data may still change, `max_backlog_days` how many days before the target day are planned (None: all).
    `backlog_granularity` is the longest window of a day that `lies_back` (None: `granularity`).
    `zone` is the zone that `timezone` names.
    """

    timezone: str
    x_time_back: Duration
    granularity: Duration
    settle_seconds: int = 0
    start_day: date | None = None
    end_day: date | None = None
    max_backlog_days: int | None = None
    on_blocked: str = "pass"
    backlog_granularity: Duration | None = None
    zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "zone", days.zone_of(self.timezone))
        except ValueError as error:
            raise ConfigError(str(error)) from error
        for name in ("x_time_back", "granularity"):
            value = getattr(self, name)
            if not isinstance(value, Duration) or min(value) < 0:
                raise ConfigError(f"{name}: expected a duration such as 1d2h, got {value!r}")
        if not self.granularity.days and self.granularity.seconds < MIN_GRANULARITY_SECONDS:
            raise ConfigError(f"granularity: expected 1m or more, got {self.granularity}")
        if self.backlog_granularity is not None:
            problem = backlog_granularity_problem(self.granularity, self.backlog_granularity)
            if problem is not None:
                raise ConfigError(f"backlog_granularity: {problem}")
        _check_count("settle_seconds", self.settle_seconds)
        if self.max_backlog_days is not None:
            _check_count("max_backlog_days", self.max_backlog_days)
        for name in ("start_day", "end_day"):
            _check_day(name, getattr(self, name))
        if self.start_day and self.end_day and self.start_day > self.end_day:
            raise ConfigError(f"start_day: expected a day up to end_day {self.end_day}, got {self.start_day}")
        if self.on_blocked not in ("pass", "stop"):
            raise ConfigError(f"on_blocked: expected 'pass' or 'stop', got {self.on_blocked!r}")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{name}: expected a whole number, 0 or more, got {value!r}")


def _check_day(name: str, value: object) -> None:
    if value is None:
        return
    if (
        isinstance(value, datetime)
        or not isinstance(value, date)
        or not days.FIRST_DAY <= value <= days.LAST_DAY
    ):
        raise ConfigError(f"{name}: expected a date from {days.FIRST_DAY} to {days.LAST_DAY}, got {value!r}")


def target_day(rules: PlanRules, reference_time: datetime) -> date:
    """Return the target day: the local day of reference time minus `x_time_back`."""
    return _target_day(to_utc(reference_time, "reference_time"), rules.x_time_back, rules.zone)


@lru_cache(maxsize=1024)  # asked for several times in each plan, and with one time for many pipelines
def _target_day(at: datetime, back: Duration, zone: tzinfo) -> date:
    return day_of(shift_back(at, back, zone), zone)


def opens(rules: PlanRules, day: date) -> datetime:
    """Return the first instant from which the target day stays at `day` or later.

    Calendar days back are taken on the local clock, so while clocks change the target day may fall back to
    the day before.  Raises ValueError near the calendar's end.
    """
    try:
        return _opens(rules.zone, rules.x_time_back, day)
    except OverflowError as error:
        raise ValueError(
            f"x_time_back: {rules.x_time_back} after {day} is outside of the calendar"
        ) from error


@lru_cache(maxsize=8192)
def _opens(zone: tzinfo, back: Duration, day: date) -> datetime:
    begin = day_interval(day, zone).start + timedelta(seconds=back.seconds)
    if not back.days:
        return begin
    calendar = Duration(back.days, 0)

    def is_back(instant: datetime) -> bool:
        return shift_back(instant, calendar, zone) >= begin

    # Going back by calendar days keeps pace with the clock, except where it jumps.  So the last instant at
    # which it passes `begin` is one of these few; no search by halving would find it, since it may pass more
    # than once.
    passes = [at for at in _passings(zone, back.days, begin) if is_back(at) and not is_back(at - _INSTANT)]
    return max(passes)


def _passings(zone: tzinfo, back_days: int, begin: datetime) -> set[datetime]:
    """Return when `instant - back_days` on the local clock may pass `begin`: on time, or by a clock change."""
    shift = back_days * _DAY
    near = (begin + shift - _OFFSETS_APART, begin + shift + _OFFSETS_APART)
    walls = {begin.astimezone(zone).replace(tzinfo=None)}
    for change in days.transitions(zone, begin - _OFFSETS_APART, begin + _OFFSETS_APART):
        # A time that repeats means the first of the two, so what is reached at the end of both jumps forward; so
        # does, at midnight, a time that a change left out.  And `begin` may be meant by a time that was left out.
        after = change.astimezone(zone).replace(tzinfo=None)
        before = (change - _INSTANT).astimezone(zone).replace(tzinfo=None) + _INSTANT
        midnight = datetime.combine(max(before, after).date(), datetime.min.time())
        walls |= {before, midnight, after + (begin - change), before + (begin - change)}
    passings = set(days.transitions(zone, *near))
    for wall in walls:
        local = (wall + shift).replace(tzinfo=zone)
        passings |= {to_utc(local.replace(fold=fold), "passing") for fold in (0, 1)}
    return passings


def day_plan(rules: PlanRules, day: date) -> list[Interval]:
    """Return the windows that tile the day."""
    return days.tile_day(day, rules.zone, rules.granularity)


def settled_at(interval: Interval, settle_seconds: int) -> datetime:
    """Return when the data of the interval has settled: `settle` after its end."""
    return interval.end + timedelta(seconds=settle_seconds)


def ready_at(rules: PlanRules, interval: Interval) -> datetime:
    """Return when a window may run: its day is open, `x_time_back` has elapsed since its start, its data has settled.

    Grows strictly from window to window of the day plans.  The k-th window of a day waits k seconds longer than the
    day, because Airflow names runs by this instant and silently drops a second run of the same name.  Raises
    ValueError near the calendar's end.
    """
    day = day_of(interval.start, rules.zone)
    open_at = opens(rules, day)
    try:
        return max(
            open_at + timedelta(seconds=_index(rules, day, interval.start)),
            interval.start + timedelta(seconds=rules.x_time_back.elapsed_seconds),
            settled_at(interval, rules.settle_seconds),
        )
    except OverflowError as error:
        raise ValueError(f"interval: {interval} is ready only after the calendar's end") from error


def _index(rules: PlanRules, day: date, start: datetime) -> int:
    """Return the 0-based index of the window of the day plan that holds `start`."""
    if rules.granularity.days:
        return 0
    elapsed = start - day_interval(day, rules.zone).start
    return elapsed // timedelta(seconds=rules.granularity.seconds)


def first_window(rules: PlanRules, gap: Interval) -> Interval:
    """Return the window at the start of a gap: no longer than the granularity, the gap and the day."""
    whole = day_interval(day_of(gap.start, rules.zone), rules.zone)
    return Interval(gap.start, min(window_end(gap.start, whole, rules.granularity), gap.end))


def ready_end(rules: PlanRules, gap: Interval, at: datetime) -> datetime:
    """Return where the ready part of a gap ends, its start if no window is ready at `at`.

    The gap is cut as the planner cuts it: after a change of granularity its windows are not those of the day plan.
    Readiness grows from window to window, so the newest ready day is searched from the end.
    """
    day = day_of(gap.end - _INSTANT, rules.zone)
    first = day_of(gap.start, rules.zone)
    while day >= first:
        whole = day_interval(day, rules.zone)
        part = intersect(whole, gap)
        if part is not None:  # a date that the zone skipped has no part
            windows = _cut(rules, part, whole)
            ready = bisect_right(windows, at, key=lambda window: ready_at(rules, window))
            if ready:
                return windows[ready - 1].end
        day -= _DAY
    return gap.start


def is_next(rules: PlanRules, window: Interval, at: datetime) -> bool:
    """Return whether the window has been ready for less than its own length: its run may be about to begin."""
    return at - ready_at(rules, window) < timedelta(seconds=window.seconds)


def next_from(rules: PlanRules, gap: Interval, at: datetime) -> datetime:
    """Return from where on the windows of a ready gap are `is_next`; its end if the last one is not."""
    begin, day = gap.end, day_of(gap.end - _INSTANT, rules.zone)
    while begin > gap.start:
        for window in reversed(day_plan(rules, day)):
            if window.start >= begin:
                continue
            if begin <= gap.start or not is_next(rules, window, at):
                return begin
            begin = max(window.start, gap.start)
        day -= _DAY
    return begin


def _cut(rules: PlanRules, part: Interval, whole: Interval) -> list[Interval]:
    windows, start = [], part.start
    while start < part.end:
        end = min(window_end(start, whole, rules.granularity), part.end)
        windows.append(Interval(start, end))
        start = end
    return windows


def horizon(rules: PlanRules, reference_time: datetime, first_day: date | None = None) -> Interval | None:
    """Return the days that the planner looks at, as one interval.

    `first_day` is the first day ever planned, which counts where `start_day` is not set.  None: no day at
    all.
    """
    target = target_day(rules, reference_time)
    first, last = oldest_day(rules, target, first_day), min(target, rules.end_day or target)
    if first > last:
        return None
    span = Interval(day_interval(first, rules.zone).start, day_interval(last, rules.zone).end)
    return None if span.is_empty else span


def oldest_day(rules: PlanRules, target: date, first_day: date | None = None) -> date:
    """Return the first day of planning, within `max_backlog_days`: `start_day`, `first_day` or the target day."""
    first = rules.start_day or min(first_day or target, target)
    if rules.max_backlog_days is not None and (target - first).days > rules.max_backlog_days:
        first = target - rules.max_backlog_days * _DAY
    return first


def recent_days(
    rules: PlanRules, reference_time: datetime, days: int, first_day: date | None = None
) -> list[date]:
    """Return the last `days` days up to the target day, those between the first day and `end_day`.

    The first day is `start_day`, else `first_day`; without either, no day is too early.
    """
    target = target_day(rules, reference_time)
    last = min(target, rules.end_day or target)
    first = last - (days - 1) * _DAY
    begin = rules.start_day or first_day
    if begin is not None:
        first = max(first, begin)
    return [first + n * _DAY for n in range((last - first).days + 1)]


def too_old_days(
    rules: PlanRules, reference_time: datetime, first_day: date | None = None
) -> Interval | None:
    """Return the days from the first one up to the `horizon`, which `max_backlog_days` leaves out; None for none."""
    target = target_day(rules, reference_time)
    first = rules.start_day or min(first_day or target, target)
    last = min(oldest_day(rules, target, first_day), (rules.end_day or target) + _DAY)
    if first >= last:
        return None
    return Interval(day_interval(first, rules.zone).start, day_interval(last, rules.zone).start)


def all_days(rules: PlanRules, reference_time: datetime, first_day: date | None = None) -> Interval | None:
    """Return the `horizon` with the days before it that are too old; None when there is neither."""
    spans = [
        s
        for s in (too_old_days(rules, reference_time, first_day), horizon(rules, reference_time, first_day))
        if s
    ]
    return Interval(spans[0].start, spans[-1].end) if spans else None
