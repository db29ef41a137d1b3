"""Find the maintenance DAG that holds a pipeline, in Airflow's own database.

The ids are the values of the DAG's Param `pipeline`; each version of a DAG is read once.
"""

from __future__ import annotations

import json
import time
import zlib
from typing import Any, NamedTuple

import sqlalchemy as sa
from airflow.models.dag import DagModel, DagTag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session

from airflow_pipeline_provider.web.pipelines import teams_of

TAG = "maintenance"
FRESH_SECONDS = 10.0
_known: dict[tuple[str, str], frozenset[str]] = {}


class MaintenanceDag(NamedTuple):
    """The team of a DAG, and the pipelines that its runs can choose."""

    team: str | None
    pipelines: frozenset[str]


_newest: tuple[float, dict[str, MaintenanceDag]] = float("-inf"), {}


def find_maintenance(pipeline_id: str, team: str | None) -> str | None:
    """Return the id of the DAG; None if no DAG of the pipeline's team that exists holds the pipeline."""
    global _newest
    if time.monotonic() - _newest[0] > FRESH_SECONDS:
        _newest = time.monotonic(), _maintenance_dags()
    for dag_id, dag in sorted(_newest[1].items()):
        if dag.team == team and pipeline_id in dag.pipelines:
            return dag_id
    return None


def forget_maintenance() -> None:
    """Read the DAGs again at the next request; for tests."""
    global _newest
    _newest = float("-inf"), {}


def _maintenance_dags() -> dict[str, MaintenanceDag]:
    found = {}
    with create_session(scoped=False) as session:
        tagged = sa.select(DagModel.dag_id).join(DagTag, DagTag.dag_id == DagModel.dag_id)
        for (dag_id,) in session.execute(tagged.where(DagTag.name == TAG, sa.not_(DagModel.is_stale))).all():
            found[dag_id] = _pipelines_of(session, dag_id)
    teams = teams_of(list(found))
    return {dag_id: MaintenanceDag(teams.get(dag_id), pipelines) for dag_id, pipelines in found.items()}


def _pipelines_of(session: Any, dag_id: str) -> frozenset[str]:
    model = SerializedDagModel
    newest = model.created_at.desc()
    mine = sa.select(model.id, model.dag_hash).where(model.dag_id == dag_id).order_by(newest).limit(1)
    row = session.execute(mine).first()
    if row is None:
        return frozenset()
    version = (dag_id, row.dag_hash)
    if version not in _known:
        stored = session.execute(
            sa.select(model._data, model._data_compressed).where(model.id == row.id)
        ).one()
        data = json.loads(zlib.decompress(stored[1])) if stored[1] else stored[0]
        for old in [key for key in _known if key[0] == dag_id]:
            _known.pop(old, None)
        _known[version] = _ids_in(data)
    return _known[version]


def _ids_in(data: dict[str, Any]) -> frozenset[str]:
    """Return the values of the Param `pipeline`; none for a DAG of an earlier version, or of another package."""
    params = dict(data.get("dag", {}).get("params") or [])
    schema = params.get("pipeline", {}).get("schema", {})
    values = schema.get("__var", schema).get("enum", [])
    return frozenset(value for value in values if isinstance(value, str))
