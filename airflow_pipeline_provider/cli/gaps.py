"""Run `gaps`, which shows missing time, and `waive`, which marks it as intentionally incomplete."""

from __future__ import annotations

import os
import socket
import uuid
from argparse import Namespace
from datetime import datetime

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_person,
    read_reason,
    read_reference_time,
    read_span,
)
from airflow_pipeline_provider.cli.catalog import UnreadPipeline, load_asked, load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.missing import Why
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases import waive as phase
from airflow_pipeline_provider.phases.identity import declared, refuse_changed
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.gaps import PipelineGaps, read_gaps
from airflow_pipeline_provider.views.times import LocalInterval, length_text, local_fields, local_interval

DEFAULT_WAIVER_REASON = "not needed"
_STYLES = {Why.BLOCKED: "red", Why.FAILED: "red", Why.TOO_OLD: "red", Why.LEASED: "yellow"}


class AllGaps(Struct, frozen=True):
    """Missing time of the pipelines.

    The days from `first_day` to `last_day` were checked; gaps that are `too_old` are before them.
    """

    pipelines: tuple[PipelineGaps, ...]
    errors: tuple[UnreadPipeline, ...]


def gaps(args: Namespace, screen: Screen) -> int:
    """Print each interval that is missing, why, and how often it failed.

    Exit code 1 when a gap is ready: a run could move it now, or it needs review.
    """
    at = read_reference_time(args.reference_time)
    days = None if args.days is None else read_count(args.days, "--days", least=1, most=10_000)
    found, unread = load_asked(args.pipeline, args.folder)
    results: list[PipelineGaps] = []
    for one in found:
        try:
            results.append(_read_gaps(one.config, at, days))
        except PipelineError as error:  # the other pipelines are still shown
            unread.add(one.file, one.config.pipeline_id, error)
    screen.print_result(AllGaps(tuple(results), tuple(unread.pipelines)), _print)
    for problem in unread.errors:
        screen.print_error(str(problem))
    ready = any(gap.ready for one in results for gap in one.gaps)
    return max(
        (exit_codes.code_of(problem) for problem in unread.errors),
        default=exit_codes.CHECK_FAILED if ready else exit_codes.OK,
    )


def _read_gaps(config: PipelineConfig, at: datetime, days: int | None) -> PipelineGaps:
    with open_runtime(config) as runtime:
        try:
            refuse_changed(config.pipeline_id, runtime.state.about(), declared(config))
            return read_gaps(config, runtime.state, at, days)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state")
            raise


def _print(result: AllGaps, screen: Screen) -> None:
    rows, styles = [], []
    for one in result.pipelines:
        if not one.gaps:
            screen.print_line(*_nothing(one))
        for gap in one.gaps:
            rows.append(
                (
                    one.pipeline_id,
                    gap.day.isoformat(),
                    local_window(gap.interval, one.timezone).partition(" ")[2],
                    length_text(gap.seconds),
                    gap.reason.value,
                    str(gap.failures),
                    gap.detail,
                )
            )
            styles.append(_STYLES.get(gap.reason))
    if rows:
        columns = ("pipeline", "day", "gap", "length", "why", "failures", "detail")
        screen.print_table(columns, rows, right=("length", "failures"), styles=styles)
    for one in result.pipelines:
        if (old := one.too_old) is not None:
            screen.print_line(f"{one.pipeline_id}: {old.sentence}", "red")
        for command in _commands(one):
            screen.print_line(f"    {command}")


def _commands(found: PipelineGaps) -> list[str]:
    """Return the commands for the first gaps that no run moves automatically."""
    name = command_line.name_of(found.pipeline_id)
    stuck = [gap.interval for gap in found.gaps if gap.reason in (Why.BLOCKED, Why.TOO_OLD)]
    lines = []
    for interval in stuck[: command_line.MOST_SHOWN]:
        lines.append(command_line.shell_line(command_line.reprocess(name, interval)))
        lines.append(command_line.shell_line(command_line.waive(name, interval, DEFAULT_WAIVER_REASON)))
    return lines


def _nothing(found: PipelineGaps) -> tuple[str, str]:
    if found.first_day is None:
        return f"{found.pipeline_id}: no day is planned yet", "yellow"
    return f"{found.pipeline_id}: no gap from {found.first_day} to {found.last_day}", "green"


class LeftOut(LocalInterval, frozen=True):
    """Time that was not waived."""

    why: str


class WaiveResult(Struct, frozen=True):
    """What `waive` waived, and what it left out."""

    pipeline_id: str
    timezone: str
    reason: str
    by: str
    waived: tuple[LocalInterval, ...]
    left_out: tuple[LeftOut, ...]


def waive(args: Namespace, screen: Screen) -> int:
    """Waive time that is not committed.

    A waived window counts as covered for the continuation timestamp and the planner; `status` and `history` show
    the reason. Committed time is left out, unless it is unverified or has drifted: then the target keeps its rows.

    Exit code 1 when nothing was waived.
    """
    reason = read_reason(args.reason)
    by = read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    zone = config.timezone
    span = read_span(args.first, args.last, zone)
    owner = f"cli/{socket.gethostname()}-{os.getpid()}-{uuid.uuid4()}"
    with open_runtime(config) as runtime:
        done = phase.waive(
            runtime.state,
            config.rules,
            span,
            reason=reason,
            by=by,
            owner=owner,
            names=("--from", "--to"),
            clock=runtime.clock,
        )
    result = WaiveResult(
        config.pipeline_id,
        zone,
        reason,
        by,
        tuple(local_interval(piece, zone) for piece in done.pieces),
        tuple(LeftOut(**local_fields(piece, zone), why=why) for piece, why in done.left_out),
    )
    screen.print_result(result, _print_waived)
    if not result.waived:
        screen.print_error("nothing was waived")
    return exit_codes.OK if result.waived else exit_codes.CHECK_FAILED


def _print_waived(result: WaiveResult, screen: Screen) -> None:
    for piece in result.waived:
        screen.print_line(
            f"waived: {local_window(piece.interval, result.timezone)}: {result.reason}", "yellow"
        )
    for left in result.left_out:
        screen.print_line(f"left out: {local_window(left.interval, result.timezone)}: {left.why}")
