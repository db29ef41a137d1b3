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
from airflow_pipeline_provider.views.pipeline_status import Day, PipelineStatus
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


def day_cells(status: PipelineStatus, planned: Planned) -> list[DayCell]:
    """Return the cells of the status's days."""
    return [
        DayCell(
            day.day,
            word_of_day(day, planned, status.leases),
            round(day.whole.seconds / 3600, 4),
            day.report.reason,
        )
        for day in status.days
    ]


def counted_days(status: PipelineStatus, cells: Sequence[DayCell]) -> list[CountedDay]:
    """Return the cells with their counts."""
    days = []
    for cell, day in zip(cells, status.days, strict=True):
        counts, equal = compare_counts(day.entries, day.whole)
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
                equal,
            )
        )
    return days


def word_of_day(day: Day, planned: Planned, leases: Sequence[Lease]) -> WindowState:
    """Return the state of the day; where time is missing, the worst of its windows."""
    if day.report.status in _WORDS:
        return _WORDS[day.report.status]
    plan = day_plan(planned.rules, day.day)
    held = [lease for lease in leases if lease.interval.overlaps(day.whole)]
    if not day.entries and not held:
        plan = plan[:1]  # its windows become ready in order: the first waits for the longest
    states = {row.state for row in judge_all(planned, plan, day.entries, held)}
    return next((state for state in WORST_FIRST if state in states), WindowState.NOT_SETTLED)


def compare_counts(entries: Sequence[Entry], interval: Interval) -> tuple[CommitCounts, bool | None]:
    """Return the sums over the commits inside, None where one of them is not known whole, and whether they agree.

    They agree if the four counts of each commit are equal; None where none differ and one is not known.
    """
    commits = ledger.tiling(entries, interval)
    drifts = ledger.drifted(entries) if commits is None else []
    if commits is not None:
        columns = _columns(commits, commits)
    else:
        columns = _counts_of_commits(entries, interval, dict(drifts))
    sums = CommitCounts(*map(_sum, columns))
    source, staged, target, distinct = columns
    if any(piece.overlaps(interval) for piece, _ in drifts):
        return sums, False
    if source and None not in source and source == staged == target == distinct:
        return sums, True
    differ = any(len({one for one in counts if one is not None}) > 1 for counts in zip(*columns, strict=True))
    return sums, False if differ else None


def _counts_of_commits(
    entries: Sequence[Entry], interval: Interval, checks: dict[Interval, Entry]
) -> tuple[list[int | None], ...]:
    """Return source, staged, target and distinct of the commits inside, in lists; empty if one is not whole."""
    effective = [found for found in ledger.effective(entries) if found[0].overlaps(interval)]
    if not all(piece == entry.interval and interval.covers(piece) for piece, entry, _ in effective):
        return [], [], [], []
    commits = [entry for _, entry, _ in effective]
    return _columns(commits, [checks.get(piece, entry) for piece, entry, _ in effective])


def _columns(commits: Sequence[Entry], newest: Sequence[Entry]) -> tuple[list[int | None], ...]:
    """Return source, staged, target and distinct of commits, of which these are the newest counts."""
    return (
        [_number(entry.detail.get("source")) for entry in newest],
        [entry.rows for entry in commits],
        [_number(entry.detail.get("target")) for entry in newest],
        [_number(entry.detail.get("distinct")) for entry in commits],
    )


def _number(count: object) -> int | None:
    return count if isinstance(count, int) else None


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
