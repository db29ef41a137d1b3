"""Report what is recorded about a window: ledger entries, attempts, the target's commit rows, changes by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.missing import failure_text
from airflow_pipeline_provider.core.windows import window_id_of
from airflow_pipeline_provider.state.about import Act
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.times import LocalInterval, local_fields, local_interval


class HistoryEntry(LocalInterval, frozen=True):
    """Entry of the ledger; `manifest` is the SHA-256 of the window's manifest."""

    kind: Kind
    at: datetime
    run: str | None
    attempt: str | None
    token: int | None
    rows: int | None
    manifest: str | None
    detail: dict[str, Any]


class TargetCommit(LocalInterval, frozen=True):
    """Commit row of the target; `in_ledger` is whether the ledger has a commit of this interval and token."""

    token: int
    rows: int
    manifest: str
    in_ledger: bool


class ManualChange(Struct, frozen=True):
    """Change by hand that has no ledger entry of its own; `window` is null where it concerns the whole pipeline."""

    at: datetime
    what: str
    by: str
    why: str | None
    window: LocalInterval | None
    detail: dict[str, Any]


class WindowHistory(Struct, frozen=True):
    """Everything that is recorded about a window; `target` is null where the target was not or could not be read.

    Entries that overlap the window are included: wider and narrower loads are part of its history.
    """

    pipeline_id: str
    timezone: str
    window: LocalInterval
    window_id: str
    entries: tuple[HistoryEntry, ...]
    target: tuple[TargetCommit, ...] | None
    by_hand: tuple[ManualChange, ...]


class Attempt(LocalInterval, frozen=True):
    """One try to move a window; `state` is committed, failed, or unfinished (it may still be at work).

    `rows` and `manifest` are those of its commit, `error` is the failure in one sentence. `task`, `map_index` and
    `try_number` are of the Airflow task that failed, else of the one that began the attempt; null for a command, and
    where an earlier version recorded none.
    """

    attempt: str | None
    run: str | None
    token: int | None
    state: str
    started: datetime
    ended: datetime | None
    seconds: float | None
    rows: int | None
    manifest: str | None
    error: str | None
    task: str | None
    map_index: int | None
    try_number: int | None
    entries: tuple[HistoryEntry, ...]


def read_history(
    config: Described, state: State, window: Interval, commits: Sequence[CommitRow] | None = None
) -> WindowHistory:
    """Read what the state records about the window; `commits` are the target's rows, None without them."""
    zone = config.timezone
    entries = state.entries(window)
    acts = [act for act in state.about().acts if act.interval is None or act.interval.overlaps(window)]
    known = {(entry.interval, entry.token) for entry in entries if entry.kind is Kind.COMMITTED}
    return WindowHistory(
        pipeline_id=config.pipeline_id,
        timezone=zone,
        window=local_interval(window, zone),
        window_id=window_id_of(config.pipeline_id, window),
        entries=tuple(entry_of(entry, zone) for entry in entries),
        target=None if commits is None else tuple(_commit(row, known, zone) for row in commits),
        by_hand=tuple(change_of(act, zone) for act in acts),
    )


def attempts_of(entries: Iterable[Entry], timezone: str) -> list[Attempt]:
    """Return the attempts among a window's ledger entries, oldest first."""
    grouped: dict[object, list[Entry]] = {}
    for number, entry in enumerate(entries):
        if entry.kind in (Kind.WAIVED, Kind.CHECKED, Kind.MISSED, Kind.FILES_REMOVED):
            continue
        grouped.setdefault(entry.attempt or (entry.run, entry.interval) if entry.run else number, []).append(
            entry
        )
    return [_attempt(group, timezone) for group in grouped.values()]


def _attempt(entries: list[Entry], zone: str) -> Attempt:
    last = next((e for e in reversed(entries) if e.kind is Kind.COMMITTED), entries[-1])
    over = last.kind in (Kind.COMMITTED, Kind.FAILED)
    tokens = [entry.token for entry in entries if entry.token is not None]
    by = (last if last.kind is Kind.FAILED else entries[0]).detail
    return Attempt(
        **local_fields(entries[0].interval, zone),
        attempt=last.attempt,
        run=last.run,
        token=max(tokens, default=None),
        state=last.kind.value if over else "unfinished",
        started=entries[0].at,
        ended=last.at if over else None,
        seconds=(last.at - entries[0].at).total_seconds() if over else None,
        rows=last.rows,
        manifest=last.manifest,
        error=failure_text(last) if last.kind is Kind.FAILED else None,
        task=by.get("task"),
        map_index=by.get("map_index"),
        try_number=by.get("try_number"),
        entries=tuple(entry_of(entry, zone) for entry in entries),
    )


def entry_of(entry: Entry, zone: str) -> HistoryEntry:
    """Return the entry with its local times."""
    return HistoryEntry(
        **local_fields(entry.interval, zone),
        kind=entry.kind,
        at=entry.at,
        run=entry.run,
        attempt=entry.attempt,
        token=entry.token,
        rows=entry.rows,
        manifest=entry.manifest,
        detail=entry.detail,
    )


def _commit(row: CommitRow, known: set[tuple[Interval, int | None]], zone: str) -> TargetCommit:
    return TargetCommit(
        **local_fields(row.interval, zone),
        token=row.token,
        rows=row.rows,
        manifest=row.manifest_sha,
        in_ledger=(row.interval, row.token) in known,
    )


def change_of(act: Act, zone: str) -> ManualChange:
    """Return the manual change with its local times."""
    window = None if act.interval is None else local_interval(act.interval, zone)
    return ManualChange(act.at, act.what, act.by, act.why or None, window, act.detail)
