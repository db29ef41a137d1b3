"""Start a DAG run through Airflow's database, as its API server and its command line do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

from airflow_pipeline_provider.connectors.airflow_connections import metadata_errors
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

LONGEST_NOTE = 1000


def start_run(
    dag_id: str,
    run_id: str,
    conf: Mapping[str, Any],
    *,
    by: Literal["CLI", "UI"],
    user: str | None = None,
    note: str = "",
) -> None:
    """Start a run; one of this id that exists already counts as started.

    Raises ConfigError if Airflow has no such DAG, FatalError if it refuses the run, and as `metadata_errors` does.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagNotFound, DagRunAlreadyExists
    from airflow.sdk.exceptions import AirflowException
    from airflow.utils.types import DagRunTriggeredByType

    arguments = {
        "run_id": run_id,
        "conf": dict(conf),
        "triggered_by": DagRunTriggeredByType[by],
        "triggering_user_name": user,
        "note": note[:LONGEST_NOTE] or None,
    }
    try:
        with metadata_errors(f"run {run_id} cannot be started"):
            trigger_dag(dag_id, **known_arguments(trigger_dag, arguments))
    except DagRunAlreadyExists:
        return
    except DagNotFound as error:
        raise ConfigError(f"Airflow has no DAG {dag_id!r}") from error
    except (AirflowException, ValueError) as error:
        raise FatalError(f"run {run_id} could not be started: {error}") from error


def known_arguments(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that this version of Airflow has."""
    accepted = inspect.signature(inspect.unwrap(function)).parameters
    return {name: value for name, value in arguments.items() if name in accepted}
