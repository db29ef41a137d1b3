"""`doctor PIPELINE [--fix] [--days N]`: what differs between ledger, stage and target, and what mends it.

JSON: `{"pipeline_id", "timezone", "reference_time", "healthy" | null, "days": [first, last] | null, "compared":
{"commits", "rows"}, "findings": [finding], "fixed": [{"command", "exit_code"}]}`; `days` are the local days that were
looked at, `compared` counts the ledger's commits and the target's rows in them; `healthy` is null when there was
nothing to compare.  A finding is `{"kind", "window": piece | null, "sentence", "command" | null, "safe",
"harmless"}`, a piece `{"day", "start", "end", "local_start", "local_end"}`.  With `--fix`, `findings` are
what is left.

Exit code 1 when something is found that is not harmless.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import Any

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_count, read_person, read_reference_time
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.time_format import interval_json
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases.doctor import Examined, examine
from airflow_pipeline_provider.phases.findings import Finding
from airflow_pipeline_provider.phases.runtime import open_runtime

LOADING_COMMANDS = ("run", "reprocess")  # commands that load windows
INTERRUPTING_CODES = (exit_codes.INTERRUPTED, exit_codes.BROKEN_PIPE, exit_codes.TERMINATED)


def doctor(args: Namespace, screen: Screen) -> int:
    """The command."""
    days = read_count(args.days, "--days", least=1, most=10_000)
    read_reference_time(args.reference_time)
    read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    examined = _examine(config, args, days)
    fixed: dict[str, int] = {}
    if args.fix:
        moved: list[
            Interval
        ] = []  # what two checks name need not be loaded twice; the second look says what is left
        for finding in examined.findings:
            command = _command(finding, args)
            if not finding.safe or command is None or command in fixed:
                continue
            if finding.interval is not None and finding.command[0] in LOADING_COMMANDS:
                if any(finding.interval.overlaps(piece) for piece in moved):
                    continue
                moved.append(finding.interval)
            screen.print_note(command, "bold")
            fixed[command] = _run(command, args.by)
            if fixed[command] in INTERRUPTING_CODES:
                return fixed[command]
        examined = _examine(config, args, days) if fixed else examined
    _report(config, args, examined, fixed, screen)
    return exit_codes.CHECK_FAILED if examined.healthy is False else exit_codes.OK


def _examine(config: PipelineConfig, args: Namespace, days: int) -> Examined:
    at = read_reference_time(args.reference_time)
    with open_runtime(config) as runtime:
        return examine(runtime, at, days, args.pipeline)


def _command(finding: Finding, args: Namespace) -> str | None:
    """As one would type it."""
    if not finding.command:
        return None
    words = finding.command
    if "--until-done" in words and args.reference_time is not None:
        words = (*words, "--reference-time", args.reference_time)
    return command_line.shown(words)


def _run(command: str, by: str | None) -> int:
    """In this process; its answer goes to standard error, where everything beside this command's own goes."""
    from airflow_pipeline_provider.cli.main import build_parser, dispatch

    words = shlex.split(command)
    given = words[words.index(command_line.PROGRAM) + 1 :] if command_line.PROGRAM in words else words[2:]
    parsed = build_parser().parse_args(given)
    parsed.by = by
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
                f"    {command}" + ("" if finding.safe else "    (by a person: --fix does not run it)")
            )
    if fixed:
        failed = sum(code != exit_codes.OK for code in fixed.values())
        screen.print_line(
            f"{counted(len(fixed), 'command')} run"
            + (f", {failed} of them did not end well" if failed else "")
        )
    screen.print_line(
        f"{config.pipeline_id}: {_conclusion(examined)}", "bold green" if examined.healthy else "bold"
    )
    if problems:
        fixable = sum(finding.safe for finding in problems)
        hint = f"; --fix mends {fixable} of them" if fixable and not args.fix else ""
        screen.print_line(f"{counted(len(problems), 'finding')}{hint}", "bold red")


def _conclusion(examined: Examined) -> str:
    """Return which days were looked at, and only of what was compared there that it is healthy."""
    if not examined.days:
        looked = "looked at no day, start_day is after the target day"
    else:
        first, last = examined.days[0], examined.days[-1]
        looked = f"looked at {first}" + (f" … {last}" if last != first else "")
    if examined.earlier:
        looked += " (not at what was committed before; --days N looks further back)"
    if examined.healthy is None:
        return f"{looked}: nothing is committed or loaded there, so there is nothing to compare"
    counts = f"{counted(examined.commits, 'commit')}, {counted(examined.rows, 'row')}"
    if examined.healthy:
        expired = any(finding.kind == "files_expired" for finding in examined.findings)
        agree = "ledger and target agree in every count" + ("" if expired else ", no manifest is missing")
        return f"{looked}: healthy, {agree} ({counts})"
    return f"{looked} ({counts})"


def _where(interval: Interval, timezone: str) -> str:
    """The uncovered ends of time are no local time of any zone."""
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
    return interval_json(interval, timezone)
