"""Print the status of pipelines as tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.time_format import (
    length_text,
    local_second_text,
    local_text,
    ranges_text,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.command_line import doctor, name_of, shown
from airflow_pipeline_provider.core.day_status import DayStatus
from airflow_pipeline_provider.core.eta import Eta
from airflow_pipeline_provider.core.missing import days_of, too_old_text
from airflow_pipeline_provider.core.wording import counted, local_time, local_window
from airflow_pipeline_provider.phases.source_facts import sentences
from airflow_pipeline_provider.state.about import Renamed
from airflow_pipeline_provider.views.pipeline_status import (
    Day,
    PipelineStatus,
)

# The status that needs attention first.
_WORST_FIRST = (
    DayStatus.UNVERIFIED,
    DayStatus.BLOCKED,
    DayStatus.DRIFTED,
    DayStatus.IN_PROGRESS,
    DayStatus.NOT_SETTLED,
    DayStatus.WAIVED,
    DayStatus.COMPLETE,
)
_NEEDS_REPAIR = (DayStatus.UNVERIFIED, DayStatus.BLOCKED, DayStatus.DRIFTED)
_STYLES = {
    DayStatus.UNVERIFIED: "red",
    DayStatus.BLOCKED: "red",
    DayStatus.DRIFTED: "red",
    DayStatus.WAIVED: "yellow",
    DayStatus.COMPLETE: "green",
}


@dataclass(frozen=True)
class StatusReport:
    """The status of one pipeline, with what `status` adds to it: lateness, changes of source and target, estimate."""

    config: PipelineConfig
    status: PipelineStatus
    too_far_behind: bool
    changes: list[str]
    renamed: Renamed | None
    eta: Eta | None = None  # None where the ledger entries for it could not be read

    @property
    def refused(self) -> str | None:
        """Return why no run loads; the committed windows are then not those of the file's source and target."""
        if self.renamed is not None:
            return self.renamed.sentence
        return f"no run loads: {', '.join(self.changes)}" if self.changes else None


def print_one(report: StatusReport, reference_time: datetime, screen: Screen) -> None:
    """Print the days of one pipeline."""
    config, status = report.config, report.status
    zone = config.timezone
    screen.print_line(
        f"{config.pipeline_id} at {local_text(reference_time, zone)}: {_behind_text(report)}", "bold"
    )
    if status.too_old:
        screen.print_line(too_old_message(report), "red")
    for lease in status.leases:
        screen.print_line(
            f"held: {ranges_text([lease.interval], zone)} of {local_text(lease.interval.start, zone)[:10]} by "
            f"{lease.holder} since {local_second_text(lease.since, zone)}, "
            f"until {local_second_text(lease.until, zone)}",
            "yellow",
        )
    if report.refused is None:
        screen.print_line(f"next: {status.plan.detail}")
        if report.eta is not None and (status.behind_seconds or report.eta.at is not None):
            screen.print_line(f"caught up: {_eta_text(report.eta, zone)}")
    if not status.days:
        return
    rows = [
        (
            day.day.isoformat(),
            length_text(day.whole.seconds),
            f"{day.report.percent:.1f}%",
            _rows_text(day),
            day.report.status.value,
            ranges_text(day.report.gaps, zone) or "-",
            day.report.reason,
        )
        for day in status.days
    ]
    screen.print_table(
        ("day", "length", "covered", "rows", "status", "missing", "reason"),
        rows,
        right=("length", "covered", "rows"),
        styles=[_STYLES.get(day.report.status) for day in status.days],
    )
    if any(day.report.status in _NEEDS_REPAIR for day in status.days):
        screen.print_line(f"to repair: {shown(doctor(name_of(config.pipeline_id)))}")
    for day in status.days:
        for piece, reason in day.report.given_up:
            screen.print_line(f"waived: {local_window(piece, zone)}: {reason or 'no reason given'}", "yellow")
    for sentence in sentences(status.facts):
        screen.print_line(f"source: {sentence}", "yellow")


def print_all(reports: list[StatusReport], screen: Screen) -> None:
    """Print a line for each pipeline."""
    rows, styles = [], []
    for one in reports:
        worst = _worst(one.status)
        days = one.status.days
        total = sum(day.whole.seconds for day in days)
        covered = sum(day.report.committed_seconds for day in days)
        rows.append(
            (
                one.config.pipeline_id,
                one.status.target_day.isoformat(),
                str(len(days)),
                f"{covered * 1000 // total / 10 if total else 0:.1f}%",
                length_text(one.status.behind_seconds),
                _short_eta(one),
                _status_text(one, worst),
                _reason_text(one, worst),
            )
        )
        late = one.too_far_behind or one.status.too_old or one.refused
        styles.append("red" if late else _STYLES.get(worst.report.status) if worst else None)
    columns = ("pipeline", "target day", "days", "covered", "behind", "caught up", "status", "reason")
    if rows:
        screen.print_table(columns, rows, right=("days", "covered", "behind"), styles=styles)
    for one in reports:
        for sentence in sentences(one.status.facts):
            screen.print_line(f"source of {one.config.pipeline_id}: {sentence}", "yellow")


def _status_text(one: StatusReport, worst: Day | None) -> str:
    if one.renamed is not None:
        return "renamed"
    return "changed" if one.changes else worst.report.status.value if worst else "-"


def _reason_text(one: StatusReport, worst: Day | None) -> str:
    reason = f"{worst.day}: {worst.report.reason}" if worst else "no day between start_day and end_day yet"
    if one.refused is not None:
        return one.refused
    old = days_of(one.config.rules, one.status.too_old)
    return f"{counted(len(old), 'day')} too_old (to {old[-1]}); {reason}" if old else reason


def _worst(status: PipelineStatus) -> Day | None:
    return min(status.days, key=lambda day: (_WORST_FIRST.index(day.report.status), day.day), default=None)


def _behind_text(report: StatusReport) -> str:
    status, zone = report.status, report.config.timezone
    if report.refused is not None:
        return report.refused
    if status.continuation is None:
        return "no day is planned"
    if status.ready_until is None:
        return "no window is ready yet"
    ready = local_time(status.ready_until, zone)
    if not status.behind_seconds and status.too_old:
        return f"not complete: the days that runs plan are committed (up to {ready}), older days are not"
    if not status.behind_seconds:
        return f"up to date, all that is ready is committed (up to {ready})"
    behind, gap = length_text(status.behind_seconds), local_time(status.continuation, zone)
    return f"{behind} behind: the oldest gap begins at {gap}, windows are ready up to {ready}"


def _short_eta(one: StatusReport) -> str:
    """Return when the backlog will be caught up; `status PIPELINE` also shows how that was estimated."""
    if one.refused is not None or not one.status.behind_seconds or one.eta is None:
        return "-"
    if one.eta.at is None:
        return re.split("[:,;]", one.eta.detail)[0]
    return local_time(one.eta.at.replace(second=0, microsecond=0), one.config.timezone)


def _eta_text(eta: Eta, zone: str) -> str:
    if eta.at is None:
        return eta.detail
    return f"about {local_time(eta.at.replace(second=0, microsecond=0), zone)}, {eta.detail}"


def too_old_message(report: StatusReport) -> str:
    """Return the message about days that are too old for any run."""
    return too_old_text(report.config.rules, report.status.too_old)


def _rows_text(day: Day) -> str:
    return "?" if day.report.rows is None else f"{day.report.rows:,}"
