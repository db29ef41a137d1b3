"""Run `status`: show which days are complete, what is missing, and why."""

from __future__ import annotations

import re
from argparse import Namespace

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_count, read_reference_time, read_seconds
from airflow_pipeline_provider.cli.catalog import UnreadPipeline, load_asked, load_one
from airflow_pipeline_provider.cli.output import Screen, one_line
from airflow_pipeline_provider.core.command_line import doctor, name_of, shell_line
from airflow_pipeline_provider.core.day_status import DayStatus
from airflow_pipeline_provider.core.wording import counted, local_time, local_window
from airflow_pipeline_provider.phases.source_facts import fact_warnings
from airflow_pipeline_provider.views.misses import Unexpected
from airflow_pipeline_provider.views.status import Reading, StatusQuery, read_pipeline, read_pipelines
from airflow_pipeline_provider.views.status_report import CaughtUp, DayRow, StatusReport
from airflow_pipeline_provider.views.times import local_second_text, local_text, ranges_text

MOST_MISSES = 10
_NEEDS_REPAIR = (DayStatus.UNVERIFIED, DayStatus.BLOCKED, DayStatus.DRIFTED)
_STYLES = {
    DayStatus.UNVERIFIED: "red",
    DayStatus.BLOCKED: "red",
    DayStatus.DRIFTED: "red",
    DayStatus.WAIVED: "yellow",
    DayStatus.COMPLETE: "green",
}


class AllStatus(Struct, frozen=True):
    """Status of all pipelines."""

    pipelines: tuple[StatusReport, ...]
    errors: tuple[UnreadPipeline, ...]


def status(args: Namespace, screen: Screen) -> int:
    """Print the days of one pipeline, or one line for each pipeline.

    Exit code 1 when source or target changed, the pipeline was renamed, or `--fail-if-behind` is given and a
    pipeline is further behind than that or has days that are too old.
    """
    query = StatusQuery(
        read_reference_time(args.reference_time),
        read_count(args.days, "--days", least=1, most=10_000),
        None if args.fail_if_behind is None else read_seconds(args.fail_if_behind, "--fail-if-behind"),
    )
    if args.pipeline is not None:
        reading = read_pipeline(load_one(args.pipeline, args.folder).config, query)
        screen.print_result(reading.report, print_one)
        return _report_problems([reading], screen)
    found, unread = load_asked(None, args.folder)
    read, errors = read_pipelines([one.config for one in found], query)
    for one in found:
        if (error := errors.get(one.config.pipeline_id)) is not None:
            unread.add(one.file, one.config.pipeline_id, error)
    screen.print_result(
        AllStatus(tuple(one.report for one in read.values()), tuple(unread.pipelines)), print_all
    )
    for problem in unread.errors:
        screen.print_error(str(problem))
    code = _report_problems(list(read.values()), screen)
    return max((exit_codes.code_of(problem) for problem in unread.errors), default=code)


def _report_problems(readings: list[Reading], screen: Screen) -> int:
    problems = [problem for reading in readings for problem in reading.problems]
    for problem in problems:
        screen.print_error(problem)
    return exit_codes.CHECK_FAILED if problems else exit_codes.OK


def print_one(report: StatusReport, screen: Screen) -> None:
    """Print the days of one pipeline."""
    zone = report.timezone
    screen.print_line(
        f"{report.pipeline_id} at {local_text(report.reference_time, zone)}: {_behind_text(report)}", "bold"
    )
    if report.too_old is not None:
        screen.print_line(report.too_old.sentence, "red")
    for lease in report.leases:
        screen.print_line(
            f"held: {ranges_text([lease.interval], zone)} of {local_text(lease.interval.start, zone)[:10]} by "
            f"{lease.holder} since {local_second_text(lease.since, zone)}, "
            f"until {local_second_text(lease.until, zone)}",
            "yellow",
        )
    if report.refused is None:
        screen.print_line(f"next: {report.next.detail}")
        if report.eta is not None and (report.behind_seconds or report.eta.at is not None):
            screen.print_line(f"caught up: {_eta_text(report.eta, zone)}")
    if not report.days:
        return
    rows = [
        (
            day.day.isoformat(),
            day.length,
            f"{day.percent:.1f}%",
            _rows_text(day),
            day.status.value,
            ranges_text([gap.interval for gap in day.missing], zone) or "-",
            day.reason,
        )
        for day in report.days
    ]
    screen.print_table(
        ("day", "length", "covered", "rows", "status", "missing", "reason"),
        rows,
        right=("length", "covered", "rows"),
        styles=[_STYLES.get(day.status) for day in report.days],
    )
    if any(day.status in _NEEDS_REPAIR for day in report.days):
        screen.print_line(f"to repair: {shell_line(doctor(name_of(report.pipeline_id)))}")
    for day in report.days:
        for piece in day.waived:
            reason = piece.reason or "no reason given"
            screen.print_line(f"waived: {local_window(piece.interval, zone)}: {reason}", "yellow")
    if report.unexpected is not None:
        _print_unexpected(report.unexpected, screen)
    if report.files_removed is not None:
        screen.print_line(f"stage: {report.files_removed.sentence}")
    if report.not_seen is not None:
        screen.print_line(f"source: updates in place are not seen: {report.not_seen}")
    for sentence in _warnings(report):
        screen.print_line(f"source: {sentence}", "yellow")


def _print_unexpected(found: Unexpected, screen: Screen) -> None:
    for miss in found.misses[:MOST_MISSES]:
        screen.print_line(f"not as expected: {miss.sentence}", "red")
    if (more := len(found.misses) - MOST_MISSES) > 0:
        screen.print_line(f"not as expected: {more:,} more (-o json lists all)", "red")
    for one in found.not_judged:
        screen.print_line(f"rows not judged: {counted(one.windows, 'window')}: {one.reason}")


def print_all(result: AllStatus, screen: Screen) -> None:
    """Print a line for each pipeline."""
    rows, styles = [], []
    for one in result.pipelines:
        worst, days = one.worst, one.days
        total = sum(day.length_seconds for day in days)
        covered = sum(day.committed_seconds for day in days)
        rows.append(
            (
                one.pipeline_id,
                one.target_day.isoformat(),
                str(len(days)),
                f"{covered * 1000 // total / 10 if total else 0:.1f}%",
                one.behind,
                _short_eta(one),
                _status_text(one, worst),
                _reason_text(one, worst),
            )
        )
        late = one.too_far_behind or one.too_old or one.refused
        styles.append("red" if late else _STYLES.get(worst.status) if worst else None)
    columns = ("pipeline", "target day", "days", "covered", "behind", "caught up", "status", "reason")
    if rows:
        screen.print_table(columns, rows, right=("days", "covered", "behind"), styles=styles)
    for one in result.pipelines:
        misses = one.unexpected.misses if one.unexpected else ()
        if misses:
            miss = min(misses, key=lambda miss: miss.completed is not None)  # an open one, if there is one
            and_more = f", and {len(misses) - 1:,} more" if len(misses) > 1 else ""
            screen.print_line(f"{one.pipeline_id}: not as expected: {miss.sentence}{and_more}", "red")
        for sentence in _warnings(one):
            screen.print_line(f"source of {one.pipeline_id}: {sentence}", "yellow")


def _warnings(report: StatusReport) -> list[str]:
    changes = [f"documents of the last window: {one_line(each)}" for each in report.schema_changes]
    return [*fact_warnings(report.facts), *changes]


def _status_text(one: StatusReport, worst: DayRow | None) -> str:
    if one.renamed is not None:
        return "renamed"
    return "changed" if one.changes else worst.status.value if worst else "-"


def _reason_text(one: StatusReport, worst: DayRow | None) -> str:
    reason = f"{worst.day}: {worst.reason}" if worst else "no day between start_day and end_day yet"
    if one.refused is not None:
        return one.refused
    old = one.too_old
    return f"{counted(old.days, 'day')} too_old (to {old.last}); {reason}" if old else reason


def _behind_text(report: StatusReport) -> str:
    if report.refused is not None:
        return report.refused
    if report.continuation is None:
        return "no day is planned"
    if report.ready_until is None:
        return "no window is ready yet"
    ready = local_time(report.ready_until, report.timezone)
    if not report.behind_seconds and report.too_old:
        return f"not complete: the days that runs plan are committed (up to {ready}), older days are not"
    if not report.behind_seconds:
        return f"up to date, all that is ready is committed (up to {ready})"
    gap = local_time(report.continuation, report.timezone)
    return f"{report.behind} behind: the oldest gap begins at {gap}, windows are ready up to {ready}"


def _short_eta(one: StatusReport) -> str:
    """Return when the backlog will be caught up; `status PIPELINE` also shows how that was estimated."""
    if one.refused is not None or not one.behind_seconds or one.eta is None:
        return "-"
    if one.eta.at is None:
        return re.split("[:,;]", one.eta.detail)[0]
    return local_time(one.eta.at.replace(second=0, microsecond=0), one.timezone)


def _eta_text(eta: CaughtUp, zone: str) -> str:
    if eta.at is None:
        return eta.detail
    return f"about {local_time(eta.at.replace(second=0, microsecond=0), zone)}, {eta.detail}"


def _rows_text(day: DayRow) -> str:
    return "?" if day.rows is None else f"{day.rows:,}"
