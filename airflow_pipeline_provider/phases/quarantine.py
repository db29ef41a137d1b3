"""Who counts a committed window again must know how many of the source's rows were kept from the target."""

from __future__ import annotations

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import find_manifest


def quarantined_inside(runtime: Runtime, commit: Entry, piece: Interval) -> int | None:
    """Return the rows that this commit quarantined in the piece, a part of its interval.

    The ledger says it for the whole interval; for a part of it the quarantined rows' times are read in the stage.
    None when they are gone from there.
    """
    whole: int = commit.detail.get("quarantined", 0)
    if not whole or piece == commit.interval:
        return whole
    from airflow_pipeline_provider.envelope.parts import count_rows

    found = find_manifest(runtime, runtime.window(commit.interval), commit.manifest or "")
    if found is None or any(runtime.stage.size(part.path) is None for part in found[1].quarantined):
        return None
    return count_rows(found[1].quarantined, [piece], runtime.stage.open_read)[0]
