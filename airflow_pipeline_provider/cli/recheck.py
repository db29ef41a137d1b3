"""Run `recheck`: count committed windows again, load those that grew or changed, and report those that shrank."""

from __future__ import annotations

from argparse import Namespace
from datetime import date

from msgspec import UNSET, Struct, UnsetType

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_past_time,
)
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import ErrorText, Screen
from airflow_pipeline_provider.cli.reload import (
    ReloadResult,
    print_reload_result,
    read_reload_options,
    reload_windows,
    require_airflow,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.command_line import shrink_commands
from airflow_pipeline_provider.core.ledger import Check
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases import recheck as phase
from airflow_pipeline_provider.phases.recheck_findings import Left, RecheckedWindow, RecheckReport
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.times import LocalInterval, local_fields


class RecheckFinding(LocalInterval, frozen=True):
    """Window in which source and target differ.

    `changed` rows of the source were written since the window was read. `kept`: the window was waived since. `known`:
    the last recheck found the same. `status` is started, committed, skipped or failed, null where nothing was done;
    `reason`, `detail`, `rows` and `token` exist where the window was moved in this process.
    """

    source: int
    target: int
    verdict: Check
    kept: bool
    known: bool
    changed: int
    run_id: str | None = None
    status: str | None = None
    reason: str | UnsetType | None = UNSET
    detail: str | UnsetType = UNSET
    rows: int | UnsetType | None = UNSET
    token: int | UnsetType | None = UNSET


class NotRechecked(LocalInterval, frozen=True):
    """Committed time that was not counted again, with the reason."""

    reason: Left
    detail: str


class Rechecked(Struct, frozen=True):
    """What `recheck` found in the windows of these days, and what it did about it.

    `not_seen` maps each reason why updates in place are not seen to its number of windows.
    """

    pipeline_id: str
    timezone: str
    days: tuple[date, ...]
    checked: int
    equal: int
    findings: tuple[RecheckFinding, ...]
    left_out: tuple[NotRechecked, ...]
    not_seen: dict[str, int]
    error: ErrorText | None


def recheck(args: Namespace, screen: Screen) -> int:
    """Count the committed windows of the last days again, in the source and in the target.

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
        again = [*report.stale, *(report.shrunk if args.accept_shrink else ())]
        windows = sorted(found.interval for found in again)
        if windows and not args.no_reload:
            done = reload_windows(runtime, windows, screen, options, "recheck", at)
    screen.print_result(
        _result(config, report, done), lambda *_: print_reload_result(done, config.timezone, screen)
    )
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
        f"{equal} equal, {len(report.grown)} grown, {_changed(report)}{len(report.shrunk)} shrunk",
        "bold",
    )
    for reason, windows in report.not_seen.items():
        screen.print_line(
            f"updates in place are not seen in {counted(windows, 'window')}: {reason}", "yellow"
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


def _changed(report: RecheckReport) -> str:
    return f"{len(report.changed)} changed, " if report.changed else ""


def _verdict(one: RecheckedWindow) -> str:
    if one.verdict is Check.CHANGED:
        return f"changed in place: {counted(one.changed, 'row')} written since: will be loaded again"
    if one.verdict is Check.GREW:
        return f"grew by {one.source - one.target:,}: will be loaded again"
    rows = f"shrank by {one.target - one.source:,}"
    known = " (as before)" if one.known else ""
    stale = f"; {counted(one.changed, 'row')} written since, not loaded" if one.changed else ""
    return f"{rows}: kept, waived{stale}" if one.kept else f"{rows}: nothing is changed{known}{stale}"


def _differing(report: RecheckReport) -> list[RecheckedWindow]:
    return [found for found in report.findings if found.verdict is not Check.EQUAL]


def _finding(one: RecheckedWindow, zone: str) -> RecheckFinding:
    return RecheckFinding(
        **local_fields(one.interval, zone),
        source=one.source,
        target=one.target,
        verdict=one.verdict,
        kept=one.kept,
        known=one.known,
        changed=one.changed,
    )


def _result(config: PipelineConfig, report: RecheckReport, done: ReloadResult) -> Rechecked:
    zone = config.timezone
    findings = done.reported(_finding(one, zone) for one in _differing(report))
    return Rechecked(
        pipeline_id=config.pipeline_id,
        timezone=zone,
        days=tuple(report.days),
        checked=len(report.findings),
        equal=len(report.findings) - len(findings),
        findings=findings,
        left_out=tuple(
            NotRechecked(**local_fields(left.interval, zone), reason=left.reason, detail=left.detail)
            for left in report.left_out
        ),
        not_seen=report.not_seen,
        error=done.error,
    )
