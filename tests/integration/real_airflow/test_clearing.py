"""Tasks and runs that people clear after they were done: all converge, and no other window changes."""

from __future__ import annotations

import pytest

from tests.integration.real_airflow import lake
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.stories import THE_LONG_DAY, WEATHER_HOURS
from tests.integration.real_airflow.test_backfill import backfilled, interval

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

# what is cleared, with all that follows it or alone -> does the window get a new token?
CLEARED = {
    "load": (("load",), False, False),  # the same manifest again: done already
    "validate": (("validate",), False, False),
    "audit": (("audit",), False, False),
    "extract and what follows": (("extract",), True, True),
    "stage and what follows": (("stage",), True, True),
    "the whole run": ((), False, True),  # a backfill's run moves its window anew
}


def test_clearing_what_a_backfill_did(world: World, weather: str) -> None:
    """One run for each way of clearing, all at once, on the last day; a late document waits in every window."""
    runs = backfilled(world, weather)
    world.airflow.quiet(weather, len(lake.windows(*lake.NOVEMBER, WEATHER_HOURS)))
    before = world.warehouse.tokens(weather)
    of_the_last_day = [run for run in runs if interval(run)[0] >= lake.instant(lake.NOVEMBER[1])][
        -len(CLEARED) :
    ]
    chosen = dict(zip(CLEARED, of_the_last_day, strict=True))
    for name, (tasks, downstream, _) in CLEARED.items():
        world.airflow.clear(weather, chosen[name]["dag_run_id"], *tasks, downstream=downstream)
    ended = {name: world.airflow.finished(weather, run["dag_run_id"]) for name, run in chosen.items()}
    assert ended == dict.fromkeys(CLEARED, "success")
    world.assert_complete(weather, "weather", *lake.NOVEMBER)

    after = world.warehouse.tokens(weather)
    changed = {window for window in before if after[window] != before[window]}
    assert after.keys() == before.keys()
    assert changed == {interval(chosen[name]) for name, (_, _, new) in CLEARED.items() if new}


@pytest.mark.parametrize(
    ("number", "tasks"),
    [
        pytest.param(0, ("load",), id="load"),
        pytest.param(0, ("stage", "audit"), id="stage and audit without load"),
        pytest.param(1, ("audit",), id="audit"),
        pytest.param(1, ("validate",), id="validate"),
        pytest.param(2, ("generate_window",), id="generate"),
        pytest.param(2, (), id="the whole run"),
    ],
)
def test_clearing_what_the_planner_did(
    world: World, manual: str, number: int, tasks: tuple[str, ...]
) -> None:
    """A live run keeps its window; committed already, it is not moved again, and no other run starts."""
    runs = world.airflow.quiet(manual, len(lake.windows(*THE_LONG_DAY, 12)))
    run_id = runs[number]["dag_run_id"]
    before = world.warehouse.tokens(manual)
    window = world.airflow.xcom(manual, run_id, "generate_window", "window")
    world.airflow.clear(manual, run_id, *tasks)
    assert world.airflow.finished(manual, run_id) == "success"
    assert world.airflow.xcom(manual, run_id, "generate_window", "window") == window
    assert world.warehouse.tokens(manual) == before
    assert len(world.airflow.runs(manual)) == len(runs)
    world.assert_complete(manual, "weather", *THE_LONG_DAY)
