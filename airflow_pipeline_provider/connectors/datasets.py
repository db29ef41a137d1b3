"""Where an Airflow connection leads to, without credentials: for the comparison of sources and targets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_pipeline_provider.connectors.airflow_connections import get_connection


def place_of(conn_id: str) -> dict[str, Any]:
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


def with_file(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
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
