"""Start a DAG run from a task, without access to Airflow's database or API."""

from __future__ import annotations

from typing import Any, NoReturn

from airflow.sdk.exceptions import DagRunTriggerException

from airflow_pipeline_provider.exceptions import TransientError


def trigger_run(dag_id: str, run_id: str, conf: dict[str, Any], note: str) -> NoReturn:
    """End the task by starting the run; the task succeeds, or is skipped if a run with the id exists.

    The run is due now, so that Airflow counts its failure among the recent ones; its reference time is in `conf`.
    """
    raise DagRunTriggerException(
        trigger_dag_id=dag_id,
        dag_run_id=run_id,
        conf=conf,
        logical_date=None,
        reset_dag_run=False,
        skip_when_already_exists=True,
        wait_for_completion=False,
        allowed_states=["success"],
        failed_states=["failed"],
        poke_interval=60,
        deferrable=False,
        note=note,
    )


def request_run(dag_id: str, run_id: str, conf: dict[str, Any], note: str) -> None:
    """Start the run as Airflow does for `trigger_run`, and return, so that the task can still send its events.

    A run with the id that exists already counts as started.  Raise TransientError if Airflow does not start it.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

    message = TriggerDagRun(
        dag_id=dag_id, run_id=run_id, logical_date=None, conf=conf, reset_dag_run=False, note=note
    )
    try:
        answer: Any = task_runner.SUPERVISOR_COMMS.send(message)
    except AirflowRuntimeError as error:
        answer = error.error
    if isinstance(answer, ErrorResponse) and answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
        raise TransientError(
            f"run {run_id} of DAG {dag_id} was not started: Airflow answered {answer.error.value} "
            f"{answer.detail or ''}".rstrip()
        )
