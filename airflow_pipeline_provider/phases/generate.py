"""Phase 1: which window, or which reason; then the lease and the run's binding.

Order: plan, lease, look again, bind.  A crash before the lease leaves nothing; after it, a lease of this run, which
the rerun of the same run renews and which otherwise expires; after the binding, the rerun gets the same window.
"""

from __future__ import annotations

import logging
from datetime import datetime

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval, gaps, to_utc
from airflow_pipeline_provider.core.planning import (
    Known,
    Plan,
    Reason,
    all_days,
    plan_live,
    plan_window,
    target_day,
)
from airflow_pipeline_provider.core.record_generation import build_window_record, json_safe
from airflow_pipeline_provider.core.wording import held_lease, local_window
from airflow_pipeline_provider.exceptions import ConfigError, LeaseHeldError, PipelineError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.observability.log_generator import phase_log
from airflow_pipeline_provider.phases.first_day import at_most_now, remember_first_day
from airflow_pipeline_provider.phases.identity import check_identity
from airflow_pipeline_provider.phases.leases import release, take
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.turns import in_turn
from airflow_pipeline_provider.phases.values import Claim, Generated, RunKind, RunRequest

logger = logging.getLogger(__name__)

MOST_TOLD = 3  # leases that a reason names
PLANNING_ROUNDS = 20  # each lost race shows another run at work, so the next plan differs


def generate(runtime: Runtime, request: RunRequest) -> Generated:
    """Plan and claim a window for the run.

    Raises LeaseHeldError when a named window (backfill, Params) is in another run's hands, ConfigError when the
    request cannot be served at all.
    """
    with phase_log(
        logger, pipeline=runtime.config.pipeline_id, window=None, attempt=None, phase="generate"
    ) as log:
        try:
            with runtime.state.session():
                at = at_most_now(runtime, request.reference_time, request.run_after)
                request = request._replace(reference_time=at)
                check_identity(runtime, runtime.state.about())
                generated = (
                    _generate(runtime, request)
                    if runtime.state.concurrent
                    else in_turn(
                        runtime,
                        request,
                        lambda: _look(runtime, request),
                        lambda: _generate(runtime, request),
                    )
                )
        except PipelineError as error:
            error.add_context(f"pipeline {runtime.config.pipeline_id}, run {request.run}, generate")
            raise
        if generated.claim is None:
            log.status, log.reason = "skipped", generated.reason
        else:
            log.window = str(generated.claim.window.interval)
        return generated


def _look(runtime: Runtime, request: RunRequest) -> Generated | None:
    """What needs no lease: a live run without a window and without a ready gap.  None: only the lease can tell."""
    if request.kind is not RunKind.LIVE or runtime.state.bound(request.run) is not None:
        return None
    if runtime.config.start_day is None:
        first_day = runtime.state.first_day(None)
        if first_day is None or first_day > target_day(runtime.config.rules, request.reference_time):
            return None  # planning writes the first day
    plan = plan_next(runtime, request.reference_time, request.run)
    return None if plan.interval is not None or plan.reason is Reason.LEASED else _nothing(plan)


def _generate(runtime: Runtime, request: RunRequest) -> Generated:
    bound = runtime.state.bound(request.run)
    if request.kind is RunKind.BACKFILL:
        plan = _plan_named(runtime, request, cut=True)
    elif bound is not None:
        return _again(runtime, request, bound)
    elif request.kind is RunKind.WINDOW:
        plan = _plan_named(runtime, request, cut=False)
    else:
        return _claim_live(runtime, request)
    if plan.interval is None:
        return _nothing(plan)
    reach("generate.planned")
    take(runtime, request.run, plan.interval)
    reach("generate.leased")
    if request.only_drifted and not _is_drifted(runtime, plan.interval):  # only under the lease is it sure
        release(runtime, request.run, plan.interval)
        detail = "another run has loaded this window again since the recheck found late data"
        return Generated(None, None, Reason.COMPLETE.value, detail)
    runtime.state.bind_run(request.run, plan.interval, replace=True)
    reach("generate.bound")
    return _claimed(runtime, request, plan.interval, plan.detail, replace=True)


def _is_drifted(runtime: Runtime, interval: Interval) -> bool:
    found = ledger.drifted(runtime.state.entries(interval))
    return any(piece.overlaps(interval) for piece, _ in found)


def plan_next(runtime: Runtime, reference_time: datetime, owner: str) -> Plan:
    """Return what the planner would give this owner now; nothing is claimed or written."""
    rules, state = runtime.config.rules, runtime.state
    with state.session():
        first_day = state.first_day(None) if rules.start_day is None else None
        span = all_days(rules, reference_time, first_day)
        covered, leases = state.known(span, keep=True) if span is not None else (Coverage(), [])
    known = Known(
        covered.done,
        blocked=tuple(covered.blocked(runtime.config.max_attempts)),
        leased=tuple(lease.interval for lease in leases if lease.owner != owner),
    )
    return plan_live(rules, reference_time, known, first_day)


def is_committed(runtime: Runtime, interval: Interval) -> bool:
    """Is every instant of the interval committed, at any time, by any run?"""
    return not gaps(interval, ledger.committed(runtime.state.entries(interval)))


def _claim_live(runtime: Runtime, request: RunRequest) -> Generated:
    remember_first_day(runtime, request.run_after)
    for _ in range(PLANNING_ROUNDS):
        plan = plan_next(runtime, request.reference_time, request.run)
        if plan.interval is None:
            return _nothing(plan, _holders(runtime, request) if plan.reason is Reason.LEASED else "")
        reach("generate.planned")
        try:
            take(runtime, request.run, plan.interval)
        except LeaseHeldError:
            continue  # another run was quicker; the next plan passes its lease over
        reach("generate.leased")
        entries = runtime.state.entries(plan.interval)
        if ledger.committed(entries) or ledger.waived(entries):  # done between the plan and the lease
            release(runtime, request.run, plan.interval)
            continue
        interval = runtime.state.bind_run(request.run, plan.interval)
        reach("generate.bound")
        if interval != plan.interval:  # a twin of this task bound the run first
            release(runtime, request.run, plan.interval)
            return _again(runtime, request, interval)
        return _claimed(runtime, request, interval, plan.detail, replace=False)
    raise TransientError(
        f"lost the race for a window {PLANNING_ROUNDS} times in a row; "
        "too many runs plan at once: lower max_active_runs, or let the retry try again"
    )


def _again(runtime: Runtime, request: RunRequest, interval: Interval) -> Generated:
    """The window that this run has: a retry or a clear.  Committed: the old record, and no new lease.  In another
    run's hands: a live run has nothing to do, a named window is waited for."""
    if is_committed(runtime, interval):
        detail = "this run's window is committed already; its record is given again without a new lease"
    else:
        try:
            take(runtime, request.run, interval)
        except LeaseHeldError as error:
            if request.kind is not RunKind.LIVE:
                raise
            return Generated(None, None, Reason.SUPERSEDED.value, error.message)
        detail = "this run continues with the window it had"
    return _claimed(runtime, request, interval, detail, replace=request.kind is RunKind.WINDOW)


def _plan_named(runtime: Runtime, request: RunRequest, *, cut: bool) -> Plan:
    if request.interval is None:
        raise ConfigError(f"interval: a {request.kind.value} run needs a window, got None")
    return plan_window(runtime.config.rules, request.interval, runtime.now(), cut=cut)


def _nothing(plan: Plan, holders: str = "") -> Generated:
    reason = (plan.reason or Reason.COMPLETE).value
    return Generated(None, None, reason, f"{plan.detail}: {holders}" if holders else plan.detail)


def _holders(runtime: Runtime, request: RunRequest) -> str:
    """Return whose leases keep this run from a window."""
    zone = runtime.config.timezone
    held = [lease for lease in runtime.state.leases() if lease.owner != request.run]
    told = [
        f"{local_window(lease.interval, zone)} {held_lease(lease.owner, lease.since, lease.until, zone)}"
        for lease in held[:MOST_TOLD]
    ]
    return "; ".join(told + ([f"and {len(held) - MOST_TOLD} more"] if len(held) > MOST_TOLD else []))


def _claimed(
    runtime: Runtime, request: RunRequest, interval: Interval, detail: str, *, replace: bool
) -> Generated:
    window = runtime.window(interval)
    claim = Claim(
        window.pipeline_id,
        interval,
        window.day,
        request.run,
        request.kind,
        to_utc(request.reference_time, "reference_time"),
        replace,
        request.by,
    )
    functions = runtime.config.resolve_record_functions()
    record = build_window_record(runtime.config.record_config(), interval, record_functions=functions)
    return Generated(claim, json_safe(record), None, detail)
