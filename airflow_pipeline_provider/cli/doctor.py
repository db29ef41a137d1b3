"""Run `doctor`: compare ledger, stage and target, and repair the differences."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import msgspec

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_count, read_person, read_reference_time
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases.doctor import Examined, examine
from airflow_pipeline_provider.phases.findings import Finding
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.times import local_interval

LOADING_COMMANDS = ("run", "reprocess")  # commands that load windows
INTERRUPTING_CODES = (exit_codes.INTERRUPTED, exit_codes.BROKEN_PIPE, exit_codes.TERMINATED)


def doctor(args: Namespace, screen: Screen) -> int:
    """Print each difference between ledger, stage and target with the command that repairs it.

    JSON: `{"pipeline_id", "timezone", "reference_time", "healthy" | null, "days": [first, last] | null, "compared":
    {"commits", "rows"}, "findings": [finding], "fixed": [{"command", "exit_code"}]}`; `days` are the local days
    that were compared, `compared` counts the ledger's commits and the target's rows in them; `healthy` is null when
    there was nothing to compare. A finding is `{"kind", "window": interval | null, "sentence", "command" | null,
    "safe", "harmless"}`, an interval is `{"day", "start", "end", "local_start", "local_end"}`. With `--fix`,
    `findings` are those that are left.

    Exit code 1 when a finding is not harmless.
    """
    days = read_count(args.days, "--days", least=1, most=10_000)
    read_reference_time(args.reference_time)
    read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    examined = _examine(config, args, days)
    fixed: dict[str, int] = {}
    if args.fix:
        loaded: list[Interval] = []  # each interval is loaded once, even if several findings name it
        for finding in examined.findings:
            command = _command(finding, args)
            if not finding.safe or command is None or command in fixed:
                continue
            if finding.interval is not None and finding.command[0] in LOADING_COMMANDS:
                if any(finding.interval.overlaps(piece) for piece in loaded):
                    continue
                loaded.append(finding.interval)
            screen.print_note(command, "bold")
            fixed[command] = _run(_words(finding, args), args)
            if fixed[command] in INTERRUPTING_CODES:
                return fixed[command]
        examined = _examine(config, args, days) if fixed else examined
    _report(config, args, examined, fixed, screen)
    return exit_codes.CHECK_FAILED if examined.healthy is False else exit_codes.OK


def _examine(config: PipelineConfig, args: Namespace, days: int) -> Examined:
    at = read_reference_time(args.reference_time)
    with open_runtime(config) as runtime:
        return examine(runtime, at, days, args.pipeline)


def _words(finding: Finding, args: Namespace) -> tuple[str, ...]:
    """Return the command that repairs the finding, as of the given reference time."""
    words = finding.command
    if "--until-done" in words and args.reference_time is not None:
        words = (*words, "--reference-time", args.reference_time)
    return words


def _command(finding: Finding, args: Namespace) -> str | None:
    """Return the finding's command as a line for a shell."""
    return command_line.shown(_words(finding, args)) if finding.command else None


def _run(words: tuple[str, ...], args: Namespace) -> int:
    """Run the command in this process; its result goes to standard error, apart from the result of `doctor`."""
    from airflow_pipeline_provider.cli.main import build_parser, dispatch

    folder = () if args.folder is None else ("--folder", args.folder)
    parsed = build_parser().parse_args([*words, *folder])
    parsed.by = args.by
    return dispatch(parsed.command, parsed)


# --- the report


def _report(
    config: PipelineConfig, args: Namespace, examined: Examined, fixed: dict[str, int], screen: Screen
) -> None:
    findings = examined.findings
    if screen.as_json:
        screen.print_json(_json(config, args, examined, fixed))
        return
    problems = [finding for finding in findings if not finding.harmless]
    for finding in findings:
        where = f" {_where(finding.interval, config.timezone)}" if finding.interval is not None else ""
        screen.print_line(f"{finding.kind}:{where} {finding.sentence}", None if finding.harmless else "red")
        command = _command(finding, args)
        if command is not None:
            screen.print_line(
                f"    {command}" + ("" if finding.safe else "    (needs review: --fix does not run it)")
            )
    if fixed:
        failed = sum(code != exit_codes.OK for code in fixed.values())
        screen.print_line(
            f"{counted(len(fixed), 'command')} run" + (f", {failed} of them failed" if failed else "")
        )
    screen.print_line(
        f"{config.pipeline_id}: {_conclusion(examined)}", "bold green" if examined.healthy else "bold"
    )
    if problems:
        fixable = sum(finding.safe for finding in problems)
        hint = f"; --fix repairs {fixable} of them" if fixable and not args.fix else ""
        screen.print_line(f"{counted(len(problems), 'finding')}{hint}", "bold red")


def _conclusion(examined: Examined) -> str:
    """Return which days were compared, and `healthy` only for what was compared there."""
    if not examined.days:
        looked = "compared no day, start_day is after the target day"
    else:
        first, last = examined.days[0], examined.days[-1]
        looked = f"compared {first}" + (f" … {last}" if last != first else "")
    if examined.earlier:
        looked += " (not what was committed before; --days N goes further back)"
    if examined.healthy is None:
        return f"{looked}: nothing is committed or loaded there, so there is nothing to compare"
    counts = f"{counted(examined.commits, 'commit')}, {counted(examined.rows, 'row')}"
    if examined.healthy:
        expired = any(finding.kind == "files_expired" for finding in examined.findings)
        agree = "ledger and target agree in every count" + ("" if expired else ", no manifest is missing")
        return f"{looked}: healthy, {agree} ({counts})"
    return f"{looked} ({counts})"


def _where(interval: Interval, timezone: str) -> str:
    """Return the interval in local time; the ends of the calendar have no local time."""
    inside = interval.start.year > 1 and interval.end.year < 9999
    return local_window(interval, timezone) if inside else str(interval)


def _json(
    config: PipelineConfig, args: Namespace, examined: Examined, fixed: dict[str, int]
) -> dict[str, Any]:
    days = examined.days
    return {
        "pipeline_id": config.pipeline_id,
        "timezone": config.timezone,
        "reference_time": iso_utc(read_reference_time(args.reference_time)),
        "healthy": examined.healthy,
        "days": [days[0].isoformat(), days[-1].isoformat()] if days else None,
        "compared": {"commits": examined.commits, "rows": examined.rows},
        "findings": [
            {
                "kind": finding.kind,
                "window": _interval_json(finding.interval, config.timezone),
                "sentence": finding.sentence,
                "command": _command(finding, args),
                "safe": finding.safe,
                "harmless": finding.harmless,
            }
            for finding in examined.findings
        ],
        "fixed": [{"command": command, "exit_code": code} for command, code in fixed.items()],
    }


def _interval_json(interval: Interval | None, timezone: str) -> dict[str, Any] | None:
    if interval is None:
        return None
    if interval.start.year == 1 or interval.end.year == 9999:
        return {"start": iso_utc(interval.start), "end": iso_utc(interval.end)}
    found: dict[str, Any] = msgspec.to_builtins(local_interval(interval, timezone))
    return found
