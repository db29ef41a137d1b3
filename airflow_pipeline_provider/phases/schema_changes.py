"""Compare the fields of a window's documents with those before, and refuse the commit where `contract` is fail.

A commit records the hash of the known fields, the changes, and the fields themselves unless a commit of the days
before records them already.  So the newest commits before a window suffice to know what was there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from airflow_pipeline_provider.core.columns import Contract
from airflow_pipeline_provider.core.command_line import name_of, reprocess, shell_line
from airflow_pipeline_provider.core.drift import (
    FieldSet,
    SchemaChanges,
    compare,
    detail_of,
    known_after,
    set_in,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.escaping import visible
from airflow_pipeline_provider.exceptions import DataError, FatalError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import find_manifest, read_manifest
from airflow_pipeline_provider.phases.values import Claim, Staged

logger = logging.getLogger(__name__)

LOOK_BACK = (timedelta(hours=3), timedelta(days=2), timedelta(days=40))
"""How far before a window the known fields are searched for: shortest first, so that short windows read few entries.

After a longer pause no field is known, as for a new pipeline.
"""
LONGEST_REASON = 300  # characters of why values were not counted


def judge_fields(runtime: Runtime, claim: Claim, staged: Staged) -> dict[str, Any]:
    """Return what the commit records of the window's fields, `{}` without a contract.

    Raises:
        DataError: The documents changed in a way that has the level fail.
    """
    contract = runtime.config.contract
    if contract is None:
        return {}
    written = [entry.token for entry in runtime.state.entries(claim.interval) if entry.kind is Kind.COMMITTED]
    if staged.token in written:  # an earlier try committed it and crashed: its commit stays as it is
        return {}
    now = _fields_of(runtime, claim, staged)
    before, near = _known_before(runtime, claim.interval)
    columns = runtime.target.identity.columns
    found = SchemaChanges() if now is None else compare(now, before, columns)
    if contract.uncastable != "ignore":
        uncastable, not_counted = _uncastable(runtime, claim.interval, staged.token, contract)
        found = replace(found, uncastable=uncastable, not_counted=not_counted)
    found = found.by_level(contract, "warn", "fail")
    if found:
        metrics.count(metrics.SCHEMA_CHANGES, found.count, pipeline=runtime.config.pipeline_id)
    known = None if now is None else known_after(before, now)
    if failing := found.by_level(contract, "fail"):
        detail = detail_of(found, known, now, whole=False)
        raise DataError(_refusal(runtime, claim.interval, failing), detail={"fields": detail})
    for sentence in found.sentences():
        logger.warning("documents of the window: %s", visible(sentence))
    detail = detail_of(found, known, now, whole=known is not None and known.hash not in near)
    return {"fields": detail} if detail else {}


def _uncastable(
    runtime: Runtime, window: Interval, token: int, contract: Contract
) -> tuple[dict[str, tuple[int, int]], str | None]:
    """Return what the target counts, and why it could not; then the contract only warns, and no load needs it."""
    try:
        counts = runtime.target.count_uncastable(window, token)
    except (DataError, FatalError) as error:  # others are tried again
        if contract.uncastable == "fail":
            raise
        return {}, visible(redact_values(error.message))[:LONGEST_REASON]
    return {name: (values, wrong) for name, (values, wrong) in counts.items() if wrong}, None


def _fields_of(runtime: Runtime, claim: Claim, staged: Staged) -> FieldSet | None:
    """Return the fields that the window's manifest lists; None where they were not gathered or it is gone."""
    if staged.path is not None:
        return read_manifest(runtime, claim, staged).fields
    found = find_manifest(runtime, claim, staged.sha256)  # an earlier run loaded it
    if found is None:
        logger.warning("no manifest of token %d is left: the fields are not compared", staged.token)
        return None
    return found[1].fields


def _known_before(runtime: Runtime, window: Interval) -> tuple[FieldSet | None, set[str]]:
    """Return the fields known before the window, and the hashes of the sets that are written near it.

    A set that only the longest search finds counts as far: later windows need it after it is too old to be found.
    """
    for length in LOOK_BACK:
        entries = runtime.state.entries(Interval(window.start - length, window.start))
        commits = [entry for entry in _with_fields(entries) if entry.interval.end <= window.start]
        sets = {found.hash: found for entry in commits if (found := set_in(entry.detail)) is not None}
        for entry in sorted(commits, key=lambda one: (one.interval.end, one.token or 0), reverse=True):
            if (known := sets.get(entry.detail["fields"]["hash"])) is not None:
                return known, set() if length == LOOK_BACK[-1] else set(sets)
    return None, set()


def _with_fields(entries: Sequence[Entry]) -> Iterator[Entry]:
    return (
        entry
        for entry in entries
        if entry.kind is Kind.COMMITTED and "hash" in entry.detail.get("fields", {})
    )


def _refusal(runtime: Runtime, window: Interval, changes: SchemaChanges) -> str:
    settings = [
        f"contract.{name}"
        for name, found in (
            ("new_field", changes.new),
            ("missing_field", changes.missing),
            ("type_change", changes.changed),
            ("uncastable", changes.uncastable),
        )
        if found
    ]
    command = reprocess(name_of(runtime.config.pipeline_id), window, accept_changes=True)
    return (
        f"the documents changed: {visible('; '.join(changes.sentences()))} ({', '.join(settings)}: fail). The window "
        "is loaded and not committed: review the source, then change `columns` or `contract` in the pipeline file, "
        f"or accept the change for this window: `{shell_line(command)}`"
    )
