"""Preview moving windows again: the state of each window now, its rows, and what will happen to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_of, days_in
from airflow_pipeline_provider.core.intervals import Interval, common, gaps, intersect
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.planning import day_plan, plan_window
from airflow_pipeline_provider.core.windows import window_id_of
from airflow_pipeline_provider.phases.adopt import committed_windows
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.base import Lease, State
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.times import LocalInterval, local_fields

Covered = Literal["committed", "partly", "waived", "unverified", "missing"]
Action = Literal["replace", "load", "leave_out"]


class PreviewedWindow(LocalInterval, frozen=True):
    """A window and what moving it would do.

    `rows` are those that are committed now, null where the ledger has no exact count. `detail` is why the window is
    left out, or which run holds it.
    """

    window_id: str
    now: Covered
    rows: int | None
    action: Action
    detail: str


def preview_span(config: Described, state: State, at: datetime, span: Interval) -> list[PreviewedWindow]:
    """Preview each window of the day plans, cut to the span, in order."""
    leases, found = state.leases(), []
    for day, part in days_in(span, config.timezone):
        entries = state.entries(part)
        pieces = (intersect(window, part) for window in day_plan(config.rules, day))
        found += [preview_window(config, piece, at, entries, leases) for piece in pieces if piece is not None]
    return found


def preview_committed(runtime: Runtime) -> list[PreviewedWindow]:
    """Preview each committed window, in order."""
    config, at = runtime.config, runtime.now()
    leases = runtime.state.leases()
    by_day: dict[date, list[Entry]] = {}
    for entry in runtime.state.entries():
        for day, _ in days_in(entry.interval, config.timezone):
            by_day.setdefault(day, []).append(entry)
    return [
        preview_window(config, window, at, by_day[day_of(window.start, config.timezone)], leases)
        for window in committed_windows(runtime)
    ]


def preview_window(
    config: Described, piece: Interval, at: datetime, entries: list[Entry], leases: Sequence[Lease]
) -> PreviewedWindow:
    """Preview one window, inside of one local day, from the entries that overlap it."""
    planned = plan_window(config.rules, piece, at, cut=False)
    action: Action
    if planned.reason is not None:
        action, detail = "leave_out", f"{planned.reason.value}: {planned.detail}"
    else:
        action = "replace" if common([piece], ledger.committed(entries)) else "load"
        holders = [lease.holder for lease in leases if lease.interval.overlaps(piece)]
        detail = f"held by {holders[0]} now: waits for its lease" if holders else ""
    now, rows = coverage_of(entries, piece)
    return PreviewedWindow(
        **local_fields(piece, config.timezone),
        window_id=window_id_of(config.pipeline_id, piece),
        now=now,
        rows=rows,
        action=action,
        detail=detail,
    )


def coverage_of(entries: list[Entry], piece: Interval) -> tuple[Covered, int | None]:
    """Return how the interval is covered now, and its rows if the ledger has the exact count."""
    committed = ledger.committed(entries)
    rows, exact = ledger.rows_inside(entries, piece)
    if common([piece], ledger.unverified(entries)):
        return "unverified", None
    if not gaps(piece, committed):
        return "committed", rows if exact else None
    if common([piece], committed):
        return "partly", None
    return ("waived" if common([piece], ledger.waived(entries)) else "missing"), None
