"""Phase 7: when this commit leaves another window ready, name the run that shall move it."""

from __future__ import annotations

from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.generate import plan_next
from airflow_pipeline_provider.phases.run_phase import check_pipeline
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Next, RunKind


def drain(runtime: Runtime, claim: Claim, token: int) -> Next:
    """Return the next window for the same reference time; nothing is claimed, the new run plans for itself.

    The run's id holds the window and the token of the commit that caused it: with the window alone, one that was
    drained before could never be drained again.

    A state store with one writer at a time makes live runs end as skipped while another run is at work: the newest
    reference time that they left is planned for too, here also after a backfill or a named window.
    """
    check_pipeline(runtime, claim, "drain")
    asked = None if runtime.state.concurrent else runtime.state.asked_to_follow()
    if claim.kind is not RunKind.LIVE and asked is None:
        return Next(None, None, f"a {claim.kind.value} run starts no other run")
    if runtime.config.backlog != "drain":
        return Next(None, None, f"backlog is {runtime.config.backlog!r}: the schedule brings the next window")
    own = claim.reference_time if claim.kind is RunKind.LIVE else None
    reference = max(moment for moment in (own, asked) if moment is not None)
    plan = plan_next(runtime, reference, claim.run)
    if plan.interval is None:
        return Next(None, None, plan.detail)
    window = Window(runtime.config.pipeline_id, plan.interval, plan.day)
    reach("drain.planned")
    return Next(window, f"drain__{window.window_id}__t{token}", plan.detail, reference)
