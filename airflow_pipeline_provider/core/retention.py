"""What the ledger records of part files that `stage.keep` removed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo

from airflow_pipeline_provider.core.days import in_zone
from airflow_pipeline_provider.core.ledger import Entry, Kind


def removal_of(entries: Iterable[Entry], manifest: str | None) -> Entry | None:
    """Return the entry that records the removal of this manifest's part files, None if they were not removed."""
    for entry in entries:
        if entry.kind is Kind.FILES_REMOVED and entry.manifest == manifest is not None:
            return entry
    return None


def removal_text(entry: Entry, zone: tzinfo) -> str:
    """Return `its files were removed on 2013-12-05 by stage.keep (30d)`."""
    keep = entry.detail.get("keep")
    how_long = f" ({keep})" if keep else ""
    return f"its files were removed on {in_zone(entry.at, zone):%Y-%m-%d} by stage.keep{how_long}"
