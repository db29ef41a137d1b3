"""Recheck: count the committed windows of recent days again in source and target, and record where they differ.

The effective intervals are compared.  An interval that grew, or whose rows changed in place, must be loaded again by
an ordinary run of exactly that interval; one that shrank is recorded and left unchanged, because retention at the
source must not delete rows of the warehouse.  Everything is counted before the first write, so a source that does not
answer leaves no trace.  A crash between two writes leaves findings that are true; the next commit resolves a finding.

The source's change markers are asked first (`phases.recheck_changes`): where nothing was written since the
extraction, the source is not asked for the window.  The target is always counted, since its rows may be lost there.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from airflow_pipeline_provider.core.change_markers import Seen, WindowChanges
from airflow_pipeline_provider.core.days import FIRST_DAY, LAST_DAY, day_interval, day_of
from airflow_pipeline_provider.core.intervals import Interval, common, intersect, subtract
from airflow_pipeline_provider.core.ledger import Check, Entry, Kind, drifted, effective, unverified
from airflow_pipeline_provider.core.planning import recent_days
from airflow_pipeline_provider.core.wording import local_time, local_window
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.observability.log_generator import phase_log
from airflow_pipeline_provider.phases.fallback import check_current
from airflow_pipeline_provider.phases.first_day import at_most_now
from airflow_pipeline_provider.phases.identity import datasets_of, refuse_changed
from airflow_pipeline_provider.phases.leases import exclusive
from airflow_pipeline_provider.phases.recheck_changes import ask_changes
from airflow_pipeline_provider.phases.recheck_findings import (
    Left,
    NotCompared,
    RecheckedWindow,
    RecheckReport,
)
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import find_manifest
from airflow_pipeline_provider.state.base import Lease

logger = logging.getLogger(__name__)

RULERS = (Kind.REPLACING, Kind.COMMITTED)


def recheck(
    runtime: Runtime,
    days: int,
    reference_time: datetime | None = None,
    *,
    day: date | None = None,
    run: str | None = None,
) -> RecheckReport:
    """Compare source and target over the last `days` days up to the target day, and record the differences.

    `reference_time` determines the target day (default: now).  With `day` only that day is compared; ConfigError if
    the pipeline has no such day.  `run` ("dag_id/run_id") is the run that asks.

    Raises TransientError, DataError or FatalError of source or target; nothing is written then.
    """
    at = at_most_now(runtime, reference_time or runtime.clock())
    shown = recent_days(runtime.config.rules, at, days) if day is None else [_checked(runtime, day, at)]
    name = runtime.config.pipeline_id
    span = f"{shown[0]}..{shown[-1]}" if shown else None
    with phase_log(logger, pipeline=name, window=span, attempt=None, phase="recheck") as log:
        check_current(runtime)
        refuse_changed(name, runtime.state.about(), datasets_of(runtime))
        pieces: list[_Piece] = []
        left_out: list[NotCompared] = []
        for day in shown:
            found, left = _pieces_of(runtime, day_interval(day, runtime.config.timezone))
            pieces += found
            left_out += left
        counted = _count_all(runtime, pieces, run)
        findings = []
        with exclusive(runtime, f"recheck/{uuid.uuid4()}") if counted else nullcontext():
            for finding, seen in counted:
                if _write_down(runtime, finding, seen, run):
                    findings.append(finding)
                else:
                    why = "a run changed it meanwhile"
                    left_out.append(_left(runtime, finding.interval, Left.CHANGED, why))
        report = RecheckReport(
            tuple(shown), tuple(findings), tuple(sorted(left_out, key=lambda left: left.interval))
        )
        log.counts.update(
            checked=len(findings),
            grown=len(report.grown),
            changed=len(report.changed),
            shrunk=len(report.shrunk),
            left_out=len(left_out),
        )
        return report


def _checked(runtime: Runtime, day: date, at: datetime) -> date:
    rules = runtime.config.rules
    first, last = rules.start_day or FIRST_DAY, min(day_of(at, rules.timezone), rules.end_day or LAST_DAY)
    if not first <= day <= last:
        raise ConfigError(f"day: expected a day of the pipeline, from {first} to {last}, got {day}")
    return day


@dataclass(frozen=True)
class _Piece:
    """An effective interval to count: its commit, the ledger's entries there, quarantined rows, whether waived."""

    interval: Interval
    ruler: Entry
    seen: list[Entry]
    quarantined: int
    kept: bool


def _pieces_of(runtime: Runtime, whole: Interval) -> tuple[list[_Piece], list[NotCompared]]:
    """Return what is to be counted in the day, with the entries known before the counting, and what is left out."""
    entries = runtime.state.entries(whole)
    leases = runtime.state.leases()
    pieces, left_out = [], []
    for doubtful in common(unverified(entries), [whole]):
        why = "a replacement was begun and never committed: run it again"
        left_out.append(_left(runtime, doubtful, Left.UNVERIFIED, why))
    for ruled, ruler, number in effective(entries, RULERS):
        piece = intersect(ruled, whole)
        if piece is None or ruler.kind is not Kind.COMMITTED:
            continue
        refused = _why_not(runtime, piece, leases)
        if refused is not None:
            left_out.append(refused)
            continue
        waived = [entry.interval for entry in entries[number + 1 :] if entry.kind is Kind.WAIVED]
        aside = quarantined_inside(runtime, ruler, piece)
        if aside is None:
            why = (
                "its quarantined rows are gone from the stage, so they cannot be distinguished from late ones"
            )
            left_out.append(_left(runtime, piece, Left.UNVERIFIED, why))
            continue
        kept = not subtract([piece], waived)
        pieces.append(_Piece(piece, ruler, _touching(entries, piece), aside, kept))
    return pieces, left_out


def _count_all(
    runtime: Runtime, pieces: list[_Piece], run: str | None
) -> list[tuple[RecheckedWindow, list[Entry]]]:
    """Return the findings with the entries known before the counting."""
    answers = ask_changes(runtime, [(piece.interval, piece.ruler) for piece in pieces])
    if not pieces or any(answer.rows is None or answer.seen is not Seen.UNCHANGED for answer in answers):
        runtime.source.check()
    counted = []
    for piece, answer in zip(pieces, answers, strict=True):
        source = runtime.source.count(piece.interval) if answer.rows is None else answer.rows
        count = _count_versions if runtime.target.identity.keeps_history else _count
        finding = _judge_changes(count(runtime, piece, source), answer, piece)
        drift = _recorded_drift(piece.seen, piece.interval)
        known = [(where, check.detail) for where, check in drift] == [(piece.interval, finding.detail)]
        mine = known and run is not None and drift[0][1].run == run
        counted.append((replace(finding, known=known, by_this_run=mine), piece.seen))
    return counted


def _judge_changes(finding: RecheckedWindow, answer: WindowChanges, piece: _Piece) -> RecheckedWindow:
    """Add what the markers show: equal counts may hide updated rows, and deleted ones that new ones cancel out.

    Where they show nothing any more, a change that an earlier check found is not resolved.
    """
    changed = answer.changed
    if answer.seen is Seen.UNKNOWN and not changed:
        changed = sum(
            check.detail.get("changed", 0) for _, check in _recorded_drift(piece.seen, piece.interval)
        )
    verdict = Check.CHANGED if changed and finding.verdict is Check.EQUAL else finding.verdict
    reason = answer.reason if answer.seen is Seen.UNKNOWN else None
    return replace(finding, verdict=verdict, changed=changed, not_seen=reason)


def _why_not(runtime: Runtime, piece: Interval, leases: Sequence[Lease]) -> NotCompared | None:
    for lease in leases:
        if _blocks(runtime, lease, piece):
            since = local_time(lease.since.replace(microsecond=0), runtime.config.timezone)
            return _left(runtime, piece, Left.LEASED, f"{lease.holder} works on it since {since}")
    settled = runtime.now() - timedelta(seconds=runtime.config.rules.settle_seconds)
    if piece.end > settled:
        return _left(runtime, piece, Left.NOT_SETTLED, "late rows are still expected")
    return None


def _blocks(runtime: Runtime, lease: Lease, piece: Interval) -> bool:
    """Return whether the lease forbids recording the piece: it overlaps, or the store serves one run at a time."""
    return lease.interval.overlaps(piece) or not runtime.state.concurrent


def _left(runtime: Runtime, piece: Interval, reason: Left, why: str) -> NotCompared:
    return NotCompared(piece, reason, f"{local_window(piece, runtime.config.timezone)}: {why}")


def _count(runtime: Runtime, piece: _Piece, source: int) -> RecheckedWindow:
    """Compare the counts: ids that the target lacks are growth, unless it has more rows than the source in total.

    Rows that were quarantined count as present.
    """
    target = runtime.target.count(piece.interval)
    committed = piece.ruler.rows or 0 if piece.interval == piece.ruler.interval else 0
    if source < max(target.rows, committed) + piece.quarantined:
        return RecheckedWindow(piece.interval, source, target.rows, Check.SHRANK, piece.kept)
    verdict = Check.GREW if source > target.distinct_ids + piece.quarantined else Check.EQUAL
    return RecheckedWindow(piece.interval, source, target.rows, verdict)


def _count_versions(runtime: Runtime, piece: _Piece, source: int) -> RecheckedWindow:
    """Compare the counts where records move to later windows, which shrinks a window and is not a finding.

    The effective load read everything that the source had here.  Its rows without a later version are still at the
    source; rows whose later version is not loaded yet count among them.  More rows than these are late data.  A load
    may contain `outdated` rows from the beginning: records whose time was set back.
    """
    newest = runtime.target.count_newest(piece.interval, piece.ruler.token or 0)
    outdated = piece.ruler.detail.get("outdated", 0) if piece.interval == piece.ruler.interval else 0
    verdict = Check.GREW if source > newest + outdated + piece.quarantined else Check.EQUAL
    return RecheckedWindow(piece.interval, source, newest, verdict)


def _recorded_drift(entries: list[Entry], piece: Interval) -> list[tuple[Interval, Entry]]:
    """Return the drift of the piece that the ledger has."""
    return [(where, check) for where, check in drifted(entries) if where.overlaps(piece)]


NOT_OF_ROWS = (Kind.MISSED, Kind.FILES_REMOVED)
"""Kinds of entries that do not concern the rows of a window."""


def _touching(entries: list[Entry], piece: Interval) -> list[Entry]:
    return [entry for entry in entries if entry.interval.overlaps(piece) and entry.kind not in NOT_OF_ROWS]


def _write_down(runtime: Runtime, finding: RecheckedWindow, seen: list[Entry], run: str | None) -> bool:
    """Record a new finding; return False if a run was at work in between, because the counts are void then.

    A run that commits the piece holds a lease from its counting to its commit, so no older result can be written
    between this check and the write.
    """
    piece = finding.interval
    if any(_blocks(runtime, lease, piece) for lease in runtime.state.leases()):
        return False
    if _touching(runtime.state.entries(piece), piece) != seen:
        return False
    nothing_to_clear = finding.verdict is Check.EQUAL and not _recorded_drift(seen, piece)
    if finding.kept or finding.known or nothing_to_clear:
        return True
    runtime.state.append(Entry(Kind.CHECKED, piece, runtime.clock(), run=run, detail=finding.detail))
    return True


def quarantined_inside(runtime: Runtime, commit: Entry, piece: Interval) -> int | None:
    """Return the rows that this commit quarantined in the piece, a part of its interval.

    The ledger has the number for the whole interval.  For a part of it, their times are read in the stage; None when
    they are gone from there.
    """
    whole: int = commit.detail.get("quarantined", 0)
    if not whole or piece == commit.interval:
        return whole
    from airflow_pipeline_provider.envelope.parts import count_rows

    found = find_manifest(runtime, runtime.window(commit.interval), commit.manifest or "")
    if found is None or any(runtime.stage.size(part.path) is None for part in found[1].quarantined):
        return None
    return count_rows(found[1].quarantined, [piece], runtime.stage.open_read)[0]
