"""Extract slices of a window into part files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.operators.base import VERDICT_KEY, PipelineOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ExtractOperator(PipelineOperator):
    """Extract one slice, or all slices of the plan in turn; return the paths of the receipts.

    One slice per task::

        ExtractOperator.partial(task_id="extract", pipeline=...).expand(slice=validate.output)

    :param slice: one element of what validate returned (default: all of them).
    :param validate_task_id: the task that froze the slice plan (templated).
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "validate_task_id", "slice")

    def __init__(
        self, *, slice: dict[str, Any] | None = None, validate_task_id: str = "validate", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.slice = slice
        self.validate_task_id = validate_task_id

    def execute(self, context: Context) -> list[str]:
        from airflow_pipeline_provider.phases.extract import extract

        claim, ti = self.claim(context), context["ti"]
        verdict = self.one(
            ti.xcom_pull(task_ids=self.validate_task_id, key=VERDICT_KEY), self.validate_task_id, "verdict"
        )
        attempt = self.one(verdict["attempt"], self.validate_task_id, "attempt")
        slices = [self.slice] if self.slice is not None else ti.xcom_pull(task_ids=self.validate_task_id)
        with self.runtime(context) as runtime:
            return [extract(runtime, claim, attempt, msgspec.convert(value, Slice)) for value in slices]
