"""Decide whether to run a window, to audit what is already loaded, or to skip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_pipeline_provider.exceptions import SupersededError
from airflow_pipeline_provider.operators.base import LABEL, VERDICT_KEY, PipelineOperator
from airflow_pipeline_provider.phases.values import Validated

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateWindowOperator(PipelineOperator):
    """Check the window and freeze the slice plan.

    Returns the slices (a list of JSON objects; map `ExtractOperator` over it for one slice per task) and pushes the
    XCom ``verdict``.  Verdict ``skip`` skips every downstream task; ``already_loaded`` (after a crash between load
    and audit) skips `extract_task_id`, and audit continues with what the target holds.

    :param extract_task_id: the extract task.
    """

    inherits_from_skipmixin = True
    template_fields = (*PipelineOperator.template_fields, "extract_task_id")

    def __init__(self, *, extract_task_id: str = "extract", **kwargs: Any) -> None:
        kwargs.setdefault("map_index_template", LABEL)
        super().__init__(**kwargs)
        self.extract_task_id = extract_task_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from airflow_pipeline_provider.phases.validate import validate

        claim, ti = self.claim(context), context["ti"]
        with self.runtime(context) as runtime:
            try:
                validated = validate(runtime, claim)
            except SupersededError as error:  # audit also runs downstream of skipped tasks, and needs it
                lost = Validated("superseded", error.message)
                ti.xcom_push(key=VERDICT_KEY, value=msgspec.to_builtins(lost))
                raise
        self.result_label = verdict_label(validated)
        self.log.info("verdict %s: %s", validated.verdict, validated.detail)
        value = msgspec.to_builtins(validated)
        slices: list[dict[str, Any]] = value.pop("slices")  # Airflow maps over them
        ti.xcom_push(key=VERDICT_KEY, value=value)
        if validated.verdict == "skip":
            self.skip_below(context)
        if validated.verdict == "already_loaded":
            self.skip(ti=ti, tasks=[t for t in ti.task.downstream_list if t.task_id == self.extract_task_id])
        return slices


def verdict_label(validated: Validated) -> str:
    """Return `run`, `already_loaded`, or `skip: complete` with the reason."""
    return f"{validated.verdict}: {validated.reason}" if validated.reason else validated.verdict
