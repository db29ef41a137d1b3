"""Release the leases of runs that Airflow has ended.

A task that Airflow ends gives its run's lease back itself (`PipelineOperator.on_kill`).  A run that is marked as
failed while it waits for a retry, or is deleted, has no task that could: the next run that needs its window does it.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.operators.day_runs import DayRuns
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.owners import Owner

logger = logging.getLogger(__name__)


def release_ended(runtime: Runtime, ti: Any) -> bool:
    """Release leases of this installation whose runs are neither queued nor running; return whether there were any.

    A process of such a run may still work for some seconds: the fencing token stops it.  Airflow Variables have no
    compare-and-set, so there it could disturb the state, and the lease expires instead.
    """
    if not runtime.state.concurrent or runtime.installation is None:
        return False
    released = False
    for lease in runtime.state.leases():
        dag_id, _, run_id = lease.owner.partition("/")
        if lease.installation != runtime.installation or lease.owner == f"{ti.dag_id}/{ti.run_id}":
            continue
        try:
            if DayRuns(ti).is_unfinished(dag_id, [run_id]):
                continue
        except TransientError as error:
            logger.warning("the lease of %s stays: %s", lease.owner, error.message)
            continue
        logger.info("run %s has ended: its lease of %s is released", lease.owner, lease.interval)
        runtime.state.release(lease.interval, Owner(lease.owner, lease.installation))
        released = True
    return released
