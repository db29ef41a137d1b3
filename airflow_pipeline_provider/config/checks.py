"""Find errors and warnings that concern several fields of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_pipeline_provider.config.expectations import expectation_warnings
from airflow_pipeline_provider.config.field_control import field_control_errors, field_control_warnings
from airflow_pipeline_provider.config.fields import cron_expression, shortest_tick_seconds
from airflow_pipeline_provider.config.problems import Problem
from airflow_pipeline_provider.core.columns import indexed_path
from airflow_pipeline_provider.core.durations import (
    SECONDS_OF_DAY,
    backlog_granularity_problem,
    seconds_to_time_string,
)
from airflow_pipeline_provider.core.record_json import FIELDS

if TYPE_CHECKING:
    from airflow_pipeline_provider.config.model import PipelineConfig

COMPARED_FIELDS: dict[str, tuple[str, ...]] = {
    "start_day": ("start_day", "end_day"),
    "backlog_granularity": ("backlog_granularity", "granularity"),
    "airflow": ("airflow", "state", "source", "own_tasks"),
    "source": ("source",),
}
"""The fields that each cross-field error compares, by the first part of its path; all must be valid themselves."""


def cross_field_problems(config: PipelineConfig) -> list[Problem]:
    """Return the cross-field errors, then the warnings."""
    return [*_errors(config), *_warnings(config)]


def _errors(config: PipelineConfig) -> Iterator[Problem]:
    start, end = config.start_day, config.end_day
    if start is not None and end is not None and start > end:
        yield Problem("start_day", f"must not be after end_day ({end}), got {start}")
    longer = config.backlog_granularity
    if longer is not None and (problem := backlog_granularity_problem(config.granularity, longer)):
        yield Problem("backlog_granularity", problem)
    runs = config.airflow.max_active_runs
    if config.state.type == "variable" and runs > 1:
        yield Problem(
            "airflow.max_active_runs",
            f"must be 1 with state.type variable, which allows one run at a time, got {runs}: use state.type sql",
        )
    if config.airflow.layout == "single_task" and config.source.distribute == "tasks":
        yield Problem(
            "airflow.layout",
            "must be tasks with source.distribute: tasks, which makes a task of each slice, got 'single_task': use "
            "distribute: threads",
        )
    if config.airflow.layout == "single_task" and any(config.own_tasks.paths()):
        yield Problem(
            "airflow.layout",
            "must be tasks with own_tasks, since each of them is a task of its own, got 'single_task'",
        )
    yield from field_control_errors(config)


def _warnings(config: PipelineConfig) -> Iterator[Problem]:
    granularity = config.granularity.elapsed_seconds
    back, settle = config.x_time_back.elapsed_seconds, config.settle
    if "x_time_back" in config.model_fields_set and back < granularity + settle:
        yield _warning(
            "x_time_back",
            f"{config.x_time_back} is shorter than granularity + settle "
            f"({config.granularity} + {seconds_to_time_string(settle)}): windows wait for settle instead",
        )
    if granularity > SECONDS_OF_DAY:
        yield _warning(
            "granularity", f"{config.granularity} is longer than a day: every window ends with its day"
        )
    if config.backlog_granularity == config.granularity:
        yield _warning(
            "backlog_granularity", f"{config.backlog_granularity} is the granularity: it has no effect"
        )
    cron = cron_expression(config.schedule) if config.schedule not in (None, "auto") else None
    if cron is not None and (tick := shortest_tick_seconds(cron)) > granularity:
        then = (
            "each run drains the windows that are ready"
            if config.backlog == "drain"
            else "with backlog: wait the pipeline never catches up"
        )
        every = seconds_to_time_string(int(tick))
        yield _warning(
            "schedule", f"runs at most every {every}, but a window is {config.granularity} long: {then}"
        )
    for name, path, shown_by, key in _shown_masked(config):
        yield _warning(
            "columns",
            f"{name} is masked, and {shown_by} of the views shows {path}, which is in source.{key}: grant rights on "
            f"a view of your own without {shown_by}, or change the key",
        )
    settings = config.airflow
    yield from _unused_task_settings(config)
    if settings.on_late and config.expect is None:
        yield _warning("airflow.on_late", "is not used: the pipeline has no `expect`")
    if settings.owner_links and not settings.owner_links.keys() & _owners(settings.owner):
        reason = f"{settings.owner!r} is not in it" if settings.owner else "set airflow.owner"
        yield _warning("airflow.owner_links", f"has no link of this pipeline's owner: {reason}")
    yield from expectation_warnings(config)
    yield from field_control_warnings(config)
    for field in sorted(config.default_record.keys() & FIELDS.keys()):
        yield _warning(f"default_record.{field}", "is overwritten by the value of each window")


def _owners(owner: str | None) -> set[str]:
    """Return the owners as Airflow separates them."""
    return {one.strip() for one in (owner or "").split(",")}


def _shown_masked(config: PipelineConfig) -> Iterator[tuple[str, str, str, str]]:
    """Yield masked columns whose value is also in the record's id or time: name, path, column of the view, key."""
    shown: dict[str, tuple[str, str]] = {}
    for key in ("time_column", "time_field"):
        if field := getattr(config.source, key, None):
            shown[field] = ("EVENT_TIME", key)
    for field in getattr(config.source, "key_columns", None) or ():
        shown[field] = ("RECORD_ID", "key_columns")
    for column in config.columns:
        path = indexed_path(column.path)
        if column.mask and path in shown:
            yield (column.name, path, *shown[path])


def _unused_task_settings(config: PipelineConfig) -> Iterator[Problem]:
    settings = config.airflow
    if settings.layout == "single_task":
        for name in settings.tasks.of_phases():
            yield _warning(
                f"airflow.tasks.{name}", "is not used: layout: single_task has one task, move_window"
            )
        return
    if settings.tasks.move_window is not None:
        yield _warning("airflow.tasks.move_window", "is not used: layout: tasks has no task move_window")
    if settings.tasks.drain is not None and config.backlog == "wait":
        yield _warning("airflow.tasks.drain", "is not used: backlog: wait has no task drain")


def _warning(path: str, message: str) -> Problem:
    return Problem(path, message, severity="warning")
