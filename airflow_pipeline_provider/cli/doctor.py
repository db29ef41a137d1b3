"""Run `doctor`: compare ledger, stage and target, and repair the differences."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import date, datetime
from functools import partial

from msgspec import UNSET, Struct, UnsetType

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_past_time,
    read_person,
    read_reference_time,
)
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.cleanup import remove_files, remove_leases
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.quarantine_load import restore_rows
from airflow_pipeline_provider.cli.reload import ReloadOptions
from airflow_pipeline_provider.cli.reprocess import reload_span
from airflow_pipeline_provider.cli.run import move_windows
from airflow_pipeline_provider.cli.runner import RunOptions
from airflow_pipeline_provider.cli.state import rebuild_ledger
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases.doctor import Examined, examine
from airflow_pipeline_provider.phases.findings import Action, Finding, Loading, Repair
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.times import local_fields

INTERRUPTING_CODES = (exit_codes.INTERRUPTED, exit_codes.BROKEN_PIPE, exit_codes.TERMINATED)


class FindingInterval(Struct, frozen=True):
    """Interval; day and local times are left out where it reaches to the end of the calendar."""

    day: date | UnsetType
    start: datetime
    end: datetime
    local_start: str | UnsetType
    local_end: str | UnsetType


class ReportedFinding(Struct, frozen=True):
    """A finding; `command` repairs it, and `--fix` runs it if it is `safe`. A `harmless` one needs no repair."""

    kind: str
    window: FindingInterval | None
    sentence: str
    command: str | None
    safe: bool
    harmless: bool


class Compared(Struct, frozen=True):
    """What the ledger has committed on the days, and the rows that the target holds of it."""

    commits: int
    rows: int


class Fixed(Struct, frozen=True):
    """A command that `--fix` ran."""

    command: str
    exit_code: int


class Diagnosis(Struct, frozen=True):
    """What `doctor` compared and found; with `--fix`, `findings` are those that are left.

    `days` are the first and the last local day that were compared; `healthy` is null when there was nothing to
    compare.
    """

    pipeline_id: str
    timezone: str
    reference_time: datetime
    healthy: bool | None
    days: tuple[date, date] | None
    compared: Compared
    findings: tuple[ReportedFinding, ...]
    fixed: tuple[Fixed, ...]


def doctor(args: Namespace, screen: Screen) -> int:
    """Print each difference between ledger, stage and target with the command that repairs it.

    Exit code 1 when a finding is not harmless.
    """
    days = read_count(args.days, "--days", least=1, most=10_000)
    at = read_reference_time(args.reference_time)
    by = read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    examined = _examine(config, args, days)
    fixed: dict[str, int] = {}
    if args.fix:
        repairer = _Repairer(config, args, by)
        for finding in examined.findings:
            command = _command(finding, args)
            if not finding.safe or finding.action is None or command is None or command in fixed:
                continue
            if repairer.has_loaded(finding):
                continue
            screen.print_note(command, "bold")
            fixed[command] = repairer.repair(finding.action)
            if fixed[command] in INTERRUPTING_CODES:
                return fixed[command]
        examined = _examine(config, args, days) if fixed else examined
    result = _result(config, at, examined, fixed, args)
    screen.print_result(result, partial(_print, examined, may_fix=not args.fix))
    return exit_codes.CHECK_FAILED if examined.healthy is False else exit_codes.OK


def _examine(config: PipelineConfig, args: Namespace, days: int) -> Examined:
    at = read_reference_time(args.reference_time)
    with open_runtime(config) as runtime:
        return examine(runtime, at, days, args.pipeline)


def _command(finding: Finding, args: Namespace) -> str | None:
    """Return the command that repairs the finding, as a line for a shell and as of the given reference time."""
    if finding.action is None:
        return None
    words = finding.action.words
    if _moves_all(finding.action) and args.reference_time is not None:
        words = (*words, "--reference-time", args.reference_time)
    return command_line.shell_line(words)


def _moves_all(action: Action) -> bool:
    return action.loading is not None and action.loading.interval is None


class _Repairer:
    """Makes lossless repairs; what they print goes to standard error, apart from the result of `doctor`."""

    def __init__(self, config: PipelineConfig, args: Namespace, by: str) -> None:
        self.config, self.args, self.by = config, args, by
        self.screen = Screen(sys.stderr, sys.stderr, as_json=False, verbose=args.verbose)
        self.loaded: list[Interval] = []

    def has_loaded(self, finding: Finding) -> bool:
        """Return whether another finding named an interval that overlaps; each interval is loaded once."""
        loads = finding.action is not None and finding.action.loading is not None
        if not loads or finding.interval is None:
            return False
        if any(finding.interval.overlaps(piece) for piece in self.loaded):
            return True
        self.loaded.append(finding.interval)
        return False

    def repair(self, action: Action) -> int:
        """Make the repair; print an error. Return the exit code of the command that does the same."""
        return exit_codes.report_errors(self.screen, lambda: self._repair(action))

    def _repair(self, action: Action) -> int:
        if action.loading is not None:
            return self._load(action.loading)
        functions = {
            Repair.REBUILD_LEDGER: lambda: rebuild_ledger(self.config, self.by, self.screen),
            Repair.FILL_QUARANTINE: lambda: restore_rows(self.config, self.screen),
            Repair.REMOVE_LEASES: lambda: remove_leases(self.config, self.by, self.screen),
            Repair.REMOVE_FILES: lambda: remove_files(self.config, self.screen),
        }
        return functions[action.repair]()

    def _load(self, loading: Loading) -> int:
        given = self.args.reference_time if loading.interval is None else None
        at = read_past_time(given)
        if loading.interval is None or loading.exact:
            options = RunOptions(at, loading.interval, until_done=loading.interval is None, by=self.by)
            return move_windows(self.config, options, self.screen)
        return reload_span(self.config, loading.interval, ReloadOptions(by=self.by), self.screen)


# --- the report


def _print(examined: Examined, result: Diagnosis, screen: Screen, *, may_fix: bool) -> None:
    for finding, shown in zip(examined.findings, result.findings, strict=True):
        where = f" {_where(finding.interval, result.timezone)}" if finding.interval is not None else ""
        screen.print_line(f"{finding.kind}:{where} {finding.sentence}", None if finding.harmless else "red")
        if shown.command is not None:
            review = "" if finding.safe else "    (needs review: --fix does not run it)"
            screen.print_line(f"    {shown.command}{review}")
    if result.fixed:
        failed = sum(one.exit_code != exit_codes.OK for one in result.fixed)
        screen.print_line(
            f"{counted(len(result.fixed), 'command')} run" + (f", {failed} of them failed" if failed else "")
        )
    screen.print_line(
        f"{result.pipeline_id}: {_conclusion(examined)}", "bold green" if examined.healthy else "bold"
    )
    problems = [finding for finding in examined.findings if not finding.harmless]
    if problems:
        fixable = sum(finding.safe for finding in problems)
        hint = f"; --fix repairs {fixable} of them" if fixable and may_fix else ""
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


def _result(
    config: PipelineConfig, at: datetime, examined: Examined, fixed: dict[str, int], args: Namespace
) -> Diagnosis:
    days = examined.days
    return Diagnosis(
        pipeline_id=config.pipeline_id,
        timezone=config.timezone,
        reference_time=at,
        healthy=examined.healthy,
        days=(days[0], days[-1]) if days else None,
        compared=Compared(examined.commits, examined.rows),
        findings=tuple(
            ReportedFinding(
                kind=finding.kind,
                window=_interval(finding.interval, config.timezone),
                sentence=finding.sentence,
                command=_command(finding, args),
                safe=finding.safe,
                harmless=finding.harmless,
            )
            for finding in examined.findings
        ),
        fixed=tuple(Fixed(command, code) for command, code in fixed.items()),
    )


def _interval(interval: Interval | None, timezone: str) -> FindingInterval | None:
    if interval is None:
        return None
    if interval.start.year == 1 or interval.end.year == 9999:
        return FindingInterval(UNSET, interval.start, interval.end, UNSET, UNSET)
    return FindingInterval(**local_fields(interval, timezone))
