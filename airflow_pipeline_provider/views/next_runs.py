"""Compute when Airflow's scheduler starts a pipeline's next runs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

from airflow_pipeline_provider.config.fields import cron_expression
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.days import in_zone, zone_of
from airflow_pipeline_provider.core.planning import PlanRules, day_plan, ready_at, target_day

_DAY = timedelta(days=1)
LONGEST_SEARCH_DAYS = 10  # skipped dates and clock changes never leave more days without a window


def next_runs(config: PipelineConfig, after: datetime, number: int = 5) -> list[datetime]:
    """Return the instants, in UTC, of the next scheduled runs after `after`.

    Fewer than `number` are left near `end_day`, and none without a schedule. With `schedule: auto` a run starts
    when its window is ready, with a cron expression at its local times. Runs that drain the backlog are not
    scheduled: they follow a commit.
    """
    if config.schedule is None:
        return []
    if config.schedule == "auto":
        return _ready_times(config.rules, after, number)
    expression = cron_expression(config.schedule)
    zone = zone_of(config.timezone)
    ticks: list[datetime] = []
    while expression is not None and len(ticks) < number:
        ticks.append(next_tick(expression, zone, ticks[-1] if ticks else after))
    return ticks


def next_tick(expression: str, zone: tzinfo, after: datetime) -> datetime:
    """Return the first time after `after` at which the cron fires, as Airflow computes it in this zone.

    A wall time that occurs twice means the second one; one that a clock change skips moves forward. A cron that
    fires every hour fires in both repeated hours.
    """
    from croniter import croniter

    local = in_zone(after, zone)
    wall = local.replace(tzinfo=None, fold=0)
    cron = croniter(expression, wall)
    scheduled: datetime = cron.get_next(datetime)
    if cron.expanded[1] == ["*"]:
        return (after + (scheduled - wall)).astimezone(timezone.utc)
    aware = scheduled.replace(tzinfo=zone, fold=1).astimezone(timezone.utc)
    if aware.astimezone(zone).replace(tzinfo=None, fold=0) != scheduled:
        aware = scheduled.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
    return aware


def _ready_times(rules: PlanRules, after: datetime, number: int) -> list[datetime]:
    """Yield when each window becomes ready, from the newest day that is partly ready."""
    day = target_day(rules, after)
    while not (windows := day_plan(rules, day)) or ready_at(rules, windows[0]) > after:
        day -= _DAY
    if rules.start_day is not None:
        day = max(day, rules.start_day)
    found: list[datetime] = []
    without = 0
    while len(found) < number and without < LONGEST_SEARCH_DAYS:
        if rules.end_day is not None and day > rules.end_day:
            break
        new = [ready for window in day_plan(rules, day) if (ready := ready_at(rules, window)) > after]
        without = 0 if new else without + 1
        found += new
        day += _DAY
    return found[:number]
