"""Which requests change nothing: forged, without the permission, or not understood."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.web.stores import forget_stores
from tests.page.conftest import PREFIX, Login
from tests.page.place import HEADERS, Place, audit_of, body_of, bounds, post, runs_of

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
