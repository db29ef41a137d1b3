"""Phase 4: create the fencing token, verify each part, publish the manifest.

The token is higher than the newest one in the target, so tokens increase even when the state was lost.  Each
execution has its own token; a crash before the manifest is written wastes one, a crash after it leaves a manifest
that no process reads.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core.body_rules import UNKNOWN
from airflow_pipeline_provider.core.change_markers import earliest, to_detail
from airflow_pipeline_provider.core.command_line import again
from airflow_pipeline_provider.core.drift import FieldSet, merged
from airflow_pipeline_provider.core.intervals import gaps
from airflow_pipeline_provider.core.ledger import Entry, Kind, committed, overtaken_by
from airflow_pipeline_provider.core.retention import removal_text
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.envelope.manifest import Manifest, Part, Receipt
from airflow_pipeline_provider.exceptions import DataError, SupersededError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.body_rules import check_rules, loaded_under
from airflow_pipeline_provider.phases.extract import attempt_folder
from airflow_pipeline_provider.phases.fallback import check_current
from airflow_pipeline_provider.phases.run_phase import run_phase
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Staged

logger = logging.getLogger(__name__)


def stage(runtime: Runtime, claim: Claim, attempt: str, receipt_paths: Sequence[str]) -> Staged:
    """Read exactly these receipts, verify their parts, publish one immutable manifest."""
    with run_phase(runtime, "stage", claim, attempt) as phase:
        check_attempt(runtime, claim, attempt)
        receipts = [_read(runtime, path) for path in receipt_paths]
        _check_attempts(attempt_folder(claim, attempt), receipt_paths, receipts)
        _check_complete(claim, receipts)
        for receipt in receipts:
            check_rules(runtime, receipt, f"slice {receipt.index}")
        receipts.sort(key=lambda receipt: receipt.index)
        parts = tuple(part for receipt in receipts for part in receipt.parts)
        quarantined = tuple(part for receipt in receipts for part in receipt.quarantined)
        read_back = _verify(runtime, claim, attempt, parts + quarantined)
        reach("stage.verified")
        with runtime.state.session():
            token = runtime.state.mint_token(floor=check_current(runtime))
        reach("stage.token_minted")
        manifest = Manifest(
            claim.pipeline_id,
            claim.interval,
            attempt,
            token,
            parts=parts,
            quarantined=quarantined,
            fields=_fields(receipts),
            marker=earliest([receipt.marker for receipt in receipts]),
            rewritten=runtime.source.rewritten(),
        )
        path = f"{attempt_folder(claim, attempt)}/manifest-{manifest.sha256}.json"
        phase.check_lease()
        runtime.stage.write(path, manifest.to_bytes())
        reach("stage.manifest_written")
        phase.counts(
            rows=manifest.rows,
            quarantined=manifest.quarantined_rows or None,
            parts=len(parts),
            bytes=manifest.size_bytes,
            bytes_read_back=read_back,
            token=token,
        )
        return Staged(attempt, path, manifest.sha256, token, manifest.rows, manifest.quarantined_rows)


def _fields(receipts: Sequence[Receipt]) -> FieldSet | None:
    """Return the fields of the window's documents; None if a slice was extracted without gathering them."""
    found = [receipt.fields for receipt in receipts if receipt.fields is not None]
    return merged(found) if len(found) == len(receipts) else None


def read_manifest(runtime: Runtime, claim: Claim, staged: Staged) -> Manifest:
    """Read the published manifest; raise DataError if its content does not match its SHA-256."""
    if staged.path is None:
        raise DataError(f"the manifest's path is unknown, since another run staged it: {again('extract')}")
    data = runtime.stage.read(staged.path)
    seen = hashlib.sha256(data).hexdigest()
    if seen != staged.sha256:
        raise DataError(
            f"manifest {runtime.stage.url(staged.path)}: expected the sha256 {staged.sha256}, got {seen}; "
            f"the file was changed: {again('extract')}"
        )
    manifest = Manifest.from_bytes(data)
    expected = (runtime.config.pipeline_id, claim.interval, staged.token, staged.attempt)
    seen_there = (manifest.pipeline_id, manifest.interval, manifest.token, manifest.attempt)
    if seen_there != expected:
        raise DataError(
            f"manifest {runtime.stage.url(staged.path)}: expected pipeline, window, token and attempt "
            f"{_listed(expected)}, got {_listed(seen_there)}: it is another window's; {again('extract')}"
        )
    return manifest


def _listed(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


def _read(runtime: Runtime, path: str) -> Receipt:
    """Read a receipt that extract wrote; raise DataError with its name if it is missing or differs."""
    data = runtime.stage.read(path)
    try:
        return Receipt.from_file(path, data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{runtime.stage.url(path)} is not what extract wrote ({type(error).__name__}: {error}); the "
            f"file was changed: {again('extract')}"
        ) from error


def _check_attempts(folder: str, paths: Sequence[str], receipts: Sequence[Receipt]) -> None:
    """Raise DataError for receipts of another attempt: their rows are older than this attempt's ledger entry."""
    listed = [part.path for receipt in receipts for part in (*receipt.parts, *receipt.quarantined)]
    for path in (*paths, *listed):
        if not path.startswith(f"{folder}/"):
            raise DataError(f"{path} is a file of another attempt than {folder}: {again('extract')}")


def staged_by(runtime: Runtime, window: Window, row: CommitRow) -> Staged:
    """Return what another execution staged and loaded, from the commit row of exactly this window.

    The number of quarantined rows is not in the target.  The ledger has it, because load records it before the target
    changes; where the state was lost, the manifest is found by its hash.  Where that is gone too, assume zero; the
    audit verifies it against the source.
    """
    for entry in runtime.state.entries(window.interval):
        of_this_load = (entry.kind, entry.interval, entry.token) == (Kind.REPLACING, row.interval, row.token)
        if of_this_load and "quarantined" in entry.detail:
            return Staged(
                entry.attempt, None, row.manifest_sha, row.token, row.rows, entry.detail["quarantined"]
            )
    found = find_manifest(runtime, window, row.manifest_sha)
    if found is None:
        logger.warning(
            "no manifest of token %d is left: zero quarantined rows are assumed, which the audit verifies",
            row.token,
        )
        return Staged(None, None, row.manifest_sha, row.token, row.rows)
    path, manifest = found
    return Staged(manifest.attempt, path, row.manifest_sha, row.token, row.rows, manifest.quarantined_rows)


def find_manifest(runtime: Runtime, window: Window, sha256: str) -> tuple[str, Manifest] | None:
    """Find the window's manifest by its hash, in any attempt; return its path and content.

    None when it is missing, or does not match its hash: the rows are loaded, and the audit verifies them.
    """
    name = f"/manifest-{sha256}.json"
    for file in runtime.stage.list(window.stage_path):
        if file.path.endswith(name):
            data = runtime.stage.read(file.path)
            if hashlib.sha256(data).hexdigest() == sha256:
                return file.path, Manifest.from_bytes(data)
            logger.warning("%s does not match its name: it was changed", runtime.stage.url(file.path))
    return None


def rules_of_load(
    runtime: Runtime, window: Window, entries: Sequence[Entry], token: int, sha256: str
) -> dict[str, Any]:
    """Return what a commit records about the rules of its load; where the state was lost, the manifest is asked."""
    found = loaded_under(entries, token, sha256)
    if found is not None:
        return found
    manifest = find_manifest(runtime, window, sha256)
    if manifest is None:
        return UNKNOWN
    rewritten = manifest[1].rewritten
    return rewritten.detail() if rewritten else {}


def replacing(runtime: Runtime, claim: Claim, staged: Staged, rows: int, detail: dict[str, Any]) -> Entry:
    """Return the entry that load writes before it replaces the window; audit repeats it, as the state may lack it."""
    return Entry(
        Kind.REPLACING,
        claim.interval,
        runtime.clock(),
        token=staged.token,
        attempt=staged.attempt,
        run=claim.run,
        rows=rows,
        manifest=staged.sha256,
        detail=detail,
    )


def recorded_of(manifest: Manifest) -> dict[str, Any]:
    """Return what `replacing` records of a manifest, for audits that know only the commit row, and for the page."""
    return {
        "quarantined": manifest.quarantined_rows,
        "parts": len(manifest.parts),
        "bytes": manifest.size_bytes,
        **to_detail(manifest.marker),
        **(manifest.rewritten.detail() if manifest.rewritten else {}),
    }


def check_attempt(runtime: Runtime, claim: Claim, attempt: str | None) -> None:
    """Raise SupersededError for a stale task: another run committed the window after this attempt had read it.

    Its rows would be older under a newer token.  In a state that was lost and begun again the order is unknown, so an
    attempt from before is refused.
    """
    entries = runtime.state.entries(claim.interval)
    begun = [entry for entry in entries if entry.kind is Kind.ATTEMPT and entry.attempt == attempt]
    if not begun:
        raise SupersededError(
            f"the ledger does not know attempt {attempt}, since the state was lost or replaced: "
            f"{_move_again(claim, entries)}"
        )
    if (begun[-1].interval, begun[-1].run) != (claim.interval, claim.run):
        raise DataError(
            f"attempt {attempt} is of {begun[-1].run} and {begun[-1].interval}, not of {claim.run} and "
            f"{claim.interval}: the task got values of another run; {again('validate')}"
        )
    newer = overtaken_by(entries, attempt)
    if newer is not None:
        raise SupersededError(
            f"{newer.run} committed {newer.interval} after this attempt began: {_move_again(claim, entries)}"
        )


def _move_again(claim: Claim, entries: Sequence[Entry]) -> str:
    """Return what is left to do for this run: a live run does not load a committed window again."""
    if not claim.replace and not gaps(claim.interval, committed(entries)):
        return "the window is committed, so nothing is left to do for this run"
    return f"{again('validate')} to load the window again"


def _check_complete(claim: Claim, receipts: Sequence[Receipt]) -> None:
    """Check that there is one receipt for each slice of one plan, and that the slices tile the window."""
    expected = list(range(receipts[0].of if receipts else 1))
    seen = sorted(receipt.index for receipt in receipts)
    ranges = [receipt.interval for receipt in receipts]
    missing = gaps(claim.interval, ranges)
    overlap = sum(r.seconds for r in ranges) != claim.interval.seconds
    if seen != expected or len({r.of for r in receipts}) != 1 or missing or overlap:
        raise DataError(
            f"expected one receipt for each of {counted(len(expected), 'slice')} over {claim.interval}, "
            f"got slices {seen} with {', '.join(map(str, ranges)) or 'no ranges'}: {again('extract')}"
        )


def _verify(runtime: Runtime, claim: Claim, attempt: str, parts: Sequence[Part]) -> int:
    """Raise DataError for a part that differs from its receipt; return the bytes that were read to find out.

    A part is read unless the store proves its content. A store's answer never makes an error by itself.
    """
    read_back = 0
    for part in parts:
        if part.upload is not None and runtime.stage.proves(part.path, part.upload, part.bytes):
            continue
        from airflow_pipeline_provider.envelope.parts import verify_part  # imports Arrow

        size = runtime.stage.size(part.path)
        if size is None:
            why = _why_gone(runtime, claim, attempt)
            raise DataError(f"part {runtime.stage.url(part.path)} is gone{why}: {again('extract')}")
        with runtime.stage.open_read(part.path) as file:
            verify_part(part, file, size)
        read_back += size
    return read_back


def _why_gone(runtime: Runtime, claim: Claim, attempt: str) -> str:
    """Return `, its files were removed on … by stage.keep` if the ledger records that, else nothing."""
    for entry in runtime.state.entries(claim.interval):
        if entry.kind is Kind.FILES_REMOVED and entry.attempt == attempt:
            return f", {removal_text(entry, runtime.config.rules.zone)}"
    return ""
