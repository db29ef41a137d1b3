"""Read Airflow connections by id, wherever Airflow keeps them.

Inside a task (and in the api-server) `airflow.sdk` resolves them: environment, secrets backends, Airflow's API.  In a
plain process (the command line) that lookup stops at the environment, so the metadata database is asked through
`airflow.models`.  Nothing here is called while DAG files are parsed.

Secrets of a connection are masked from then on: `observability.redaction` cleans this package's texts, and Airflow's
masker the log of a task, in every form in which a vendor's message may hold them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from airflow_pipeline_provider.connectors.database_errors import database_error
from airflow_pipeline_provider.connectors.environment_connections import read_environment
from airflow_pipeline_provider.exceptions import FatalError, PipelineError, TransientError
from airflow_pipeline_provider.observability.redaction import (
    forms_of,
    is_secret,
    redact_text,
    register_secret,
)

T = TypeVar("T")
_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"
_team: ContextVar[str | None] = ContextVar("team", default=None)


def get_connection(conn_id: str) -> Any:
    """Return the Airflow connection (`host`, `port`, `schema`, `login`, `password`, `extra_dejson`, `conn_type`).

    Raises:
        FatalError: The connection is not defined, or cannot be read as one.
        TransientError: Airflow's API does not answer.
    """
    if _team.get() is None:
        plain = read_environment(conn_id)
        if plain is not None and not any(_secrets(plain)):
            return plain
    connection = _find_connection(conn_id)
    _hide_secrets(connection)
    return connection


@contextmanager
def as_team(team: str | None) -> Iterator[None]:
    """Look connections up for this team of a multi-team Airflow in the block, in a process that is no task."""
    token = _team.set(team)
    try:
        yield
    finally:
        _team.reset(token)


def _find_connection(conn_id: str) -> Any:
    if _team.get() is not None:
        return _from_metadata_database(conn_id, team_name=_team.get())
    try:
        from airflow.sdk import BaseHook
        from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
    except ImportError as error:
        raise FatalError(
            f"connection {conn_id!r} cannot be read: Airflow is not installed ({error})"
        ) from error

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if _in_task():
            raise FatalError(_missing(conn_id, "")) from None
    except AirflowRuntimeError as error:
        raise TransientError(f"Airflow's API did not answer for connection {conn_id!r}: {error}") from error
    return _from_metadata_database(conn_id)


def bind_hook(hook: T, connection: object) -> T:
    """Make an Airflow hook use this connection: its own lookup fails in a plain process."""
    hook.get_connection = lambda _conn_id: connection  # type: ignore[attr-defined]
    return hook


_environment = threading.Lock()


@contextmanager
def metadata_for_hooks() -> Iterator[None]:
    """Let hooks that are created out of reach find connections of the metadata database during the block.

    Airflow reads that database in processes that are marked as its servers, as its own commands mark themselves.
    """
    if _in_task():
        yield
        return
    with _environment:
        before = os.environ.get(_CONTEXT)
        os.environ[_CONTEXT] = "server"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_CONTEXT]
            else:
                os.environ[_CONTEXT] = before


_hidden: set[tuple[int, str]] = set()


def hide(secret: str) -> None:
    """Mask the value, in every form it may have, in this package's texts and in the logs of Airflow's tasks."""
    register_secret(secret)
    if (os.getpid(), secret) in _hidden:  # each form is a message to the task's supervisor
        return
    from airflow.sdk.log import mask_secret

    for form in forms_of(secret):
        mask_secret(form)
    _hidden.add((os.getpid(), secret))


def _hide_secrets(connection: object) -> None:
    for secret in _secrets(connection):
        hide(secret)


def _secrets(connection: Any) -> Iterator[str]:
    """Yield the password, also as a header has it after the login, those of the hosts' URLs, and secret extras."""
    logins = [(connection.login, connection.password)]
    for host in (connection.host or "").split(","):
        try:
            url = urlsplit(host.strip())
        except ValueError:  # not a URL: the connector reports it
            continue
        logins.append((url.username and unquote(url.username), url.password and unquote(url.password)))
        if url.password:
            yield url.password
    for login, password in logins:
        if password:
            yield password
            yield f"{login or ''}:{password}"
    yield from _secret_texts(connection.extra_dejson)


def _secret_texts(value: object, name: str = "", hidden: bool = False) -> Iterator[str]:
    hidden = hidden or is_secret(name, value)
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _secret_texts(child, str(key), hidden)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _secret_texts(child, name, hidden)
        if hidden and all(isinstance(child, str) for child in value):
            yield ":".join(value)  # an API key as (id, key)
    elif hidden and isinstance(value, str):
        yield value


def _in_task() -> bool:
    """Return whether a task supervisor answers for this process; it may not use the metadata database then."""
    try:
        from airflow.sdk.execution_time import task_runner
    except ImportError:
        return False
    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def _from_metadata_database(conn_id: str, **team: Any) -> Any:
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowException
    from sqlalchemy.exc import SQLAlchemyError

    if not os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}"):
        # Airflow hides a broken metadata database behind "not defined"
        check_metadata_database(
            f"connection {conn_id!r} is not defined in the environment or a secrets backend"
        )
    try:
        return Connection.get_connection_from_secrets(conn_id, **team)
    except (AirflowException, SQLAlchemyError, ValueError):
        raise FatalError(_missing(conn_id, " or in the metadata database")) from None


def _missing(conn_id: str, place: str) -> str:
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if os.environ.get(variable):
        return (
            f"connection {conn_id!r}: {variable} is set, but cannot be read as a connection: expected JSON such as "
            '{"conn_type": "…", "host": "…", "login": "…", "password": "…"}, or a URI (with several hosts: JSON)'
        )
    return (
        f"connection {conn_id!r} is not defined in the environment, a secrets backend{place}: add it in Airflow "
        f"(Admin > Connections), or set {variable}"
    )


_MISSING = ("no such table", "no such column", "doesn't exist", "unknown column")
_MISSING_CLASSES = {"UndefinedTable", "UndefinedColumn"}


@contextmanager
def metadata_errors(doing: str) -> Iterator[None]:
    """Raise what the database raises in the block as an error of this package.

    `doing` is the beginning of its message ("variable 'x' cannot be read").

    A database without Airflow's tables is a FatalError that names `airflow db migrate`.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise _mapped(error, doing) from error


def _mapped(error: Any, doing: str) -> PipelineError:
    cause = getattr(error, "orig", None) or error
    text = redact_text(" ".join(str(cause).split()))[:300]
    classes = {cls.__name__ for cls in type(cause).__mro__}
    if classes & _MISSING_CLASSES or any(words in text.lower() for words in _MISSING):
        return FatalError(
            f"{doing}: Airflow's metadata database lacks a table or column ({text}): run `airflow db migrate` with "
            "the same AIRFLOW_HOME and configuration"
        )
    doing = f"{doing}: Airflow's metadata database"
    return database_error(error, doing) or TransientError(
        f"{doing} answered {text!r}; the next try may succeed"
    )


def check_metadata_database(doing: str) -> None:
    """Raise the PipelineError of a metadata database that cannot be used.

    Airflow itself logs a traceback for a lookup that fails, and then answers as if nothing had been defined.
    """
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with metadata_errors(doing), create_session(scoped=False) as session:
        session.execute(select(Connection.conn_id).limit(1))
