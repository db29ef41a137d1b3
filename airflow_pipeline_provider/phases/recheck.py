"""Recheck: count the committed windows of recent days again in source and target, and record where they differ.

The effective intervals are compared.  An interval that grew must be loaded again by an ordinary run of exactly that
interval; one that shrank is recorded and left unchanged, because retention at the source must not delete rows of the
warehouse.  Everything is counted before the first write, so a source that does not answer leaves no trace.  A crash
between two writes leaves findings that are true; the next commit resolves a finding.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import Enum

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
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import find_manifest
from airflow_pipeline_provider.state.base import Lease

logger = logging.getLogger(__name__)

RULERS = (Kind.REPLACING, Kind.COMMITTED)


class Left(str, Enum):
    """Reason why an interval was not compared."""

    LEASED = "leased"
    UNVERIFIED = "unverified"
    NOT_SETTLED = "not_settled"
    CHANGED = "changed"  # by a run, while it was counted


@dataclass(frozen=True)
class RecheckedWindow:
    """One effective interval, counted at both ends.

    `target`: its rows; where it keeps history, those of the effective load without a later version of their record.
    `kept`: more rows in the target than in the source, waived since the commit.  `known`: the ledger has it.
    `by_this_run`: the ledger has it from an earlier try of the run that asks.
    """

    interval: Interval
    source: int
    target: int
    verdict: Check
    kept: bool = False
    known: bool = False
    by_this_run: bool = False

    @property
    def detail(self) -> dict[str, object]:
        """Return the detail for the ledger."""
        return {"source": self.source, "target": self.target, "verdict": self.verdict.value}


@dataclass(frozen=True)
class NotCompared:
    """An interval that was not compared; `detail` is a sentence without a full stop."""

    interval: Interval
    reason: Left
    detail: str


@dataclass(frozen=True)
class RecheckReport:
    """Result of a recheck; findings in order of time, equal ones included."""

    days: tuple[date, ...]
    findings: tuple[RecheckedWindow, ...]
    left_out: tuple[NotCompared, ...]

    @property
    def grown(self) -> tuple[RecheckedWindow, ...]:
        """Return the findings to load again."""
        return tuple(found for found in self.findings if found.verdict is Check.GREW)

    @property
    def shrunk(self) -> tuple[RecheckedWindow, ...]:
        """Return the findings that need review."""
        return tuple(found for found in self.findings if found.verdict is Check.SHRANK and not found.kept)

    @property
    def new(self) -> tuple[RecheckedWindow, ...]:
        """Return the differences that this run was the first to find."""
        found = (*self.grown, *self.shrunk)
        return tuple(
            sorted((one for one in found if not one.known or one.by_this_run), key=lambda one: one.interval)
        )

    def unanswered(self, on_shrink: str) -> tuple[RecheckedWindow, ...]:
        """Return what shrank and must be reported as a failure.

        With `audit.on_shrink: accept` a finding is a failure only the first time.
        """
        return tuple(found for found in self.shrunk if on_shrink != "accept" or not found.known)


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
        runtime.source.check()
        counted: list[tuple[RecheckedWindow, list[Entry]]] = []
        left_out: list[NotCompared] = []
        for day in shown:
            found, left = _count_day(runtime, day_interval(day, runtime.config.timezone), run)
            counted += found
            left_out += left
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
            checked=len(findings), grown=len(report.grown), shrunk=len(report.shrunk), left_out=len(left_out)
        )
        return report


def _checked(runtime: Runtime, day: date, at: datetime) -> date:
    rules = runtime.config.rules
    first, last = rules.start_day or FIRST_DAY, min(day_of(at, rules.timezone), rules.end_day or LAST_DAY)
    if not first <= day <= last:
        raise ConfigError(f"day: expected a day of the pipeline, from {first} to {last}, got {day}")
    return day


def _count_day(
    runtime: Runtime, whole: Interval, run: str | None
) -> tuple[list[tuple[RecheckedWindow, list[Entry]]], list[NotCompared]]:
    """Return the findings with the entries known before the counting, and what was left out."""
    entries = runtime.state.entries(whole)
    leases = runtime.state.leases()
    counted, left_out = [], []
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
        if runtime.target.identity.keeps_history:
            finding = _count_versions(runtime, piece, ruler, aside)
        else:
            committed = ruler.rows or 0 if piece == ruler.interval else 0
            finding = _count(runtime, piece, committed, aside, kept=not subtract([piece], waived))
        seen = _touching(entries, piece)
        drift = _recorded_drift(seen, piece)
        known = [(where, check.detail) for where, check in drift] == [(piece, finding.detail)]
        mine = known and run is not None and drift[0][1].run == run
        counted.append((replace(finding, known=known, by_this_run=mine), seen))
    return counted, left_out


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


def _count(
    runtime: Runtime, piece: Interval, committed: int, quarantined: int, *, kept: bool
) -> RecheckedWindow:
    """Compare the counts: ids that the target lacks are growth, unless it has more rows than the source in total.

    Rows that were quarantined count as present.
    """
    source = runtime.source.count(piece)
    target = runtime.target.count(piece)
    if source < max(target.rows, committed) + quarantined:
        return RecheckedWindow(piece, source, target.rows, Check.SHRANK, kept)
    verdict = Check.GREW if source > target.distinct_ids + quarantined else Check.EQUAL
    return RecheckedWindow(piece, source, target.rows, verdict)


def _count_versions(runtime: Runtime, piece: Interval, ruler: Entry, quarantined: int) -> RecheckedWindow:
    """Compare the counts where records move to later windows, which shrinks a window and is not a finding.

    The effective load read everything that the source had here.  Its rows without a later version are still at the
    source; rows whose later version is not loaded yet count among them.  More rows than these are late data.  A load
    may contain `outdated` rows from the beginning: records whose time was set back.
    """
    source = runtime.source.count(piece)
    newest = runtime.target.count_newest(piece, ruler.token or 0)
    outdated = ruler.detail.get("outdated", 0) if piece == ruler.interval else 0
    verdict = Check.GREW if source > newest + outdated + quarantined else Check.EQUAL
    return RecheckedWindow(piece, source, newest, verdict)


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
