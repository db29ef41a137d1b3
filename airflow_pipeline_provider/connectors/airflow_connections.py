"""Airflow connections by id: the one place that knows where Airflow keeps them.

Inside a task (and in the api-server) `airflow.sdk` resolves them: environment, secrets backends, Airflow's API.  In a
plain process (the command line) that lookup stops at the environment, so the metadata database is asked through
`airflow.models`.  Nothing here is called while DAG files are parsed.
"""

from __future__ import annotations

import os
from typing import Any

from airflow_pipeline_provider.exceptions import FatalError, TransientError


def get_connection(conn_id: str) -> Any:
    """The Airflow connection (`host`, `port`, `schema`, `login`, `password`, `extra_dejson`, `conn_type`).

    A connection that is nowhere defined is a FatalError naming its id, an API that does not answer a TransientError;
    secrets are never in the message.
    """
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

    try:
        return Connection.get_connection_from_secrets(conn_id)
    except (AirflowException, SQLAlchemyError, ValueError):
        # Airflow hides a broken metadata database behind "not defined"; both have the same way out
        raise FatalError(_missing(conn_id, " or in the metadata database")) from None


def _missing(conn_id: str, place: str) -> str:
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if os.environ.get(variable):
        return (
            f"connection {conn_id!r}: {variable} is set, but cannot be read as a connection: expected JSON such as "
            '{"conn_type": "…", "host": "…", "login": "…", "password": "…"}, or a URI'
        )
    return (
        f"connection {conn_id!r} is not defined in the environment, a secrets backend{place}: add it in Airflow "
        f"(Admin > Connections), or set {variable}"
    )
