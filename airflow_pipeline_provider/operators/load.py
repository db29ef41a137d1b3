"""Load the manifest's rows into the target in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_pipeline_provider.operators import lineage
from airflow_pipeline_provider.operators.base import PipelineOperator
from airflow_pipeline_provider.phases.values import Staged

if TYPE_CHECKING:
    from airflow.sdk import Context


class LoadOperator(PipelineOperator):
    """Replace the window in the target by the manifest's rows; a second execution changes nothing.

    Returns rows, distinct ids, and whether the window was already loaded.

    :param stage_task_id: the task that published the manifest (templated).
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "stage_task_id")

    def __init__(self, *, stage_task_id: str = "stage", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage_task_id = stage_task_id
        self._lineage: lineage.Lineage | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.load import load

        claim = self.claim(context)
        staged = msgspec.convert(
            self.one(context["ti"].xcom_pull(task_ids=self.stage_task_id), self.stage_task_id, "manifest"),
            Staged,
        )
        with self.runtime(context) as runtime:
            result = load(runtime, claim, staged)
            self._lineage = lineage.describe_load(runtime, claim, staged, result)
        return {"rows": result.rows, "distinct_ids": result.distinct_ids, "already": result.already}

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """Return the lineage; the OpenLineage provider calls this."""
        return lineage.operator_lineage(self._lineage)
