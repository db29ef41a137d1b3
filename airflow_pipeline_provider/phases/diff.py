"""Compare the records of committed windows in source and target by id, and with `content` by what they hold.

Only effective committed intervals are compared.  All other time of the span is reported with the reason why it was
not, so nothing is equal that was not looked at.  Nothing is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from heapq import nsmallest
from typing import TYPE_CHECKING

from airflow_pipeline_provider.connectors.base import CommitRow, Slice
from airflow_pipeline_provider.core.body_rules import KEY
from airflow_pipeline_provider.core.comparison import RecordDifference, Row, Tally, compare
from airflow_pipeline_provider.core.intervals import Interval, common, intersect, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind, effective, unverified, waived
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import SnapshotLostError
from airflow_pipeline_provider.observability.log_generator import phase_log
from airflow_pipeline_provider.phases.extract import SNAPSHOT_TRIES
from airflow_pipeline_provider.phases.fallback import check_current
from airflow_pipeline_provider.phases.identity import datasets_of, refuse_changed
from airflow_pipeline_provider.phases.quarantine import GONE, staged_manifest
from airflow_pipeline_provider.phases.record_buckets import RecordBuckets, paired
from airflow_pipeline_provider.phases.record_ids import record_id_form
from airflow_pipeline_provider.phases.runtime import Runtime

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

OnDifference = Callable[["DiffedWindow", RecordDifference], None]


class LeftOutReason(str, Enum):
    """Reason why time was not compared."""

    NOT_COMMITTED = "not_committed"
    WAIVED = "waived"
    UNVERIFIED = "unverified"
    LEASED = "leased"
    NOT_SETTLED = "not_settled"
    REWRITTEN = "rewritten"  # by other rules of `source.fields` and `source.redact` than those of the file
    CHANGED = "changed"  # by a load, while it was compared


class DiffVerdict(str, Enum):
    """Result of comparing a window."""

    EQUAL = "equal"
    DIFFERS = "differs"
    KEPT = "kept"  # only the target has the records that differ, and the window was waived since its commit
    UNPROVEN = "unproven"  # nothing differs, but some contents could not be compared


@dataclass(frozen=True)
class NotDiffed:
    """Time that was not compared; `detail` is a sentence without a full stop."""

    interval: Interval
    reason: LeftOutReason
    detail: str


@dataclass
class DiffedWindow:
    """One effective interval; `examples` are the first records that differ, by id, as many as were asked for.

    With `judges_extra` False (`source.history: changes`) records that only the target has are not differences.
    """

    interval: Interval
    kept: bool
    judges_extra: bool
    tally: Tally = field(default_factory=Tally)
    examples: list[RecordDifference] = field(default_factory=list)

    @property
    def loses_rows(self) -> bool:
        """Return whether loading the window again deletes rows that the source does not have."""
        return self.tally.extra > 0 or (self.tally.repeated > 0 and self.tally.target > self.tally.source)

    @property
    def verdict(self) -> DiffVerdict:
        """Return the result."""
        if self.tally.differences:
            only_extra = self.tally.differences == self.tally.extra
            return DiffVerdict.KEPT if self.kept and only_extra else DiffVerdict.DIFFERS
        return DiffVerdict.UNPROVEN if self.tally.unproven else DiffVerdict.EQUAL


@dataclass(frozen=True)
class DiffReport:
    """Result of a diff; windows in order of time, equal ones included."""

    windows: tuple[DiffedWindow, ...]
    left_out: tuple[NotDiffed, ...]

    @property
    def differing(self) -> tuple[DiffedWindow, ...]:
        """Return the windows with differences that no waiver explains."""
        return tuple(one for one in self.windows if one.verdict is DiffVerdict.DIFFERS)

    @property
    def is_whole(self) -> bool:
        """Return whether all of the span was compared, with all contents that were asked for."""
        return not self.left_out and all(one.verdict is not DiffVerdict.UNPROVEN for one in self.windows)


@dataclass(frozen=True)
class _Plan:
    """Pieces to compare, each with its commit and whether a waiver followed it, and the time left out."""

    pieces: tuple[tuple[Interval, Entry, bool], ...]
    left_out: tuple[NotDiffed, ...]


def diff(
    runtime: Runtime,
    span: Interval,
    *,
    content: bool = False,
    examples: int = 0,
    on_difference: OnDifference | None = None,
) -> DiffReport:
    """Compare source and target in the span; call `on_difference` for each record that differs.

    Raises TransientError, DataError or FatalError of source or target.
    """
    name = runtime.config.pipeline_id
    with phase_log(
        logger, pipeline=name, window=span, timezone=runtime.config.timezone, attempt=None, phase="diff"
    ) as log:
        check_current(runtime)
        refuse_changed(name, runtime.state.about(), datasets_of(runtime))
        runtime.source.check()
        plan = _plan(runtime, span)
        windows, left_out = [], list(plan.left_out)
        for piece, commit, kept in plan.pieces:
            window = DiffedWindow(piece, kept, not runtime.target.identity.keeps_history)
            refused = _diff_window(runtime, window, commit, content, examples, on_difference)
            if refused is None:
                windows.append(window)
            else:
                left_out.append(refused)
        report = DiffReport(tuple(windows), tuple(sorted(left_out, key=lambda left: left.interval)))
        log.counts.update(
            windows=len(windows), differing=len(report.differing), left_out=len(report.left_out)
        )
        return report


# --- which time


def _plan(runtime: Runtime, span: Interval) -> _Plan:
    entries = runtime.state.entries(span)
    leases = runtime.state.leases()
    settled = runtime.now() - timedelta(seconds=runtime.config.rules.settle_seconds)
    doubtful = common(unverified(entries), [span])
    pieces: list[tuple[Interval, Entry, bool]] = []
    left_out = [
        NotDiffed(
            piece, LeftOutReason.UNVERIFIED, "a replacement was begun and never committed: run it again"
        )
        for piece in doubtful
    ]
    ruled = []
    for ruling, commit, number in effective(entries, (Kind.REPLACING, Kind.COMMITTED)):
        piece = intersect(ruling, span)
        if piece is None or commit.kind is not Kind.COMMITTED:
            continue
        ruled.append(piece)
        lease = next((lease for lease in leases if lease.interval.overlaps(piece)), None)
        if lease is not None:
            since = local_time(lease.since.replace(microsecond=0), runtime.config.timezone)
            left_out.append(
                NotDiffed(piece, LeftOutReason.LEASED, f"{lease.holder} works on it since {since}")
            )
        elif piece.end > settled:
            left_out.append(NotDiffed(piece, LeftOutReason.NOT_SETTLED, "late rows are still expected"))
        else:
            later = [entry.interval for entry in entries[number + 1 :] if entry.kind is Kind.WAIVED]
            pieces.append((piece, commit, not subtract([piece], later)))
    rest = subtract([span], [*ruled, *doubtful])
    given_up = common(rest, waived(entries))
    left_out += [
        NotDiffed(one, LeftOutReason.WAIVED, "it was waived, and is not committed") for one in given_up
    ]
    left_out += [
        NotDiffed(one, LeftOutReason.NOT_COMMITTED, "it is not committed") for one in subtract(rest, given_up)
    ]
    return _Plan(tuple(pieces), tuple(left_out))


# --- one window


def _diff_window(
    runtime: Runtime,
    window: DiffedWindow,
    commit: Entry,
    content: bool,
    examples: int,
    on_difference: OnDifference | None,
) -> NotDiffed | None:
    """Compare a window; return why it could not be.

    Source and target are each read under one view.  A load in between shows in the target's commit rows.
    """
    piece = window.interval
    if not _follows_rules(runtime, commit, content):
        return NotDiffed(
            piece,
            LeftOutReason.REWRITTEN,
            "it was loaded under other rules of source.fields and source.redact than the file has: reprocess it",
        )
    before = runtime.target.commits(piece)
    if any(row.token > (commit.token or 0) for row in before):
        return NotDiffed(
            piece, LeftOutReason.UNVERIFIED, "the target holds a newer load that is not committed"
        )
    with ExitStack() as stack:
        quarantined, target = (stack.enter_context(RecordBuckets()) for _ in range(2))
        if not _add_quarantined(runtime, commit, piece, content, quarantined):
            return NotDiffed(piece, LeftOutReason.UNVERIFIED, GONE)
        source = stack.enter_context(_read_source(runtime, commit, piece, content))
        with runtime.target.records(piece, content=content) as portions:
            for portion in portions:
                target.add(portion)
        target.seal()
        if (changed := _changed_since(runtime, piece, before)) is not None:
            return changed
        for offered, held, aside in paired(source, target, quarantined):
            tally, found = compare(
                offered, held, aside, keeps_history=not window.judges_extra, content=content
            )
            window.tally.add(tally)
            window.examples = nsmallest(examples, [*window.examples, *found], key=_record_id)
            if on_difference is not None:
                for difference in found:
                    on_difference(window, difference)
    return None


def _record_id(difference: RecordDifference) -> str:
    return difference.record_id


def _follows_rules(runtime: Runtime, commit: Entry, content: bool) -> bool:
    """Return whether the source gives what is compared as it was loaded: by the same rules, or unaffected by them.

    A filter of fields changes no record ids; redaction may.
    """
    now = runtime.source.rewritten()
    recorded, expected = commit.detail.get(KEY), now.detail()[KEY] if now else None
    if recorded == expected:
        return True
    return not content and all(one is None or one.get("body") == "filtered" for one in (recorded, expected))


def _changed_since(runtime: Runtime, piece: Interval, before: Sequence[CommitRow]) -> NotDiffed | None:
    if runtime.target.commits(piece) == before:
        return None
    return NotDiffed(piece, LeftOutReason.CHANGED, "a run loaded it while it was compared: compare it again")


def _read_source(runtime: Runtime, commit: Entry, piece: Interval, content: bool) -> RecordBuckets:
    """Return the rows of the source under one view; what was read under a lost one is discarded."""
    slice_ = Slice(0, 1, piece, record_id=_form_of(runtime, commit))
    opened = runtime.source.open if content else runtime.source.open_ids
    for tries_left in reversed(range(SNAPSHOT_TRIES)):
        buckets = RecordBuckets()
        try:
            with opened(slice_, 1) as iterators:
                for batches in iterators:
                    for batch in batches:
                        buckets.add(_rows(runtime, batch, content))
            buckets.seal()
            return buckets
        except BaseException as error:
            buckets.close()
            if not isinstance(error, SnapshotLostError) or not tries_left:
                raise
            logger.warning("the source's point in time was lost, it is read again: %s", error.message)
    raise AssertionError("unreachable: the last try returns or raises")


def _form_of(runtime: Runtime, commit: Entry) -> str | None:
    """Return the form of the record ids of the window's rows."""
    form = commit.detail.get("record_id")  # unless it is the usual one
    if isinstance(form, str) or not commit.detail.get("rebuilt"):
        return form
    return record_id_form(runtime)


def _rows(runtime: Runtime, batch: pa.RecordBatch, content: bool) -> Iterator[Row]:
    import pyarrow as pa

    ids = batch.column("RECORD_ID").to_pylist()
    times = batch.column("EVENT_TIME").cast(pa.int64()).to_pylist()
    if not content:
        return ((one, time, None, False) for one, time in zip(ids, times, strict=True))
    digest = runtime.target.digest
    bodies = batch.column("BODY").cast(pa.binary())
    return ((one, time, *digest(body.as_py())) for one, time, body in zip(ids, times, bodies, strict=True))


def _add_quarantined(
    runtime: Runtime, commit: Entry, piece: Interval, content: bool, into: RecordBuckets
) -> bool:
    """Add the rows of the piece that the target cannot accept; return False if their files are gone.

    They are read from the stage: the target's table of quarantined rows has no documents, and may lack rows.
    """
    if not commit.detail.get("quarantined"):
        return True
    from airflow_pipeline_provider.envelope.part_writer import micros
    from airflow_pipeline_provider.envelope.parts import iter_parts

    manifest = staged_manifest(runtime, commit.interval, commit.manifest)
    if manifest is None:
        return False
    start, end = micros(piece.start), micros(piece.end)
    for batch in iter_parts(manifest.quarantined, runtime.stage.open_read):
        into.add(row for row in _rows(runtime, batch, content) if start <= row[1] < end)
    into.seal()
    return True
