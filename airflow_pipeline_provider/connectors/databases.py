"""SQL databases behind Airflow connections: hooks, SQLite files, and one place that maps vendors' errors.

A SQLite connection names its file as SQLAlchemy's URL does (`sqlite:////absolute/path.db`,
`sqlite:///relative.db`), or by the path alone in the field Host; `mode`, `cache`, `immutable`, `nolock` and `vfs` in
Extra are SQLite's URI parameters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.postgres.network import with_time_limits
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    DataError,
    FatalError,
    PipelineError,
    TransientError,
)
from airflow_pipeline_provider.observability.redaction import redact_text

BUSY_SECONDS = 10.0  # how long SQLite waits for another process's lock before it gives up

_SQLITE_URI_PARAMETERS = ("mode", "cache", "immutable", "nolock", "vfs")


# --- connections


def sqlite_uri(path: str, **parameters: str) -> str:
    """`file:` URI of a database file, relative to the working directory unless the path is absolute.

    A database in memory is a ConfigError: every process would see another one.
    """
    if not path or path.startswith(":memory:") or parameters.get("mode") == "memory":
        raise ConfigError(
            f"sqlite: expected the path of a file, got {path!r}: every connection would see another database"
        )
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"file:{quote(path)}{query}"


def sqlite_uri_of(connection: Any, *, mode: str) -> str:
    """The `file:` URI of an Airflow connection of type sqlite; `mode` (ro, rw, rwc) unless its extra has one."""
    path = "/".join(part for part in (connection.host, connection.schema) if part)
    extra = connection.extra_dejson
    parameters = {key: str(extra[key]) for key in _SQLITE_URI_PARAMETERS if key in extra}
    try:
        return sqlite_uri(path, **{"mode": mode, **parameters})
    except ConfigError as error:
        raise ConfigError(f"connection {connection.conn_id!r}: {error.message}") from None


def open_sqlite(uri: str) -> sqlite3.Connection:
    """A connection that any thread may use, without transactions of its own (`BEGIN` is the caller's)."""
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def hook_of(connection: Any) -> Any:
    """The DB-API hook of an Airflow connection, bound to it (a hook's own lookup fails in a plain process).

    PostgreSQL's gets time-outs, and TLS to another machine, where the connection's extra has none.
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
    hook._connection = connection
    hook.get_connection = lambda _conn_id: connection
    return hook


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
    """A PostgreSQL connection with transactions and rows as tuples, whatever the Airflow connection's extra says."""
    connection.autocommit = False
    if type(connection).__module__.startswith("psycopg2"):
        connection.cursor_factory = None
    else:
        from psycopg.rows import tuple_row

        connection.row_factory = tuple_row
    return connection


def opener(conn_id: str, *, sqlite_mode: str) -> tuple[str, Any, Callable[[], Any]]:
    """(dialect, hook or None for SQLite, function that opens a DB-API connection) of an Airflow connection.

    The dialect is the connection's type ("postgres", "sqlite", "mysql", …).
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


# --- errors

# connection, rollback, resources, lock, intervention, system
_TRANSIENT_STATES = ("08", "40", "53", "55", "57", "58")
_TIMED_OUT = ("25P03", "25P04")  # the server ended a transaction that idled or took too long
_DATA_STATES = ("21", "22", "23")
_FATAL_WORDS = (
    "authentication failed",
    "pg_hba.conf",
    "permission denied",
    "access denied",
    "not authorized",
    "does not exist",
    "no such table",
    "no such column",
    "unable to open database file",
    "readonly database",
    "not a database",
    "malformed",
    "syntax error",
    "unknown hook type",
    "does not support ssl",
)
_ADVICE: dict[type[PipelineError], str] = {
    TransientError: "the next try may succeed",
    FatalError: "correct the name, the permission or the connection",
    DataError: "look at the data",
}


def database_error(error: BaseException, doing: str) -> PipelineError | None:
    """The PipelineError for a vendor's exception (SQLAlchemy's are unwrapped); None for what no database raised."""
    error = getattr(error, "orig", None) or error
    if isinstance(error, ImportError):
        return FatalError(f"{doing}: the database's driver cannot be imported ({error}): install it")
    names = {cls.__name__ for cls in type(error).__mro__}
    if not names & {
        "Error",
        "DatabaseError",
        "InterfaceError",
        "SQLAlchemyError",
        "AirflowException",
        "OSError",
    }:
        return None
    primary = getattr(
        getattr(error, "diag", None), "message_primary", None
    )  # without the statement and its caret
    text = redact_text(" ".join(str(primary or error).split()))
    kind = _kind(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None), text.lower(), names)
    shown = text if len(text) <= 400 else f"{text[:397]}..."
    return kind(f"{doing}: the database answered {shown!r}; {_advice(kind, text.lower())}")


def _advice(kind: type[PipelineError], text: str) -> str:
    if "does not support ssl" in text:
        return 'give the server TLS, or, in a trusted network, set {"sslmode": "disable"} in the connection\'s extra'
    return _ADVICE[kind]


def _kind(state: str | None, text: str, names: set[str]) -> type[PipelineError]:
    if state:
        if state.startswith(_TRANSIENT_STATES) or state in _TIMED_OUT:
            return TransientError
        return DataError if state.startswith(_DATA_STATES) else FatalError
    if any(words in text for words in _FATAL_WORDS):
        return FatalError
    if "decode to utf-8" in text or names & {"DataError", "IntegrityError"}:
        return DataError
    return TransientError if names & {"OperationalError", "InterfaceError", "OSError"} else FatalError


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Maps what a database raises inside the block; `doing` begins the sentence ("state of pipeline flights")."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        mapped = database_error(error, doing)
        if mapped is None:
            raise
        raise mapped from error
