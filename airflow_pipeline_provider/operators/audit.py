"""`AuditOperator`: count three ways, commit, and send the asset events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk.exceptions import AirflowSkipException

from airflow_pipeline_provider.operators import asset_events, lineage
from airflow_pipeline_provider.operators.airflow_stats import report_commit
from airflow_pipeline_provider.operators.base import LABEL, VERDICT_KEY, PipelineOperator
from airflow_pipeline_provider.phases.values import Audited, Claim, Staged

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_pipeline_provider.phases.runtime import Runtime


class AuditOperator(PipelineOperator):
    """Source = manifest = target = distinct ids, and the window is committed; returns the counts and the token.

    Draw it below both validate and load: it runs if neither failed (trigger rule ``none_failed``).

    Its success sends asset events (`operators.asset_events`): ``<pipeline id>.windows`` for the window, and
    ``<pipeline id>.days`` when the day is complete and no other run will replace a window of it; also with partition
    keys (`operators.partition_events`).

    :param stage_task_id: the task that published the manifest (templated).
    :param validate_task_id: the task that gave the verdict (templated).
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "stage_task_id", "validate_task_id")

    def __init__(
        self, *, stage_task_id: str = "stage", validate_task_id: str = "validate", **kwargs: Any
    ) -> None:
        kwargs.setdefault("map_index_template", LABEL)
        kwargs.setdefault("trigger_rule", "none_failed")  # already_loaded skips the three phases between
        super().__init__(**kwargs)
        self.stage_task_id = stage_task_id
        self.validate_task_id = validate_task_id
        self._alias = asset_events.alias_of(self._config or self.pipeline)
        self._assets = asset_events.assets_of(self._config or self.pipeline)
        self.outlets = [*self.outlets, self._alias, *self._assets]
        self._lineage: lineage.Lineage | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.audit import audit

        self.outlets = [
            outlet for outlet in self.outlets if outlet not in self._assets
        ]  # their events: by the alias
        claim, ti = self.claim(context), context["ti"]
        verdict = self.one(
            ti.xcom_pull(task_ids=self.validate_task_id, key=VERDICT_KEY), self.validate_task_id, "verdict"
        )
        staged = verdict["staged"] or ti.xcom_pull(task_ids=self.stage_task_id)
        if (
            staged is None or verdict["verdict"] == "superseded"
        ):  # a phase above was superseded and skipped itself
            self.result_label = "superseded"
            raise AirflowSkipException("nothing was staged in this run: a newer run has the window")
        with self.runtime(context) as runtime:
            day_events = asset_events.day_events(context, runtime)
            audited = audit(runtime, claim, msgspec.convert(staged, Staged), day_events)
            self.result_label = counts_label(audited)
            asset_events.emit(
                context, self._alias, runtime.config.timezone, claim, audited, day_events.complete
            )
            report_commit(runtime, audited.quarantined_rows)
            self._lineage = audit_lineage(runtime, claim, audited)
        result: dict[str, Any] = msgspec.to_builtins(audited)
        return result

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """Asked by the OpenLineage provider, where it is installed."""
        return lineage.operator_lineage(self._lineage)


def audit_lineage(runtime: Runtime, claim: Claim, audited: Audited) -> lineage.Lineage | None:
    """Describe the commit; None without OpenLineage."""
    return lineage.describe(
        runtime,
        claim,
        audited.token,
        audited.target_rows,
        source_rows=audited.source_rows,
        counts={
            "source": audited.source_rows,
            "staged": audited.staged_rows,
            "target": audited.target_rows,
            "distinct": audited.distinct_ids,
            "quarantined": audited.quarantined_rows,
        },
    )


def counts_label(audited: Audited) -> str:
    """Return `902 = 902 rows, token 13`: rows of the source, and of the target."""
    quarantined = f" + {audited.quarantined_rows:,} quarantined" if audited.quarantined_rows else ""
    equal = "=" if audited.source_rows == audited.target_rows + audited.quarantined_rows else "≠"
    rows = f"{audited.target_rows:,} {'row' if audited.target_rows == 1 else 'rows'}"
    return f"{audited.source_rows:,} {equal} {rows}{quarantined}, token {audited.token}"
