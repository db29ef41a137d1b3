"""What the page shows of days long ago: drift and doubt are found over all days, not only those that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.phases.recheck import recheck
from tests.page.conftest import API, Ask, Login, queries
from tests.page.place import connect, store
from tests.page.world import World, windows_of

pytestmark = pytest.mark.usefixtures("long_ago", "nothing_kept")
STATES = {"long_ago": {"type": "sql", "conn_id": "pipeline_state"}, "long_by_variable": {"type": "variable"}}

NAMES = (*STATES, "long_behind", "across")


@pytest.fixture(scope="module")
def long_ago(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Pipelines of daily windows since two years and more, two with doubts in their first days."""
    from airflow.api.common.delete_dag import delete_dag

    world = World(tmp_path_factory.mktemp("long_ago"))
    with pytest.MonkeyPatch.context() as patch:
        connect(world.home, patch)
        fill(world)
        store(world.home, *NAMES)
        yield world
    for dag_id in NAMES:  # the tests of other modules list Airflow's DAGs
        delete_dag(dag_id)


def fill(world: World) -> None:
    first = world.day(-800)
    for name, state in STATES.items():
        world.write(name, granularity="1d", start_day=first, end_day=first + timedelta(days=9), state=state)
        with world.runtime(name) as runtime:
            days = [windows_of(runtime, first + timedelta(days=n))[0] for n in range(10)]
            world.put(name, days)
            for window in days:
                world.move(runtime, window)
            world.put(name, days[3:5], each=2)
            recheck(runtime, 900, world.now)
            world.move(runtime, days[4])  # resolved
            world.crash(runtime, days[5], "load.copied")  # unverified
            world.crash(runtime, days[2], "load.copied")
            world.move(runtime, days[2])  # resolved
    world.write("long_behind", granularity="1d", start_day=first)
    with world.runtime("long_behind") as runtime:
        window = windows_of(runtime, world.day(-380))[0]
        world.put("long_behind", [window])
        world.move(runtime, window)
    reach_across_midnight(world)


def reach_across_midnight(world: World) -> None:
    """Commits as of a zone with other days, and an attempt on the last day only."""
    world.write("across", granularity="1d", start_day=world.day(-3), end_day=world.day(-1))
    with world.runtime("across") as runtime:
        days = [windows_of(runtime, world.day(back))[0] for back in (-3, -2, -1)]
        world.put("across", days)
        for window in days[:2]:
            world.move(runtime, window)
        noons = [day.start + (day.end - day.start) / 2 for day in days]
        for interval in (Interval(noons[1], noons[2]), Interval(noons[2], days[2].end)):
            token = runtime.state.mint_token()
            for kind in (Kind.REPLACING, Kind.COMMITTED):
                entry = Entry(kind, interval, world.now, token=token, rows=3, run="across/manual__x")
                runtime.state.append(entry)
        runtime.state.append(Entry(Kind.ATTEMPT, days[2], world.now, attempt="later", run="across/manual__y"))


@pytest.mark.parametrize("name", ["long_ago", "long_by_variable"])
def test_days_in_doubt_are_found_however_long_ago(name: str, long_ago: World, ask: Ask) -> None:
    page, gaps = ask(f"/pipelines/{name}"), ask(f"/pipelines/{name}/gaps")
    first = long_ago.day(-800)
    expected = [(first + timedelta(days=5), "unverified"), (first + timedelta(days=3), "drifted")]
    found = [(datetime.fromisoformat(one["day"]).date(), one["state"]) for one in gaps["changed_days"]]
    assert (found, gaps["total_changed"], gaps["gaps"]) == (expected, 2, [])
    assert "5 rows in the source, 3 rows in the target" in gaps["changed_days"][1]["reason"]
    assert (page["days_to_review"], page["state"], page["caught_up"]) == (2, "unverified", False)


def test_the_days_that_need_a_look_are_counted_over_all_days(long_ago: World, ask: Ask) -> None:
    page = ask("/pipelines/long_behind")
    earlier = ask("/pipelines/long_behind", until=str(long_ago.day(-500)))
    shown = [day for day in page["days"] if day["state"] == "missing"]
    assert len(shown) < 366 < page["days_to_review"]
    assert page["days_to_review"] == earlier["days_to_review"] == 800 - 1
    assert ask("/pipelines/long_ago", until=str(long_ago.day(-797)))["days_to_review"] == 2


@pytest.mark.parametrize("path", ["", "/gaps", "?until={earlier}"])
def test_any_number_of_windows_takes_five_queries_at_most(path: str, long_ago: World, client: Login) -> None:
    user, path = client(), path.format(earlier=long_ago.day(-700))
    for name in ("long_ago", "long_behind"):
        first = user.get(f"{API}/pipelines/{name}{path}")
        assert first.status_code == 200, first.text
        with queries() as statements:
            assert user.get(f"{API}/pipelines/{name}{path}").status_code == 200
        assert 2 <= len(statements) <= 5, statements
        with queries() as statements:
            again = user.get(
                f"{API}/pipelines/{name}{path}", headers={"If-None-Match": first.headers["etag"]}
            )
        assert (again.status_code, len(statements)) == (304, 1)


def test_a_commit_that_reaches_across_midnight_leaves_both_days_complete(long_ago: World, ask: Ask) -> None:
    """The list reads only the last day, as the coverage decides on the others."""
    (row,) = ask("/pipelines", search="across")["pipelines"]
    page = ask("/pipelines/across")
    assert [day["state"] for day in row["days"]] == ["complete"] * 3
    assert [day["reason"] for day in row["days"]] == [day["reason"] for day in page["days"]]
    assert (row["state"], row["reason"]) == (page["state"], page["reason"])
