"""Describe load and audit for OpenLineage, when its Airflow provider is installed and enabled.

Each connector names its dataset (`Connector.lineage_dataset`).  Only type, host, port, database, schema and account
of a connection are read: a login or a password never gets into a name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from airflow_pipeline_provider.connectors.base import Connector, LoadResult
from airflow_pipeline_provider.connectors.datasets import DatasetName
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Staged

logger = logging.getLogger(__name__)

_OWN_TYPES = {
    "RECORD_ID": "text",
    "EVENT_TIME": "timestamp",
    "_REST": "json",
    "TOKEN": "integer",
}  # of a view


@dataclass(frozen=True)
class Lineage:
    """One execution of load or audit; `counts` are row counts by name, only audit knows `source_rows`.

    `view` is the name of the typed view next to the target's table, None without one; `columns` are its columns, each
    with its type.
    """

    pipeline: str
    window_start: str
    window_end: str
    day: str
    token: int
    source: DatasetName | None
    target: DatasetName | None
    rows: int
    size_bytes: int | None = None
    files: int | None = None
    source_rows: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    view: DatasetName | None = None
    columns: tuple[tuple[str, str], ...] = ()


def is_wanted() -> bool:
    """Return whether the OpenLineage provider is installed and enabled."""
    try:
        if find_spec("airflow.providers.openlineage") is None:
            return False
    except ModuleNotFoundError:
        return False
    from airflow.providers.openlineage import conf

    return not conf.is_disabled()


def describe(runtime: Runtime, claim: Claim, token: int, rows: int, **more: Any) -> Lineage | None:
    """Describe what was moved; None without OpenLineage.  A dataset name that cannot be computed is None."""
    if not is_wanted():
        return None
    target = dataset_name(runtime.target)
    return Lineage(
        claim.pipeline_id,
        iso_utc(claim.interval.start),
        iso_utc(claim.interval.end),
        claim.day.isoformat(),
        token,
        dataset_name(runtime.source),
        target,
        rows,
        **more,
        **_typed_view(runtime, target),
    )


def _typed_view(runtime: Runtime, target: DatasetName | None) -> dict[str, Any]:
    """Return name and columns of the typed view; `{}` for a pipeline without one."""
    views = runtime.target.expected_views()
    if target is None or not views:
        return {}
    schema, dot, _ = target.name.rpartition(".")
    types = {column.name.upper(): str(column.type) for column in runtime.target.identity.columns}
    types = {**_OWN_TYPES, **types}
    columns = tuple((name, types[name.upper()]) for name in views[0].columns)
    return {"view": DatasetName(target.namespace, f"{schema}{dot}{views[0].name}"), "columns": columns}


def describe_load(runtime: Runtime, claim: Claim, staged: Staged, result: LoadResult) -> Lineage | None:
    """Describe a load, with the bytes and files of its manifest."""
    from airflow_pipeline_provider.phases.stage import read_manifest

    if not is_wanted():
        return None
    try:
        manifest = read_manifest(runtime, claim, staged)
    except PipelineError as error:  # the rows are loaded: an error in lineage must not fail the task
        logger.warning("no lineage of the load: %s", error)
        return None
    counts = {"staged": manifest.rows, "target": result.rows, "distinct": result.distinct_ids}
    more = {"size_bytes": manifest.size_bytes, "files": len(manifest.parts), "counts": counts}
    return describe(runtime, claim, staged.token, result.rows, **more)


def dataset_name(connector: Connector) -> DatasetName | None:
    """Return the name of a source or target; None, with a warning in the log, when it cannot be worked out."""
    try:
        return connector.lineage_dataset()
    except Exception as error:  # noqa: BLE001  (an error in lineage must not fail a phase that is done)
        logger.warning("no lineage of %s: %s", connector.options.type, error)
    return None


def operator_lineage(lineage: Lineage | None) -> Any:
    """Return the lineage in the OpenLineage provider's own type; None without lineage."""
    if lineage is None:
        return None
    from airflow_pipeline_provider.operators.lineage_facets import build

    return build(lineage)
