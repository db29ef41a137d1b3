"""Report one window as the page shows it: its state, attempts newest first, counts, manifest and checks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import shell_line
from airflow_pipeline_provider.core.drift import changes_in
from airflow_pipeline_provider.core.expectations import open_misses
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, effective
from airflow_pipeline_provider.core.windows import window_id_of
from airflow_pipeline_provider.views.day_cells import CommitCounts, compare_counts
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.history import (
    Attempt,
    HistoryEntry,
    ManualChange,
    attempts_of,
    change_of,
    entry_of,
)
from airflow_pipeline_provider.views.pipeline_status import Readable
from airflow_pipeline_provider.views.times import LocalInterval, local_interval
from airflow_pipeline_provider.views.window_states import WindowState, judge, planned_at


class LoadedManifest(Struct, frozen=True):
    """The manifest that the target holds, without its quarantined files.

    `parts` and `bytes` are null where no load recorded them: it was of an earlier version, or the state was lost.
    """

    sha256: str
    rows: int | None
    parts: int | None
    bytes: int | None
    token: int | None


class Quarantine(Struct, frozen=True):
    """Rows that the target cannot accept; `quarantine show` prints them."""

    rows: int


class DocumentFields(Struct, frozen=True):
    """Fields of the window's documents, as its newest commit or failure recorded them.

    `changes` has a sentence for each kind of change. `looked_at` is null where all `documents` were looked at,
    `hash` where the fields were not gathered.
    """

    hash: str | None
    changes: tuple[str, ...]
    looked_at: int | None
    documents: int | None


class WindowPage(Struct, frozen=True):
    """Everything that is recorded of a window.

    `unexpected` are sentences about its rows and its day, as the maintenance DAG recorded them, until resolved.
    `manifest` is of its newest commit, `quarantine` of all commits that the target holds a part of.
    """

    window: LocalInterval
    window_id: str
    timezone: str
    state: WindowState | None
    reason: str
    replaced: int
    failures: int
    max_attempts: int
    drift: str | None
    goes: int | None
    unexpected: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    counts: CommitCounts
    manifest: LoadedManifest | None
    checks: tuple[HistoryEntry, ...]
    waivers: tuple[HistoryEntry, ...]
    quarantine: Quarantine | None
    fields: DocumentFields | None
    by_hand: tuple[ManualChange, ...]
    command: str


def window_page(
    config: Described, state: Readable, entries: Sequence[Entry], window: Interval, at: datetime
) -> WindowPage:
    """Return the window from its ledger entries, all kinds, and from leases and record of the state."""
    zone, rules = config.timezone, config.rules
    first_day = state.first_day(None) if rules.start_day is None else None
    planned = planned_at(rules, at, config.max_attempts, first_day)
    row = judge(planned, window, list(entries), state.leases())
    window_id = window_id_of(config.pipeline_id, window)
    held = {number: entry for piece, entry, number in effective(entries) if piece.overlaps(window)}
    commit = max(held.values(), key=lambda entry: entry.token or 0, default=None)
    quarantined = sum(entry.detail.get("quarantined") or 0 for entry in held.values())
    return WindowPage(
        window=local_interval(window, zone),
        window_id=window_id,
        timezone=zone,
        state=row.state,
        reason=row.reason,
        replaced=row.replaced,
        failures=row.failures,
        max_attempts=config.max_attempts,
        drift=row.drift,
        goes=row.goes,
        unexpected=tuple(miss.sentence(zone) for miss in open_misses(entries, state.coverage(window).done)),
        attempts=tuple(reversed(attempts_of(entries, zone))),
        counts=compare_counts(entries, window)[0],
        manifest=_manifest(commit, entries),
        checks=tuple(entry_of(entry, zone) for entry in reversed(entries) if entry.kind is Kind.CHECKED),
        waivers=tuple(entry_of(entry, zone) for entry in reversed(entries) if entry.kind is Kind.WAIVED),
        quarantine=Quarantine(quarantined) if quarantined else None,
        fields=_fields(entries),
        by_hand=tuple(
            change_of(act, zone)
            for act in reversed(state.about().acts)
            if act.interval is None or act.interval.overlaps(window)
        ),
        command=shell_line(command_line.history(config.pipeline_id, window_id)),
    )


def _fields(entries: Sequence[Entry]) -> DocumentFields | None:
    for entry in reversed(entries):
        if (found := entry.detail.get("fields")) is not None:
            changes = tuple(changes_in(entry.detail).sentences())
            return DocumentFields(found.get("hash"), changes, found.get("looked_at"), found.get("documents"))
    return None


def _manifest(commit: Entry | None, entries: Sequence[Entry]) -> LoadedManifest | None:
    if commit is None or commit.manifest is None:
        return None
    load = (Kind.REPLACING, commit.interval, commit.token)
    detail = next((e.detail for e in entries if (e.kind, e.interval, e.token) == load), {})
    return LoadedManifest(
        commit.manifest, commit.rows, detail.get("parts"), detail.get("bytes"), commit.token
    )
