"""Judge each window of the day plan: one state, the reason for it, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import Enum
from typing import Literal, NamedTuple, Protocol

from airflow_pipeline_provider.core.intervals import Interval, common, gaps, split
from airflow_pipeline_provider.core.ledger import (
    Check,
    Entry,
    Kind,
    blocked,
    committed,
    drifted,
    effective,
    failures_in,
    rows_inside,
    unverified,
    waived,
)
from airflow_pipeline_provider.core.missing import failure_text
from airflow_pipeline_provider.core.readiness import PlanRules, horizon, is_next, ready_at, too_old_days
from airflow_pipeline_provider.core.wording import counted, local_time
from airflow_pipeline_provider.phases.accept_shrink import rows_that_go
from airflow_pipeline_provider.state.base import Lease


class WindowState(str, Enum):
    """State of a window: the first that applies of what is at work, in doubt, failed, drifted, covered, missing."""

    RUNNING = "running"
    UNVERIFIED = "unverified"  # a replacement was begun and never committed
    BLOCKED = "blocked"
    FAILED = "failed"
    DRIFTED = "drifted"  # committed, and source and target differ since
    COMPLETE = "complete"
    REPLACED = "replaced"  # complete, and committed more than once
    WAIVED = "waived"
    TOO_OLD = "too_old"  # missing, in a day that no run plans
    NOT_SETTLED = "not_settled"
    READY = "ready"  # for less than its own length
    MISSING = "missing"


class WindowRow(NamedTuple):
    """A window and its state; None for one that is before the first or after the last day.

    `reason` is a sentence without a full stop. `rows` are those committed, None where the ledger has no exact count.
    `replaced` counts the commits that newer ones replaced, `failures` the failures since the last commit or waiver.
    `goes` is how many rows of a shrunk window a load would delete, as the last recheck counted.
    """

    interval: Interval
    state: WindowState | None
    reason: str
    rows: int | None = None
    replaced: int = 0
    failures: int = 0
    drift: Literal["grew", "changed", "shrank"] | None = None
    goes: int | None = None


class LedgerReader(Protocol):
    """The methods of a state that are called here."""

    def first_day(self, day: date | None) -> date | None:
        """Return the first day that was ever planned."""

    def entries(self, within: Interval) -> list[Entry]:
        """Return the ledger entries that overlap the interval, in the order of writing."""

    def leases(self) -> list[Lease]:
        """Return the leases that are held."""


class Planned(NamedTuple):
    """The days that runs plan at an instant."""

    rules: PlanRules
    at: datetime
    max_attempts: int
    span: Interval | None
    too_old: Interval | None


def planned_at(rules: PlanRules, at: datetime, max_attempts: int, first_day: date | None) -> Planned:
    """Return what `judge` needs to know of the pipeline."""
    return Planned(rules, at, max_attempts, horizon(rules, at, first_day), too_old_days(rules, at, first_day))


def read_windows(
    rules: PlanRules, state: LedgerReader, at: datetime, windows: Sequence[Interval], *, max_attempts: int
) -> list[WindowRow]:
    """Return the rows of these windows, which are disjoint and in order; the ledger is read once."""
    if not windows:
        return []
    first_day = state.first_day(None) if rules.start_day is None else None
    whole = Interval(windows[0].start, windows[-1].end)
    planned = planned_at(rules, at, max_attempts, first_day)
    return judge_all(planned, windows, state.entries(whole), state.leases())


def judge_all(
    planned: Planned, windows: Sequence[Interval], entries: Sequence[Entry], leases: Sequence[Lease]
) -> list[WindowRow]:
    """Return a row for each of the windows, which are disjoint and in order."""
    pairs = zip(windows, split(entries, windows), strict=True)
    return [judge(planned, window, written, leases) for window, written in pairs]


def judge(planned: Planned, window: Interval, entries: list[Entry], leases: Sequence[Lease]) -> WindowRow:
    """Return the window's row, from the entries that overlap it."""
    rows, exact = rows_inside(entries, window)
    since = _after_the_last_commit(entries, window)
    failures, last = failures_in(since, window)
    row = WindowRow(
        window, None, "", rows if exact else None, replaced=_replaced(entries, window), failures=failures
    )
    for lease in leases:
        if lease.interval.overlaps(window):
            held = local_time(lease.since.replace(microsecond=0), planned.rules.timezone)
            reason = f"{lease.holder} works on it since {held}"
            return row._replace(state=WindowState.RUNNING, reason=reason)
    if common([window], unverified(entries)):
        reason = "a replacement was begun and never committed: move it again"
        return row._replace(state=WindowState.UNVERIFIED, reason=reason, rows=None)
    missing = gaps(window, [*committed(entries), *waived(entries)])
    if missing and last is not None:
        is_blocked = bool(common(blocked(entries, planned.max_attempts), missing))
        text = f"failed {counted(failures, 'time')}: {failure_text(last)}"
        return row._replace(state=WindowState.BLOCKED if is_blocked else WindowState.FAILED, reason=text)
    drift = [(piece, check) for piece, check in drifted(entries) if piece.overlaps(window)]
    if drift:
        return _drifted(row, entries, drift)
    return _missing(planned, row, since) if missing else _covered(row, entries)


def _after_the_last_commit(entries: list[Entry], window: Interval) -> list[Entry]:
    done = [
        number
        for number, entry in enumerate(entries)
        if entry.kind in (Kind.COMMITTED, Kind.WAIVED) and entry.interval.overlaps(window)
    ]
    return entries[done[-1] + 1 :] if done else entries


def _replaced(entries: list[Entry], window: Interval) -> int:
    commits = {e.token for e in entries if e.kind is Kind.COMMITTED and e.interval.overlaps(window)}
    ruling = {entry.token for piece, entry, _ in effective(entries) if piece.overlaps(window)}
    return len(commits - ruling)


def _drifted(row: WindowRow, entries: list[Entry], drift: list[tuple[Interval, Entry]]) -> WindowRow:
    shrunk = [found for found in drift if found[1].detail.get("verdict") == Check.SHRANK.value]
    _, check = (shrunk or drift)[0]
    counts = (
        f"{counted(check.detail['source'], 'row')} in the source, {check.detail['target']:,} in the target"
    )
    what: Literal["grew", "changed", "shrank"] = "shrank" if shrunk else "grew"
    if not shrunk and check.detail.get("verdict") == Check.CHANGED.value:
        what, counts = "changed", f"{counts}, {counted(check.detail['changed'], 'row')} written since"
    where = "" if row.interval.covers(check.interval) else f", counted over {check.interval}"
    more = f", and {len(drift) - 1} more" if len(drift) > 1 else ""
    goes = rows_that_go(entries, row.interval) if shrunk else None
    reason = f"it {what} since: {counts}{where}{more}"
    return row._replace(state=WindowState.DRIFTED, reason=reason, drift=what, goes=goes)


def _covered(row: WindowRow, entries: list[Entry]) -> WindowRow:
    if gaps(row.interval, committed(entries)):
        said = [e.detail for e in entries if e.kind is Kind.WAIVED and e.interval.overlaps(row.interval)][-1]
        by = f", by {said['by']}" if said.get("by") else ""
        return row._replace(state=WindowState.WAIVED, reason=f"{said.get('reason') or 'no reason given'}{by}")
    if row.replaced:
        return row._replace(
            state=WindowState.REPLACED, reason=f"committed, and replaced {counted(row.replaced, 'time')}"
        )
    return row._replace(state=WindowState.COMPLETE, reason="committed")


def _missing(planned: Planned, row: WindowRow, since: list[Entry]) -> WindowRow:
    rules, window = planned.rules, row.interval
    if planned.too_old is not None and planned.too_old.overlaps(window):
        reason = f"runs look back {counted(rules.max_backlog_days, 'day')} (max_backlog_days)"
        return row._replace(state=WindowState.TOO_OLD, reason=reason)
    ready = ready_at(rules, window)
    if ready > planned.at:
        reason = f"it is ready at {local_time(ready, rules.timezone)}"
        return row._replace(state=WindowState.NOT_SETTLED, reason=reason)
    if planned.span is None or not planned.span.overlaps(window):
        return row._replace(reason="no run plans its day")
    begun = [e for e in since if e.kind in (Kind.ATTEMPT, Kind.REPLACING) and e.interval.overlaps(window)]
    if begun:
        reason = f"{begun[-1].run or 'a run'} began it and did not finish"
        return row._replace(state=WindowState.MISSING, reason=reason)
    if is_next(rules, window, planned.at):
        return row._replace(
            state=WindowState.READY, reason=f"ready since {local_time(ready, rules.timezone)}"
        )
    return row._replace(state=WindowState.MISSING, reason="no run has begun it")
