"""Names of servers and datasets, without credentials: to compare sources and targets, and for OpenLineage.

OpenLineage names a dataset by namespace and name: `elasticsearch://host:port`, `postgres://host:port`,
`snowflake://account`, `sqlite:/path`, `duckdb:/path`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_pipeline_provider.connectors.airflow_connections import get_connection

_PORTS = {"elasticsearch": 9200, "postgres": 5432, "mysql": 3306, "mssql": 1433}


class DatasetName(NamedTuple):
    """A dataset as OpenLineage names it."""

    namespace: str
    name: str


def place_of(conn_id: str) -> dict[str, object]:
    """Return `dialect`, `server` and `database` of a connection; None for what it does not name.

    Of SQLite the folder is the server and the file the database, as they are written, since a moved folder is the
    same database; `file` is where they lead to.
    """
    connection = get_connection(conn_id)
    extra = connection.extra_dejson
    if connection.conn_type == "sqlite":
        path = Path("/".join(part for part in (connection.host, connection.schema) if part))
        return {
            "dialect": "sqlite",
            "server": str(path.parent),
            "database": path.name,
            "file": os.path.realpath(path),
        }
    if connection.conn_type == "snowflake":
        account = extra.get("account") or extra.get("extra__snowflake__account") or connection.host
        database = extra.get("database") or extra.get("extra__snowflake__database")
        return {
            "dialect": "snowflake",
            "server": account and str(account).lower(),
            "database": database and str(database).upper(),
            "schema": connection.schema and connection.schema.upper(),
        }
    dialect = "postgres" if connection.conn_type == "postgresql" else connection.conn_type
    return {"dialect": dialect, "server": _hosts(connection), "database": connection.schema or None}


def with_file(recorded: Mapping[str, Any], now: Mapping[str, object]) -> dict[str, object]:
    """Return a recorded dataset with the `file` that it has if `now` has one: older versions did not record it."""
    dataset = dict(recorded)
    if "file" in dataset or "file" not in now or dataset.get("type") != now.get("type"):
        return dataset
    names = [dataset[key] for key in ("path", "server", "database") if dataset.get(key)]
    return {**dataset, "file": os.path.realpath(Path(*names))} if names else dataset


def _hosts(connection: Any) -> str | None:
    """Return `host:port` of each host, sorted, without scheme, login and password."""
    hosts = []
    for text in (connection.host or "").split(","):
        host = text.strip()
        if not host:
            continue
        try:
            url = urlsplit(host if "://" in host else f"//{host}")
            port = url.port or connection.port
        except ValueError:  # the connector reports what is wrong with it
            return None
        hosts.append(f"{url.hostname or host}:{port}" if port else url.hostname or host)
    return ",".join(sorted(hosts)).lower() or None


def table_dataset(conn_id: str, table: str) -> DatasetName:
    """Return the OpenLineage name of a table behind an Airflow connection."""
    connection = get_connection(conn_id)
    kind = {"postgresql": "postgres"}.get(connection.conn_type, connection.conn_type)
    extra = connection.extra_dejson
    if kind == "snowflake":
        account = extra.get("account") or extra.get("extra__snowflake__account") or connection.host
        parents = [extra.get("database") or "", connection.schema or extra.get("schema") or ""]
        return DatasetName(f"snowflake://{account}", with_parents(table, parents, 3))
    if kind == "sqlite":
        path = "/".join(part for part in (connection.host, connection.schema) if part)
        return DatasetName(f"sqlite:{path}", table)
    parents = [connection.schema or ""] + (["public"] if kind == "postgres" else [])
    return DatasetName(f"{kind}://{authority(connection)}", with_parents(table, parents, len(parents) + 1))


def authority(connection: Any) -> str:
    """Return host:port of the first host; whatever else is in the field, such as credentials, is left out."""
    first = (connection.host or "localhost").split(",")[0].strip()
    url = urlsplit(first if "://" in first else f"//{first}")
    port = url.port or connection.port or _PORTS.get(connection.conn_type)
    return f"{url.hostname or 'localhost'}:{port}" if port else (url.hostname or "localhost")


def with_parents(table: str, parents: list[str], levels: int) -> str:
    """Return the table's name with as many of the parents in front as make it have so many levels."""
    table = table.replace('"', "")
    missing = levels - (table.count(".") + 1)
    known = [parent for parent in parents[:missing] if parent] if missing > 0 else []
    return ".".join([*known, table])
