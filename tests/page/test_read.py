"""The reading API on pipelines in every state (tests/page/world.py), against what the command line says of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.web.shapes import (
    ErrorAnswer,
    GapsPage,
    LanesPage,
    PipelinePage,
    PipelineRows,
    WindowAnswer,
)
from tests.page.conftest import API, Ask, Login, queries
from tests.page.place import connect
from tests.page.world import HOSTILE, World, fill, last_window_waits

T = TypeVar("T")


pytestmark = pytest.mark.usefixtures("world", "nothing_kept")


@pytest.fixture(scope="module")
def world(airflow_db: Path) -> Iterator[World]:
    """The world of this process's Airflow; its connections are those of the environment."""
    from airflow.api.common.delete_dag import delete_dag
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        others = session.scalars(select(DagModel.dag_id)).all()
    for (
        dag_id
    ) in others:  # of other modules, whose tests ran in this process before: the list would show them
        delete_dag(dag_id)
    with pytest.MonkeyPatch.context() as patch:
        connect(airflow_db, patch)
        yield fill(airflow_db)
    for left in (
        airflow_db / "dags"
    ).iterdir():  # Airflow reads this folder in the tests of other modules too
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.fixture
def command(world: World, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return a function that returns the JSON of a command on the same pipelines."""

    def run(*arguments: str) -> Any:
        capsys.readouterr()
        main([*arguments, "--folder", str(world.home / "dags" / "pipelines"), "-o", "json"])
        return json.loads(capsys.readouterr().out)

    return run


# --- all pipelines


def test_each_pipeline_is_a_row_and_the_worst_is_first(ask: Ask) -> None:
    found = ask("/pipelines")
    rows = {row["pipeline_id"]: row for row in found["pipelines"]}
    assert found["total"] == len(rows) == 11
    assert {name: row["problem"] and row["problem"]["kind"] for name, row in rows.items()} == {
        "broken": "file",
        "halted": "file",
        "unreachable": "state",
        "removed": "gone",
        "gone": "gone",
        **dict.fromkeys(["flights", "too_old", "never_ran", "changed", "by_variable", "clocks"]),
    }
    states = [row["state"] for row in found["pipelines"] if row["problem"] is None]
    assert states[0] == "unverified"
    assert states[-1] == "complete"
    assert rows["clocks"]["next"]["window"] is None
    assert "after end_day" in rows["clocks"]["next"]["reason"]
    assert rows["never_ran"]["never_ran"] is True
    assert rows["flights"]["never_ran"] is False
    assert len(rows["never_ran"]["days"]) == 8
    assert [lease["run_id"] for lease in rows["flights"]["leases"]] == ["scheduled__held"]


@pytest.fixture
def one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers are of one instant: an estimate to the minute is another one a minute later."""
    from airflow_pipeline_provider.web import read

    at = read.now()
    monkeypatch.setattr(read, "now", lambda: at)


@pytest.mark.usefixtures("one_instant")
def test_a_row_shows_the_days_and_the_time_that_the_page_of_the_pipeline_shows(ask: Ask) -> None:
    """The list reads only the days that the coverage does not decide; the page reads all of them."""
    rows = {row["dag_id"]: row for row in ask("/pipelines")["pipelines"]}
    for name in ("flights", "clocks", "changed", "too_old", "by_variable", "never_ran", "gone", "removed"):
        page, row = ask(f"/pipelines/{name}"), rows[name]
        days = [{key: day[key] for key in ("day", "state", "hours", "reason")} for day in page["days"]]
        assert row["days"] == days[-14:], name
        for key in ("behind_seconds", "never_ran", "eta", "next", "leases"):
            assert row[key] == page[key], (name, key)
        if len(days) <= 14:
            assert (row["state"], row["reason"]) == (page["state"], page["reason"])


@pytest.mark.usefixtures("one_instant")
def test_the_time_of_catching_up_is_the_same_on_each_page_of_the_list(ask: Ask) -> None:
    first = ask("/pipelines", limit=4)["pipelines"]
    whole = ask("/pipelines")["pipelines"]
    assert first == whole[:4] == ask("/pipelines", limit=4)["pipelines"]
    assert [row["eta"] is None for row in whole] == [row["state"] is None for row in whole]


def test_only_a_pipeline_that_needs_nothing_has_caught_up(ask: Ask) -> None:
    rows = {row["pipeline_id"]: row for row in ask("/pipelines")["pipelines"]}
    names = (
        "clocks",
        "flights",
        "too_old",
        "never_ran",
        "broken",
        "halted",
        "unreachable",
        "removed",
        "gone",
    )
    assert [name for name in names if rows[name]["caught_up"]] == ["clocks"]
    for name in ("flights", "clocks", "too_old", "gone"):
        assert ask(f"/pipelines/{name}")["caught_up"] is rows[name]["caught_up"]


def test_a_file_that_does_not_load_names_its_problem_and_line(ask: Ask) -> None:
    rows = {row["pipeline_id"]: row["problem"] for row in ask("/pipelines", state="problem")["pipelines"]}
    assert rows["broken"]["line"] == 2
    assert rows["broken"]["file"] == "pipelines/broken.yaml"
    assert "must be an IANA timezone" in rows["broken"]["message"]
    assert "Traceback" not in rows["broken"]["message"]
    assert rows["broken"]["since"] is None  # it never loaded
    stopped = datetime.fromisoformat(rows["halted"]["since"].replace("Z", "+00:00"))
    assert datetime.now(timezone.utc) - stopped < timedelta(hours=1)


def test_an_unreachable_state_is_a_row_with_its_connection(ask: Ask, client: Login) -> None:
    row = ask("/pipelines", search="unreachable")["pipelines"][0]
    assert row["problem"]["conn_id"] == "state_down"
    assert "nothing@" not in json.dumps(row)  # the password
    answer = client().get(f"{API}/pipelines/unreachable")
    assert answer.status_code == 503
    assert answer.json()["conn_id"] == "state_down"
    assert answer.json()["last_good_at"] is None


def test_a_record_that_cannot_be_read_is_the_problem_of_its_own_row(
    world: World, ask: Ask, client: Login
) -> None:
    from contextlib import closing
    from sqlite3 import connect

    def about(text: str) -> str:
        with closing(connect(world.home / "state.db")) as database, database:
            (before,) = database.execute(
                "SELECT about FROM pipeline_pipelines WHERE pipeline_id = 'clocks'"
            ).fetchone()
            database.execute("UPDATE pipeline_pipelines SET about = ? WHERE pipeline_id = 'clocks'", [text])
        return str(before)

    before = about('{"source": 1}')
    try:
        rows = {row["dag_id"]: row for row in ask("/pipelines", limit=200)["pipelines"]}
        answers = [client().get(f"{API}/pipelines/{name}") for name in ("clocks", "flights")]
    finally:
        about(before)
    assert "state of pipeline clocks: expected the pipeline's record" in rows["clocks"]["problem"]["message"]
    assert (rows["flights"]["problem"], rows["changed"]["problem"], "gone" in rows) == (None, None, True)
    assert [answer.status_code for answer in answers] == [503, 200]


def test_the_age_of_the_last_good_answer_is_told(
    ask: Ask, client: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_pipeline_provider.exceptions import TransientError
    from airflow_pipeline_provider.web import states

    ask("/pipelines/flights")

    def gone(*_: Any, **__: Any) -> Any:
        raise TransientError("state: the server closed the connection")

    monkeypatch.setattr(states, "_read", gone)
    answer = client().get(f"{API}/pipelines/flights")
    assert answer.status_code == 503
    assert answer.json()["last_good_at"] is not None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"search": "FLIGH"}, ["flights"]),
        ({"tag": "t"}, ["too_old"]),
        ({"state": "unverified"}, ["flights"]),
        ({"state": "unverified,complete"}, ["flights", "clocks"]),
        ({"search": "no such pipeline"}, []),
        ({"tag": "page", "search": "clocks"}, ["clocks"]),
    ],
)
def test_the_list_is_filtered(ask: Ask, query: dict[str, str], expected: list[str]) -> None:
    found = ask("/pipelines", **query)
    assert [row["pipeline_id"] for row in found["pipelines"]] == expected
    assert found["total"] == len(expected)
    assert sum(found["states"].values()) == 11  # of everything, for the filters


def test_the_list_is_paged(ask: Ask) -> None:
    whole = [row["pipeline_id"] for row in ask("/pipelines")["pipelines"]]
    paged = [ask("/pipelines", limit=4, offset=offset)["pipelines"] for offset in (0, 4, 8, 12)]
    assert [row["pipeline_id"] for page in paged for row in page] == whole
    assert [len(page) for page in paged] == [4, 4, 3, 0]


@pytest.mark.parametrize(
    "query", ["state=lost", "limit=0", "limit=100000", "offset=-1", "search=" + "x" * 300, "state=';--"]
)
def test_invalid_questions_are_refused(client: Login, query: str) -> None:
    assert client().get(f"{API}/pipelines?{query}").status_code == 422


def test_a_user_sees_only_what_airflow_lets_him_read(client: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    manager = get_auth_manager()
    may = {"clocks", "halted"}

    def one(*, details: Any = None, **_: Any) -> bool:
        return details is not None and details.id in may

    monkeypatch.setattr(manager, "is_authorized_dag", one)
    monkeypatch.setattr(
        manager,
        "filter_authorized_dag_ids",
        lambda *, dag_ids, **_: {name for name in dag_ids if name in may},
    )
    monkeypatch.setattr(manager, "is_authorized_view", lambda **_: False)
    user = client("viewer")
    rows = user.get(f"{API}/pipelines").json()
    assert {row["pipeline_id"] for row in rows["pipelines"]} == may
    assert rows["total"] == 2
    assert "unverified" not in rows["states"]
    for path in ("", "/gaps", "/windows?from=2013-11-03&to=2013-11-03", "/window?start=a&end=b"):
        assert user.get(f"{API}/pipelines/flights{path}").status_code == 403
    assert user.get(f"{API}/pipelines/clocks").status_code == 200


@pytest.fixture
def of_team(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every DAG belongs to team a, and so does the pipeline whose DAG is gone."""
    from contextlib import nullcontext

    from airflow_pipeline_provider.web import permissions, pipelines, stores

    for module in (pipelines, permissions):
        monkeypatch.setattr(module, "teams_of", lambda ids: dict.fromkeys(ids, "a"))
    monkeypatch.setattr(pipelines, "has_teams", lambda: True)
    monkeypatch.setattr(pipelines, "every_team", lambda: {"a", "b", None})
    monkeypatch.setattr(pipelines, "teams_of_bundles", lambda: {"dags-folder": "a"})
    monkeypatch.setattr(stores, "as_team", nullcontext)  # the connections here are of no team


def without(entity: str | None) -> Callable[..., bool]:
    """Return an `is_authorized_dag` that refuses this entity, None for the DAG itself."""
    return lambda _self, *, access_entity=None, **_: getattr(access_entity, "name", None) != entity


@pytest.mark.parametrize("refused", ["another team", "RUN", None])
def test_each_route_refuses_what_the_list_leaves_out(
    refused: str | None, world: World, client: Login, of_team: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    def asked(user: Any) -> tuple[set[str], dict[str, set[int]]]:
        listed = {row["dag_id"] for row in user.get(f"{API}/pipelines?limit=200").json()["pipelines"]} - {
            None
        }
        day = world.day(-1)
        paths = ("", "/gaps", f"/windows?from={day}&to={day}", f"/window?start={day}T00Z&end={day}T02Z")
        answers = {}
        for name in ("flights", "clocks", "removed", "gone"):
            url = f"{API}/pipelines/{name}"
            found = {user.get(url + path).status_code for path in paths}
            headers = {"X-Airflow-Pipelines": "1", "Origin": "http://testserver"}
            answers[name] = found | {
                user.post(f"{url}/preview", json={"all": True}, headers=headers).status_code
            }
        return listed, answers

    listed, answers = asked(client("viewer", teams=["a", "b"]))
    assert answers.keys() <= listed
    assert all(403 not in statuses for statuses in answers.values())
    if refused != "another team":
        monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", without(refused))
    listed, answers = asked(client("viewer", teams=["b" if refused == "another team" else "a"]))
    assert listed == set()
    assert all(statuses == {403} for statuses in answers.values())


@pytest.mark.parametrize(
    ("role", "teams", "expected"),
    [
        ("viewer", ["a"], {"broken", "removed"}),
        ("viewer", ["b"], set()),
        ("viewer", [], set()),
        ("viewer", ["a", "b"], {"broken", "removed", "gone"}),
        ("admin", [], {"broken", "removed", "gone"}),
    ],
)
def test_what_no_team_can_be_named_for_is_only_shown_to_those_who_see_all_teams(
    role: str, teams: list[str], expected: set[str], client: Login, of_team: None
) -> None:
    user = client(role, teams=teams)
    rows = user.get(f"{API}/pipelines?limit=200").json()["pipelines"]
    names = {"broken", "removed", "gone"}
    assert names & {row["pipeline_id"] for row in rows} == expected
    for name in names - {"broken"}:
        status = user.get(f"{API}/pipelines/{name}").status_code
        assert status == (200 if name in expected else 403)


@pytest.mark.parametrize(("role", "expected"), [("viewer", set()), ("admin", {"broken"})])
def test_a_broken_file_of_an_unknown_bundle_is_only_shown_to_those_who_see_all_teams(
    role: str, expected: set[str], client: Login, of_team: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_pipeline_provider.web import pipelines

    monkeypatch.setattr(pipelines, "teams_of_bundles", dict)
    rows = client(role, teams=["a"]).get(f"{API}/pipelines?limit=200").json()["pipelines"]
    assert {row["pipeline_id"] for row in rows if row["dag_id"] is None} == expected


def test_the_teams_of_bundles_are_read_from_airflow(world: World) -> None:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from airflow_pipeline_provider.web.pipelines import every_team, teams_of_bundles

    assert teams_of_bundles()["dags-folder"] is None
    with create_session() as session:
        bundle = session.scalars(select(DagBundleModel).where(DagBundleModel.name == "dags-folder")).one()
        bundle.teams = [Team(name="ops")]
    try:
        assert teams_of_bundles()["dags-folder"] == "ops"
        assert every_team() == {"ops", None}
    finally:
        with create_session() as session:
            bundle = session.scalars(select(DagBundleModel).where(DagBundleModel.name == "dags-folder")).one()
            bundle.teams = []
            session.delete(session.scalars(select(Team).where(Team.name == "ops")).one())


def test_each_answer_has_the_documented_shape(client: Login, world: World) -> None:
    user = client()
    span = {"from": world.day(-7), "to": world.day(0)}
    rows = decoded(user.get(f"{API}/pipelines"), PipelineRows)
    names = [row.dag_id for row in rows.pipelines if row.dag_id not in (None, "unreachable")]
    assert len(names) == 9
    for name in names:
        decoded(user.get(f"{API}/pipelines/{name}"), PipelinePage)
        decoded(user.get(f"{API}/pipelines/{name}/gaps"), GapsPage)
        for lane in decoded(user.get(f"{API}/pipelines/{name}/windows", params=span), LanesPage).days:
            window = {"start": lane.windows[0].window.start.isoformat(), "end": lane.end.isoformat()}
            decoded(user.get(f"{API}/pipelines/{name}/window", params=window), WindowAnswer)
    decoded(user.get(f"{API}/pipelines/unreachable"), ErrorAnswer)


def decoded(answer: Any, shape: type[T]) -> T:
    """Return the answer as its documented Struct; keys that the Struct lacks, at its top, are an error."""
    found = msgspec.json.decode(answer.content, type=shape)
    assert set(msgspec.json.decode(answer.content)) <= set(shape.__struct_fields__)  # type: ignore[attr-defined]
    return found


# --- one pipeline


@pytest.mark.parametrize("name", ["flights", "clocks", "changed", "too_old", "by_variable", "never_ran"])
def test_page_and_command_agree_on_each_day(name: str, ask: Ask, command: Ask) -> None:
    page = ask(f"/pipelines/{name}")
    status = command("status", name, "--days", "366", "--reference-time", page["at"])
    assert [day["day"] for day in page["days"]] == [day["day"] for day in status["days"]]
    for ours, theirs in zip(page["days"], status["days"], strict=True):
        assert (ours["reason"], ours["rows"], ours["hours"] * 3600) == (
            theirs["reason"],
            theirs["rows"],
            theirs["length_seconds"],
        )
        if theirs["status"] not in ("in_progress", "not_settled"):  # which the page tells apart
            assert ours["state"] == theirs["status"]
    for key in ("behind_seconds", "target_day", "continuation"):
        assert page[key] == status[key]
    assert page["eta"]["reason"] == status["eta"]["detail"]
    assert len(page["leases"]) == len(status["leases"])


@pytest.mark.parametrize("name", ["flights", "clocks", "changed", "too_old", "by_variable", "never_ran"])
def test_page_and_command_agree_on_each_gap(name: str, ask: Ask, command: Ask) -> None:
    page = ask(f"/pipelines/{name}/gaps")
    (gaps,) = command("gaps", name, "--reference-time", page["at"])["pipelines"]
    order = lambda gap: (gap["start"], gap["end"])  # noqa: E731
    assert sorted(page["gaps"], key=order) == sorted(gaps["gaps"], key=order)
    assert (page["first_day"], page["last_day"]) == (gaps["first_day"], gaps["last_day"])


def test_a_day_whose_windows_cancel_out_is_not_equal(world: World, ask: Ask) -> None:
    """On this day a window grew by two rows and another shrank by two."""
    days = {day["day"]: day for day in ask("/pipelines/flights")["days"]}
    drifted, complete = days[str(world.day(-5))], days[str(world.day(-6))]
    assert [drifted[name] for name in ("state", "source", "target", "equal")] == ["drifted", 36, 36, False]
    assert (complete["source"], complete["equal"]) == (complete["target"], True)


def test_gaps_are_listed_worst_first(ask: Ask) -> None:
    reasons = [gap["reason"] for gap in ask("/pipelines/flights/gaps")["gaps"]]
    assert reasons[:2] == ["blocked", "failed"]
    assert reasons[-1] == ("not_settled" if last_window_waits() else "leased")


def test_every_state_of_a_window_is_shown(world: World, ask: Ask) -> None:
    lanes = ask("/pipelines/flights/windows", **{"from": world.day(-7), "to": world.day(0)})["days"]
    cells = {cell["window"]["start"]: cell for lane in lanes for cell in lane["windows"]}
    states = {cell["state"] for cell in cells.values()}
    words = "complete replaced running missing failed blocked unverified drifted waived"
    expected = {*words.split(), *(["not_settled"] if last_window_waits(world.day(0)) else [])}
    assert expected <= states <= expected | {"ready"}
    by_state = {state: [c for c in cells.values() if c["state"] == state] for state in states}
    assert by_state["replaced"][0]["replaced"] == 2
    assert by_state["failed"][0]["failures"] == 2
    assert by_state["blocked"][0]["failures"] == by_state["blocked"][0]["max_attempts"] == 5
    assert sorted(cell["drift"] for cell in by_state["drifted"]) == ["grew", "shrank"]
    assert HOSTILE in by_state["waived"][0]["reason"]
    assert "scheduled__held" in by_state["running"][0]["reason"]


def test_a_day_of_25_hours_has_25_windows_and_one_repeated_hour(ask: Ask) -> None:
    (lane,) = ask("/pipelines/clocks/windows", **{"from": "2013-11-03", "to": "2013-11-03"})["days"]
    assert lane["hours"] == 25.0
    repeated = [cell["window"]["local_start"] for cell in lane["windows"] if cell["repeated_hour"]]
    assert repeated == ["2013-11-03T01:00:00-05:00"]
    assert len(lane["windows"]) == 25


def test_commits_of_another_granularity_are_beside_the_plan(world: World, ask: Ask) -> None:
    (lane,) = ask("/pipelines/changed/windows", **{"from": world.day(-2), "to": world.day(-2)})["days"]
    assert [len(lane["windows"]), len(lane["commits"])] == [5, 12]
    parts = {len(commit["effective"]) for commit in lane["commits"]}
    assert parts == {0, 1}  # what is left of those that the 5 hours replaced, in whole or in part
    assert {cell["state"] for cell in lane["windows"]} == {"complete", "replaced"}


def test_a_fine_plan_is_shown_in_stretches(world: World, ask: Ask, client: Login) -> None:
    from tests.page.world import store_dags

    world.write("minutes", granularity="1m", start_day=world.day(-3))
    store_dags()
    days = {"from": world.day(-3), "to": world.day(-1)}
    lanes = ask("/pipelines/minutes/windows", **days)["days"]
    assert [cell["windows"] for cell in lanes[0]["windows"]] == [round(lanes[0]["hours"] * 60)]
    assert len(client().get(f"{API}/pipelines/minutes/windows", params=days).content) < 200_000
    (world.home / "dags" / "pipelines" / "minutes.yaml").unlink()
    store_dags()


def test_a_window_shows_its_attempts_newest_first(world: World, ask: Ask) -> None:
    lanes = ask("/pipelines/flights/windows", **{"from": world.day(-6), "to": world.day(-3)})["days"]
    cells = [cell for lane in lanes for cell in lane["windows"]]

    def window(state: str) -> Any:
        found = next(cell["window"] for cell in cells if cell["state"] == state)
        return ask("/pipelines/flights/window", start=found["start"], end=found["end"])

    replaced = window("replaced")
    assert [attempt["state"] for attempt in replaced["attempts"]] == ["committed"] * 3
    started = [attempt["started"] for attempt in replaced["attempts"]]
    assert started == sorted(started, reverse=True)
    assert replaced["counts"] == {"source": 3, "staged": 3, "target": 3, "distinct": 3}
    assert len(replaced["manifest"]["sha256"]) == 64
    assert (replaced["manifest"]["parts"], replaced["manifest"]["bytes"] > 0) == (1, True)
    assert replaced["command"] == f"airflow-pipelines history flights {replaced['window_id']}"
    failed = window("failed")
    assert "DataError in load" in failed["attempts"][0]["error"]
    drifted = window("drifted")
    assert {check["detail"]["verdict"] for check in drifted["checks"]} <= {"grew", "shrank"}
    assert drifted["counts"]["source"] != drifted["counts"]["target"]
    assert HOSTILE in window("waived")["waivers"][0]["detail"]["reason"]


def test_a_deleted_run_is_told_from_one_that_airflow_knows(world: World, ask: Ask) -> None:
    known = world.runs[-1]
    dag_id, _, run_id = known.partition("/")
    lanes = ask(f"/pipelines/{dag_id}/windows", **{"from": world.day(-3), "to": world.day(-1)})["days"]
    runs = {}
    for cell in (cell for lane in lanes for cell in lane["windows"]):
        span = cell["window"]
        page = ask(f"/pipelines/{dag_id}/window", start=span["start"], end=span["end"])
        runs |= {attempt["run_id"]: attempt["run_exists"] for attempt in page["attempts"]}
    assert runs[run_id] is True
    assert (
        ask("/pipelines/flights/window", start="2026-01-01T00:00:00Z", end="2026-01-01T02:00:00Z")["attempts"]
        == []
    )


def test_a_pipeline_without_a_dag_is_shown_from_its_state(ask: Ask) -> None:
    page = ask("/pipelines/gone")
    assert page["facts"]["granularity"] == "1d"
    assert page["problem"]["kind"] == "gone"
    assert page["days"][0]["state"] == "complete"


def test_earlier_years_are_asked_for_by_day(ask: Ask) -> None:
    whole = ask("/pipelines/clocks")["days"]
    earlier = ask("/pipelines/clocks", until="2013-11-03")
    assert earlier["days"] == whole[:3]
    assert earlier["behind_seconds"] == 0.0


@pytest.mark.parametrize(
    "dag_id", ["plain", "no_such_dag", "..", "%2e%2e", "fl\u0456ghts", "flights%00", "a" * 300]
)
def test_what_is_no_pipeline_is_not_found(client: Login, dag_id: str) -> None:
    answer = client().get(f"{API}/pipelines/{dag_id}")
    assert answer.status_code in (400, 404)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/windows",
        "/windows?from=2013-11-03&to=2013-11-01",
        "/windows?from=2013-11-03&to=2014-11-01",
        "/windows?from=yesterday&to=today",
        "/window?start=2013-11-03T00:00:00&end=2013-11-03T02:00:00Z",
        "/window?start=2013-11-03T00:00:00Z&end=2013-11-03T00:00:00Z",
        "/window?start=2013-11-03T00:00:00Z&end=2013-12-03T00:00:00Z",
        "/window?start=x&end=y",
        "?until=never",
    ],
)
def test_invalid_spans_are_refused(client: Login, path: str) -> None:
    assert client().get(f"{API}/pipelines/clocks{path}").status_code == 422


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_reading_is_by_get_only(client: Login, method: str) -> None:
    for path in ("", "/clocks", "/clocks/gaps"):
        assert client().request(method, f"{API}/pipelines{path}").status_code == 405


# --- caching


@pytest.mark.parametrize(
    "path", ["/pipelines/flights", "/pipelines/clocks/windows?from=2013-11-01&to=2013-11-05"]
)
def test_an_unchanged_answer_costs_one_query(client: Login, world: World, path: str) -> None:
    user = client()
    first = user.get(f"{API}{path}")
    with queries() as asked:
        again = user.get(f"{API}{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert len(asked) == 1
    assert first.headers["cache-control"] == "private, no-cache"


def test_a_year_costs_five_queries(client: Login, world: World) -> None:
    user = client()
    user.get(f"{API}/pipelines/flights")
    for path in ("", "/gaps", f"/windows?from={world.day(-7)}&to={world.day(0)}"):
        with queries() as asked:
            user.get(f"{API}/pipelines/flights{path}")
        assert 1 <= len(asked) <= 5, asked


def test_a_write_changes_the_etag(client: Login, world: World) -> None:
    user = client()
    first = user.get(f"{API}/pipelines/clocks")
    with world.runtime("clocks") as runtime:
        window = runtime.state.entries()[0].interval
        runtime.state.acquire(window, runtime.owner("clocks/manual__new"), 60)
        second = user.get(f"{API}/pipelines/clocks", headers={"If-None-Match": first.headers["etag"]})
        runtime.state.release(window, runtime.owner("clocks/manual__new"))
    assert second.status_code == 200
    assert [lease["run_id"] for lease in second.json()["leases"]] == ["manual__new"]
    third = user.get(f"{API}/pipelines/clocks", headers={"If-None-Match": second.headers["etag"]})
    assert third.json()["leases"] == []


def test_the_list_is_sent_again_only_when_it_changed(client: Login) -> None:
    user = client()
    first = user.get(f"{API}/pipelines?tag=c")
    again = user.get(f"{API}/pipelines?tag=c", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_reading_creates_nothing(client: Login, world: World, monkeypatch: pytest.MonkeyPatch) -> None:

    from airflow_pipeline_provider.web import stores

    missing = world.home / "not_yet.db"
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_STATE", f'{{"conn_type": "sqlite", "host": "{missing}"}}')
    stores.forget_stores()
    page = client().get(f"{API}/pipelines/flights").json()
    assert page["never_ran"] is True
    assert not missing.exists()
