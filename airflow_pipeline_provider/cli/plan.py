"""Run `plan`: show the windows of a day in UTC and local time, without opening a connection."""

from __future__ import annotations

from argparse import Namespace
from datetime import date, datetime, timedelta, timezone

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.backlog_windows import back_since
from airflow_pipeline_provider.core.days import day_interval, parse_day
from airflow_pipeline_provider.core.durations import seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import PlanRules, day_plan, ready_at, target_day
from airflow_pipeline_provider.core.windows import window_id_of
from airflow_pipeline_provider.core.wording import counted, local_time
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.views.times import (
    change_text,
    clock_changes_in,
    length_text,
    local_iso,
    local_text,
    offset_text,
    utc_text,
)


class ClockChange(Struct, frozen=True):
    """Change of the zone's offset; `before` and `after` are offsets such as -04:00."""

    at: datetime
    before: str
    after: str
    text: str


class PlannedWindow(Struct, frozen=True):
    """Window of a day; `clock_change` is the one inside of it."""

    index: int
    window_id: str
    start: datetime
    end: datetime
    local_start: str
    local_end: str
    interval: str
    interval_seconds: int
    ready_at: datetime
    clock_change: ClockChange | None


class DayPlan(Struct, frozen=True):
    """The windows of a day; a date that the zone skipped has none, and `skipped` is true."""

    pipeline_id: str
    timezone: str
    day: date
    granularity: str
    start: datetime
    end: datetime
    length: str
    length_seconds: int
    skipped: bool
    clock_changes: tuple[ClockChange, ...]
    notes: tuple[str, ...]
    windows: tuple[PlannedWindow, ...]


def plan(args: Namespace, screen: Screen) -> int:
    """Print the windows of a day."""
    config = load_one(args.pipeline, args.folder).config
    today = target_day(config.rules, datetime.now(timezone.utc))
    day = today if args.day is None else parse_day(args.day, "--day")
    screen.print_result(plan_of(config, day), _print)
    return exit_codes.OK


def plan_of(config: PipelineConfig, day: date) -> DayPlan:
    """Return the plan of a day; raise ConfigError near the ends of the calendar."""
    zone = config.timezone
    try:
        whole = day_interval(day, zone)
        changes = tuple(clock_change(change, zone) for change in clock_changes_in(whole, zone))
        windows = tuple(
            _window(config, index, window, changes)
            for index, window in enumerate(day_plan(config.rules, day))
        )
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--day: {day} cannot be planned: {error}") from error
    return DayPlan(
        pipeline_id=config.pipeline_id,
        timezone=zone,
        day=day,
        granularity=str(config.granularity),
        start=whole.start,
        end=whole.end,
        length=length_text(whole.seconds),
        length_seconds=int(whole.seconds),
        skipped=whole.is_empty,
        clock_changes=changes,
        notes=tuple(_notes(config.rules, day, whole)),
        windows=windows,
    )


def _window(
    config: PipelineConfig, index: int, window: Interval, changes: tuple[ClockChange, ...]
) -> PlannedWindow:
    zone = config.timezone
    return PlannedWindow(
        index=index,
        window_id=window_id_of(config.pipeline_id, window),
        start=window.start,
        end=window.end,
        local_start=local_iso(window.start, zone),
        local_end=local_iso(window.end, zone),
        interval=seconds_to_time_string(int(window.seconds)),
        interval_seconds=int(window.seconds),
        ready_at=ready_at(config.rules, window),
        clock_change=next((change for change in changes if window.holds(change.at)), None),
    )


def clock_change(change: datetime, timezone: str) -> ClockChange:
    """Return the clock change at this instant."""
    before = offset_text(change - timedelta(microseconds=1), timezone)
    return ClockChange(change, before, offset_text(change, timezone), change_text(change, timezone))


def _notes(rules: PlanRules, day: date, whole: Interval) -> list[str]:
    """Return one sentence for each unusual property of the day."""
    found = []
    if whole.is_empty:
        found.append(
            f"{rules.timezone} skipped this date: the clock moved from the day before to the day after, so there is "
            "nothing to move"
        )
    if rules.start_day and day < rules.start_day:
        found.append(f"the day is before start_day {rules.start_day}: no run moves it")
    if rules.end_day and day > rules.end_day:
        found.append(f"the day is after end_day {rules.end_day}: no run moves it")
    if rules.backlog_granularity is not None and not whole.is_empty:
        since = local_time(back_since(rules, day), rules.zone)
        found.append(
            f"from {since} on the day lies back: what is missing then is moved in windows of up to "
            f"{rules.backlog_granularity} (backlog_granularity)"
        )
    return found


def _print(planned: DayPlan, screen: Screen) -> None:
    zone = planned.timezone
    odd = "" if planned.length_seconds == 86_400 else f", a day of {planned.length}"
    title = f"{planned.pipeline_id}: {planned.day} in {zone}{odd}"
    if planned.windows:
        title += f", {counted(len(planned.windows), 'window')} of {planned.granularity}"
    screen.print_line(title, "bold")
    for change in planned.clock_changes:
        screen.print_line(f"{change.text} at {utc_text(change.at)}", "yellow")
    for note in planned.notes:
        screen.print_line(note, "yellow")
    if not planned.windows:
        return
    rows = [
        (
            str(window.index),
            utc_text(window.start),
            utc_text(window.end),
            local_text(window.start, zone, planned.day),
            local_text(window.end, zone, planned.day),
            window.interval,
            local_time(window.ready_at, zone),
            f"<- {window.clock_change.text}" if window.clock_change else "",
        )
        for window in planned.windows
    ]
    columns = ["#", "start UTC", "end UTC", "start local", "end local", "length", "ready at", "clock"]
    if not planned.clock_changes:
        columns.pop()
    styles = ["yellow" if window.clock_change else None for window in planned.windows]
    shown = [row[: len(columns)] for row in rows]
    screen.print_table(columns, shown, right=("#", "length"), styles=styles)
