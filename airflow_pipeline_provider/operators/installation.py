"""Identify the Airflow installation of a task, for leases in a state store that several installations may share.

Two installations (blue and green, a standby with a metadata database of its own) give equal ids to the runs of one
schedule.  An installation is one metadata database.  Its id is `[pipelines] installation`, or else a random id that
the first task writes into the Variable `pipelines.installation`.

A task can only overwrite a Variable, so the first tasks of a new Airflow may write several ids, and one that stalls
may overwrite an id that is in use.  The id must be the same within a run, not between runs: their own ids differ.  So
the task that plans the window reads the Variable, and passes the id on in its claim.  Only a retry of that task reads
the Variable again.
"""

from __future__ import annotations

import re
import time
import uuid

from airflow_pipeline_provider.config.airflow_settings import airflow_setting
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.core.durations import quote
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.state.variable_access import AirflowVariables, VariableAccess

VARIABLE = "pipelines.installation"
# of two tasks that write the first id at once, both read the later one after it, so a retry of either finds the id
# that it used; once in the life of an Airflow
PAUSE_SECONDS = 3.0
SLOW_FACTOR = 3  # the pause is at least so many times what this task's own read and write took
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def installation_of(config: PipelineConfig, variables: VariableAccess | None = None) -> str | None:
    """Return the id of this Airflow installation, None where the pipeline's state cannot be shared with another one.

    Raise ConfigError for an id that a message could not show.
    """
    if not connector_class("state", config.state.type).shared:
        return None
    configured = airflow_setting("pipelines", "installation")
    if configured:
        return _checked(configured, "[pipelines] installation of Airflow's configuration", "correct it there")
    variables = variables or AirflowVariables()
    began = time.monotonic()
    found = variables.get(VARIABLE)
    if found is None:
        variables.set(VARIABLE, uuid.uuid4().hex[:12])
        time.sleep(max(PAUSE_SECONDS, SLOW_FACTOR * (time.monotonic() - began)))
        found = variables.get(VARIABLE)
    what = f"Airflow Variable {VARIABLE!r}"
    return _checked(found or "", what, "delete it, and the next task writes a new one")


def _checked(text: str, what: str, remedy: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ConfigError(
            f"{what}: expected 1 to 64 letters, digits, '.', '_' or '-', got {quote(text)}: {remedy}"
        )
    return text
