"""Call a function of the pipeline file's `own_tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk.exceptions import AirflowSkipException

from airflow_pipeline_provider.config.own_tasks import PLACES, Place
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators.base import LABEL, VERDICT_KEY, PipelineOperator
from airflow_pipeline_provider.phases.values import Audited, Staged, Validated

if TYPE_CHECKING:
    from airflow.sdk import Context


class OwnTaskOperator(PipelineOperator):
    """Call the function that `own_tasks` has for a place, with an `OwnTaskWindow`.

    The function is imported when the task runs.  If it returns False or raises AirflowSkipException,
    ``before_extract`` and ``after_load`` release the window and skip every task below; at the other places, this task
    is skipped.  Any other error fails the try, and before the commit it counts towards `max_attempts`.

    Draw ``after_load`` below validate and load, and above audit; it runs if neither failed (trigger rule
    ``none_failed``), since a window that is loaded already skips the phases between.  With ``before_extract``, pass
    its task id to `ValidateWindowOperator` as `extract_task_id`.

    :param place: ``before_extract``, ``after_load``, ``after_commit`` or ``after_day``.
    :param validate_task_id: the task that gave the verdict (templated).
    :param stage_task_id: the task that published the manifest (templated).
    :param audit_task_id: the task that committed the window (templated).
    """

    inherits_from_skipmixin = True
    template_fields: Sequence[str] = (
        *PipelineOperator.template_fields,
        "validate_task_id",
        "stage_task_id",
        "audit_task_id",
    )
    ui_color = "#f5ecd7"

    def __init__(
        self,
        *,
        place: Place,
        validate_task_id: str = "validate",
        stage_task_id: str = "stage",
        audit_task_id: str = "audit",
        **kwargs: Any,
    ) -> None:
        if place not in PLACES:
            raise ConfigError(f"place: expected one of {', '.join(PLACES)}, got {place!r}")
        kwargs.setdefault("map_index_template", LABEL)
        if place == "after_load":
            kwargs.setdefault("trigger_rule", "none_failed")
        super().__init__(**kwargs)
        self.place: Place = place
        self.validate_task_id = validate_task_id
        self.stage_task_id = stage_task_id
        self.audit_task_id = audit_task_id

    def execute(self, context: Context) -> None:
        from airflow_pipeline_provider.phases import own_tasks

        claim = self.claim(context)
        if self.place in ("after_commit", "after_day"):
            self._after_commit(context)
            return
        validated, staged = self._validated(context), None
        if self.place == "after_load":
            staged = self._staged(context, validated)
        with self.runtime(context) as runtime:
            if staged is None:
                proceeds = own_tasks.before_extract(runtime, claim, validated)
            else:
                proceeds = own_tasks.after_load(runtime, claim, validated, staged)
        if not proceeds:
            self.result_label = "not now"
            self.skip_below(context)

    def _after_commit(self, context: Context) -> None:
        from airflow_pipeline_provider.phases import own_tasks

        claim, ti = self.claim(context), context["ti"]
        audited = msgspec.convert(
            self.one(ti.xcom_pull(task_ids=self.audit_task_id), self.audit_task_id, "commit"), Audited
        )
        with self.runtime(context) as runtime:
            if self.place == "after_commit":
                done: bool | None = own_tasks.after_commit(runtime, claim, audited)
            else:
                done = own_tasks.after_day(runtime, claim)
        if done is None:
            self.result_label = "day incomplete"
            raise AirflowSkipException(f"day {claim.day} is not complete yet")
        if not done:
            self.result_label = "not now"
            raise AirflowSkipException("the function returned False or raised AirflowSkipException")

    def _validated(self, context: Context) -> Validated:
        value = context["ti"].xcom_pull(task_ids=self.validate_task_id, key=VERDICT_KEY)
        validated = msgspec.convert(self.one(value, self.validate_task_id, "verdict"), Validated)
        if validated.verdict == "superseded":
            self.result_label = "superseded"
            raise AirflowSkipException("a newer run has the window")
        return validated

    def _staged(self, context: Context, validated: Validated) -> Staged:
        if validated.staged is not None:
            return validated.staged
        value = context["ti"].xcom_pull(task_ids=self.stage_task_id)
        if value is None:  # a phase above was superseded and skipped itself
            self.result_label = "superseded"
            raise AirflowSkipException("nothing was staged in this run: a newer run has the window")
        return msgspec.convert(value, Staged)
