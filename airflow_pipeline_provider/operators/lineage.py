"""Describe load and audit for OpenLineage, when its Airflow provider is installed and enabled.

Datasets are named by OpenLineage's naming rules: `elasticsearch://host:port`, `postgres://host:port`,
`snowflake://account`, `sqlite:/path`, `duckdb:/path`.  Of a connection only its type, host, port, database, schema
and account are read: a name never contains a login or a password.

A custom connector names its dataset with a method `lineage_dataset() -> tuple[str, str]` (namespace, name).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.base import LoadResult
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Staged

logger = logging.getLogger(__name__)

_PORTS = {"elasticsearch": 9200, "postgres": 5432, "mysql": 3306, "mssql": 1433}


class DatasetName(NamedTuple):
    """Name of a dataset in OpenLineage."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Lineage:
    """One execution of load or audit; `counts` are row counts by name, only audit knows `source_rows`."""

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
    window = claim.window
    return Lineage(
        window.pipeline_id,
        iso_utc(window.interval.start),
        iso_utc(window.interval.end),
        window.day.isoformat(),
        token,
        dataset_name(runtime.config, "source", runtime.source),
        dataset_name(runtime.config, "target", runtime.target),
        rows,
        **more,
    )


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


def dataset_name(config: PipelineConfig, kind: str, connector: Any = None) -> DatasetName | None:
    """Return the dataset of the pipeline's source or target; None for a connector that does not name one."""
    options = getattr(config, kind)
    try:
        if hasattr(connector, "lineage_dataset"):
            return DatasetName(*connector.lineage_dataset())
        if options.type == "duckdb":
            return DatasetName(f"duckdb:{options.path}", _with_parents(options.table, ["main"], 2))
        if options.type == "elasticsearch":
            connection = get_connection(options.conn_id)
            return DatasetName(f"elasticsearch://{_authority(connection)}", ",".join(options.index))
        if hasattr(options, "conn_id"):
            table = getattr(options, "table", None) or getattr(options, "name", None)
            return _table(get_connection(options.conn_id), table) if table else None
    except Exception as error:  # noqa: BLE001  (an error in lineage must not fail a phase that is done)
        logger.warning("no lineage of the %s %s: %s", kind, options.type, error)
    return None


def _table(connection: Any, table: str) -> DatasetName:
    kind = {"postgresql": "postgres"}.get(connection.conn_type, connection.conn_type)
    extra = connection.extra_dejson
    if kind == "snowflake":
        account = extra.get("account") or extra.get("extra__snowflake__account") or connection.host
        parents = [extra.get("database") or "", connection.schema or extra.get("schema") or ""]
        return DatasetName(f"snowflake://{account}", _with_parents(table, parents, 3))
    if kind == "sqlite":
        path = "/".join(part for part in (connection.host, connection.schema) if part)
        return DatasetName(f"sqlite:{path}", table)
    parents = [connection.schema or ""] + (["public"] if kind == "postgres" else [])
    return DatasetName(f"{kind}://{_authority(connection)}", _with_parents(table, parents, len(parents) + 1))


def _authority(connection: Any) -> str:
    """Return host:port of the first host, without the rest of the field (it may hold credentials)."""
    first = (connection.host or "localhost").split(",")[0].strip()
    url = urlsplit(first if "://" in first else f"//{first}")
    port = url.port or connection.port or _PORTS.get(connection.conn_type)
    return f"{url.hostname or 'localhost'}:{port}" if port else (url.hostname or "localhost")


def _with_parents(table: str, parents: list[str], levels: int) -> str:
    """Prefix `table` with as many of the parents as it needs to have `levels` parts."""
    table = table.replace('"', "")
    missing = levels - (table.count(".") + 1)
    known = [parent for parent in parents[:missing] if parent] if missing > 0 else []
    return ".".join([*known, table])


def operator_lineage(lineage: Lineage | None) -> Any:
    """Return the lineage in the OpenLineage provider's own type; None without lineage."""
    if lineage is None:
        return None
    from airflow_pipeline_provider.operators.lineage_facets import build

    return build(lineage)
