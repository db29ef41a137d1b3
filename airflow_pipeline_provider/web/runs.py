"""Start DAG runs and backfills for a user whose permission was checked, and count the DAGs that follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from airflow.models.asset import AssetModel, DagScheduleAssetReference
from airflow.models.backfill import (
    AlreadyRunningBackfill,
    Backfill,
    BackfillDagRun,
    ReprocessBehavior,
    _create_backfill,
)
from airflow.models.dag import DagModel
from airflow.sdk.exceptions import AirflowException
from airflow.utils.session import create_session
from fastapi import HTTPException

from airflow_pipeline_provider.connectors.airflow_connections import metadata_errors
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators.start_run import known_arguments
from airflow_pipeline_provider.operators.start_run import start_run as start


class RunnableDag(NamedTuple):
    """What decides whether and when a run of a DAG starts."""

    is_paused: bool
    max_active_runs: int

    def pause_note(self, runs: int = 1) -> str:
        """Return what an answer adds for this number of new runs if the DAG is paused; "" if it is not."""
        waiting = "the run waits" if runs == 1 else "the runs wait"
        return f"; the DAG is paused, so {waiting} until it is unpaused" if self.is_paused else ""


def runnable(dag_id: str) -> RunnableDag:
    """Return the DAG; raise HTTPException if Airflow would start no run of it."""
    with metadata_errors(f"DAG {dag_id} cannot be read"), create_session(scoped=False) as session:
        model = session.scalar(sa.select(DagModel).where(DagModel.dag_id == dag_id))
        if model is None or model.is_stale:
            raise HTTPException(
                409, f"the file of DAG {dag_id} is gone or does not load: no run can be started"
            )
        if model.has_import_errors:
            raise HTTPException(409, f"the file of DAG {dag_id} does not load: correct it, then try again")
        return RunnableDag(bool(model.is_paused), int(model.max_active_runs or 1))


def start_run(dag_id: str, run_id: str, conf: Mapping[str, Any], *, user: str, note: str = "") -> str:
    """Start a run and return its id; errors as of `operators.start_run`, but 404 for a DAG that Airflow lacks."""
    try:
        start(dag_id, run_id, conf, by="UI", user=user, note=note)
    except ConfigError as error:
        raise HTTPException(404, error.message) from error
    return run_id


class StartedBackfill(NamedTuple):
    """A backfill of Airflow: `runs` were made, `in_flight` have a run that is not finished."""

    backfill_id: int
    runs: int
    in_flight: int


def start_backfill(
    dag_id: str, first: datetime, last: datetime, conf: Mapping[str, Any], *, user: str, max_active_runs: int
) -> StartedBackfill:
    """Start a backfill of the windows that start from `first` to `last`, also of those that have a run already."""
    arguments = {
        "dag_id": dag_id,
        "from_date": first,
        "to_date": last,
        "max_active_runs": max_active_runs,
        "reverse": False,
        "dag_run_conf": dict(conf),
        "triggering_user_name": user,
        "reprocess_behavior": ReprocessBehavior.COMPLETED,
        "run_on_latest_version": True,
    }
    try:
        with metadata_errors("the backfill cannot be started"):
            made: Backfill = _create_backfill(**known_arguments(_create_backfill, arguments))
        doing = f"backfill {made.id} was started, but its runs cannot be counted"
        with metadata_errors(doing), create_session(scoped=False) as session:
            rows = session.scalars(
                sa.select(BackfillDagRun.dag_run_id).where(BackfillDagRun.backfill_id == made.id)
            ).all()
    except AlreadyRunningBackfill as error:
        raise HTTPException(
            409,
            f"DAG {dag_id} has a backfill that is not finished, and Airflow runs one at a time: wait for it, or "
            "cancel it",
        ) from error
    except (AirflowException, ValueError) as error:
        raise HTTPException(409, f"the backfill could not be started: {error}") from error
    started = [row for row in rows if row is not None]
    return StartedBackfill(made.id, len(started), len(rows) - len(started))


def followers(*assets: str) -> int:
    """Return how many DAGs that are not paused are scheduled on one of the assets."""
    statement = (
        sa.select(sa.func.count(sa.distinct(DagScheduleAssetReference.dag_id)))
        .join(AssetModel, AssetModel.id == DagScheduleAssetReference.asset_id)
        .join(DagModel, DagModel.dag_id == DagScheduleAssetReference.dag_id)
        .where(AssetModel.name.in_(assets), sa.not_(DagModel.is_paused), sa.not_(DagModel.is_stale))
    )
    with create_session(scoped=False) as session:
        return int(session.scalar(statement) or 0)
