"""Report the status of pipelines: which days are complete, what is missing and why, and when it is caught up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from msgspec import Struct

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.day_status import DayStatus
from airflow_pipeline_provider.core.drift import changes_in
from airflow_pipeline_provider.core.eta import Eta
from airflow_pipeline_provider.core.intervals import Interval, merge
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.planning import Plan, Reason
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.expectations import judge, question
from airflow_pipeline_provider.phases.identity import change_sentence, declared, differences
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.state.about import RenameNotice, find_rename
from airflow_pipeline_provider.views.bulk_read import read_entries, read_states, relaxed_gc
from airflow_pipeline_provider.views.files_removed import FilesRemoved, files_removed
from airflow_pipeline_provider.views.misses import Unexpected, unexpected
from airflow_pipeline_provider.views.pipeline_status import (
    Day,
    Readable,
    TooOldDays,
    eta_from,
    eta_spans,
    find_eta,
    read_status,
    too_old_days,
)
from airflow_pipeline_provider.views.times import Bounds, HeldLease, bounds, lease_row, length_text, local_iso

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
    source whose newest row is in no planned day; the type of BODY (`connectors.base.Body`). `schema_changes` are the
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


class StatusQuery(NamedTuple):
    """What to report: `days` up to the target day; `limit_seconds` is how far behind a pipeline may be."""

    reference_time: datetime
    days: int
    limit_seconds: int | None = None


class Reading(NamedTuple):
    """The status of a pipeline, and a sentence for each problem for which `status` returns 1."""

    report: StatusReport
    problems: list[str]


def read_pipeline(config: PipelineConfig, query: StatusQuery) -> Reading:
    """Open the state of one pipeline and report its status."""
    with open_runtime(config) as runtime:
        try:
            return read_status_of(config, runtime.state, query)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, state")
            raise


def read_status_of(config: PipelineConfig, state: Readable, query: StatusQuery) -> Reading:
    """Report the status of one pipeline, whose state is open."""
    found = _Read(config, state, query)
    eta = find_eta(config, state, found.status, query.reference_time)
    return found.reading(eta, state.entries_in(found.judged_spans))


def read_pipelines(
    configs: Iterable[PipelineConfig], query: StatusQuery
) -> tuple[dict[str, Reading], dict[str, PipelineError]]:
    """Report many pipelines, with a few queries for each SQL database that they share; return errors by pipeline."""
    with relaxed_gc():
        found = {config.pipeline_id: config for config in configs}
        states = read_states(found.values(), query.reference_time, query.days)
        read: dict[str, _Read] = {}
        single: dict[str, Reading] = {}
        errors: dict[str, PipelineError] = {}
        for pipeline_id, config in found.items():
            try:
                if pipeline_id in states:
                    read[pipeline_id] = _Read(config, states[pipeline_id], query)
                else:
                    single[pipeline_id] = read_pipeline(config, query)
            except PipelineError as error:  # the other pipelines are still reported
                errors[pipeline_id] = error
        together = _add_estimates(read, query.reference_time)
        return {name: single.get(name) or together[name] for name in found if name not in errors}, errors


def _add_estimates(read: Mapping[str, _Read], at: datetime) -> dict[str, Reading]:
    """Return the reports of pipelines that were read together, with one query for all estimates and expectations."""
    timed = {name: eta_spans(one.config, one.status, at) for name, one in read.items()}
    spans = {name: merge([*timed[name], *one.judged_spans]) for name, one in read.items()}
    entries: dict[str, list[Entry]] = {name: [] for name, listed in spans.items() if not listed}
    entries |= read_entries((read[name].config, listed) for name, listed in spans.items() if listed)

    def reading(name: str, one: _Read) -> Reading:
        if name not in entries:
            return one.reading(None, None)
        if not one.judged_spans:
            return one.reading(eta_from(one.config, entries[name], one.status, at), [])
        eta = eta_from(one.config, _inside(timed[name], entries[name]), one.status, at)
        return one.reading(eta, _inside(one.judged_spans, entries[name]))

    return {name: reading(name, one) for name, one in read.items()}


def _inside(spans: Sequence[Interval], entries: list[Entry]) -> list[Entry]:
    """Return the entries that overlap one of the spans, as a query for these alone does."""
    return [entry for entry in entries if any(entry.interval.overlaps(span) for span in spans)]


class _Read:
    """What was read of one pipeline, to which an estimate may be added."""

    def __init__(self, config: PipelineConfig, state: Readable, query: StatusQuery) -> None:
        self.config, self.query = config, query
        self.status = read_status(config, state, query.reference_time, query.days)
        about = state.about()
        self.changes = differences(about, declared(config))
        self.renamed = find_rename(config.pipeline_id, about)
        self.asked = question(config, query.reference_time, query.days, self.status.first_day)
        self.judged_spans = self.asked.spans(config)

    def reading(self, eta: Eta | None, entries: Sequence[Entry] | None) -> Reading:
        """Return the report with the estimate; `entries` are those of `judged_spans`, None if they were not read."""
        config, status, limit = self.config, self.status, self.query.limit_seconds
        too_old = too_old_days(config.rules, status.too_old)
        late = limit is not None and (status.behind_seconds > limit or too_old is not None)
        report = StatusReport(
            pipeline_id=config.pipeline_id,
            timezone=config.timezone,
            reference_time=self.query.reference_time,
            target_day=status.target_day,
            continuation=status.continuation,
            ready_until=status.ready_until,
            behind_seconds=status.behind_seconds,
            behind=length_text(status.behind_seconds),
            too_far_behind=late,
            too_old=too_old,
            eta=None if eta is None else _caught_up(eta),
            next=_next_window(status.plan),
            leases=tuple(lease_row(lease) for lease in status.leases),
            untimed=status.facts.get("untimed"),
            elsewhere=status.facts.get("elsewhere"),
            body=status.facts.get("body"),
            schema_changes=tuple(changes_in(status.facts).sentences()),
            unexpected=self._unexpected(entries),
            files_removed=files_removed((e for day in status.days for e in day.entries), config.timezone),
            days=tuple(_day_row(day, config.timezone) for day in status.days),
            changes=tuple(self.changes),
            renamed=self.renamed.sentence if self.renamed else None,
        )
        return Reading(report, _problems(report, self.renamed, limit))

    def _unexpected(self, entries: Sequence[Entry] | None) -> Unexpected | None:
        if self.config.expect is None or entries is None:
            return None
        done, at = self.status.covered.done, self.query.reference_time
        return unexpected(judge(self.config, self.asked, entries, done, at), self.config.timezone)


def _problems(report: StatusReport, renamed: RenameNotice | None, limit: int | None) -> list[str]:
    name, found = f"pipeline {report.pipeline_id}", []
    if renamed is not None:
        found.append(f"{renamed.sentence}. {renamed.remedy}")
    if report.changes:
        found.append(f"{name}: {change_sentence(list(report.changes))}")
    if report.too_far_behind and report.too_old is not None:
        found.append(f"{name}: {report.too_old.sentence}")
    if report.too_far_behind and report.behind_seconds > (limit or 0):
        since = local_time(report.continuation or report.reference_time, report.timezone)
        found.append(
            f"{name} is {report.behind} behind, more than {length_text(limit or 0)}: its oldest gap starts at {since}"
        )
    return found


def _caught_up(eta: Eta) -> CaughtUp:
    return CaughtUp(
        at=eta.at.replace(microsecond=0) if eta.at else None,
        seconds=None if eta.seconds is None else round(eta.seconds),
        detail=eta.detail,
        windows=eta.pace.windows if eta.pace else 0,
        seconds_per_hour=round(eta.pace.ratio * 3600, 3) if eta.pace else None,
    )


def _next_window(plan: Plan) -> NextWindow:
    return NextWindow(plan.interval, plan.reason, plan.detail)


def _day_row(day: Day, zone: str) -> DayRow:
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
