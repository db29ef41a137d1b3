"""Plan larger windows in days that lie back (`backlog_granularity`).

Pure.  A larger window is offered only where all windows of the day plan are ready, so it waits for nothing that they
would not wait for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from airflow_pipeline_provider.core.days import day_of, tile_day
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.readiness import PlanRules, day_plan, first_window, opens, ready_at

_DAY = timedelta(days=1)


def lies_back(rules: PlanRules, day: date, at: datetime) -> bool:
    """Return whether the day is before the target day for good, or `end_day`, and all its windows are ready at `at`.

    So the last hour of a day keeps its `granularity` until it has settled, also after midnight.
    """
    return back_since(rules, day) <= at


def back_since(rules: PlanRules, day: date) -> datetime:
    """Return the instant from which the day `lies_back`: its last window is ready, and the next day is open.

    No day follows `end_day`.  The last run of the schedule plans from the instant at which its last window is ready,
    however far back that is, and starts the runs for all that is missing.
    """
    windows = day_plan(rules, day)
    if windows and day == rules.end_day:
        return ready_at(rules, windows[-1])
    following = opens(rules, day + _DAY)
    return max(following, ready_at(rules, windows[-1])) if windows else following


def backlog_plan(rules: PlanRules, day: date) -> list[Interval]:
    """Return the windows of `backlog_granularity` that tile the day; without it the day plan."""
    return tile_day(day, rules.zone, rules.backlog_granularity or rules.granularity)


def next_window(rules: PlanRules, gap: Interval, at: datetime, failed: Iterable[Interval] = ()) -> Interval:
    """Return the window at the start of a gap that a run moves: a larger one in a day that `lies_back`.

    A larger window ends where the `backlog_plan` has a bound, so what fills the gap ends on common bounds again.
    Where a window `failed` the `granularity` is kept: a document that fails must not hold up a whole day.
    """
    small = first_window(rules, gap)
    if rules.backlog_granularity is None or not lies_back(rules, day := day_of(gap.start, rules.zone), at):
        return small
    bound = next(window.end for window in backlog_plan(rules, day) if window.end > gap.start)
    large = Interval(gap.start, min(bound, gap.end))
    return small if any(one.overlaps(large) for one in failed) else large
