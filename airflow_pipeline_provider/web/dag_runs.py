"""Look up which of the runs in a ledger Airflow still knows."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

_MOST = 500


def existing_runs(runs: Iterable[str | None]) -> dict[str, str]:
    """Return the state of each run ("dag_id/run_id") that Airflow knows; others were deleted, or are not its own."""
    wanted = {tuple(run.split("/", 1)) for run in runs if run and "/" in run}
    keys = sorted(wanted)[:_MOST]
    if not keys:
        return {}
    by_dag: dict[str, list[str]] = {}
    for dag_id, run_id in keys:
        by_dag.setdefault(dag_id, []).append(run_id)
    condition = sa.or_(
        *(sa.and_(DagRun.dag_id == dag_id, DagRun.run_id.in_(ids)) for dag_id, ids in by_dag.items())
    )
    with create_session(scoped=False) as session:
        rows = session.execute(sa.select(DagRun.dag_id, DagRun.run_id, DagRun.state).where(condition)).all()
    return {f"{dag_id}/{run_id}": str(state) for dag_id, run_id, state in rows}
