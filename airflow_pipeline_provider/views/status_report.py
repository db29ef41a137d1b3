"""What `status` reports of a pipeline: days, next window, and when the backlog is caught up."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import Struct

from airflow_pipeline_provider.core.day_status import DayStatus
from airflow_pipeline_provider.core.eta import Eta
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import Plan, Reason
from airflow_pipeline_provider.views.files_removed import FilesRemoved
from airflow_pipeline_provider.views.misses import Unexpected
from airflow_pipeline_provider.views.pipeline_status import Day, TooOldDays
from airflow_pipeline_provider.views.times import Bounds, HeldLease, bounds, length_text, local_iso

WORST_FIRST = (
    DayStatus.UNVERIFIED,
    DayStatus.BLOCKED,
    DayStatus.DRIFTED,
    DayStatus.IN_PROGRESS,
    DayStatus.NOT_SETTLED,
    DayStatus.WAIVED,
    DayStatus.COMPLETE,
)
"""Statuses of days, in the order in which they need attention."""


class WaivedTime(Bounds, frozen=True):
    """Time that is intentionally incomplete."""

    reason: str


class DayRow(Struct, frozen=True):
    """One day; `rows` is null where only the target knows them, `percent` is committed, rounded down."""

    day: date
    start: datetime
    end: datetime
    length: str
    length_seconds: int
    status: DayStatus
    reason: str
    percent: float
    committed_seconds: float
    rows: int | None
    missing: tuple[Bounds, ...]
    waived: tuple[WaivedTime, ...]


class NextWindow(Struct, frozen=True):
    """The window that a run would get now, or the reason why there is none."""

    window: Interval | None
    reason: Reason | None
    detail: str


class CaughtUp(Struct, frozen=True):
    """When all that is ready will be committed, at the pace of the last `windows` windows.

    `at` is null where there is no estimate; `detail` is then the reason.
    """

    at: datetime | None
    seconds: int | None
    detail: str
    windows: int
    seconds_per_hour: float | None


class StatusReport(Struct, frozen=True):
    """Status of one pipeline at the reference time.

    `continuation` is the start of the oldest gap, `ready_until` the end of what is committed or ready; `eta` is null
    if the ledger could not be read for it. `changes` are how source and target of the file differ from those of the
    previous loads; `renamed` is set when the pipeline was renamed or its rename was interrupted: then no run loads.

    `untimed`, `elsewhere` and `body` are what the last validate within `days` recorded about the source, null if
    none did: the number of rows without a usable event time; `newest`, `side` (before or after) and `rows` of a
    source whose newest row is in no planned day; the type of BODY (`connectors.base.Body`). `not_seen` is why
    updates in place are not seen in the window that was committed last, null if they are. `rewritten` is what the
    newest commit within `days` recorded about fields that were left out or redacted (`core.body_rules.Rewritten`),
    null for documents as the source returned them. `schema_changes` are the
    changes of the documents in the window that was moved last, a sentence for each kind of change. `unexpected` is
    what is not as `expect` says; null without that key, and if the ledger could not be read for it.
    """

    pipeline_id: str
    timezone: str
    reference_time: datetime
    target_day: date
    continuation: datetime | None
    ready_until: datetime | None
    behind_seconds: float
    behind: str
    too_far_behind: bool
    too_old: TooOldDays | None
    eta: CaughtUp | None
    next: NextWindow
    leases: tuple[HeldLease, ...]
    untimed: int | None
    elsewhere: dict[str, Any] | None
    body: str | None
    not_seen: str | None
    rewritten: dict[str, Any] | None
    schema_changes: tuple[str, ...]
    unexpected: Unexpected | None
    files_removed: FilesRemoved | None
    days: tuple[DayRow, ...]
    changes: tuple[str, ...]
    renamed: str | None

    @property
    def refused(self) -> str | None:
        """Return why no run loads; the committed windows are then not those of the file's source and target."""
        return self.renamed or (f"no run loads: {', '.join(self.changes)}" if self.changes else None)

    @property
    def worst(self) -> DayRow | None:
        """Return the day that needs attention first."""
        return min(self.days, key=lambda day: (WORST_FIRST.index(day.status), day.day), default=None)

    @property
    def facts(self) -> dict[str, object]:
        """Return what the last validate recorded about the source (`phases.source_facts.sentences`)."""
        facts = {"untimed": self.untimed, "elsewhere": self.elsewhere, "body": self.body}
        return {name: value for name, value in facts.items() if value is not None}


def caught_up(eta: Eta) -> CaughtUp:
    """Return the estimate as it is reported."""
    return CaughtUp(
        at=eta.at.replace(microsecond=0) if eta.at else None,
        seconds=None if eta.seconds is None else round(eta.seconds),
        detail=eta.detail,
        windows=eta.pace.windows if eta.pace else 0,
        seconds_per_hour=round(eta.pace.ratio * 3600, 3) if eta.pace else None,
    )


def next_window(plan: Plan) -> NextWindow:
    """Return the next window as it is reported."""
    return NextWindow(plan.interval, plan.reason, plan.detail)


def day_row(day: Day, zone: str) -> DayRow:
    """Return the day as it is reported, with local times."""
    report = day.report
    return DayRow(
        day=day.day,
        start=day.whole.start,
        end=day.whole.end,
        length=length_text(day.whole.seconds),
        length_seconds=int(day.whole.seconds),
        status=report.status,
        reason=report.reason,
        percent=report.percent,
        committed_seconds=report.committed_seconds,
        rows=report.rows,
        missing=tuple(bounds(gap, zone) for gap in report.gaps),
        waived=tuple(_waived(piece, reason, zone) for piece, reason in report.given_up),
    )


def _waived(piece: Interval, reason: str, zone: str) -> WaivedTime:
    return WaivedTime(
        piece.start, piece.end, local_iso(piece.start, zone), local_iso(piece.end, zone), reason
    )
