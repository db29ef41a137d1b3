"""Phase 5: `replacing(token)` in the ledger, then one transaction in the target.

A crash before the transaction's end leaves the target as it was; after it, the commit row in the target says so:
the same token and manifest again is `already`, and a run that comes later finds the window loaded but not audited.
"""

from __future__ import annotations

from airflow_pipeline_provider.connectors.base import LoadResult
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.run_phase import run_phase
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import read_manifest
from airflow_pipeline_provider.phases.values import Claim, Staged


def load(runtime: Runtime, claim: Claim, staged: Staged) -> LoadResult:
    """Bring exactly the manifest's rows into the target, replacing what stood in the window."""
    with run_phase(runtime, "load", claim, staged.attempt) as phase:
        manifest = read_manifest(runtime, staged)
        runtime.target.prepare()
        reach("load.prepared")
        _check_policies(runtime, claim, manifest)
        phase.check_lease()
        runtime.state.append(
            ledger.Entry(
                ledger.Kind.REPLACING,
                claim.window.interval,
                runtime.clock(),
                token=staged.token,
                attempt=staged.attempt,
                run=claim.run,
                rows=manifest.rows,
                manifest=staged.sha256,
            )
        )
        reach("load.recorded")
        result = runtime.target.load(manifest, runtime.stage)
        reach("load.committed")
        phase.counts(rows=result.rows, distinct=result.distinct_ids, token=staged.token)
        return result


def _check_policies(runtime: Runtime, claim: Claim, manifest: Manifest) -> None:
    """Decide on empty and shrunken windows before anything changes."""
    audit = runtime.config.audit
    if manifest.rows == 0 and audit.on_empty == "fail":
        raise DataError(
            "the source has no row in this window and audit.on_empty is 'fail': look at the source, "
            "or set audit.on_empty to commit"
        )
    if audit.on_shrink == "accept" or not _is_committed(runtime, claim):
        return
    before = runtime.target.count(claim.window.interval).rows
    if manifest.rows < before:
        raise DataError(
            f"the target holds {before} rows of this committed window and the source now gives {manifest.rows}: "
            "nothing was changed, since retention at the source must not erase the warehouse; "
            "set audit.on_shrink to accept if the rows are really to go"
        )


def _is_committed(runtime: Runtime, claim: Claim) -> bool:
    """By the ledger; or by a load that the ledger does not know, since the state was lost: nobody can say that it
    was not audited."""
    interval = claim.window.interval
    entries = runtime.state.entries(interval)
    known = {entry.token for entry in entries}
    return bool(ledger.committed(entries)) or any(
        row.token not in known for row in runtime.target.commits(interval)
    )
