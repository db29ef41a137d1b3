"""Run `plan`: show the windows of a day in UTC and local time, without opening a connection."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_day
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.durations import seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.planning import PlanRules, day_plan, ready_at, target_day
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.core.wording import counted, local_time
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.views.times import (
    change_json,
    change_text,
    clock_changes_in,
    length_text,
    local_iso,
    local_text,
    utc_text,
)


@dataclass(frozen=True)
class DayPlan:
    """The windows of a day, the instants at which they are ready, and the day's clock changes."""

    day: date
    whole: Interval
    windows: list[Interval]
    ready: list[datetime]
    changes: list[datetime]

    def change_of(self, window: Interval) -> datetime | None:
        """Return the clock change inside the window, or None."""
        return next((change for change in self.changes if window.holds(change)), None)


def plan(args: Namespace, screen: Screen) -> int:
    """Print the windows of a day.

    JSON: `{"pipeline_id", "timezone", "day", "granularity", "start", "end", "length", "length_seconds", "skipped",
    "clock_changes": [change], "notes": [sentence], "windows": [{"index", "window_id", "start", "end",
    "local_start", "local_end", "interval", "interval_seconds", "ready_at", "clock_change": change | null}]}`;
    instants are ISO 8601, in UTC unless the key begins with `local_`; a change is `{"at", "before", "after",
    "text"}`. A date that the zone skipped has `skipped: true` and no windows.
    """
    config = load_one(args.pipeline, args.folder).config
    rules = config.rules
    day = target_day(rules, datetime.now(timezone.utc)) if args.day is None else read_day(args.day, "--day")
    planned = plan_day(rules, day)
    if screen.as_json:
        screen.print_json(_json(config, planned))
    else:
        _print(config, planned, screen)
    return exit_codes.OK


def plan_day(rules: PlanRules, day: date) -> DayPlan:
    """Return the plan of a day; raise ConfigError near the ends of the calendar."""
    try:
        whole = day_interval(day, rules.timezone)
        windows = day_plan(rules, day)
        ready = [ready_at(rules, window) for window in windows]
        return DayPlan(day, whole, windows, ready, clock_changes_in(whole, rules.timezone))
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--day: {day} cannot be planned: {error}") from error


def notes(rules: PlanRules, planned: DayPlan) -> list[str]:
    """Return one sentence for each unusual property of the day."""
    found = []
    if planned.whole.is_empty:
        found.append(
            f"{rules.timezone} skipped this date: the clock moved from the day before to the day after, so there is "
            "nothing to move"
        )
    if rules.start_day and planned.day < rules.start_day:
        found.append(f"the day is before start_day {rules.start_day}: no run moves it")
    if rules.end_day and planned.day > rules.end_day:
        found.append(f"the day is after end_day {rules.end_day}: no run moves it")
    return found


def _print(config: PipelineConfig, planned: DayPlan, screen: Screen) -> None:
    zone = config.timezone
    length = length_text(planned.whole.seconds)
    odd = "" if planned.whole.seconds == 86_400 else f", a day of {length}"
    title = f"{config.pipeline_id}: {planned.day} in {zone}{odd}"
    if planned.windows:
        title += f", {counted(len(planned.windows), 'window')} of {config.granularity}"
    screen.print_line(title, "bold")
    for moment in planned.changes:
        screen.print_line(f"{change_text(moment, zone)} at {utc_text(moment)}", "yellow")
    for note in notes(config.rules, planned):
        screen.print_line(note, "yellow")
    if not planned.windows:
        return
    rows: list[tuple[str, ...]] = []
    styles: list[str | None] = []
    for index, (window, ready) in enumerate(zip(planned.windows, planned.ready, strict=True)):
        change = planned.change_of(window)
        rows.append(
            (
                str(index),
                utc_text(window.start),
                utc_text(window.end),
                local_text(window.start, zone, planned.day),
                local_text(window.end, zone, planned.day),
                seconds_to_time_string(int(window.seconds)),
                local_time(ready, zone),
                f"<- {change_text(change, zone)}" if change else "",
            )
        )
        styles.append("yellow" if change else None)
    columns = ["#", "start UTC", "end UTC", "start local", "end local", "length", "ready at", "clock"]
    if not planned.changes:
        columns.pop()
        rows = [row[:-1] for row in rows]
    screen.print_table(columns, rows, right=("#", "length"), styles=styles)


def _json(config: PipelineConfig, planned: DayPlan) -> dict[str, Any]:
    zone = config.timezone
    windows = []
    for index, (window, ready) in enumerate(zip(planned.windows, planned.ready, strict=True)):
        change = planned.change_of(window)
        windows.append(
            {
                "index": index,
                "window_id": Window(config.pipeline_id, window, planned.day).window_id,
                "start": iso_utc(window.start),
                "end": iso_utc(window.end),
                "local_start": local_iso(window.start, zone),
                "local_end": local_iso(window.end, zone),
                "interval": seconds_to_time_string(int(window.seconds)),
                "interval_seconds": int(window.seconds),
                "ready_at": iso_utc(ready),
                "clock_change": change_json(change, zone) if change else None,
            }
        )
    return {
        "pipeline_id": config.pipeline_id,
        "timezone": zone,
        "day": planned.day.isoformat(),
        "granularity": str(config.granularity),
        "start": iso_utc(planned.whole.start),
        "end": iso_utc(planned.whole.end),
        "length": length_text(planned.whole.seconds),
        "length_seconds": int(planned.whole.seconds),
        "skipped": planned.whole.is_empty,
        "clock_changes": [change_json(change, zone) for change in planned.changes],
        "notes": notes(config.rules, planned),
        "windows": windows,
    }
