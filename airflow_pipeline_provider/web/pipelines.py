"""Find the pipelines that a user may read: those of Airflow's DAGs, and those of which only a state is left."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    AccessView,
    DagAccessEntity,
    DagDetails,
)
from airflow.configuration import conf
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.team import Team
from airflow.utils.session import create_session

from airflow_pipeline_provider.state.facts import PipelineFacts, read_facts
from airflow_pipeline_provider.web.catalog import BrokenFile, Listing, catalog, find_pipeline
from airflow_pipeline_provider.web.states import recorded_facts
from airflow_pipeline_provider.web.stores import Owned, stores, together

GONE_SECONDS = 60.0  # how often stores are asked for pipelines without a DAG


class Found(NamedTuple):
    """A pipeline; `version` changes with its DAG. `gone`: Airflow has no DAG of it, its facts are from the state."""

    dag_id: str
    owned: Owned
    version: str
    paused: bool | None
    stale: bool
    tags: tuple[str, ...]
    broken: BrokenFile | None
    gone: bool

    @property
    def facts(self) -> PipelineFacts:
        """Return the facts."""
        return self.owned.facts

    @property
    def problem(self) -> dict[str, Any] | None:
        """Return why its runs do not start, None if nothing is wrong with its file."""
        if self.broken is not None:
            return broken_json(self.broken)
        if self.gone or self.stale:
            what = (
                "Airflow has no DAG of it any more"
                if self.gone
                else "its file is gone, so Airflow starts no run"
            )
            return {
                "kind": "gone",
                "file": self.facts.file,
                "line": None,
                "message": f"{what}; what is shown is what its state records",
                "since": None,
            }
        return None


def broken_json(broken: BrokenFile) -> dict[str, Any]:
    """Return the problem of a file that does not load."""
    return {
        "kind": "file",
        "file": broken.file,
        "line": broken.line,
        "message": broken.message,
        "since": broken.since,
    }


class _Gone:
    """The pipelines that only states know, by id; asked for now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._found: dict[str, Owned] = {}

    def get(self, listed: Listing, teams: dict[str, str | None]) -> dict[str, Owned]:
        with self._lock:  # of which the first asks, while the others answer what was found before
            asking = time.monotonic() - self._read_at > GONE_SECONDS
            if asking:
                self._read_at = time.monotonic()
        if asking:
            self._found = _read_gone(listed, teams)
        return {name: owned for name, owned in self._found.items() if name not in listed.pipelines}

    def forget(self) -> None:
        with self._lock:
            self._read_at = float("-inf")


_gone = _Gone()


def forget_gone() -> None:
    """Ask the stores again at the next request; for tests."""
    _gone.forget()


def _read_gone(listed: Listing, teams: dict[str, str | None]) -> dict[str, Owned]:
    owned = [Owned(one.facts, teams.get(one.dag_id)) for one in listed.pipelines.values()]
    listed_in: dict[str, set[str]] = defaultdict(set)
    for one in owned:
        listed_in[one.key].add(one.facts.pipeline_id)
    found: dict[str, Owned] = {}
    asked = stores(owned)
    others = together(lambda store: recorded_facts(store, listed_in[store.key]), asked)
    for store, recorded in zip(asked, others, strict=True):
        for pipeline_id, stored in recorded.items():
            try:
                facts = read_facts({**stored, "pipeline_id": pipeline_id, "state": store.facts.state})
            except ValueError:  # written by another version of this package
                continue
            found[pipeline_id] = Owned(facts, store.team)
    return found


def has_teams() -> bool:
    """Return whether Airflow has teams."""
    return bool(conf.getboolean("core", "multi_team", fallback=False))


def teams_of(dag_ids: list[str]) -> dict[str, str | None]:
    """Return the team of each DAG; empty where Airflow has no teams."""
    if not has_teams():
        return {}
    teams: dict[str, str | None] = DagModel.get_dag_id_to_team_name_mapping(dag_ids)
    return teams


def readable_ids(user: Any, teams: Mapping[str, str | None]) -> set[str]:
    """Return those of these DAGs, each with its team, that the user may read with their runs."""
    manager = get_auth_manager()
    by_team: dict[str | None, set[str]] = defaultdict(set)
    for dag_id, team in teams.items():
        by_team[team].add(dag_id)
    return {
        dag_id
        for team, ids in by_team.items()
        for dag_id in manager.filter_authorized_dag_ids(dag_ids=ids, user=user, method="GET", team_name=team)
        if manager.is_authorized_dag(
            method="GET",
            access_entity=DagAccessEntity.RUN,
            details=DagDetails(id=dag_id, team_name=team),
            user=user,
        )
    }


def every_team() -> set[str | None]:
    """Return the teams of Airflow, with None for what belongs to no team."""
    names: set[str] = Team.get_all_team_names()
    return {*names, None}


def teams_of_bundles() -> dict[str, str | None]:
    """Return the team of each DAG bundle, None for one of no team."""
    with create_session(scoped=False) as session:
        found: dict[str, str | None] = dict.fromkeys(session.scalars(sa.select(DagBundleModel.name)))
        found |= dict(
            session.execute(sa.select(DagBundleModel.name, Team.name).join(DagBundleModel.teams)).all()
        )
    return found


def _may_read_dags(user: Any, team: str | None) -> bool:
    """Return whether the user may read the DAGs of the team, whatever their ids are, with their runs."""
    return bool(
        get_auth_manager().is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.RUN, details=DagDetails(team_name=team), user=user
        )
    )


def _may_read_all(user: Any) -> bool:
    return all(_may_read_dags(user, team) for team in every_team())


def readable_found(user: Any, found: Mapping[str, Found]) -> set[str]:
    """Return the DAG ids of the pipelines that the user may read.

    With teams, only a user who may read the DAGs of all of them sees a pipeline whose DAG is gone: the database of
    its state may be shared, and does not record whose it was.
    """
    ids = readable_ids(user, {dag_id: one.owned.team for dag_id, one in found.items()})
    gone = {dag_id for dag_id in ids if found[dag_id].gone}
    return ids - gone if gone and has_teams() and not _may_read_all(user) else ids


def _readable_files(user: Any, broken: Iterable[BrokenFile]) -> list[BrokenFile]:
    """Return the files without a pipeline whose errors the user may read; with teams, those of the user's bundles."""
    unknown = [file for file in broken if file.dag_id is None]
    may = get_auth_manager().is_authorized_view(access_view=AccessView.IMPORT_ERRORS, user=user)
    if not unknown or not may or not has_teams():
        return unknown if may else []
    teams = teams_of_bundles()
    readable = {team: _may_read_dags(user, team) for team in set(teams.values())}
    whole = _may_read_all(user)
    return [file for file in unknown if (readable[teams[file.bundle]] if file.bundle in teams else whole)]


def readable_pipelines(user: Any) -> tuple[dict[str, Found], list[BrokenFile]]:
    """Return the pipelines that the user may read, by DAG id, and the files without a pipeline that do not load."""
    listed = catalog()
    teams = teams_of(list(listed.pipelines))
    every = {dag_id: _listed(listed, dag_id, teams) for dag_id in listed.pipelines}
    every |= {dag_id: _without_dag(dag_id, owned) for dag_id, owned in _gone.get(listed, teams).items()}
    allowed = readable_found(user, every)
    found = {dag_id: one for dag_id, one in every.items() if dag_id in allowed}
    return found, _readable_files(user, listed.broken)


def find(dag_id: str) -> Found | None:
    """Return the pipeline, None for a DAG that is none; whether the user may read it was asked before."""
    if find_pipeline(dag_id) is not None:
        listed = catalog()
        if dag_id in listed.pipelines:
            return _listed(listed, dag_id, teams_of([dag_id]))
    listed = catalog()
    owned = _gone.get(listed, teams_of(list(listed.pipelines))).get(dag_id)
    return _without_dag(dag_id, owned) if owned is not None else None


def _listed(listed: Listing, dag_id: str, teams: dict[str, str | None]) -> Found:
    one = listed.pipelines[dag_id]
    return Found(
        dag_id,
        Owned(one.facts, teams.get(dag_id)),
        one.version,
        one.paused,
        one.stale,
        one.tags,
        listed.problem_of(dag_id),
        gone=False,
    )


def _without_dag(dag_id: str, owned: Owned) -> Found:
    return Found(dag_id, owned, "gone", None, True, (), None, gone=True)
