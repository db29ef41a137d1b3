"""What the page changes: through Airflow's permissions and audit log, and only for requests of the page itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import HTTPException

from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.web.catalog import forget_catalog
from airflow_pipeline_provider.web.maintenance_dags import forget_maintenance
from airflow_pipeline_provider.web.states import forget_stores, open_state
from tests.page.conftest import PREFIX, Login
from tests.page.world import World, environment, windows_of

HEADERS = {
    "X-Airflow-Pipelines": "1",
    "Origin": "http://testserver",
    "Sec-Fetch-Site": "same-origin",
}


@dataclass
class Place:
    """A pipeline of twelve-hour windows: two complete, one that shrank, one that failed, the others missing."""

    world: World
    dag_id: str
    maintenance: str
    plan: dict[int, list[Interval]]

    @property
    def complete(self) -> Interval:
        return self.plan[-3][0]

    @property
    def shrunk(self) -> Interval:
        return self.plan[-2][0]

    @property
    def failed(self) -> Interval:
        return self.plan[-2][1]

    @property
    def missing(self) -> list[Interval]:
        return self.plan[-1]

    def url(self, action: str) -> str:
        return f"{PREFIX}/api/pipelines/{self.dag_id}/{action}"

    def state(self) -> State:
        from airflow_pipeline_provider.web.pipelines import find

        found = find(self.dag_id)
        assert found is not None
        return open_state(found.facts)

    def entries(self, window: Interval) -> list[Any]:
        with closing(self.state()) as state:
            return state.entries(window)

    def run(self, window: Interval) -> None:
        with self.world.runtime(self.dag_id) as runtime:
            self.world.move(runtime, window)


def fill(world: World, name: str, **changes: Any) -> dict[int, list[Interval]]:
    world.write(name, granularity="12h", start_day=world.day(-3), end_day=world.day(-1), **changes)
    with world.runtime(name) as runtime:
        plan = {back: windows_of(runtime, world.day(back)) for back in (-3, -2, -1)}
        failed = plan[-2][1]
        world.put(name, [w for windows in plan.values() for w in windows if w != failed])
        for window in (*plan[-3], plan[-2][0]):
            world.move(runtime, window)
        world.fail(runtime, failed, 1)
        world.delete(name, plan[-2][0], leave=1)
        recheck(runtime, 3, world.now)
    return plan


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_app: Any) -> Iterator[Place]:
    yield from made(tmp_path, monkeypatch)


@pytest.fixture
def by_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_app: Any) -> Iterator[Place]:
    yield from made(tmp_path, monkeypatch, state={"type": "variable"})


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Iterator[Place]:
    for key, value in environment(tmp_path).items():
        if key.startswith("AIRFLOW_CONN_"):
            monkeypatch.setenv(key, value)
    from airflow.api.common.delete_dag import delete_dag

    world, name = World(tmp_path), f"p_{uuid4().hex[:8]}"
    plan = fill(world, name, **changes)
    maintenance = f"maintenance_of_{name}"
    store(tmp_path, name, maintenance)
    forget_catalog()
    forget_maintenance()
    forget_stores()
    yield Place(world, name, maintenance, plan)
    forget_stores()
    for dag_id in (name, maintenance):  # the tests of other modules list Airflow's DAGs
        delete_dag(dag_id)


def store(home: Path, name: str, maintenance: str) -> None:
    """Write the DAGs to Airflow's database, as the DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    from airflow_pipeline_provider.config.loader import load_pipeline
    from airflow_pipeline_provider.connectors.registry import options_model
    from airflow_pipeline_provider.factory.dag import build_dag
    from airflow_pipeline_provider.factory.maintenance import build_maintenance

    file = home / "dags" / "pipelines" / f"{name}.yaml"
    config = load_pipeline(file, options_model=options_model)
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(os.devnull, collect_dags=False)
    bag.bag_dag(build_dag(config, file))
    bag.bag_dag(build_maintenance([config], schedule=None, days=3, on_shrink="warn", dag_id=maintenance))
    sync_bag_to_db(bag, "dags-folder", None)


def body_of(*windows: Interval, **more: Any) -> dict[str, Any]:
    return {"windows": [{"start": iso_utc(w.start), "end": iso_utc(w.end)} for w in windows], **more}


def bounds(window: Interval, **more: Any) -> dict[str, Any]:
    return {"start": iso_utc(window.start), "end": iso_utc(window.end), **more}


def post(place: Place, client: Login, action: str, body: Any, role: str = "admin", **headers: Any) -> Any:
    sent = {key: value for key, value in {**HEADERS, **headers}.items() if value is not None}
    return client(role).post(place.url(action), json=body, headers=sent)


def runs_of(dag_id: str) -> list[tuple[str, dict[str, Any], str, str | None]]:
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id)).all()
        return [(row.run_id, row.conf, str(row.run_type), row.triggering_user_name) for row in rows]


def audit_of(dag_id: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    from airflow.models import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(Log).where(Log.dag_id == dag_id).order_by(Log.id)).all()
        return [
            (row.event, row.owner, json.loads(row.extra)) for row in rows if row.event.startswith("pipeline_")
        ]


# --- preview


def test_the_preview_shows_each_window_and_what_will_happen(place: Place, client: Login) -> None:
    answer = post(place, client, "preview", {"days": [day.isoformat() for day in days(place)]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [(w["state"], w["chosen"], w["will"]) for w in found["windows"]] == [
        ("complete", False, "replace"),
        ("complete", False, "replace"),
        ("drifted", False, "skip"),
        ("failed", True, "move"),
        ("missing", True, "move"),
        ("missing", True, "move"),
    ]
    assert found["windows"][2]["goes"] == 2
    assert found["windows"][0]["rows"] == 3
    assert found["windows"][0]["window"]["local_start"][-6:] in ("-04:00", "-05:00")
    assert (found["complete_days"], found["followers"], found["left_out"]) == (2, {"window": 0, "day": 0}, 0)
    assert found["estimate_seconds"] is not None
    assert found["command"].startswith(f"airflow-pipelines reprocess {place.dag_id} --from ")
    assert (audit_of(place.dag_id), runs_of(place.dag_id)) == ([], [])


def days(place: Place) -> list[Any]:
    return [place.world.day(back) for back in (-3, -2, -1)]


def test_the_preview_of_all_and_of_windows(place: Place, client: Login) -> None:
    found = post(place, client, "preview", {"all": True}).json()
    assert [w["state"] for w in found["windows"]] == ["drifted", "failed", "missing", "missing"]
    found = post(place, client, "preview", body_of(place.complete)).json()
    assert [(w["state"], w["chosen"]) for w in found["windows"]] == [("complete", False)]
    gap = Interval(place.failed.start, place.missing[-1].end)
    found = post(place, client, "preview", body_of(gap)).json()
    assert [w["state"] for w in found["windows"]] == ["failed", "missing", "missing"]


def test_a_viewer_sees_the_preview_and_may_change_nothing(place: Place, client: Login) -> None:
    assert post(place, client, "preview", {"all": True}, role="viewer").status_code == 200


def test_runs_that_follow_are_counted(place: Place, client: Login) -> None:
    from airflow.models.asset import AssetModel, DagScheduleAssetReference
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for kind, number in (("windows", 2), ("days", 1)):
            name = f"{place.dag_id}.{kind}"
            asset = session.scalar(select(AssetModel).where(AssetModel.name == name))
            for n in range(number):
                consumer = f"{place.dag_id}_{kind}_{n}"
                session.add(
                    DagModel(dag_id=consumer, bundle_name="dags-folder", is_paused=False, is_stale=False)
                )
                session.flush()
                session.add(DagScheduleAssetReference(asset_id=asset.id, dag_id=consumer))
    found = post(place, client, "preview", body_of(*place.missing)).json()
    assert found["followers"] == {"window": 2, "day": 1}


# --- move


def test_one_window_is_moved_by_one_run(place: Place, client: Login) -> None:
    answer = post(place, client, "move", body_of(place.failed, reason="the source was repaired"))
    assert answer.status_code == 200, answer.text
    ((run_id, conf, kind, user),) = runs_of(place.dag_id)
    assert (answer.json()["run_id"], answer.json()["windows"]) == (run_id, 1)
    assert run_id.startswith(f"page__{place.dag_id}.")
    assert conf == {
        "window_start": iso_utc(place.failed.start),
        "window_end": iso_utc(place.failed.end),
        "by": "admin",
        "only_incomplete": True,
    }
    assert (kind, user) == ("manual", "admin")
    ((event, owner, extra),) = audit_of(place.dag_id)
    assert (event, owner, extra["reason"]) == ("pipeline_move", "admin", "the source was repaired")
    assert extra["windows"] == body_of(place.failed)["windows"]


def test_many_windows_are_a_short_row_of_the_audit_log(place: Place, client: Login) -> None:
    """MySQL refuses a row of more than 65,535 bytes, and with it the change."""
    from datetime import timedelta

    start = place.missing[0].start
    hours = [Interval(start + timedelta(hours=n), start + timedelta(hours=n + 1)) for n in range(2000)]
    seen = [bounds(hour, state="missing") for hour in hours]
    assert post(place, client, "move", {"windows": seen}).status_code == 422  # not of this day plan
    assert post(place, client, "move", {"windows": seen[::2], "reason": "why"}).status_code == 422
    joined, apart = (extra for _, _, extra in audit_of(place.dag_id))
    span = bounds(Interval(hours[0].start, hours[-1].end))
    assert joined == {"windows": [span], "number_of_windows": 2000, "method": "POST"}
    assert (len(apart["windows"]), apart["number_of_windows"], apart["reason"]) == (100, 1000, "why")
    assert len(json.dumps(apart)) < 10_000
    for body in (
        {"days": ["2013-11-03"] * 9000},
        {"reason": "\u00e9" * 20_000},
        {"windows": [["x"] * 99999]},
    ):
        assert post(place, client, "move", body).status_code == 422
    assert all(len(json.dumps(extra)) < 60_000 for _, _, extra in audit_of(place.dag_id))
    assert runs_of(place.dag_id) == []


def test_neighbours_are_moved_by_one_backfill_of_exactly_these_windows(place: Place, client: Login) -> None:
    answer = post(place, client, "move", body_of(place.failed, *place.missing))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["run_ids"], found["windows"]) == ([], 3)
    assert isinstance(found["backfill_id"], int)
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(DagRun).where(DagRun.dag_id == place.dag_id).order_by(DagRun.id)).all()
        moved = [Interval(row.data_interval_start, row.data_interval_end) for row in rows]
        assert {str(row.run_type) for row in rows} == {"backfill"}
        assert [row.conf for row in rows] == [{"by": "admin", "only_incomplete": True}] * 3
    assert moved == [place.failed, *place.missing]
    again = post(place, client, "move", body_of(*place.missing))
    assert (again.status_code, "one at a time" in again.json()["detail"]) == (409, True)


def test_windows_with_holes_between_are_moved_by_a_run_each(place: Place, client: Login) -> None:
    answer = post(place, client, "move", body_of(place.complete, place.failed))
    assert answer.status_code == 200, answer.text
    assert [conf["only_incomplete"] for _, conf, _, _ in runs_of(place.dag_id)] == [False, True]
    assert len(answer.json()["run_ids"]) == 2


def test_all_means_what_the_preview_chooses(place: Place, client: Login) -> None:
    assert post(place, client, "move", {"all": True}).json()["windows"] == 3


def with_state(window: Interval, state: str) -> dict[str, Any]:
    return {"windows": [bounds(window, state=state)]}


def test_a_window_committed_since_the_preview_is_not_moved(place: Place, client: Login) -> None:
    place.run(place.missing[0])
    answer = post(place, client, "move", with_state(place.missing[0], "missing"))
    assert answer.status_code == 409
    assert "nothing was started" in answer.json()["detail"]
    assert [w["state"] for w in answer.json()["windows"]] == ["complete"]
    assert runs_of(place.dag_id) == []


def test_a_window_leased_since_the_preview_is_not_moved(place: Place, client: Login) -> None:
    with closing(place.state()) as state:
        state.acquire(place.missing[0], f"{place.dag_id}/scheduled__x", 3600)
    answer = post(place, client, "move", with_state(place.missing[0], "missing"))
    assert answer.status_code == 409
    assert (
        f"is running now (held by {place.dag_id}/scheduled__x now: waits for its lease"
        in answer.json()["detail"]
    )
    assert runs_of(place.dag_id) == []


def test_a_window_committed_after_the_answer_is_skipped_by_its_run(place: Place, client: Login) -> None:
    """The run of the page carries `only_incomplete`, and finds the commit under its lease."""
    from airflow_pipeline_provider.phases.generate import generate
    from airflow_pipeline_provider.phases.values import RunKind, RunRequest

    window = place.missing[0]
    run_id = post(place, client, "move", with_state(window, "missing")).json()["run_id"]
    place.run(window)
    with place.world.runtime(place.dag_id) as runtime:
        request = RunRequest(f"{place.dag_id}/{run_id}", RunKind.WINDOW, place.world.now, window)
        assert generate(runtime, request._replace(only_incomplete=True)).reason == "complete"


def test_the_page_shows_what_the_ledger_says_after_the_move(place: Place, client: Login) -> None:
    """A run that was started is no success: the window stays missing until a run commits it."""
    window = place.missing[0]
    post(place, client, "move", body_of(window))
    shown = post(place, client, "preview", body_of(window)).json()["windows"]
    assert [row["state"] for row in shown] == ["missing"]
    place.run(window)
    shown = post(place, client, "preview", body_of(window)).json()["windows"]
    assert [(row["state"], row["rows"]) for row in shown] == [("complete", 3)]


def test_a_shrunk_window_is_not_moved_without_an_acceptance(place: Place, client: Login) -> None:
    answer = post(place, client, "move", body_of(place.shrunk))
    assert (answer.status_code, runs_of(place.dag_id)) == (409, [])
    assert "accept that these rows go" in answer.json()["detail"]


def test_a_crash_between_two_runs_leaves_the_first(
    place: Place, client: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_pipeline_provider.web import runs

    start, calls = runs.start_run, []

    def fail_second(*arguments: Any, **more: Any) -> str:
        calls.append(arguments)
        if len(calls) == 2:
            raise HTTPException(503, "Airflow's metadata database gives no answer")
        return start(*arguments, **more)

    monkeypatch.setattr(runs, "start_run", fail_second)
    answer = post(place, client, "move", body_of(place.complete, place.failed))
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "Airflow's metadata database gives no answer; started before it: 1 run",
    )
    assert len(runs_of(place.dag_id)) == 1


# --- recheck, waive, accept, release


def test_recheck_starts_the_maintenance_dag_for_this_day(place: Place, client: Login) -> None:
    day = place.world.day(-2).isoformat()
    answer = post(place, client, "recheck", {"day": day, "reason": "late rows"})
    assert answer.status_code == 200, answer.text
    ((run_id, conf, _, user),) = runs_of(place.maintenance)
    assert conf == {"pipeline": place.dag_id, "day": day}
    assert (answer.json()["run_id"], answer.json()["run_dag_id"], user) == (
        run_id,
        place.maintenance,
        "admin",
    )
    assert [(event, extra["reason"]) for event, _, extra in audit_of(place.dag_id)] == [
        ("pipeline_recheck", "late rows")
    ]


def test_recheck_without_a_maintenance_dag_says_what_is_missing(
    place: Place, client: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.web.permissions.find_maintenance", lambda *_: None)
    answer = post(place, client, "recheck", {"day": "2013-11-03"})
    assert (answer.status_code, "add load_maintenance" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("team", ["other", None])
def test_a_dag_of_another_team_does_not_recheck(
    place: Place, client: Login, monkeypatch: pytest.MonkeyPatch, team: str | None
) -> None:
    """Its author chooses tag and Param, and would otherwise receive the run."""
    from contextlib import nullcontext

    from airflow_pipeline_provider.web import maintenance_dags, permissions, pipelines, states

    teams = {place.dag_id: "mine", place.maintenance: team}
    for module in (maintenance_dags, permissions, pipelines):
        monkeypatch.setattr(module, "teams_of", lambda ids: {name: teams.get(name) for name in ids})
    monkeypatch.setattr(states, "as_team", nullcontext)  # the connections here are of no team
    monkeypatch.setattr(
        "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager.is_authorized_dag",
        lambda *_, **__: True,
    )
    answer = post(place, client, "recheck", {"day": place.world.day(-2).isoformat()})
    assert (answer.status_code, "no maintenance DAG" in answer.json()["detail"]) == (403, True)
    teams[place.maintenance] = "mine"
    forget_maintenance()
    assert post(place, client, "recheck", {"day": place.world.day(-2).isoformat()}).status_code == 200
    forget_maintenance()


def test_a_waiver_holds_the_users_name(place: Place, client: Login) -> None:
    window = place.missing[0]
    answer = post(place, client, "waive", bounds(window, reason=" the  plane\nnever left "))
    assert answer.status_code == 200, answer.text
    assert answer.json()["detail"].startswith("waived ")
    (entry,) = [e for e in place.entries(window) if e.kind is Kind.WAIVED]
    assert entry.detail == {"reason": "the plane never left", "by": "admin"}
    assert [event for event, _, _ in audit_of(place.dag_id)] == ["pipeline_waive"]
    again = post(place, client, "waive", bounds(window, reason="again"))
    assert (again.status_code, "already waived" in again.json()["detail"]) == (409, True)


def test_a_held_window_is_not_waived(place: Place, client: Login) -> None:
    window = place.missing[0]
    with closing(place.state()) as state:
        state.acquire(window, f"{place.dag_id}/scheduled__x", 3600)
    answer = post(place, client, "waive", bounds(window, reason="why"))
    assert (answer.status_code, "nothing was waived" in answer.json()["detail"]) == (409, True)
    assert [e for e in place.entries(window) if e.kind is Kind.WAIVED] == []


def test_a_shrinkage_is_accepted_by_the_number_of_rows(place: Place, client: Login) -> None:
    wrong = post(place, client, "accept-shrink", bounds(place.shrunk, rows=3, reason="retention"))
    assert (wrong.status_code, "expected the 2 rows" in wrong.json()["detail"]) == (422, True)
    answer = post(place, client, "accept-shrink", bounds(place.shrunk, rows=2, reason="retention"))
    assert answer.status_code == 200, answer.text
    ((run_id, conf, _, _),) = runs_of(place.dag_id)
    assert (conf["accept_shrink"], conf["by"], conf["exact"]) == (2, "admin", True)
    from airflow_pipeline_provider.phases.run import run_window
    from airflow_pipeline_provider.phases.values import RunKind, RunRequest

    run = RunRequest(
        f"{place.dag_id}/{run_id}", RunKind.WINDOW, place.world.now, place.shrunk, accept_shrink=2
    )
    with place.world.runtime(place.dag_id) as runtime:
        outcome = run_window(runtime, run)
        assert outcome.audited is not None
        assert outcome.audited.target_rows == 1
    shown = post(place, client, "preview", body_of(place.shrunk)).json()["windows"]
    assert [(row["state"], row["rows"]) for row in shown] == [("replaced", 1)]


def test_an_acceptance_is_recorded_before_its_run(
    place: Place, client: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_pipeline_provider.testing.faults import failing_at

    with failing_at("accept_shrink.recorded", error=RuntimeError("killed")):
        answer = post(place, client, "accept-shrink", bounds(place.shrunk, rows=2, reason="retention"))
    assert (answer.status_code, runs_of(place.dag_id)) == (500, [])
    with closing(place.state()) as state:
        assert [act.detail["rows"] for act in state.about().acts] == [2]
    answer = post(place, client, "accept-shrink", bounds(place.shrunk, rows=2, reason="retention"))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (TransientError("run x cannot be started: connection lost"), 503, "run x cannot be started"),
        (FatalError("Airflow's metadata database lacks a table"), 409, "lacks a table"),
        (HTTPException(409, "run x could not be started: it does not fit"), 409, "it does not fit"),
    ],
)
def test_a_run_that_cannot_be_started_leaves_what_was_done_before_it_in_the_answer(
    place: Place,
    client: Login,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    message: str,
) -> None:
    from airflow_pipeline_provider.web import runs

    start, calls = runs.start_run, []

    def fail_later(*arguments: Any, **more: Any) -> str:
        calls.append(arguments)
        if len(calls) == 2:
            return start(*arguments, **more)
        raise error

    monkeypatch.setattr(runs, "start_run", fail_later)
    answer = post(place, client, "accept-shrink", bounds(place.shrunk, rows=2, reason="retention"))
    detail = answer.json()["detail"]
    assert (answer.status_code, message in detail) == (status, True)
    assert "; the acceptance stays recorded for run accept_shrink__" in detail
    with closing(place.state()) as state:
        assert [act.detail["rows"] for act in state.about().acts] == [2]
    answer = post(place, client, "move", body_of(place.complete, place.failed))
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True)
    assert answer.json()["detail"].endswith("; started before it: 1 run")
    answer = post(place, client, "recheck", {"day": "2013-11-03"})
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True)


def test_an_expired_lease_is_released_and_a_live_one_by_its_run_id(place: Place, client: Login) -> None:
    window = place.missing[0]
    with closing(place.state()) as state:
        state.acquire(window, f"{place.dag_id}/scheduled__x", 3600)
    refused = post(place, client, "release", bounds(window))
    assert (refused.status_code, "type the id of that run" in refused.json()["detail"]) == (422, True)
    answer = post(
        place, client, "release", bounds(window, run_id="scheduled__x", reason="its worker is gone")
    )
    assert answer.status_code == 200, answer.text
    with closing(place.state()) as state:
        assert state.leases(expired=True) == []
        (act,) = state.about().acts
    assert (act.what, act.by, act.why, act.detail["status"]) == (
        "unlock",
        "admin",
        "its worker is gone",
        "forced",
    )
    nothing = post(place, client, "release", bounds(window))
    assert (nothing.status_code, "no run holds" in nothing.json()["detail"]) == (422, True)


def test_a_state_in_variables_is_changed_the_same_way(by_variable: Place, client: Login) -> None:
    """It has one writer at a time: while any run holds it, nothing is waived."""
    place, window = by_variable, by_variable.missing[0]
    with closing(place.state()) as state:
        state.acquire(place.missing[1], f"{place.dag_id}/scheduled__x", 3600)
    held = post(place, client, "waive", bounds(window, reason="why"))
    assert (held.status_code, "scheduled__x" in held.json()["detail"]) == (409, True)
    freed = post(place, client, "release", bounds(place.missing[1], run_id="scheduled__x", reason="gone"))
    assert freed.status_code == 200, freed.text
    assert post(place, client, "waive", bounds(window, reason="why")).status_code == 200
    assert post(place, client, "accept-shrink", bounds(place.shrunk, rows=2, reason="why")).status_code == 200
    shown = post(place, client, "preview", {"all": True}).json()["windows"]
    assert [(row["state"], row["goes"]) for row in shown] == [
        ("drifted", 2),
        ("failed", None),
        ("missing", None),
    ]
    with closing(place.state()) as state:
        assert [(act.what, act.by) for act in state.about().acts] == [
            ("unlock", "admin"),
            ("accept shrink", "admin"),
        ]


# --- who may, and from where

CHANGES = ("move", "recheck", "waive", "accept-shrink", "release")


def valid(place: Place, action: str) -> dict[str, Any]:
    """A body with which the action would be done."""
    if action == "move":
        return body_of(place.failed)
    if action == "recheck":
        return {"day": place.world.day(-2).isoformat()}
    if action == "accept-shrink":
        return bounds(place.shrunk, rows=2, reason="retention")
    if action == "release":
        return bounds(place.missing[0], run_id="scheduled__x", reason="why")
    return bounds(place.missing[0], reason="why")


def traces(place: Place) -> Any:
    """All that an action could leave."""
    with closing(place.state()) as state:
        return (
            runs_of(place.dag_id),
            runs_of(place.maintenance),
            audit_of(place.dag_id),
            state.entries(),
            state.about().acts,
            state.leases(expired=True),
        )


@pytest.mark.parametrize("action", CHANGES)
def test_forged_and_forbidden_requests_leave_no_trace(place: Place, client: Login, action: str) -> None:
    with closing(place.state()) as state:
        state.acquire(place.missing[0], f"{place.dag_id}/scheduled__x", 3600)
    before, body, url = traces(place), valid(place, action), place.url(action)
    refused = {
        "another origin": ({"Origin": "https://evil.example"}, 403),
        "another port": ({"Origin": "http://testserver:8081"}, 403),
        "a sandboxed frame": ({"Origin": "null"}, 403),
        "a subdomain": ({"Origin": "http://x.testserver"}, 403),
        "a name that begins like ours": ({"Origin": "http://testserver.evil.example"}, 403),
        "a user in the URL": ({"Origin": "http://testserver@evil.example"}, 403),
        "another site": ({"Sec-Fetch-Site": "cross-site"}, 403),
        "another port of this site": ({"Sec-Fetch-Site": "same-site", "Origin": None}, 403),
        "typed into the address bar": ({"Sec-Fetch-Site": "none"}, 403),
        "no header": ({"X-Airflow-Pipelines": None}, 403),
        "another value": ({"X-Airflow-Pipelines": "0"}, 403),
    }
    for what, (headers, status) in refused.items():
        answer = post(place, client, action, body, **headers)
        assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (status, True), what
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
        "Application/JSON",
        "application/json2; application/json",
        "",
    ):
        sent = {**HEADERS, "Content-Type": kind}
        answer = client().post(url, content=json.dumps(body), headers=sent)
        assert answer.status_code == 415, kind
    for method in ("GET", "PUT", "DELETE", "HEAD", "PATCH"):
        assert client().request(method, url, headers=HEADERS).status_code == 405, method
    assert client(None).post(url, json=body, headers=HEADERS).status_code == 401
    viewer = post(place, client, action, body, role="viewer")
    assert viewer.status_code == 403
    assert "you are missing the permission 'can " in viewer.json()["detail"]
    assert traces(place) == before


@pytest.mark.parametrize("key", ["dag_id", "task_id", "dag_run_id"])
def test_a_request_cannot_choose_what_the_audit_log_names(place: Place, client: Login, key: str) -> None:
    before, body = traces(place), valid(place, "waive")
    answer = post(place, client, "waive", {**body, key: place.maintenance})
    assert (answer.status_code, key in answer.json()["detail"]) == (422, True)
    url = f"{place.url('waive')}?{key}={place.maintenance}"
    assert client().post(url, json=body, headers=HEADERS).status_code == 422
    assert (traces(place), audit_of(place.maintenance)) == (before, [])


@pytest.mark.parametrize("action", ["waive", "release"])
def test_a_run_id_that_airflows_log_cannot_hold_is_refused(place: Place, client: Login, action: str) -> None:
    before, body = traces(place), valid(place, action)
    answer = post(place, client, action, {**body, "run_id": "x" * 251})
    assert (answer.status_code, answer.json()["detail"]) == (422, "run_id: expected at most 250 characters")
    assert traces(place) == before


def test_a_change_is_in_the_audit_log_with_its_body(place: Place, client: Login) -> None:
    for kind in ("application/json", "application/json; charset=utf-8", " application/json ;x=Y"):
        body = bounds(place.missing[0], reason=f"why {kind}")
        sent = {**HEADERS, "Content-Type": kind}
        client().post(place.url("waive"), content=json.dumps(body), headers=sent)
        assert audit_of(place.dag_id)[-1] == ("pipeline_waive", "admin", {**body, "method": "POST"})


def test_a_cookie_alone_must_say_where_it_comes_from(place: Place, client: Login) -> None:
    signed_in = client()
    token = signed_in.headers.pop("Authorization").removeprefix("Bearer ")
    signed_in.cookies.set("_token", token)
    bare = {"X-Airflow-Pipelines": "1"}
    answer = signed_in.post(place.url("move"), json=body_of(place.failed), headers=bare)
    assert (answer.status_code, "Origin or Sec-Fetch-Site" in answer.json()["detail"]) == (403, True)
    assert signed_in.post(place.url("move"), json=body_of(place.failed), headers=HEADERS).status_code == 200


def test_a_script_with_a_token_needs_no_origin(place: Place, client: Login) -> None:
    headers = {"Origin": None, "Sec-Fetch-Site": None}
    assert post(place, client, "move", body_of(place.failed), **headers).status_code == 200


def test_a_base_url_behind_a_proxy_counts_as_this_airflow(
    place: Place, client: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team")
    answer = post(place, client, "move", body_of(place.failed), Origin="https://airflow.example.com")
    assert answer.status_code == 200


IDS = [
    "no_such_dag",
    "..",
    "../flights",
    "%2e%2e%2fflights",
    "..%2F..%2Fapi",
    "flights%00",
    "flights%0d%0aX: y",
    "\u202eflights",
    "ﬂights",
    "flights' OR '1'='1",
    "~",
    "*",
    "a" * 5000,
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("action", ["preview", *CHANGES])
def test_other_ids_are_refused(place: Place, client: Login, action: str) -> None:
    before, body = traces(place), {"all": True} if action == "preview" else valid(place, action)
    for dag_id in IDS:
        answer = client().post(f"{PREFIX}/api/pipelines/{dag_id}/{action}", json=body, headers=HEADERS)
        assert answer.status_code in (403, 404, 405), (dag_id, answer.text)
    assert traces(place) == before


def test_another_dag_is_not_a_pipeline(place: Place, client: Login) -> None:
    url = place.url("waive").replace(place.dag_id, place.maintenance)
    answer = client().post(url, json=bounds(place.missing[0], reason="why"), headers=HEADERS)
    assert (answer.status_code, "is not a pipeline" in answer.json()["detail"]) == (404, True)
    assert audit_of(place.maintenance) == []


def test_the_page_names_what_the_user_may_not_do(place: Place, client: Login, only: Any) -> None:
    url = f"{PREFIX}/api/pipelines/{place.dag_id}"
    admin = client().get(url)
    assert admin.json()["may"] == dict.fromkeys(
        ("move", "recheck", "waive", "accept_shrink", "release"), True
    )
    only(("GET", None, place.dag_id), ("GET", "RUN", place.dag_id), ("POST", "RUN", place.dag_id))
    answer = client().get(url, headers={"If-None-Match": admin.headers["ETag"]})
    assert answer.status_code == 200, "a permission that was taken away is no unchanged answer"
    assert answer.json()["may"] == {
        "move": True,
        "recheck": f"you are missing the permission 'can create on DAG Runs' for the DAG {place.maintenance}",
        **dict.fromkeys(
            ("waive", "accept_shrink", "release"),
            f"you are missing the permission 'can edit on DAGs' for the DAG {place.dag_id}",
        ),
    }


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that takes all permissions but these: (method, entity or None, DAG)."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    def limit(*allowed: tuple[str, str | None, str]) -> None:
        def is_authorized_dag(
            self: Any, *, method: str, user: Any, access_entity: Any = None, details: Any = None
        ) -> bool:
            entity = access_entity.name if access_entity is not None else None
            return (method, entity, details.id if details else None) in allowed

        monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", is_authorized_dag)

    return limit


@pytest.mark.parametrize("action", CHANGES)
def test_each_action_needs_its_own_permission_on_this_dag(
    place: Place, client: Login, only: Any, action: str
) -> None:
    see, read, run, edit = (
        ("GET", None, place.dag_id),
        ("GET", "RUN", place.dag_id),
        ("POST", "RUN", place.dag_id),
        ("PUT", None, place.dag_id),
    )
    maintain = ("POST", "RUN", place.maintenance)
    needed = {
        "move": [see, read, run],
        "recheck": [see, read, maintain],
        "waive": [see, read, edit],
        "accept-shrink": [see, read, edit, run],
        "release": [see, read, edit],
    }[action]
    with closing(place.state()) as state:
        state.acquire(place.missing[0], f"{place.dag_id}/scheduled__x", 3600)
    before = traces(place)
    everything = [see, read, run, edit, maintain]
    other = [(method, entity, f"{place.dag_id}_other") for method, entity, _ in everything]
    for missing in needed:
        only(*(one for one in everything if one != missing), *other)
        answer = post(place, client, action, valid(place, action))
        assert answer.status_code == 403, missing
        assert "you are missing the permission" in answer.json()["detail"]
    assert traces(place) == before
    only(*needed)
    if action == "waive":
        with closing(place.state()) as state:
            state.release(place.missing[0], f"{place.dag_id}/scheduled__x")
    assert post(place, client, action, valid(place, action)).status_code == 200


NOT_UNDERSTOOD: list[tuple[str, dict[str, Any]]] = [
    ("move", {"windows": []}),
    ("move", {"windows": None}),
    ("move", {"all": True}),
    ("move", {"windows": [{"start": "2013-11-03T05:00:00", "end": "2013-11-03T06:00:00Z"}]}),
    ("move", {"windows": [{"start": "yesterday", "end": "2013-11-03T06:00:00Z"}]}),
    ("move", {"windows": [{"start": "2013-11-03T07:00:00Z", "end": "2013-11-03T06:00:00Z"}]}),
    ("move", {"windows": [{"start": "2013-11-03T05:00:00Z", "end": "2013-11-03T06:00:00Z"}]}),
    ("move", {"windows": [{"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}]}),
    ("move", {"dag_id": "another"}),
    ("move", {"conf": {"x": 1}}),
    ("move", {"reason": "x" * 501}),
    ("move", {"reason": "\u202etxet"}),
    ("recheck", {"day": "2013-11-3x"}),
    ("recheck", {"day": 20131103}),
    ("recheck", {"day": "0001-01-01"}),
    ("recheck", {"day": "9999-12-31"}),
    ("move", {"windows": None, "days": ["9999-12-31"]}),
    ("move", {"windows": None, "days": ["2013-11-03T00:00:00Z"] * 400}),
    ("waive", {"reason": ""}),
    ("waive", {"reason": " \n "}),
    ("waive", {"reason": "a\u0000b"}),
    ("waive", {"reason": None}),
    ("waive", {"by": "someone else"}),
    ("waive", {"end": "2093-01-01T00:00:00Z"}),
    ("waive", {"start": "1013-01-01T00:00:00Z"}),
    ("accept-shrink", {"rows": "2"}),
    ("accept-shrink", {"rows": 2.0}),
    ("accept-shrink", {"rows": True}),
    ("accept-shrink", {"rows": -2}),
    ("accept-shrink", {"rows": 0}),
    ("accept-shrink", {"reason": ""}),
    ("release", {"run_id": 5}),
    ("release", {"run_id": "scheduled__x", "reason": ""}),
]


def test_bodies_that_are_not_understood_change_nothing(place: Place, client: Login) -> None:
    with closing(place.state()) as state:
        state.acquire(place.missing[0], f"{place.dag_id}/scheduled__x", 3600)
        entries = state.entries()
        for action, change in NOT_UNDERSTOOD:
            answer = post(place, client, action, {**valid(place, action), **change})
            assert answer.status_code == 422, (action, change, answer.text)
            assert isinstance(answer.json()["detail"], str)
        assert (state.entries(), state.about().acts, len(state.leases())) == (entries, (), 1)
    assert (runs_of(place.dag_id), runs_of(place.maintenance)) == ([], [])


def test_text_that_is_no_body_is_refused(place: Place, client: Login) -> None:
    sent = {**HEADERS, "Content-Type": "application/json"}
    for text in ("", "[]", "null", "{", '"x"', "1e999", '{"all": true, "all": {}}', "\ufeff{}", "[" * 2000):
        answer = client().post(place.url("move"), content=text.encode(), headers=sent)
        assert answer.status_code in (400, 422), text
    assert runs_of(place.dag_id) == []


def test_a_state_that_gives_no_answer_names_its_connection(
    place: Place, client: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_STATE", "postgresql://nobody:secret@127.0.0.1:1/nowhere")
    forget_stores()
    answer = post(place, client, "waive", bounds(place.missing[0], reason="why"))
    assert (answer.status_code, answer.json()["conn_id"]) == (503, "pipeline_state")
    assert "secret" not in answer.text
    assert post(place, client, "preview", {"all": True}).status_code == 503


def test_hostile_text_stays_text(place: Place, client: Login) -> None:
    hostile = "<script>alert(1)</script> '; DROP TABLE x; -- {{ 7*7 }}"
    answer = post(place, client, "waive", bounds(place.missing[0], reason=hostile))
    assert answer.headers["content-type"].startswith("application/json")
    (entry,) = [e for e in place.entries(place.missing[0]) if e.kind is Kind.WAIVED]
    assert entry.detail["reason"] == hostile
    assert audit_of(place.dag_id)[0][2]["reason"] == hostile
