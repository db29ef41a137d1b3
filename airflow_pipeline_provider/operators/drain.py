"""`DrainOperator`: start the next run while windows are ready."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from airflow_pipeline_provider.operators.base import PipelineOperator
from airflow_pipeline_provider.phases.drain import drain

if TYPE_CHECKING:
    from airflow.sdk import Context


class DrainOperator(PipelineOperator):
    """The last task of a run: when the commit left another ready window, start a run of this DAG for it.

    :param audit_task_id: the task that committed the window (templated).
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "audit_task_id")

    def __init__(self, *, audit_task_id: str = "audit", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audit_task_id = audit_task_id

    def execute(self, context: Context) -> None:
        claim = self.claim(context)
        audited = self.one(context["ti"].xcom_pull(task_ids=self.audit_task_id), self.audit_task_id, "commit")
        with self.runtime(context) as runtime:
            following = drain(runtime, claim, audited["token"])
        if following.run_id is None:
            raise AirflowSkipException(following.detail)
        self.log.info("another window is ready, run %s moves it: %s", following.run_id, following.detail)
        reference = claim.reference_time.astimezone(timezone.utc)
        arguments: dict[str, Any] = {
            "trigger_dag_id": context["dag_run"].dag_id,
            "dag_run_id": following.run_id,
            "conf": {"reference_time": reference.isoformat()},
            "logical_date": None,
            "reset_dag_run": False,
            "skip_when_already_exists": True,
            "wait_for_completion": False,
            "allowed_states": ["success"],
            "failed_states": ["failed"],
            "poke_interval": 60,
            "deferrable": False,
            "note": f"continues {claim.window.window_id}: {following.detail}",
        }
        if (
            "run_after" in inspect.signature(DagRunTriggerException).parameters
        ):  # Airflow 3.3; 3.2 has conf alone
            arguments["run_after"] = reference
        raise DagRunTriggerException(**arguments)
