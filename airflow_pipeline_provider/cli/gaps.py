"""Run `gaps`, which shows missing time, and `waive`, which marks it as intentionally incomplete."""

from __future__ import annotations

import os
import socket
import uuid
from argparse import Namespace
from datetime import datetime

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_person,
    read_reason,
    read_reference_time,
    read_span,
)
from airflow_pipeline_provider.cli.catalog import PipelineFile, load_all, load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.time_format import day_text, interval_json, length_text
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.core.missing import Why, days_of, too_old_text
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases import waive as phase
from airflow_pipeline_provider.phases.identity import declared, refuse_changed
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.pipeline_status import Gaps, find_gaps

DEFAULT_WAIVER_REASON = "not needed"
_STYLES = {Why.BLOCKED: "red", Why.FAILED: "red", Why.TOO_OLD: "red", Why.LEASED: "yellow"}


def gaps(args: Namespace, screen: Screen) -> int:
    """Print each interval that is missing, why, and how often it failed.

    JSON: `{"pipelines": [{"pipeline_id", "timezone", "reference_time", "first_day" | null, "last_day" | null,
    "gaps": [interval + {"seconds", "days", "reason", "detail", "failures", "ready"}]}], "errors": [{"file",
    "pipeline_id" | null, "message"}]}`; an interval is `{"day", "start", "end", "local_start", "local_end"}`;
    `days` counts the local days that it overlaps; `reason` is not_settled, leased, blocked, failed, unfinished,
    never_run or too_old. The days from `first_day` to `last_day` were checked; gaps that are `too_old` are before
    them.

    Exit code 1 when a gap is ready: a run could move it now, or it needs review.
    """
    at = read_reference_time(args.reference_time)
    days = None if args.days is None else read_count(args.days, "--days", least=1, most=10_000)
    found, errors = _requested_files(args)
    results: list[tuple[PipelineConfig, Gaps]] = []
    for one in found:
        try:
            results.append((one.config, _read_gaps(one.config, at, days)))
        except PipelineError as error:  # the other pipelines are still shown
            errors.append((one, error))
    if screen.as_json:
        broken = [
            {
                "file": str(one.file if isinstance(one, PipelineFile) else one),
                "pipeline_id": one.config.pipeline_id if isinstance(one, PipelineFile) else None,
                "message": str(problem),
            }
            for one, problem in errors
        ]
        screen.print_json(
            {"pipelines": [_json(config, at, found) for config, found in results], "errors": broken}
        )
    else:
        _print(results, screen)
    for _, problem in errors:
        screen.print_error(str(problem))
    ready = any(gap.ready for _, one in results for gap in one.missing)
    return max(
        (exit_codes.code_of(problem) for _, problem in errors),
        default=exit_codes.CHECK_FAILED if ready else exit_codes.OK,
    )


def _requested_files(args: Namespace) -> tuple[list[PipelineFile], list[tuple[object, Exception]]]:
    if args.pipeline is not None:
        return [load_one(args.pipeline, args.folder)], []
    catalog = load_all(args.folder)
    return [one for _, one in sorted(catalog.pipelines.items())], list(catalog.errors.items())


def _read_gaps(config: PipelineConfig, at: datetime, days: int | None) -> Gaps:
    """Return the gaps of the last days up to the target day (None: of all days), in order."""
    with open_runtime(config) as runtime:
        try:
            refuse_changed(config.pipeline_id, runtime.state.about(), declared(config))
            return find_gaps(config, runtime.state, at, days)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state")
            raise


def _print(results: list[tuple[PipelineConfig, Gaps]], screen: Screen) -> None:
    rows, styles = [], []
    for config, found in results:
        zone = config.timezone
        if not found.missing:
            screen.print_line(*_nothing(config, found))
        for gap in found.missing:
            window = local_window(gap.interval, zone).partition(" ")[2]
            rows.append(
                (
                    config.pipeline_id,
                    day_text(gap.interval.start, zone),
                    window,
                    length_text(gap.interval.seconds),
                    gap.why.value,
                    str(gap.failures),
                    gap.detail,
                )
            )
            styles.append(_STYLES.get(gap.why))
    if rows:
        columns = ("pipeline", "day", "gap", "length", "why", "failures", "detail")
        screen.print_table(columns, rows, right=("length", "failures"), styles=styles)
    for config, found in results:
        old = [gap.interval for gap in found.missing if gap.why is Why.TOO_OLD]
        if old:
            screen.print_line(f"{config.pipeline_id}: {too_old_text(config.rules, old)}", "red")
        for command in _commands(config, found):
            screen.print_line(f"    {command}")


def _commands(config: PipelineConfig, found: Gaps) -> list[str]:
    """Return the commands for the first gaps that no run moves automatically."""
    name = command_line.name_of(config.pipeline_id)
    stuck = [gap.interval for gap in found.missing if gap.why in (Why.BLOCKED, Why.TOO_OLD)]
    lines = []
    for interval in stuck[: command_line.MOST_SHOWN]:
        lines.append(command_line.shown(command_line.reprocess(name, interval)))
        lines.append(command_line.shown(command_line.waive(name, interval, DEFAULT_WAIVER_REASON)))
    return lines


def _nothing(config: PipelineConfig, found: Gaps) -> tuple[str, str]:
    if found.first is None:
        return f"{config.pipeline_id}: no day is planned yet", "yellow"
    return f"{config.pipeline_id}: no gap from {found.first} to {found.last}", "green"


def _json(config: PipelineConfig, at: datetime, found: Gaps) -> dict[str, object]:
    return {
        "pipeline_id": config.pipeline_id,
        "timezone": config.timezone,
        "reference_time": iso_utc(at),
        "first_day": found.first and found.first.isoformat(),
        "last_day": found.last and found.last.isoformat(),
        "gaps": [
            {
                **interval_json(gap.interval, config.timezone),
                "seconds": gap.interval.seconds,
                "days": len(days_of(config.rules, [gap.interval])),
                "reason": gap.why.value,
                "detail": gap.detail,
                "failures": gap.failures,
                "ready": gap.ready,
            }
            for gap in found.missing
        ],
    }


def waive(args: Namespace, screen: Screen) -> int:
    """Waive time that is not committed.

    A waived window counts as covered for the continuation timestamp and the planner; `status` and `history` show
    the reason. Committed time is left out, unless it is unverified or has drifted: then the target keeps its rows.

    JSON: `{"pipeline_id", "timezone", "reason", "by", "waived": [interval], "left_out": [interval + {"why"}]}`; an
    interval is `{"day", "start", "end", "local_start", "local_end"}`.

    Exit code 1 when nothing was waived.
    """
    reason = read_reason(args.reason)
    by = read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    span = read_span(args.first, args.last, config.timezone)
    with open_runtime(config) as runtime:
        done = phase.waive(
            runtime.state,
            config.rules,
            span,
            reason=reason,
            by=by,
            owner=f"cli/{socket.gethostname()}-{os.getpid()}-{uuid.uuid4()}",
            names=("--from", "--to"),
            clock=runtime.clock,
        )
    zone = config.timezone
    if screen.as_json:
        screen.print_json(
            {
                "pipeline_id": config.pipeline_id,
                "timezone": zone,
                "reason": reason,
                "by": by,
                "waived": [interval_json(piece, zone) for piece in done.pieces],
                "left_out": [{**interval_json(piece, zone), "why": why} for piece, why in done.left_out],
            }
        )
    for piece in done.pieces:
        screen.print_line(f"waived: {local_window(piece, zone)}: {reason}", "yellow")
    for piece, why in done.left_out:
        screen.print_line(f"left out: {local_window(piece, zone)}: {why}")
    if not done.pieces:
        screen.print_error("nothing was waived")
    return exit_codes.OK if done.pieces else exit_codes.CHECK_FAILED
