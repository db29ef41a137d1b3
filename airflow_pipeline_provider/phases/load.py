"""Phase 5: `replacing(token)` in the ledger, then one transaction in the target.

A crash before the transaction's end leaves the target as it was; after it, the commit row in the target proves it:
the same token and manifest again is `already`, and a run that comes later finds the window loaded but not audited.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_pipeline_provider.connectors.base import CommitRow, LoadResult
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, intersect
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import DataError, RepeatedIdsError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.accept_shrink import check_loss
from airflow_pipeline_provider.phases.body_rules import check_rules
from airflow_pipeline_provider.phases.fallback import check_current
from airflow_pipeline_provider.phases.identity import record_identity
from airflow_pipeline_provider.phases.record_ids import explained
from airflow_pipeline_provider.phases.run_phase import run_phase
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import check_attempt, read_manifest, recorded_of, replacing
from airflow_pipeline_provider.phases.values import Claim, Staged

logger = logging.getLogger(__name__)


def load(runtime: Runtime, claim: Claim, staged: Staged) -> LoadResult:
    """Replace the window in the target by exactly the manifest's rows."""
    with run_phase(runtime, "load", claim, staged.attempt) as phase:
        check_attempt(runtime, claim, staged.attempt)  # `append` checks again; the files may be gone by now
        manifest = read_manifest(runtime, claim, staged)
        check_rules(runtime, manifest, "the window")
        with runtime.target.session():
            check_current(runtime, staged.token)
            there = runtime.target.commits(claim.interval) if _refuses_shrink(runtime) else ()
        runtime.target.prepare()
        reach("load.prepared")
        with runtime.state.session():
            record_identity(runtime)
            _check_policies(runtime, claim, manifest, there)
            phase.check_lease()
            runtime.state.append(replacing(runtime, claim, staged, manifest.rows, recorded_of(manifest)))
        reach("load.recorded")
        try:
            result = runtime.target.load(manifest, runtime.stage)
        except RepeatedIdsError as error:
            raise explained(runtime, manifest, error) from error
        reach("load.committed")
        moved = None if result.already else manifest.size_bytes
        phase.counts(rows=result.rows, distinct=result.distinct_ids, bytes=moved, token=staged.token)
        return result


def _check_policies(runtime: Runtime, claim: Claim, manifest: Manifest, there: Sequence[CommitRow]) -> None:
    """Decide on empty and shrunken windows before anything changes; `there` are the target's commit rows."""
    audit = runtime.config.audit
    if manifest.rows + manifest.quarantined_rows == 0 and audit.on_empty == "fail":
        raise DataError(
            "the source has no row in this window and audit.on_empty is 'fail': review the source, "
            "or set audit.on_empty to commit"
        )
    if _refuses_shrink(runtime):
        _check_shrink(runtime, claim, manifest, there)


def _refuses_shrink(runtime: Runtime) -> bool:
    return runtime.config.audit.on_shrink == "fail" and not runtime.target.identity.keeps_history


def _check_shrink(
    runtime: Runtime, claim: Claim, manifest: Manifest, commit_rows: Sequence[CommitRow]
) -> None:
    """Compare each committed piece by itself: a loss in one must not be hidden by a gain in another."""
    window, lost, sentence = claim.interval, 0, None
    pieces = _committed_pieces(runtime, window, commit_rows)
    for piece, now in zip(pieces, _rows_in(runtime, manifest, list(pieces)), strict=True):
        there, committed = runtime.target.count(piece).rows, pieces[piece]
        if now >= max(there, committed):
            continue
        lost += max(there, committed) - now
        if sentence is None:
            where = "this committed window" if piece == window else f"{piece}, which is committed,"
            held = f"the target holds {counted(there, 'row')} of {where}"
            if there < committed:
                given, deleted = counted(committed, "row"), committed - there
                held = f"the target was given {given} of {where}, {deleted:,} of them deleted since,"
            aside = f" ({manifest.quarantined_rows} more quarantined)" if manifest.quarantined else ""
            sentence = (
                f"{held} and the source now gives {now}{aside}: "
                "nothing was changed, since retention at the source must not erase the warehouse; "
                "set audit.on_shrink to accept if the rows are really to go"
            )
    if sentence is None:
        return
    if claim.accept_shrink is None:
        raise DataError(sentence, detail={"shrink": lost})
    check_loss(runtime.state, window, claim.run, claim.accept_shrink, lost)
    logger.warning("%s of %s are deleted: the loss was accepted", counted(lost, "row"), window)


def _committed_pieces(
    runtime: Runtime, window: Interval, commit_rows: Sequence[CommitRow]
) -> dict[Interval, int]:
    """Map each effective committed interval in the window to its row count, or to 0 if only a part is effective.

    Includes loads that the ledger lacks because the state was lost: they may have been audited.  A `replacing` entry
    whose attempt has no entry was written by an audit after the loss.
    """
    entries = runtime.state.entries(window)
    begun = {entry.attempt for entry in entries if entry.kind is ledger.Kind.ATTEMPT}
    known = {
        (entry.token, entry.manifest)
        for entry in entries
        if entry.attempt in begun or entry.kind is ledger.Kind.COMMITTED
    }
    unknown = [
        ledger.Entry(ledger.Kind.COMMITTED, row.interval, runtime.clock(), token=row.token, rows=row.rows)
        for row in commit_rows
        if (row.token, row.manifest_sha) not in known
    ]
    ruling = [(intersect(piece, window), entry) for piece, entry, _ in ledger.effective([*entries, *unknown])]
    return {
        piece: entry.rows or 0 if piece == entry.interval else 0
        for piece, entry in ruling
        if piece is not None
    }


def _rows_in(runtime: Runtime, manifest: Manifest, pieces: list[Interval]) -> list[int]:
    """Count the manifest's rows in each piece."""
    if pieces in ([], [manifest.interval]):  # the usual ones: no part is read
        return [manifest.rows for _ in pieces]
    from airflow_pipeline_provider.envelope.parts import count_rows

    return count_rows(manifest.parts, pieces, runtime.stage.open_read)
