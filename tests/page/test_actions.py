"""What the page changes: runs, the ledger and leases, each in Airflow's audit log."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from fastapi import HTTPException

from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.web.maintenance_dags import forget_maintenance
from tests.page.conftest import Login
from tests.page.place import Place, audit_of, body_of, bounds, post, runs_of


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


def test_a_paused_dag_is_named_with_the_runs_that_wait_for_it(place: Place, client: Login) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(DagModel).filter(DagModel.dag_id == place.dag_id).update({"is_paused": True})
    one, both = (
        post(place, client, "move", body_of(*windows)).json()["detail"]
        for windows in ([place.missing[1]], [place.complete, place.failed])
    )
    assert one.endswith("; the DAG is paused, so the run waits until it is unpaused")
    assert both.endswith("2 runs move the windows; the DAG is paused, so the runs wait until it is unpaused")


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

    from airflow_pipeline_provider.web import maintenance_dags, permissions, pipelines, stores

    teams = {place.dag_id: "mine", place.maintenance: team}
    for module in (maintenance_dags, permissions, pipelines):
        monkeypatch.setattr(module, "teams_of", lambda ids: {name: teams.get(name) for name in ids})
    monkeypatch.setattr(stores, "as_team", nullcontext)  # the connections here are of no team
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
