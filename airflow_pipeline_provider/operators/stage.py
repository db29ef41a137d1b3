"""Build one verified, immutable manifest from the receipts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_pipeline_provider.operators.base import VERDICT_KEY, PipelineOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class StageOperator(PipelineOperator):
    """Verify each part and publish the manifest; return its path, SHA-256, token and rows.

    :param extract_task_id: the task, mapped or not, whose receipts are read (templated).
    :param validate_task_id: the task that began the attempt (templated).
    """

    template_fields: Sequence[str] = (
        *PipelineOperator.template_fields,
        "extract_task_id",
        "validate_task_id",
    )

    def __init__(
        self, *, extract_task_id: str = "extract", validate_task_id: str = "validate", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.extract_task_id = extract_task_id
        self.validate_task_id = validate_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.stage import stage

        claim, ti = self.claim(context), context["ti"]
        verdict = self.one(
            ti.xcom_pull(task_ids=self.validate_task_id, key=VERDICT_KEY), self.validate_task_id, "verdict"
        )
        pulled = self.one(ti.xcom_pull(task_ids=self.extract_task_id), self.extract_task_id, "receipt")
        with self.runtime(context) as runtime:
            staged = stage(runtime, claim, verdict["attempt"], _flat(pulled))
        result: dict[str, Any] = msgspec.to_builtins(staged)
        return result


def _flat(value: Any) -> list[str]:
    """Flatten the XCom: a list per slice from a mapped task, the bare value from a single slice."""
    if isinstance(value, str):
        return [value]
    return [path for item in value for path in _flat(item)]
