"""Phase 6: reconcile the counts of source, manifest and target, then commit the window in the ledger.

After a crash before the commit, the rerun counts again.  After the commit, the rerun writes the same entry, which
changes nothing; removing older attempts' files and releasing the lease may happen twice.  Without such files, or an
event to send, commit and release are one step where the state store has transactions.  After a crash during a
second extraction, the rerun, which has only the first manifest, finds the newer token of its run in the ledger and
continues there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.command_line import again
from airflow_pipeline_provider.core.drift import changes_in
from airflow_pipeline_provider.core.reconciliation import Counts, Reconciliation, reconcile
from airflow_pipeline_provider.exceptions import DataError, SupersededError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.attempt_files import remove_older_attempts
from airflow_pipeline_provider.phases.commit_rows import loaded
from airflow_pipeline_provider.phases.day_events import DayEvents
from airflow_pipeline_provider.phases.expectations import judge_rows
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.leases import release
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.recheck_changes import marker_of_load
from airflow_pipeline_provider.phases.run_phase import run_phase
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.schema_changes import judge_fields
from airflow_pipeline_provider.phases.source_facts import recorded
from airflow_pipeline_provider.phases.stage import replacing, rules_of_load, stage, staged_by
from airflow_pipeline_provider.phases.validate import begin_attempt
from airflow_pipeline_provider.phases.values import Audited, Claim, Staged

logger = logging.getLogger(__name__)

REEXTRACTIONS = 2  # new attempts inside one audit; a source that still differs then needs a longer settle


def audit(runtime: Runtime, claim: Claim, staged: Staged, day_events: DayEvents | None = None) -> Audited:
    """Commit the window if its counts agree; otherwise extract again or fail.

    The counts agree if source = manifest + quarantined and manifest = target = distinct ids.  A window whose
    documents changed in a way that `contract` does not accept fails too (`phases.schema_changes`), and so does one
    with other rows than expected, with `audit.on_unusual: fail` (`phases.expectations`).

    :param day_events: the `.days` events of the task that may send one; without it none becomes due.
    """
    for tries_left in reversed(range(REEXTRACTIONS + 1)):
        with run_phase(runtime, "audit", claim, staged.attempt) as phase:
            entries = runtime.state.entries(claim.interval)
            if (newest := _own_newest(runtime, claim, staged, entries)) is None:
                phase.skipped("cut off")
                why, rows = "an earlier audit of this run was cut off while it extracted again", None
            else:
                staged = newest
                counts, result = _count(runtime, claim, staged)
                reach("audit.counted")
                phase.counts(
                    source=counts.source,
                    staged=counts.manifest,
                    quarantined=counts.quarantined or None,
                    target=counts.target,
                    distinct=counts.distinct,
                )
                if result.ok:
                    judged = {**judge_rows(runtime, claim, staged), **judge_fields(runtime, claim, staged)}
                    return _commit(runtime, claim, staged, entries, counts, judged, day_events)
                # `own_tasks.after_load` has not checked what would be extracted again
                may_extract = runtime.config.own_tasks.after_load is None and tries_left > 0
                if runtime.config.audit.on_mismatch != "reextract" or not may_extract:
                    raise DataError(
                        f"{result.sentence}. The window is not committed: raise `settle`, or review the source"
                    )
                phase.skipped("mismatch")
                why, rows = result.sentence, counts.source
        logger.warning("%s: extracting again", why)
        staged = _reextract(runtime, claim, staged, rows)
    raise AssertionError("unreachable: the last try returns or raises")


def _own_newest(
    runtime: Runtime, claim: Claim, staged: Staged, entries: Sequence[ledger.Entry]
) -> Staged | None:
    """Return what this run staged last, because an earlier execution of this task may have extracted again.

    None when that execution was interrupted before its load was done.  Raises SupersededError for a cleared or stale
    audit: it must not judge what another run loaded since.
    """
    interval = claim.interval
    _check_staged(entries, staged)
    newer = [e for e in entries if (e.token or 0) > staged.token]
    for entry in newer:
        if entry.run != claim.run:
            raise SupersededError(
                f"token {staged.token} of this run is older than token {entry.token} of {entry.run}"
            )
    last = max(newer, key=lambda entry: entry.token or 0, default=None)
    if last is None:
        return staged
    row = runtime.target.newest_commit(interval)
    if row is None or (row.interval, row.token) != (interval, last.token):
        return None
    return staged_by(runtime, claim, row)


def _check_staged(entries: Sequence[ledger.Entry], staged: Staged) -> None:
    """Raise DataError if the manifest passed to the task differs from what load recorded under its token."""
    given = (staged.sha256, staged.rows, staged.quarantined)
    for entry in entries:
        if (entry.kind, entry.token) == (
            ledger.Kind.REPLACING,
            staged.token,
        ) and "quarantined" in entry.detail:
            loaded = (entry.manifest, entry.rows, entry.detail["quarantined"])
            if loaded != given:
                raise DataError(
                    f"token {staged.token}: expected the manifest, rows and quarantined rows {loaded} that load "
                    f"recorded, got {given}: the task got other values; {again('load')}"
                )


def _check_loaded(runtime: Runtime, claim: Claim, staged: Staged) -> None:
    """Check the commit row: it proves that this manifest was loaded, since counts may agree by chance."""
    row = runtime.target.newest_commit(claim.interval)
    if row is not None and row.token > staged.token:
        raise SupersededError(
            f"token {staged.token} of this run is older than token {row.token} in the target"
        )
    expected = (claim.interval, staged.token, staged.sha256)
    if row is None or (row.interval, row.token, row.manifest_sha) != expected:
        raise DataError(
            f"the manifest with token {staged.token} was never loaded, the target's newest commit row is "
            f"{f'of token {row.token}' if row else 'missing'}: {again('load')}"
        )


def _count(runtime: Runtime, claim: Claim, staged: Staged) -> tuple[Counts, Reconciliation]:
    """Return the counts, once the commit row proves that this manifest was loaded."""
    with runtime.target.session():
        _check_loaded(runtime, claim, staged)
        target = loaded(runtime.target, claim.interval, staged.token)
    source = runtime.source.count(claim.interval)
    counts = Counts(source, staged.rows, target.rows, target.distinct_ids, quarantined=staged.quarantined)
    return counts, reconcile(counts, keeps_history=runtime.target.identity.keeps_history)


def _facts(runtime: Runtime, claim: Claim, staged: Staged) -> dict[str, object]:
    return recorded(runtime.state.entries(claim.interval), staged.attempt)


def _reextract(runtime: Runtime, claim: Claim, staged: Staged, rows: int | None) -> Staged:
    attempt, slices = begin_attempt(runtime, claim, rows, _facts(runtime, claim, staged))
    receipts = [extract(runtime, claim, attempt, slice_) for slice_ in slices]
    staged = stage(runtime, claim, attempt, receipts)
    load(runtime, claim, staged)
    return staged


def _commit(
    runtime: Runtime,
    claim: Claim,
    staged: Staged,
    entries: Sequence[ledger.Entry],
    counts: Counts,
    judged: dict[str, Any],
    day_events: DayEvents | None,
) -> Audited:
    """Write the commit and release the lease.

    `entries` are the window's when the audit began: the commit repeats only what this load and its attempt recorded.
    """
    interval = claim.interval
    quarantined = {
        "quarantined": counts.quarantined,
        **rules_of_load(runtime, claim, entries, staged.token, staged.sha256),
    }
    detail = {
        "source": counts.source,
        "target": counts.target,
        "distinct": counts.distinct,
        **quarantined,
        **recorded(entries, staged.attempt),
        **marker_of_load(entries, staged),
        **judged,
    }
    if runtime.target.identity.keeps_history:
        detail["outdated"] = counts.target - runtime.target.count_newest(interval, staged.token)
    began = replacing(runtime, claim, staged, staged.rows, quarantined)
    others = {entry.attempt for entry in entries} - {staged.attempt, None}
    is_done = day_events is None and not others  # nothing is left to do under the lease

    def commit() -> None:
        # A state that was lost and begun again has no `replacing` for what the target holds; a repeat changes nothing
        runtime.state.append(began)
        if day_events is not None:
            day_events.expect(claim, staged.token)
        runtime.state.append(replace(began, kind=ledger.Kind.COMMITTED, detail=detail))
        if is_done:
            release(runtime, claim.run, interval)

    runtime.state.together(commit)
    reach("audit.committed")
    if day_events is not None:
        day_events.collect(claim.day)
    if others:
        remove_older_attempts(runtime, claim, staged)
    reach("audit.files_removed")
    if not is_done:
        release(runtime, claim.run, interval)
    reach("audit.released")
    return Audited(
        staged.token,
        counts.source or 0,
        counts.manifest,
        counts.target,
        counts.distinct,
        counts.quarantined,
        tuple(changes_in(detail).sentences()),
    )
