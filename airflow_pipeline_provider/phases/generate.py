"""Phase 1: choose a window, or the reason why there is none; then take the lease and bind the run to the window.

Order: plan, lease, check again, bind.  The last three are one step where the state store has transactions.  A crash
before the lease leaves nothing; after it, a lease that the rerun of the same run renews, or releases if it gets
another window, and that otherwise expires; after the binding, the rerun gets the same window.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval, gaps, subtract, to_utc
from airflow_pipeline_provider.core.planning import (
    Known,
    Plan,
    Reason,
    all_days,
    plan_live,
    plan_window,
    target_day,
)
from airflow_pipeline_provider.core.record_generation import json_safe, window_record
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.core.wording import held_lease, local_window
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    LeaseHeldError,
    PipelineError,
    TransientError,
    UnexpectedError,
)
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.observability.log_generator import PhaseRecord, phase_log
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.phases.accept_shrink import check_acceptance
from airflow_pipeline_provider.phases.fallback import refuse_older_state
from airflow_pipeline_provider.phases.first_day import (
    at_most_now,
    refuse_before_first_day,
    refuse_far_past,
    remember_first_day,
)
from airflow_pipeline_provider.phases.identity import check_identity
from airflow_pipeline_provider.phases.leases import release, take
from airflow_pipeline_provider.phases.run_phase import failures_counted
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.turns import in_turn
from airflow_pipeline_provider.phases.values import Claim, Generated, RunKind, RunRequest

logger = logging.getLogger(__name__)

MOST_LISTED = 3  # leases that a reason names
PLANNING_ROUNDS = 20  # each lost race is due to another run, so the next plan differs


def generate(runtime: Runtime, request: RunRequest) -> Generated:
    """Plan and claim a window for the run.

    Raises LeaseHeldError when another run holds a named window (backfill, Params), ConfigError when the request is
    invalid, StateBehindError before anything is written to a state that fell back.  Once a
    window is chosen, a failure counts as in every phase; an unexpected exception before is an UnexpectedError.
    """
    with phase_log(
        logger,
        pipeline=runtime.config.pipeline_id,
        window=None,
        timezone=runtime.config.timezone,
        attempt=None,
        phase="generate",
    ) as log:
        try:
            with runtime.state.session():
                at = at_most_now(runtime, request.reference_time, request.run_after)
                request = request._replace(reference_time=at)
                refuse_far_past(runtime.config.rules, "reference_time", at)
                if request.interval is not None:
                    refuse_far_past(runtime.config.rules, "window", request.interval.start)
                check_identity(runtime, runtime.state.about())
                if request.accept_shrink is not None and request.interval is not None:
                    check_acceptance(runtime.state, request.interval, request.run, request.accept_shrink)
                generated = (
                    _generate(runtime, request, log)
                    if runtime.state.concurrent
                    else in_turn(
                        runtime,
                        request,
                        lambda: _without_lease(runtime, request),
                        lambda: _generate(runtime, request, log),
                    )
                )
        except PipelineError as error:
            error.add_context(f"pipeline {runtime.config.pipeline_id}, run {request.run}, generate")
            raise
        except Exception as error:
            if log.window is not None:  # it counts as a failure of that window
                raise
            wrapped = UnexpectedError(
                f"{type(error).__name__}: {redact_values(str(error))[:500]}; no window was chosen, so this is a "
                "failure of no window: try again, and look at the traceback if it stays"
            )
            wrapped.add_context(f"pipeline {runtime.config.pipeline_id}, run {request.run}, generate")
            raise wrapped from error
        if generated.claim is None:
            log.status, log.reason = "skipped", generated.reason
        else:
            log.window = generated.claim.interval
        return generated


def _without_lease(runtime: Runtime, request: RunRequest) -> Generated | None:
    """Return the result if no lease is needed: a live run without a window or a ready gap.  Else return None."""
    if request.kind is not RunKind.LIVE or runtime.state.bound(request.run) is not None:
        return None
    if runtime.config.start_day is None:
        first_day = runtime.state.first_day(None)
        if first_day is None or first_day > target_day(runtime.config.rules, request.reference_time):
            return None  # planning writes the first day
    plan = plan_next(runtime, request.reference_time, request.run)
    return None if plan.interval is not None or plan.reason is Reason.LEASED else _nothing(plan)


@contextmanager
def _chosen(runtime: Runtime, request: RunRequest, interval: Interval, log: PhaseRecord) -> Iterator[None]:
    """Count a failure of the block as one of this window; the log line names the window."""
    log.window = interval
    with failures_counted(runtime, request.run, interval, "generate"):
        yield
    log.window = None


def _take(runtime: Runtime, run: str, interval: Interval) -> None:
    """Take the lease of a window, unless the state fell back to an older copy."""
    refuse_older_state(runtime)
    take(runtime, run, interval)


def _generate(runtime: Runtime, request: RunRequest, log: PhaseRecord) -> Generated:
    bound = runtime.state.bound(request.run)
    if request.kind is RunKind.BACKFILL:
        plan = _plan_named(runtime, request, cut=True)
    elif bound is not None:
        return _resume(runtime, request, bound, log)
    elif request.kind is RunKind.WINDOW:
        plan = _plan_named(runtime, request, cut=False)
    else:
        return _claim_live(runtime, request, log)
    if plan.interval is None:
        return _nothing(plan)
    reach("generate.planned")
    refuse_older_state(runtime)
    interval = plan.interval
    with _chosen(runtime, request, interval, log):
        detail = _lease_and_bind(
            runtime, request.run, interval, lambda: _not_needed(runtime, request, interval), replace=True
        )
        if isinstance(detail, str):
            return Generated(None, None, Reason.COMPLETE.value, detail)
        reach("generate.bound")
        window = Window(runtime.config.pipeline_id, plan.interval, plan.day)
        return _claimed(runtime, request, window, plan.detail, replace=True)


def _not_needed(runtime: Runtime, request: RunRequest, interval: Interval) -> str | None:
    """Return why the window that was named need not be moved any more, None if it must."""
    if not (request.only_drifted or request.only_incomplete):
        return None
    entries = runtime.state.entries(interval)
    is_drifted = any(piece.overlaps(interval) for piece, _ in ledger.drifted(entries))
    if request.only_drifted and not is_drifted:
        return "another run has loaded this window again since the recheck found late data"
    if request.only_incomplete and not is_drifted:
        sure = subtract(ledger.committed(entries), ledger.unverified(entries))
        if not gaps(interval, sure):
            return "another run has committed this window since this run was asked for"
    return None


def plan_next(runtime: Runtime, reference_time: datetime, owner: str) -> Plan:
    """Plan the next window for this owner now; nothing is claimed or written."""
    rules, state = runtime.config.rules, runtime.state
    with state.session():
        first_day = state.first_day(None) if rules.start_day is None else None
        span = all_days(rules, reference_time, first_day)
        covered, leases = state.known(span, keep=True) if span is not None else (Coverage(), [])
    me = runtime.owner(owner)
    known = Known(
        covered.done,
        blocked=tuple(covered.blocked(runtime.config.max_attempts)),
        leased=tuple(lease.interval for lease in leases if not lease.belongs_to(me)),
        failed=covered.failed,
    )
    return plan_live(rules, reference_time, known, first_day)


def is_committed(runtime: Runtime, interval: Interval) -> bool:
    """Return whether every instant of the interval is committed, at any time, by any run."""
    return not gaps(interval, ledger.committed(runtime.state.entries(interval)))


def _claim_live(runtime: Runtime, request: RunRequest, log: PhaseRecord) -> Generated:
    refuse_before_first_day(runtime, request.reference_time, remember_first_day(runtime, request.run_after))
    for _ in range(PLANNING_ROUNDS):
        plan = plan_next(runtime, request.reference_time, request.run)
        if plan.interval is None:
            return _nothing(plan, _holders(runtime, request) if plan.reason is Reason.LEASED else "")
        reach("generate.planned")
        refuse_older_state(runtime)
        planned = plan.interval
        with _chosen(runtime, request, planned, log):
            try:
                interval = _lease_and_bind(
                    runtime, request.run, planned, partial(_done_meanwhile, runtime, planned)
                )
            except LeaseHeldError:
                log.window = None
                continue  # another run was faster; the next plan skips its lease
            if isinstance(interval, str):
                log.window = None
                continue
            reach("generate.bound")
            if interval == planned:
                _release_others(runtime, request.run, interval)
                window = Window(runtime.config.pipeline_id, interval, plan.day)
                return _claimed(runtime, request, window, plan.detail, replace=False)
            release(runtime, request.run, planned)  # a twin of this task bound the run first
        return _resume(runtime, request, interval, log)
    raise TransientError(
        f"lost the race for a window {PLANNING_ROUNDS} times in a row; "
        "too many runs plan at once: lower max_active_runs, or let the retry try again"
    )


def _done_meanwhile(runtime: Runtime, interval: Interval) -> str | None:
    """Return why the window needs no run if another run did it between the plan and the lease; None if not."""
    entries = runtime.state.entries(interval)
    return "done since it was planned" if ledger.committed(entries) or ledger.waived(entries) else None


def _lease_and_bind(
    runtime: Runtime,
    run: str,
    interval: Interval,
    not_needed: Callable[[], str | None],
    *,
    replace: bool = False,
) -> Interval | str:
    """Lease the window and bind the run to it in one step; return the window that the run is bound to.

    Return the reason of `not_needed`, which is certain only under the lease, if there is one; then no lease is left.
    A store without transactions does one after the other, and a crash between them leaves a lease only.
    """

    def work() -> Interval | str:
        take(runtime, run, interval)
        reach("generate.leased")
        reason = not_needed()
        if reason is not None:
            release(runtime, run, interval)
            return reason
        return runtime.state.bind_run(run, interval, replace=replace)

    try:
        return runtime.state.together(work)
    except BaseException:
        runtime.renewed.pop((run, interval), None)  # the lease may have been rolled back
        raise


def _resume(runtime: Runtime, request: RunRequest, interval: Interval, log: PhaseRecord) -> Generated:
    """Resume the window that this run is bound to, after a retry or a clear.

    A committed window yields the old record without a new lease.  If another run holds the window, a live run has
    nothing to do; a named window is waited for.
    """
    _release_others(runtime, request.run, interval)
    if is_committed(runtime, interval):
        detail = "this run's window is committed already; its record is given again without a new lease"
    else:
        try:
            _take(runtime, request.run, interval)
        except LeaseHeldError as error:
            if request.kind is not RunKind.LIVE:
                raise
            return Generated(None, None, Reason.SUPERSEDED.value, error.message)
        detail = "this run continues with the window it had"
    with _chosen(runtime, request, interval, log):
        replace = request.kind is RunKind.WINDOW
        return _claimed(runtime, request, runtime.window(interval), detail, replace=replace)


def _release_others(runtime: Runtime, run: str, interval: Interval) -> None:
    """Release what this run leased before a crash, if its window is another one than it had chosen then.

    An equal run of another installation was bound meanwhile, or an earlier window became free.  The lease is taken
    first, since only the newest execution of a task may release it.
    """
    me = runtime.owner(run)
    for lease in runtime.state.leases():
        if lease.belongs_to(me) and lease.interval != interval:
            with suppress(LeaseHeldError):  # it expired meanwhile, and another run has it
                take(runtime, run, lease.interval)
                release(runtime, run, lease.interval)


def _plan_named(runtime: Runtime, request: RunRequest, *, cut: bool) -> Plan:
    if request.interval is None:
        raise ConfigError(f"interval: a {request.kind.value} run needs a window, got None")
    return plan_window(runtime.config.rules, request.interval, runtime.now(), cut=cut, exact=request.exact)


def _nothing(plan: Plan, holders: str = "") -> Generated:
    reason = (plan.reason or Reason.COMPLETE).value
    return Generated(None, None, reason, f"{plan.detail}: {holders}" if holders else plan.detail)


def _holders(runtime: Runtime, request: RunRequest) -> str:
    """Return a sentence about the leases that keep this run from a window."""
    zone = runtime.config.timezone
    me = runtime.owner(request.run)
    held = [lease for lease in runtime.state.leases() if not lease.belongs_to(me)]
    listed = [
        f"{local_window(lease.interval, zone)} {held_lease(lease.holder, lease.since, lease.until, zone)}"
        for lease in held[:MOST_LISTED]
    ]
    return "; ".join(listed + ([f"and {len(held) - MOST_LISTED} more"] if len(held) > MOST_LISTED else []))


def _claimed(
    runtime: Runtime, request: RunRequest, window: Window, detail: str, *, replace: bool
) -> Generated:
    """Return the claim of the window, and the user's record, which is computed from the claim."""
    claim = Claim(
        window.pipeline_id,
        window.interval,
        window.day,
        request.run,
        request.kind,
        to_utc(request.reference_time, "reference_time"),
        replace,
        request.by,
        request.accept_shrink,
        runtime.installation,
    )
    config = runtime.config
    record = window_record(
        claim.interval,
        claim.day,
        config.rules.zone,
        pipeline_id=claim.pipeline_id,
        default_record=config.default_record,
        functions=config.resolve_record_functions(),
    )
    return Generated(claim, json_safe(record), None, detail)
