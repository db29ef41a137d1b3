"""Release the leases of runs that Airflow has ended.

A task that Airflow ends gives its run's lease back itself (`PipelineOperator.on_kill`).  A run that is marked as
failed while it waits for a retry, or is deleted, has no task that could: the next run that needs its window does it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.operators.day_runs import DayRuns
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.state.owners import Owner

logger = logging.getLogger(__name__)

MARGIN = timedelta(seconds=15)
"""A renewal may come so late: the process waits for the state, or for the processor."""


def release_ended(runtime: Runtime, ti: Any) -> bool:
    """Release leases of this installation whose runs are neither queued nor running; return whether there were any.

    A lease that a process still renews stays, whatever Airflow knows of its run: an Airflow that was restored from
    another one's database is the same installation, and does not know the other one's later runs.  Airflow Variables
    have no compare-and-set, so there the lease expires instead.
    """
    if not runtime.state.concurrent or runtime.installation is None:
        return False
    released, now = False, runtime.state.now()
    for lease in runtime.state.leases():
        dag_id, _, run_id = lease.owner.partition("/")
        if lease.installation != runtime.installation or lease.owner == f"{ti.dag_id}/{ti.run_id}":
            continue
        if not _is_silent(lease, now):
            continue
        try:
            if DayRuns(ti).is_unfinished(dag_id, [run_id]):
                continue
        except TransientError as error:
            logger.warning("the lease of %s stays: %s", lease.owner, error.message)
            continue
        logger.info("run %s has ended: its lease of %s is released", lease.owner, lease.interval)
        runtime.state.release(lease.interval, Owner(lease.owner, lease.installation), until=lease.until)
        released = True
    return released


def _is_silent(lease: Lease, now: datetime) -> bool:
    """Return whether the lease was not renewed for so long that no process works under it.

    A phase renews it each third of its time (`phases.leases`).
    """
    if lease.seconds is None:
        return False
    length = timedelta(seconds=lease.seconds)
    return now - (lease.until - length) > length / 3 + MARGIN
