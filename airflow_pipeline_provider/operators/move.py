"""Move a window in one task: all phases one after the other, for `airflow.layout: single_task`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import structs

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.command_line import within_task
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.operators import asset_events, lineage
from airflow_pipeline_provider.operators.airflow_stats import report_commit
from airflow_pipeline_provider.operators.audit import audit_lineage, counts_label
from airflow_pipeline_provider.operators.base import VERDICT_KEY, is_last_try
from airflow_pipeline_provider.operators.drain import follower_of
from airflow_pipeline_provider.operators.generate import GenerateWindowOperator, generate_for, run_request
from airflow_pipeline_provider.operators.trigger_run import request_run
from airflow_pipeline_provider.operators.validate import verdict_label
from airflow_pipeline_provider.phases.values import (
    Audited,
    Claim,
    Generated,
    Next,
    RunKind,
    RunRequest,
    Validated,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_pipeline_provider.phases.runtime import Runtime


class MoveWindowOperator(GenerateWindowOperator):
    """Plan a window, move it, commit it, and start the next run while windows are ready.

    The phases are those of `layout: tasks`, with the same leases, ledger entries and asset events.  What differs is
    what Airflow can repeat: a try that ended before the load was committed begins again at the extraction.

    Returns the window's record and pushes the XComs ``window``, ``verdict`` and ``audit``; with nothing to do, it
    does what `GenerateWindowOperator` does.
    """

    ui_color = "#e4f0e8"

    def __init__(self, *, pipeline: str | PipelineConfig, **kwargs: Any) -> None:
        super().__init__(pipeline=pipeline, **kwargs)
        self._assets = asset_events.assets_of(pipeline)
        self.outlets = [*self.outlets, *self._assets]
        self._lineage: lineage.Lineage | None = None

    def execute(self, context: Context) -> dict[str, Any] | None:
        self.outlets = [outlet for outlet in self.outlets if outlet not in self._assets]  # as audit does
        ti = context["ti"]
        audited = follower = None
        with within_task(ti.task_id), self.runtime(context) as runtime:
            request = run_request(context, runtime.config)._replace(follows=runtime.config.backlog == "drain")
            generated = _generate(runtime, request, ti)
            asset_events.emit_late(context, self._alias, runtime)
            claim = generated.claim
            if claim is not None:
                self._report_window(context, claim, generated.detail, runtime.config.timezone)
                audited = self._move(context, runtime, claim)
                if audited is not None:
                    follower = self._follower(runtime, claim, audited)
        if claim is None:
            self._report_nothing(context, generated)
            return None
        if audited is None:
            ti.xcom_push(key="return_value", value=generated.record)
            self.skip_below(context)
        if follower is not None:
            self._start(context, claim, follower)
        return generated.record

    def _move(self, context: Context, runtime: Runtime, claim: Claim) -> Audited | None:
        """Move the window; a try after one that committed it sends the events of that commit."""
        from airflow_pipeline_provider.phases.run import move_window, own_commit

        ti = context["ti"]
        day_events = asset_events.day_events(context, runtime)
        outcome = move_window(runtime, claim, day_events=day_events)
        validated = cast(Validated, outcome.validated)  # there is a window
        verdict = msgspec.to_builtins(validated)
        del verdict["slices"]  # no other task reads them, and there may be many
        ti.xcom_push(key=VERDICT_KEY, value=verdict)
        audited = outcome.audited or own_commit(runtime, claim)
        if audited is None:
            self.result_label = f"{self.window}: {verdict_label(validated)}"
            self.log.info("verdict %s: %s", validated.verdict, outcome.detail)
            return None
        ti.xcom_push(key="audit", value=msgspec.to_builtins(audited))
        self.result_label = f"{self.window}: {counts_label(audited)}"
        asset_events.emit(context, self._alias, runtime.config.timezone, claim, audited, day_events.complete)
        report_commit(runtime, audited.quarantined_rows)
        self._lineage = audit_lineage(runtime, claim, audited)
        return audited

    def _follower(self, runtime: Runtime, claim: Claim, audited: Audited) -> Next | None:
        """Return the run to start, None if there is none."""
        from airflow_pipeline_provider.phases.drain import drain

        following = drain(runtime, claim, audited.token)
        if following.run_id is None:
            self.log.info("no run is started: %s", following.detail)
            return None
        return following

    def _start(self, context: Context, claim: Claim, follower: Next) -> None:
        """Start the next run; after the last try without it, so that the events of the commit are sent."""
        try:
            request_run(*follower_of(context, claim, follower))
        except TransientError as error:
            if not is_last_try(context["ti"]):
                raise
            self.log.error("%s; the next run of the schedule continues", error.message)
            self.result_label += ", next run not started"

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """Return the lineage; the OpenLineage provider calls this."""
        return lineage.operator_lineage(self._lineage)


def _generate(runtime: Runtime, request: RunRequest, ti: Any) -> Generated:
    """Generate; after a try that committed the window, resume it, or wait until that is possible.

    Otherwise a named window would be moved a second time.  With `only_incomplete`, or where a live run may leave its
    turn to another, there would be nothing to do, and the events of the commit would never be sent.
    """
    from airflow_pipeline_provider.phases.run import committed_since

    # a live run never moves its window again, a named one does when its task is cleared
    first_try = 0 if request.kind is RunKind.LIVE else ti.max_tries - ti.task.retries + 1
    if not committed_since(runtime, request.run, first_try):
        return generate_for(runtime, request, ti)
    resumed = request._replace(
        kind=RunKind.WINDOW, only_drifted=False, only_incomplete=False, accept_shrink=None
    )
    generated = generate_for(runtime, resumed, ti)
    if generated.claim is None:
        return generated
    return generated._replace(claim=structs.replace(generated.claim, kind=request.kind, replace=False))
