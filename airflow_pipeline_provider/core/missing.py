"""Find what is missing of a pipeline's days, and why: the one computation behind `status`, `gaps` and `doctor`.

`find_missing` needs only what planning needs; `explain` adds what the ledger's entries record of each piece.  Both
are pure, and readiness is judged by the windows that the planner would cut (`readiness.ready_end`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import Enum
from itertools import pairwise
from typing import Protocol

from airflow_pipeline_provider.core.days import days_in
from airflow_pipeline_provider.core.intervals import Interval, common, gaps, intersect, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind, failures_in
from airflow_pipeline_provider.core.readiness import (
    PlanRules,
    first_window,
    horizon,
    next_from,
    ready_at,
    ready_end,
    too_old_days,
)
from airflow_pipeline_provider.core.wording import counted, local_time


class Why(str, Enum):
    """Why a piece is neither committed nor waived."""

    READY = "ready"  # a run could move it; `explain` replaces this by one of the next three, `split_next` restores it
    FAILED = "failed"
    UNFINISHED = "unfinished"
    NEVER_RUN = "never_run"
    BLOCKED = "blocked"
    LEASED = "leased"
    NOT_SETTLED = "not_settled"
    TOO_OLD = "too_old"  # before the days that any run looks at


WAITING = (Why.LEASED, Why.NOT_SETTLED)
"""Reasons that resolve themselves; all others need a run or a review."""


@dataclass(frozen=True)
class Missing:
    """A stretch that is missing for one reason; `detail` is a sentence without a full stop.

    `failures` counts the failed attempts there, `error` is the class name of the last one's error.
    """

    interval: Interval
    why: Why
    detail: str = ""
    failures: int = 0
    error: str | None = None

    @property
    def ready(self) -> bool:
        """Return False for what waits for its time, or for the run that works on it."""
        return self.why not in WAITING


class LeaseInfo(Protocol):
    """The attributes of a lease that are used here."""

    @property
    def interval(self) -> Interval:
        """Return the interval that is leased."""

    @property
    def holder(self) -> str:
        """Return the run that holds the lease, as messages name it."""

    @property
    def since(self) -> datetime:
        """Return when the lease was taken."""


def find_missing(
    rules: PlanRules,
    at: datetime,
    done: Iterable[Interval],
    *,
    first_day: date | None = None,
    blocked: Iterable[Interval] = (),
    leases: Iterable[LeaseInfo] = (),
) -> list[Missing]:
    """Return every piece between the first day and the end of the target day that is not `done`, in order.

    `done` is what was committed or waived since the first day, `blocked` what planning passes over.
    """
    done = list(done)
    found = [
        Missing(
            piece, Why.TOO_OLD, f"runs look back {counted(rules.max_backlog_days, 'day')} (max_backlog_days)"
        )
        for piece in too_old(rules, at, done, first_day)
    ]
    span = horizon(rules, at, first_day)
    free = gaps(span, done) if span is not None else []
    for lease in leases:
        text = (
            f"{lease.holder} works on it since {local_time(lease.since.replace(microsecond=0), rules.zone)}"
        )
        found += [Missing(piece, Why.LEASED, text) for piece in common([lease.interval], free)]
        free = subtract(free, [lease.interval])
    stuck = common(blocked, free)
    found += [Missing(piece, Why.BLOCKED) for piece in stuck]
    for piece in subtract(free, stuck):
        end = ready_end(rules, piece, at)
        if end > piece.start:
            found.append(Missing(Interval(piece.start, end), Why.READY))
        for _, rest in days_in(Interval(end, piece.end), rules.timezone):
            ready = local_time(ready_at(rules, first_window(rules, rest)), rules.zone)
            found.append(Missing(rest, Why.NOT_SETTLED, f"its first window is ready at {ready}"))
    return sorted(found, key=lambda one: one.interval)


def too_old(
    rules: PlanRules, at: datetime, done: Iterable[Interval], first_day: date | None = None
) -> list[Interval]:
    """Return what is missing in the days that `max_backlog_days` leaves out, from the first day on."""
    span = too_old_days(rules, at, first_day)
    return gaps(span, done) if span is not None else []


def too_old_text(rules: PlanRules, pieces: Sequence[Interval]) -> str:
    """Return the sentence about these pieces, without a full stop: how many days, which, and what to do."""
    days = days_of(rules, pieces)
    return too_old_sentence(len(days), days[0], days[-1])


def too_old_sentence(number: int, first: date, last: date) -> str:
    """Return the sentence about this number of days from the first to the last."""
    span = f"{first}" if number == 1 else f"{first} to {last}"
    verb = "is" if number == 1 else "are"
    return (
        f"too_old: {counted(number, 'day')} ({span}) {verb} missing and never caught up: raise max_backlog_days, "
        "or move or waive them by hand"
    )


def days_of(rules: PlanRules, pieces: Iterable[Interval]) -> list[date]:
    """Return the local days that the pieces touch, in order."""
    return sorted({day for piece in pieces for day, _ in days_in(piece, rules.timezone)})


def explain(missing: Iterable[Missing], entries: Iterable[Entry]) -> list[Missing]:
    """Return the pieces with what the ledger records of them, cut where that changes.

    A window that failed is a piece of its own: its neighbours were never run, or failed with another error.
    """
    written = [e for e in entries if e.kind in (Kind.FAILED, Kind.ATTEMPT, Kind.REPLACING)]
    explained: list[Missing] = []
    for one in missing:
        about = [entry for entry in written if entry.interval.overlaps(one.interval)]
        if one.why not in (Why.READY, Why.BLOCKED):
            failures, last = failures_in(about, one.interval)
            explained.append(replace(one, failures=failures, error=error_of(last) if last else None))
            continue
        explained += _joined(_explained(one, piece, about) for piece in _cut(one.interval, about))
    return explained


def split_next(rules: PlanRules, missing: Iterable[Missing], at: datetime) -> list[Missing]:
    """Return the explained pieces; those that no run has begun are cut where their windows are just ready."""
    found: list[Missing] = []
    for one in missing:
        start, end = one.interval.start, one.interval.end
        begin = next_from(rules, one.interval, at) if one.why is Why.NEVER_RUN else end
        if begin > start:
            found.append(replace(one, interval=Interval(start, begin)))
        if begin < end:
            rest = Interval(begin, end)
            since = local_time(ready_at(rules, first_window(rules, rest)), rules.zone)
            found.append(Missing(rest, Why.READY, f"ready since {since}"))
    return found


def _cut(piece: Interval, entries: Iterable[Entry]) -> list[Interval]:
    bounds = {bound for e in entries for bound in (e.interval.start, e.interval.end)}
    inside = sorted({piece.start, piece.end, *(b for b in bounds if piece.start < b < piece.end)})
    return [Interval(start, end) for start, end in pairwise(inside)]


def _explained(one: Missing, piece: Interval, entries: Sequence[Entry]) -> Missing:
    failures, last = failures_in(entries, piece)
    if last is not None:
        why = Why.BLOCKED if one.why is Why.BLOCKED else Why.FAILED
        return Missing(piece, why, failure_text(last), failures, error_of(last))
    if one.why is Why.BLOCKED:  # the entries with the reason were not read, or are gone
        return replace(one, interval=piece, detail="it failed too often on its data")
    begun = [e for e in entries if e.interval.overlaps(piece)]
    if begun:
        return Missing(piece, Why.UNFINISHED, f"{begun[-1].run or 'a run'} began it and did not finish")
    return Missing(piece, Why.NEVER_RUN, "no run has begun it")


def _joined(pieces: Iterable[Missing]) -> list[Missing]:
    """Join neighbours with the same reason, detail and error."""
    joined: list[Missing] = []
    for piece in pieces:
        if joined and replace(joined[-1], interval=piece.interval) == piece:
            joined[-1] = replace(piece, interval=Interval(joined[-1].interval.start, piece.interval.end))
        else:
            joined.append(piece)
    return joined


def failure_text(entry: Entry) -> str:
    """Return `DataError in audit: counts differ` for a failed entry."""
    detail = entry.detail
    return f"{error_of(entry)} in {detail.get('phase', 'a phase')}: {detail.get('message', 'no message')}"


def error_of(entry: Entry) -> str:
    """Return the class name of a failed entry's error."""
    return str(entry.detail.get("error", "error"))


def within(missing: Iterable[Missing], span: Interval) -> list[Missing]:
    """Return the parts of the pieces that lie in the span."""
    return [replace(one, interval=part) for one in missing if (part := intersect(one.interval, span))]
