"""Run `recheck`: count committed windows again, load those that grew, and report those that shrank."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_past_time,
)
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen, error_json
from airflow_pipeline_provider.cli.reprocess import (
    ReloadResult,
    print_reload_result,
    read_reload_options,
    reload_windows,
    require_airflow,
    result_json,
)
from airflow_pipeline_provider.cli.time_format import interval_json
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.command_line import shrink_commands
from airflow_pipeline_provider.core.ledger import Check
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases import recheck as phase
from airflow_pipeline_provider.phases.recheck import RecheckedWindow, RecheckReport
from airflow_pipeline_provider.phases.runtime import open_runtime


def recheck(args: Namespace, screen: Screen) -> int:
    """Count the committed windows of the last days again, in the source and in the target.

    JSON: `{"pipeline_id", "timezone", "days": [day], "checked", "equal", "findings": [interval + {"source",
    "target", "verdict", "kept", "known", "run_id" | null, "status" | null}], "left_out": [interval + {"reason",
    "detail"}], "error" | null}`; an interval is `{"day", "start", "end", "local_start", "local_end"}`; `verdict` is
    grew or shrank; `kept`: the window was waived since; `known`: the last recheck found the same; `status` is
    started, committed, skipped or failed.

    Exit code 4 when a window shrank and needs review. With `audit.on_shrink: accept` only the first time.
    """
    days = read_count(args.days, "--days", least=1, most=3_660)
    options = read_reload_options(args)
    at = read_past_time(args.reference_time)
    if not args.here and not args.no_reload:
        require_airflow(getattr(args, "in_airflow", False))
    config = load_one(args.pipeline, args.folder).config
    done = ReloadResult()
    with open_runtime(config) as runtime:
        report = phase.recheck(runtime, days, at)
        if not screen.as_json:
            _print(config, report, screen)
        again = [*report.grown, *(report.shrunk if args.accept_shrink else ())]
        windows = sorted(found.interval for found in again)
        if windows and not args.no_reload:
            done = reload_windows(runtime, windows, screen, options, "recheck", at)
    if screen.as_json:
        screen.print_json(_json(config, report, done))
    print_reload_result(done, config.timezone, screen)
    code = done.exit_code(screen)
    unanswered = report.unanswered(config.audit.on_shrink)
    if unanswered and not args.accept_shrink:
        screen.print_error(
            f"pipeline {config.pipeline_id}: {counted(len(unanswered), 'window')} shrank in the source, and the "
            "target keeps its rows: check the source, then delete the rows with the first command or keep them with "
            "the second"
        )
        for line in shrink_commands(args.pipeline, [found.interval for found in unanswered]):
            screen.print_note(f"  {line}")
        return max(code, exit_codes.DATA)
    return code


def _print(config: PipelineConfig, report: RecheckReport, screen: Screen) -> None:
    zone = config.timezone
    differing = _differing(report)
    days = f"{report.days[0]} to {report.days[-1]}" if report.days else "no day between start_day and end_day"
    equal = len(report.findings) - len(differing)
    screen.print_line(
        f"{config.pipeline_id}, {days}: {counted(len(report.findings), 'committed window')} counted again, "
        f"{equal} equal, {len(report.grown)} grown, {len(report.shrunk)} shrunk",
        "bold",
    )
    for left in report.left_out:
        screen.print_line(f"left out: {left.reason.value}: {left.detail}", "yellow")
    if differing:
        screen.print_table(
            ("window", "source", "target", "verdict"),
            [
                (local_window(one.interval, zone), f"{one.source:,}", f"{one.target:,}", _verdict(one))
                for one in differing
            ],
            right=("source", "target"),
            styles=["red" if one.verdict is Check.SHRANK and not one.kept else "yellow" for one in differing],
        )


def _verdict(one: RecheckedWindow) -> str:
    if one.verdict is Check.GREW:
        return f"grew by {one.source - one.target:,}: will be loaded again"
    rows = f"shrank by {one.target - one.source:,}"
    known = " (as before)" if one.known else ""
    return f"{rows}: kept, waived" if one.kept else f"{rows}: nothing is changed{known}"


def _differing(report: RecheckReport) -> list[RecheckedWindow]:
    return [found for found in report.findings if found.verdict is not Check.EQUAL]


def _json(config: PipelineConfig, report: RecheckReport, done: ReloadResult) -> dict[str, Any]:
    zone = config.timezone
    results, started = {one.interval: one for one in done.results}, dict(done.started)
    findings = []
    for found in _differing(report):
        value: dict[str, Any] = {
            **interval_json(found.interval, zone),
            "source": found.source,
            "target": found.target,
            "verdict": found.verdict.value,
            "kept": found.kept,
            "known": found.known,
            "run_id": started.get(found.interval),
            "status": "started" if found.interval in started else None,
        }
        findings.append({**value, **result_json(results.get(found.interval))})
    left_out = [
        {**interval_json(left.interval, zone), "reason": left.reason.value, "detail": left.detail}
        for left in report.left_out
    ]
    errors = [error_json(error) for error in done.errors]
    return {
        "pipeline_id": config.pipeline_id,
        "timezone": zone,
        "days": [day.isoformat() for day in report.days],
        "checked": len(report.findings),
        "equal": len(report.findings) - len(findings),
        "findings": findings,
        "left_out": left_out,
        "error": errors[0] if errors else None,
    }
