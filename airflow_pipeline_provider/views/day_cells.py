"""Days as cells of a strip or of a year: one word each, with the counts of their commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from msgspec import Struct

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.day_status import DayStatus
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.views.pipeline_status import Day, PipelineStatus, split
from airflow_pipeline_provider.views.window_states import Planned, WindowState, judge_all

TO_REVIEW = (
    WindowState.UNVERIFIED,
    WindowState.BLOCKED,
    WindowState.DRIFTED,
    WindowState.FAILED,
    WindowState.MISSING,
)
"""States of days that do not resolve themselves."""

WORST_FIRST = (
    *TO_REVIEW,
    WindowState.TOO_OLD,
    WindowState.RUNNING,
    WindowState.READY,
    WindowState.NOT_SETTLED,
    WindowState.WAIVED,
    WindowState.REPLACED,
    WindowState.COMPLETE,
)
"""States in the order in which they need attention."""

_WORDS = {
    DayStatus.COMPLETE: WindowState.COMPLETE,
    DayStatus.WAIVED: WindowState.WAIVED,
    DayStatus.BLOCKED: WindowState.BLOCKED,
    DayStatus.UNVERIFIED: WindowState.UNVERIFIED,
    DayStatus.DRIFTED: WindowState.DRIFTED,
}


class DayCell(Struct, frozen=True):
    """One day; `hours` is its length, `reason` a sentence without a full stop."""

    day: date
    state: WindowState
    hours: float
    reason: str


class CountedDay(Struct, frozen=True):
    """One day with its counts; each is null where a part of a commit was replaced, so that only the target knows it.

    `source` is what the newest count of the source found, `staged` what was loaded, `distinct` the record ids. The
    sums may be equal although windows differ: `equal` is true where the four agree in each window, null if unknown.
    """

    day: date
    state: WindowState
    hours: float
    reason: str
    rows: int | None
    source: int | None
    staged: int | None
    target: int | None
    distinct: int | None
    equal: bool | None


class CommitCounts(Struct, frozen=True):
    """What the newest counts found: of the source, loaded, in the target, and of record ids."""

    source: int | None = None
    staged: int | None = None
    target: int | None = None
    distinct: int | None = None


def day_cells(status: PipelineStatus, entries: Sequence[Entry], planned: Planned) -> list[DayCell]:
    """Return the cells of the status's days; `entries` are those that overlap them."""
    written = split(entries, [day.whole for day in status.days], key=lambda entry: entry.interval)
    return [
        DayCell(
            day.day,
            word_of_day(day, of_day, planned, status.leases),
            round(day.whole.seconds / 3600, 4),
            day.report.reason,
        )
        for day, of_day in zip(status.days, written, strict=True)
    ]


def counted_days(
    status: PipelineStatus, cells: Sequence[DayCell], entries: Sequence[Entry]
) -> list[CountedDay]:
    """Return the cells with their counts."""
    written = split(entries, [day.whole for day in status.days], key=lambda entry: entry.interval)
    days = []
    for cell, day, of_day in zip(cells, status.days, written, strict=True):
        counts = counts_in(of_day, day.whole)
        days.append(
            CountedDay(
                cell.day,
                cell.state,
                cell.hours,
                cell.reason,
                day.report.rows,
                counts.source,
                counts.staged,
                counts.target,
                counts.distinct,
                counts_agree(of_day, day.whole),
            )
        )
    return days


def word_of_day(day: Day, entries: Sequence[Entry], planned: Planned, leases: Sequence[Lease]) -> WindowState:
    """Return the state of the day; where time is missing, the worst of its windows."""
    if day.report.status in _WORDS:
        return _WORDS[day.report.status]
    plan = day_plan(planned.rules, day.day)
    held = [lease for lease in leases if lease.interval.overlaps(day.whole)]
    if not entries and not held:
        plan = plan[:1]  # its windows become ready in order: the first waits for the longest
    states = {row.state for row in judge_all(planned, plan, entries, held)}
    return next((state for state in WORST_FIRST if state in states), WindowState.NOT_SETTLED)


def counts_in(entries: Sequence[Entry], interval: Interval) -> CommitCounts:
    """Return the sums over the commits inside, None where one of them is not known whole."""
    found = _counts_of_commits(entries, interval)
    return CommitCounts(*(_sum(column) for column in zip(*found, strict=True))) if found else CommitCounts()


def counts_agree(entries: Sequence[Entry], interval: Interval) -> bool | None:
    """Return whether the four counts of each commit inside are equal; None where none differ and one is not known."""
    if any(piece.overlaps(interval) for piece, _ in ledger.drifted(entries)):
        return False
    found = _counts_of_commits(entries, interval)
    if any(len({count for count in counts if count is not None}) > 1 for counts in found):
        return False
    known = found and all(count is not None for counts in found for count in counts)
    return True if known else None


def _counts_of_commits(entries: Sequence[Entry], interval: Interval) -> list[tuple[int | None, ...]]:
    """Return source, staged, target and distinct of each commit inside; nothing if one of them is not whole."""
    effective = [found for found in ledger.effective(entries) if found[0].overlaps(interval)]
    if not all(piece == entry.interval and interval.covers(piece) for piece, entry, _ in effective):
        return []
    checks = dict(ledger.drifted(entries))
    found = []
    for piece, commit, _ in effective:
        newest = checks.get(piece, commit).detail
        counts = (newest.get("source"), commit.rows, newest.get("target"), commit.detail.get("distinct"))
        found.append(tuple(count if isinstance(count, int) else None for count in counts))
    return found


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
