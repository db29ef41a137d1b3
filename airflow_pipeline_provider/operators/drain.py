"""Start the next run while windows are ready."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_pipeline_provider.operators.base import PipelineOperator
from airflow_pipeline_provider.operators.trigger_run import trigger_run
from airflow_pipeline_provider.phases.values import Claim, Next

if TYPE_CHECKING:
    from airflow.sdk import Context

logger = logging.getLogger(__name__)


class DrainOperator(PipelineOperator):
    """Start a run of this DAG for the next ready window, as the last task of a run.

    :param audit_task_id: the task that committed the window (templated).
    """

    starts_follower = True  # see `GenerateWindowOperator`
    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "audit_task_id")

    def __init__(self, *, audit_task_id: str = "audit", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audit_task_id = audit_task_id

    def execute(self, context: Context) -> None:
        from airflow_pipeline_provider.phases.drain import drain

        claim = self.claim(context)
        audited = self.one(context["ti"].xcom_pull(task_ids=self.audit_task_id), self.audit_task_id, "commit")
        with self.runtime(context) as runtime:
            following = drain(runtime, claim, audited["token"])
        if following.run_id is None:
            raise AirflowSkipException(following.detail)
        trigger_run(*follower_of(context, claim, following))


def follower_of(context: Context, claim: Claim, following: Next) -> tuple[str, str, dict[str, Any], str]:
    """Return DAG id, run id, conf and note of the run that moves the next window."""
    logger.info("another window is ready, run %s moves it: %s", following.run_id, following.detail)
    reference = (following.reference_time or claim.reference_time).astimezone(timezone.utc)
    return (
        context["dag_run"].dag_id,
        following.run_id or "",
        {"reference_time": reference.isoformat()},
        f"continues {claim.window_id}: {following.detail}",
    )
