"""SQL databases behind Airflow connections: their hooks, and SQLite files.

A SQLite connection names its file as SQLAlchemy's URL does (`sqlite:////absolute/path.db`,
`sqlite:///relative.db`), or by the path alone in the field Host; `mode`, `cache`, `immutable`, `nolock` and `vfs` in
Extra are SQLite's URI parameters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from airflow_pipeline_provider.connectors.airflow_connections import bind_hook, get_connection
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.postgres.network import with_time_limits
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

BUSY_SECONDS = 10.0  # how long SQLite waits for another process's lock

_SQLITE_URI_PARAMETERS = ("mode", "cache", "immutable", "nolock", "vfs")


def sqlite_uri(path: str, **parameters: str) -> str:
    """Return the `file:` URI of a database file, relative to the working directory unless the path is absolute.

    Raises:
        ConfigError: It is a database in memory, which every connection would see as another one.
    """
    if not path or path.startswith(":memory:") or parameters.get("mode") == "memory":
        raise ConfigError(
            f"sqlite: expected the path of a file, got {path!r}: every connection would see another database"
        )
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"file:{quote(path)}{query}"


def sqlite_uri_of(connection: Any, *, mode: str) -> str:
    """Return the `file:` URI of an Airflow connection of type sqlite.

    `mode` (ro, rw, rwc) applies unless the connection's extra has one.
    """
    path = "/".join(part for part in (connection.host, connection.schema) if part)
    extra = connection.extra_dejson
    parameters = {key: str(extra[key]) for key in _SQLITE_URI_PARAMETERS if key in extra}
    try:
        return sqlite_uri(path, **{"mode": mode, **parameters})
    except ConfigError as error:
        raise ConfigError(f"connection {connection.conn_id!r}: {error.message}") from None


def open_sqlite(uri: str) -> sqlite3.Connection:
    """Open a connection that any thread may use; the caller begins its transactions."""
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def hook_of(connection: Any) -> Any:
    """Return the DB-API hook of an Airflow connection.

    PostgreSQL's gets time limits, and TLS to another machine, unless the connection's extra sets them.
    """
    conn_id = connection.conn_id
    if connection.conn_type in ("postgres", "postgresql"):  # direct: finding all hooks takes a second
        why = f"connection {conn_id!r} of type postgres"
        module = require("airflow.providers.postgres.hooks.postgres", "postgres", why)
        return module.PostgresHook(postgres_conn_id=conn_id, connection=with_time_limits(connection))
    hook = _hook_by_type(connection)
    if not callable(getattr(hook, "get_conn", None)) or not hasattr(hook, "placeholder"):
        raise ConfigError(
            f"connection {conn_id!r}: expected a database with a DB-API hook, "
            f"got the type {connection.conn_type!r} ({type(hook).__name__})"
        )
    hook._connection = connection  # DbApiHook keeps what it found
    return bind_hook(hook, connection)


def _hook_by_type(connection: Any) -> Any:
    from airflow.sdk.exceptions import AirflowException

    conn_id, kind = connection.conn_id, connection.conn_type
    package = f"apache-airflow-providers-{str(kind).replace('_', '-')}"
    try:
        return connection.get_hook()
    except AirflowException as error:
        raise FatalError(
            f"connection {conn_id!r}: no installed provider has a hook for its type {kind!r} ({error}): pip install "
            f"{package}, or correct conn_type"
        ) from error
    except ImportError as error:
        raise FatalError(
            f"connection {conn_id!r}: the hook for its type {kind!r} cannot be imported ({error}): pip install "
            f"{package} with its driver"
        ) from error


def plain_rows(connection: Any) -> Any:
    """Make a PostgreSQL connection use transactions and return tuples, whatever its extra is."""
    connection.autocommit = False
    if type(connection).__module__.startswith("psycopg2"):
        connection.cursor_factory = None
    else:
        from psycopg.rows import tuple_row

        connection.row_factory = tuple_row
    return connection


def opener(conn_id: str, *, sqlite_mode: str) -> tuple[str, Any, Callable[[], object]]:
    """Return type, hook and opening function of the database behind an Airflow connection.

    The type is the connection's ("postgres", "sqlite", "mysql", …); the hook is None for SQLite.
    """
    with database_errors(f"connection {conn_id!r}"):
        connection = get_connection(conn_id)
        if connection.conn_type == "sqlite":
            uri = sqlite_uri_of(connection, mode=sqlite_mode)
            return "sqlite", None, lambda: open_sqlite(uri)
        hook = hook_of(connection)
        if connection.conn_type in ("postgres", "postgresql"):
            return "postgres", hook, lambda: plain_rows(hook.get_conn())
        return connection.conn_type, hook, hook.get_conn
