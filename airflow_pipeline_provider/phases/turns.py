"""Serialize runs on a state store with one writer at a time (`state.type: variable`).

A run holds the pipeline's lease from generate to the end of audit.  A run that finds it held only reads.  A live run
then ends as skipped if the holder's commit starts a run that plans again, for which it leaves its reference time;
every other run waits (LeaseHeldError: its task is rescheduled, which uses no retry).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.planning import Reason
from airflow_pipeline_provider.exceptions import LeaseHeldError
from airflow_pipeline_provider.phases.fallback import refuse_older_state
from airflow_pipeline_provider.phases.leases import exclusive
from airflow_pipeline_provider.phases.rebuild import write_missing
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Generated, RunKind, RunRequest

logger = logging.getLogger(__name__)

LEFT_TO_FOLLOWER = "its commit starts a run that also plans for this one"


def in_turn(
    runtime: Runtime,
    request: RunRequest,
    look: Callable[[], Generated | None],
    choose: Callable[[], Generated],
) -> Generated:
    """Return the result of `choose` under the pipeline's lease, or of `look`, which only reads, if it has one."""
    seen = look()
    if seen is not None:
        return seen
    if (
        not runtime.state.leases()
    ):  # else this run writes nothing, and may wait long without a query of the target
        refuse_older_state(runtime)
    try:
        with exclusive(runtime, request.run, follows=request.follows):
            repair(runtime)
            return choose()
    except LeaseHeldError as error:
        may_leave = request.kind is RunKind.LIVE and request.follows
        if not (may_leave and runtime.state.ask_to_follow(error, request.reference_time)):
            raise
        return Generated(None, None, Reason.LEASED.value, f"{error.message}; {LEFT_TO_FOLLOWER}")


def repair(runtime: Runtime) -> None:
    """Write the entries that the ledger lost, from the target's commit rows, after a lost write of the state."""
    if not runtime.state.lost_writes():
        return
    logger.warning(
        "pipeline %s: a suspended process overwrote a newer state; the ledger is repaired from the target",
        runtime.config.pipeline_id,
    )
    rows = runtime.target.commits()
    runtime.state.recover({day_of(row.interval.start, runtime.config.timezone) for row in rows})
    done = write_missing(runtime)
    for row in done.written:
        logger.warning("token %d of %s is in the ledger again", row.token, row.interval)
    for row, why in done.left_out:
        logger.warning("token %d of %s stays out of the ledger: %s", row.token, row.interval, why)
