"""Decide about windows that shrank at the source: ask, then delete the rows in the target too, or keep them.

What is asked is a `ShrunkWindow`, the finding of a recheck.  An answer holds for exactly this finding: it is compared
with the ledger again before anything is recorded, so an answer to an old question changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from airflow_pipeline_provider.core.intervals import Instant, Interval
from airflow_pipeline_provider.core.ledger import Check, Entry, Kind, drifted, effective
from airflow_pipeline_provider.core.planning import PlanRules
from airflow_pipeline_provider.core.wording import local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.accept_shrink import (
    ENDS,
    accepted_rows,
    record_acceptance,
    rows_that_go,
)
from airflow_pipeline_provider.phases.waive import waive
from airflow_pipeline_provider.state.base import State


class ShrunkWindow(Struct, frozen=True, array_like=True):
    """A finding of a recheck; `goes` is how many rows a load of the window would delete.

    `checked_at` is the time of the finding in the ledger.  `committed` is None if no single commit is effective in
    all of the window.  `source` and `target` are the rows that the recheck counted.
    """

    interval: Interval
    checked_at: Instant
    committed: int | None
    source: int
    target: int
    goes: int


def find_shrunk(entries: Iterable[Entry], window: Interval) -> ShrunkWindow | None:
    """Return what the last recheck found about the window, None if the ledger has no undecided shrinkage of it."""
    written = list(entries)
    goes = rows_that_go(written, window)
    check = next((check for piece, check in drifted(written) if piece == window == check.interval), None)
    if not goes or check is None or check.detail.get("verdict") != Check.SHRANK.value:
        return None
    commit = next(
        (entry for piece, entry, _ in effective(written) if piece == window == entry.interval), None
    )
    return ShrunkWindow(
        interval=window,
        checked_at=check.at,
        committed=commit.rows if commit is not None else None,
        source=check.detail["source"],
        target=check.detail["target"],
        goes=goes,
    )


def why_outdated(state: State, asked: ShrunkWindow) -> str | None:
    """Return why an answer about this finding changes nothing any more, None if the finding is still the newest."""
    entries = state.entries(asked.interval)
    if find_shrunk(entries, asked.interval) == asked:
        return None
    shown, zone = local_window(asked.interval, state.identity.timezone), state.identity.timezone
    numbers = [number for number, entry in enumerate(entries) if _is_finding(entry, asked)]
    if not numbers:
        return f"{shown}: the ledger does not have the finding of {local_time(asked.checked_at, zone)}"
    since = [entry for entry in entries[numbers[-1] + 1 :] if entry.kind in ENDS]
    if not since:
        return f"{shown}: it is being loaded again"
    last = since[-1]
    found = f" ({last.detail.get('verdict')})" if last.kind is Kind.CHECKED else ""
    by = f" by {last.run}" if last.run else ""
    at = local_time(last.at.replace(microsecond=0), zone)
    return f"{shown}: it was {last.kind.value}{found}{by} at {at}, after the question was asked"


def _is_finding(entry: Entry, asked: ShrunkWindow) -> bool:
    """Return whether the entry is the finding that was asked about."""
    counts = (entry.detail.get("source"), entry.detail.get("target"))
    return (entry.kind, entry.interval, entry.at) == (Kind.CHECKED, asked.interval, asked.checked_at) and (
        counts == (asked.source, asked.target)
    )


def accept(state: State, asked: ShrunkWindow, *, run: str, by: str, reason: str) -> str | None:
    """Record that the run ("dag_id/run_id") may delete the rows that are gone from the source.

    Return why nothing was recorded, None if the run may be started.  A second call for the run records nothing new.
    """
    if accepted_rows(state, asked.interval, run) == asked.goes:
        return None
    if (outdated := why_outdated(state, asked)) is not None:
        return outdated
    try:
        record_acceptance(state, asked.interval, asked.goes, run=run, by=by, reason=reason)
    except ConfigError as error:  # it changed since the line above
        return why_outdated(state, asked) or error.message
    return None


def keep(
    state: State, rules: PlanRules, asked: ShrunkWindow, *, by: str, reason: str, owner: str
) -> str | None:
    """Waive the window, which keeps the target's rows; return why nothing was waived, None if it was.

    The finding is compared under the window's lease, so it is not waived if a run or a recheck changes it meanwhile.
    Raise LeaseHeldError while a run holds the window.
    """
    if (outdated := why_outdated(state, asked)) is not None:
        return outdated
    done = waive(
        state,
        rules,
        asked.interval,
        reason=reason,
        by=by,
        owner=owner,
        unless=lambda: why_outdated(state, asked),
    )
    if done.pieces:
        return None
    return "; ".join(why for _, why in done.left_out) or "nothing was waived"
