"""Airflow connections by id: the one place that knows where Airflow keeps them.

Inside a task (and in the api-server) `airflow.sdk` resolves them: environment, secrets backends, Airflow's API.  In a
plain process (the command line) that lookup stops at the environment, so the metadata database is asked through
`airflow.models`.  Nothing here is called while DAG files are parsed.

What is secret in a connection is never shown again: our own texts are cleaned by `observability.redaction`, the log
of a task by Airflow's masker, which learns here the other forms that a vendor's message may hold it in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.observability.redaction import is_secret, register_secret
from airflow_pipeline_provider.observability.secret_forms import forms_of


def get_connection(conn_id: str) -> Any:
    """The Airflow connection (`host`, `port`, `schema`, `login`, `password`, `extra_dejson`, `conn_type`).

    A connection that is nowhere defined is a FatalError naming its id, an API that does not answer a TransientError;
    secrets are never in the message, and are registered with `observability.redaction`.
    """
    connection = _find_connection(conn_id)
    _hide_secrets(connection)
    return connection


def _find_connection(conn_id: str) -> Any:
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


_environment = threading.Lock()


@contextmanager
def visible_to_hooks(conn_id: str | None) -> Iterator[None]:
    """Let hooks that look a connection up by themselves find it during the block.

    In a plain process (the command line) their look-up ends at the environment.  A connection that is kept elsewhere
    is put there for the block, which should be short, and taken away again: child processes inherit the environment.
    """
    if conn_id is None or _hooks_find(conn_id):
        yield
        return
    text, name = get_connection(conn_id).as_json(), f"AIRFLOW_CONN_{conn_id.upper()}"
    with _environment:
        before = os.environ.get(name)
        os.environ[name] = text
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def _hooks_find(conn_id: str) -> bool:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True


def hide(secret: str) -> None:
    """Mask the value, in every form it may have, in this package's texts and in the logs of Airflow's tasks."""
    from airflow.sdk.log import mask_secret

    register_secret(secret)
    for form in forms_of(secret):
        mask_secret(form)


def _hide_secrets(connection: Any) -> None:
    for secret in _secrets(connection):
        hide(secret)


def _secrets(connection: Any) -> Iterator[str]:
    """The password, alone and as a header has it after the login; those of the hosts' URLs; secret extras."""
    logins = [(connection.login, connection.password)]
    for host in (connection.host or "").split(","):
        try:
            url = urlsplit(host.strip())
        except ValueError:  # no URL: the connector says so
            continue
        logins.append((url.username and unquote(url.username), url.password and unquote(url.password)))
        if url.password:
            yield url.password
    for login, password in logins:
        if password:
            yield password
            yield f"{login or ''}:{password}"
    yield from _secret_texts(connection.extra_dejson)


def _secret_texts(value: Any, name: str = "", hidden: bool = False) -> Iterator[str]:
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
    """Does a task supervisor answer for this process?  Then the metadata database is out of bounds."""
    try:
        from airflow.sdk.execution_time import task_runner
    except ImportError:
        return False
    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None


def _from_metadata_database(conn_id: str) -> Any:
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowException
    from sqlalchemy.exc import SQLAlchemyError

    from airflow_pipeline_provider.connectors.metadata_database import check_metadata_database

    if not os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}"):
        # Airflow hides a broken metadata database behind "not defined"
        check_metadata_database(
            f"connection {conn_id!r} is not defined in the environment or a secrets backend"
        )
    try:
        return Connection.get_connection_from_secrets(conn_id)
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
