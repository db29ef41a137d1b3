"""Keep documents of different `source.fields` and `source.redact` apart, and record which ones a load has.

The rules of a pipeline file may change between the tasks of a run. Files that were written under other rules are
refused, so no load holds documents of both, and no document from before a rule reaches the target after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_pipeline_provider.core.body_rules import KEY, Rewritten, named
from airflow_pipeline_provider.core.command_line import again
from airflow_pipeline_provider.core.ledger import Entry, entry_of_load
from airflow_pipeline_provider.envelope.manifest import Manifest, Receipt
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.runtime import Runtime


def check_rules(runtime: Runtime, files: Receipt | Manifest, what: str) -> None:
    """Raise DataError for files that were written under other rules than those of the pipeline file now."""
    expected: Rewritten | None = runtime.source.rewritten()
    if files.rewritten != expected:
        raise DataError(
            f"{what} was extracted with other rules of source.fields and source.redact than the pipeline file has: "
            f"expected documents that are {named(expected)}, got {named(files.rewritten)}; {again('extract')}"
        )


def loaded_under(entries: Iterable[Entry], token: int, sha256: str) -> dict[str, Any] | None:
    """Return the detail that load recorded about the rules, {} for documents of the source; None without a record."""
    load = entry_of_load(entries, token, sha256)
    if load is None:
        return None
    return {KEY: load.detail[KEY]} if KEY in load.detail else {}


def follows_rules(runtime: Runtime, entries: Iterable[Entry], token: int, sha256: str) -> bool:
    """Return whether a load that is in the target, but not audited, has the documents that the file asks for now.

    A load without a record in the ledger follows them only if there are none.
    """
    expected = runtime.source.rewritten()
    found = loaded_under(entries, token, sha256)
    return (expected is None) if found is None else found == (expected.detail() if expected else {})
