"""Read a connection that the environment defines without importing Airflow, where its lookup would find the same.

Importing Airflow takes about a second of CPU, half of what the command line needed for an empty window. Airflow still
finds a connection wherever the result could differ: a secrets backend is asked before the environment. A connection
with a secret must reach Airflow's masker, so `get_connection` leaves it to Airflow too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_pipeline_provider.config.airflow_settings import airflow_setting
from airflow_pipeline_provider.exceptions import ConfigError

# Types whose connectors open the connection by themselves; all others need an Airflow hook, so Airflow is imported
WITHOUT_HOOK = ("elasticsearch", "sqlite")
_BACKENDS = (("secrets", "backend"), ("workers", "secrets_backend"))
_TEXTS = ("conn_type", "host", "schema", "login", "password", "description")


class EnvironmentConnection(NamedTuple):
    """The fields of an Airflow connection that connectors without a hook use."""

    conn_id: str
    conn_type: str
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None
    extra_dejson: dict[str, Any]


def read_environment(conn_id: str) -> EnvironmentConnection | None:
    """Return the connection of `AIRFLOW_CONN_<ID>`; None if Airflow must look it up, and report what is wrong.

    Only JSON is read here. In a process that has imported Airflow, such as a task, Airflow looks up every connection.
    """
    text = os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}", "")
    # "___" separates a team from an id
    if "airflow" in sys.modules or not text.lstrip().startswith("{") or "___" in conn_id:
        return None
    found = _parse(conn_id, text)
    return found if found is not None and not _has_secrets_backend() else None


def _parse(conn_id: str, text: str) -> EnvironmentConnection | None:
    """Return None for anything but a connection of `WITHOUT_HOOK` as Airflow's documentation writes it."""
    try:
        fields = json.loads(text)
        extra = fields.pop("extra", None) or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
        port = fields.pop("port", None)
        port = int(port) if port else None
    except (ValueError, TypeError):
        return None
    texts = {name: fields.pop(name, None) for name in _TEXTS}
    is_plain = not fields and isinstance(extra, Mapping)
    if not is_plain or not all(value is None or isinstance(value, str) for value in texts.values()):
        return None
    if texts["conn_type"] not in WITHOUT_HOOK:
        return None
    del texts["description"]
    return EnvironmentConnection(conn_id=conn_id, port=port, extra_dejson=dict(extra), **texts)


def _has_secrets_backend() -> bool:
    """Return whether Airflow asks a secrets backend before the environment; True if that cannot be seen."""
    try:
        return any(
            airflow_setting(section, f"{key}{variant}")
            for section, key in _BACKENDS
            for variant in ("", "_cmd", "_secret")
        )
    except ConfigError:
        return True
