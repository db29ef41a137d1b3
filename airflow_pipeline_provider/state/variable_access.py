"""Read and write Airflow Variables in any process.

A task uses `airflow.sdk`, which calls Airflow's API; other processes (api-server, command line) use `airflow.models`,
which reads the metadata database: there `airflow.sdk` would silently return the default.  Both report a failed lookup
as "not defined"; a state that is treated as empty would start again, so "not defined" is confirmed first.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

from airflow_pipeline_provider.connectors.airflow_connections import metadata_errors
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, TransientError

KEY_LENGTH = 250  # what Airflow's table takes


class VariableAccess(Protocol):
    """Variables as texts by key."""

    def get(self, key: str) -> str | None:
        """Return the text, or None when the variable is not defined."""

    def set(self, key: str, value: str) -> None:
        """Define or overwrite the variable."""


class AirflowVariables:
    """Airflow's Variables.

    Raises ConfigError for an invalid key, TransientError when Airflow does not answer, FatalError when it refuses.
    """

    def get(self, key: str) -> str | None:
        check_key(key)
        return _sdk_get(key) if _supervisor() is not None else _metadata_get(key)

    def set(self, key: str, value: str) -> None:
        check_key(key)
        if _supervisor() is not None:
            _sdk_set(key, value)
        else:
            _metadata_set(key, value)


def check_key(key: str) -> None:
    """Raise ConfigError when the environment shadows the variable, or Airflow cannot store its name."""
    shadow = f"AIRFLOW_VAR_{key.upper()}"
    if shadow in os.environ:
        raise ConfigError(
            f"variable {key!r} is shadowed by the environment variable {shadow}, so what is written would never be "
            "read: remove it from the environment, or set another state.prefix"
        )
    if len(key) > KEY_LENGTH:
        raise ConfigError(
            f"variable {key!r} has {len(key)} characters, and Airflow accepts at most {KEY_LENGTH}: "
            "shorten pipeline_id or state.prefix"
        )


def _supervisor() -> Any:
    """Return what answers a task's requests, or None outside of a task."""
    return getattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS", None)


def _unanswered(key: str, doing: str, error: object) -> TransientError:
    return TransientError(f"variable {key!r} could not be {doing}: {error}; the next try may succeed")


# --- in a task


def _sdk_get(key: str) -> str | None:
    from airflow.sdk import Variable
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        value = Variable.get(key, default=None)
    except AirflowRuntimeError as error:
        raise _unanswered(key, "read", error) from error
    except PermissionError as error:
        raise FatalError(f"variable {key!r} may not be read by this task: {error}") from error
    return _confirmed(key) if value is None else str(value)


def _confirmed(key: str) -> str | None:
    """Return None when Airflow confirms that the variable is not defined, or the value that a task has just set."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

    supervisor = _supervisor()
    if supervisor is None:
        raise _unanswered(key, "read", "the task's supervisor is gone")
    try:
        answer = supervisor.send(GetVariable(key=key))
    except AirflowRuntimeError as error:
        answer = error.error
    if isinstance(answer, VariableResult) and answer.value is not None:
        return str(answer.value)
    if not isinstance(answer, ErrorResponse) or answer.error != ErrorType.VARIABLE_NOT_FOUND:
        raise _unanswered(key, "read", f"first it was not defined, then Airflow answered {_short(answer)}")
    return None


def _short(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _sdk_set(key: str, value: str) -> None:
    from airflow.sdk import Variable
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        Variable.set(key, value)
    except AirflowRuntimeError as error:
        raise _unanswered(key, "written", error) from error


# --- with the metadata database


def _metadata_get(key: str) -> str | None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # first the database itself: for one that does not answer Airflow logs a traceback and reports "not defined"
    with metadata_errors(f"variable {key!r} cannot be read"), create_session(scoped=False) as session:
        exists = session.scalar(select(Variable.key).where(Variable.key == key)) is not None
    value = Variable.get(key, default_var=None)
    if value is not None:
        return str(value)
    if exists:
        raise _unanswered(key, "read", "it is in the metadata database, but Airflow gave no value")
    return None


def _metadata_set(key: str, value: str) -> None:
    from airflow.models.variable import Variable

    with metadata_errors(f"variable {key!r} cannot be written"):
        Variable.set(key, value)
