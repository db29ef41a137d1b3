"""Decide what a user may do with a pipeline, by Airflow's own permissions, and name the one that is missing."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, NamedTuple

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import HTTPException

from airflow_pipeline_provider.web.answers import not_found
from airflow_pipeline_provider.web.maintenance_dags import find_maintenance
from airflow_pipeline_provider.web.pipelines import Found, find, readable_found, readable_ids, teams_of


class Needed(NamedTuple):
    """A permission on a DAG; `text` completes "you are missing the permission"."""

    method: Literal["GET", "POST", "PUT"]
    entity: DagAccessEntity | None
    text: str


READ = Needed("GET", DagAccessEntity.RUN, "can read on DAGs and DAG Runs")
RUN = Needed("POST", DagAccessEntity.RUN, "can create on DAG Runs")
EDIT = Needed("PUT", None, "can edit on DAGs")


class PageAction(str, Enum):
    """Change that the page offers."""

    MOVE = "move"
    RECHECK = "recheck"
    WAIVE = "waive"
    ACCEPT_SHRINK = "accept_shrink"
    RELEASE = "release"


NEEDED = {
    PageAction.MOVE: (RUN,),
    PageAction.RECHECK: (READ,),  # and RUN on the maintenance DAG
    PageAction.WAIVE: (EDIT,),
    PageAction.ACCEPT_SHRINK: (EDIT, RUN),
    PageAction.RELEASE: (EDIT,),
}


def may(user: Any, one: Found) -> dict[str, bool | str]:
    """Return for each action whether the user may do it: True, or why not."""
    return {action.value: why_not(user, action, one) or True for action in PageAction}


def why_not(user: Any, action: PageAction, one: Found) -> str | None:
    """Return what keeps the user from the action, None if nothing does."""
    for needed in NEEDED[action]:
        if not _has(user, needed, one.dag_id, one.owned.team):
            return _missing(needed, one.dag_id)
    if action is PageAction.RECHECK:
        pipeline_id = one.facts.pipeline_id
        maintenance = find_maintenance(pipeline_id, one.owned.team)
        if maintenance is None:
            of_team = f" of team {one.owned.team}" if one.owned.team else ""
            return f"no maintenance DAG{of_team} has the pipeline {pipeline_id}: add load_maintenance to the DAG file"
        if not _has(user, RUN, maintenance, one.owned.team):
            return _missing(RUN, maintenance)
    return None


def readable(dag_id: str, user: GetUserDep) -> Found | None:
    """Return the pipeline, None for what is no pipeline; raise HTTPException unless the user may read the DAG.

    This is the dependency of the routes of one pipeline. It asks what the list asks, so that both show the same.
    """
    one = find(dag_id)
    if one is not None:
        allowed = readable_found(user, {dag_id: one})
    else:
        allowed = readable_ids(user, {dag_id: teams_of([dag_id]).get(dag_id)})
    if dag_id not in allowed:
        raise HTTPException(403, _missing(READ, dag_id))
    return one


def requires(action: PageAction) -> Callable[..., None]:
    """Return the dependency of an action's route: permission to read the DAG first, so ids are not revealed."""

    def check(dag_id: str, user: GetUserDep) -> None:
        one = readable(dag_id, user)
        if one is None:
            raise not_found(dag_id)
        missing = why_not(user, action, one)
        if missing is not None:
            raise HTTPException(403, missing)

    return check


def _has(user: Any, needed: Needed, dag_id: str, team: str | None) -> bool:
    return bool(
        get_auth_manager().is_authorized_dag(
            method=needed.method,
            access_entity=needed.entity,
            details=DagDetails(id=dag_id, team_name=team),
            user=user,
        )
    )


def _missing(needed: Needed, dag_id: str) -> str:
    return f"you are missing the permission {needed.text!r} for the DAG {dag_id[:200]}"
