"""Rebuild a ledger that lost all entries, or its newest ones, from the target's commit rows.

Each effective commit row becomes `replacing` and `committed` with its token, rows and manifest
and `{"rebuilt": true}`, oldest token first, after its rows were counted in the target.  A window
that differs from its row, or that was never audited according to the ledger, is left out: it becomes a gap, and the
pipeline moves it again.

After a crash the same command continues: the entries are keyed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from msgspec.structs import replace

from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core.body_rules import UNKNOWN
from airflow_pipeline_provider.core.command_line import doctor, name_of, shell_line
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, effective
from airflow_pipeline_provider.core.retention import removal_of, removal_text
from airflow_pipeline_provider.exceptions import DataError, PipelineError, TransientError
from airflow_pipeline_provider.phases.commit_rows import count_pieces, difference, effective_rows
from airflow_pipeline_provider.phases.leases import exclusive
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import find_manifest, recorded_of

REBUILT = {"rebuilt": True}


@dataclass(frozen=True)
class Rebuilt:
    """`written` were not in the ledger, `known` were there already, `left_out` come with the reason."""

    written: tuple[CommitRow, ...]
    known: tuple[CommitRow, ...]
    left_out: tuple[tuple[CommitRow, str], ...]


def rebuild(runtime: Runtime) -> Rebuilt:
    """Write the entries that the ledger lacks.

    Raises DataError when the ledger has a commit that the target lacks (this needs review), TransientError while a
    run is at work.
    """
    try:
        return _rebuild(runtime)
    except PipelineError as error:
        error.add_context(f"pipeline {runtime.config.pipeline_id}, rebuild")
        raise


def _rebuild(runtime: Runtime) -> Rebuilt:
    for lease in runtime.state.leases():
        raise TransientError(
            f"{lease.holder} works on {lease.interval} since {lease.since.isoformat()}: wait for it, or stop it"
        )
    with exclusive(runtime, f"rebuild/{uuid.uuid4()}"):
        return write_missing(runtime)


def write_missing(runtime: Runtime) -> Rebuilt:
    """Write the entries that the ledger lacks; the caller holds the lease on all time."""
    entries = runtime.state.entries()
    rows = runtime.target.commits()
    _check_agreement(name_of(runtime.config.pipeline_id), entries, rows)
    written, known, left_out = [], [], []
    pieces: dict[tuple[int, Interval], list[Interval]] = {}
    by_key = {(row.token, row.interval): row for row in rows}
    for piece, row in effective_rows(rows):
        pieces.setdefault((row.token, row.interval), []).append(piece)
    for key in sorted(pieces):
        row = by_key[key]
        if _is_committed(entries, row):
            known.append(row)
            continue
        why = _doubt(entries, row) or difference(
            row, pieces[key], count_pieces(runtime.target, pieces[key], row.token)
        )
        if why is not None:
            removal = removal_of(entries, row.manifest_sha)
            gone = f"; {removal_text(removal, runtime.config.rules.zone)}" if removal is not None else ""
            left_out.append((row, f"{why}{gone}"))
            continue
        _write(runtime, row)
        written.append(row)
    _advance(runtime, rows, [*written, *known])
    return Rebuilt(tuple(written), tuple(known), tuple(left_out))


def _check_agreement(name: str, entries: list[Entry], rows: list[CommitRow]) -> None:
    held = {(row.interval, row.token, row.manifest_sha) for row in rows}
    for _, entry, _ in effective(entries):
        if (entry.interval, entry.token, entry.manifest) not in held:
            raise DataError(
                f"the ledger has {entry.interval} committed with token {entry.token}, and the target has no such "
                f"commit row: nothing was written; `{shell_line(doctor(name))}` shows where they "
                "differ"
            )


def _is_committed(entries: list[Entry], row: CommitRow) -> bool:
    key = (Kind.COMMITTED, row.interval, row.token)
    return any((entry.kind, entry.interval, entry.token) == key for entry in entries)


def _doubt(entries: list[Entry], row: CommitRow) -> str | None:
    for entry in entries:
        if entry.kind not in (Kind.REPLACING, Kind.COMMITTED) or not entry.interval.overlaps(row.interval):
            continue
        if (entry.token or 0) > row.token:
            return f"the ledger has the newer token {entry.token} there"
        if entry.token == row.token and not entry.detail.get("rebuilt"):
            return "it was loaded and never audited"
    return None


def _write(runtime: Runtime, row: CommitRow) -> None:
    found = find_manifest(runtime, runtime.window(row.interval), row.manifest_sha)
    entry = Entry(
        Kind.REPLACING,
        row.interval,
        runtime.clock(),
        token=row.token,
        rows=row.rows,
        manifest=row.manifest_sha,
        detail={**REBUILT, **(recorded_of(found[1]) if found else UNKNOWN)},
    )
    runtime.state.append(entry)
    runtime.state.append(replace(entry, kind=Kind.COMMITTED))


def _advance(runtime: Runtime, rows: list[CommitRow], committed: list[CommitRow]) -> None:
    """Advance the token past the target's newest, and let planning begin at the target's first day."""
    newest = max((row.token for row in rows), default=0)
    if committed or runtime.state.newest_token() < newest:
        runtime.state.mint_token(floor=newest)
    if committed and runtime.config.start_day is None:
        first = min(row.interval.start for row in committed)
        runtime.state.first_day(day_of(first, runtime.config.timezone))
