"""End a task by starting a DAG run, the only way that needs no access to Airflow's database or API."""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Any, NoReturn

from airflow.sdk.exceptions import DagRunTriggerException


def trigger_run(
    dag_id: str, run_id: str, conf: dict[str, Any], note: str, run_after: datetime | None = None
) -> NoReturn:
    """Start the run; the task succeeds, or is skipped if a run with the id exists.

    `run_after` needs Airflow 3.3; Airflow 3.2 reads the reference time from the conf alone.
    """
    arguments: dict[str, Any] = {
        "trigger_dag_id": dag_id,
        "dag_run_id": run_id,
        "conf": conf,
        "logical_date": None,
        "reset_dag_run": False,
        "skip_when_already_exists": True,
        "wait_for_completion": False,
        "allowed_states": ["success"],
        "failed_states": ["failed"],
        "poke_interval": 60,
        "deferrable": False,
        "note": note,
    }
    if run_after is not None and "run_after" in inspect.signature(DagRunTriggerException).parameters:
        arguments["run_after"] = run_after
    raise DagRunTriggerException(**arguments)
