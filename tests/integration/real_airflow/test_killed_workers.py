"""Kill Airflow's worker processes by SIGKILL under a running scheduler: at fault points, and at random times.

Pipelines run side by side.  Tasks of the first kill themselves at fault points (`killing_dags`); those of the others
are killed from outside.  RELIABILITY=full kills at every point and a hundred times at random, of a pipeline with
`backlog_granularity` too.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_pipeline_provider.fault_points import POINTS
from tests.integration.real_airflow import lake, processes
from tests.integration.real_airflow.conftest import World
from tests.integration.real_airflow.processes import ORPHAN, TASK, WORKER
from tests.integration.real_airflow.rest import FINISHED, wait
from tests.integration.real_airflow.stories import FULL, THE_LONG_DAY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

HOURS = 2 if FULL else 5
PLANNED = set(lake.windows(*THE_LONG_DAY, HOURS))
LIVE_RUNS = 3  # started by hand, in addition to the scheduled one
SETTINGS: dict[str, Any] = {
    "granularity": f"{HOURS}h",
    "state": {"lease": "30s"},  # shorter than Airflow takes to notice that a worker is gone
    "airflow": {"retries": 20, "retry_delay": "1s", "max_active_runs": 4},
}
LARGER = {**SETTINGS, "backlog_granularity": "12h"}  # the day lies back: 00:00 to 12:00, and 13 hours
AT_RANDOM_TIMES = {"at_random": SETTINGS, "larger": LARGER} if FULL else {"at_random": SETTINGS}
MOST_TRIES = 12  # of a task that is killed: the retries after these are for other errors
AT_POINTS = {TASK: len(POINTS), WORKER: 6, ORPHAN: 6} if FULL else {TASK: 6, WORKER: 1, ORPHAN: 1}
AT_RANDOM = {TASK: 80, WORKER: 10, ORPHAN: 10} if FULL else {TASK: 6, WORKER: 1, ORPHAN: 1}
# A process that sleeps in a transaction blocks others, so at these points it is killed and never put to sleep.
IN_A_TRANSACTION = {
    "state.before_commit",
    "load.fence_taken",
    "load.deleted",
    "load.copied",
    "load.commit_row_written",
}


class Attacked(NamedTuple):
    """Ids of the pipelines, and the folder with the orders of the one that is killed at points."""

    at_points: str
    at_random: dict[str, str]
    kills: Path


@pytest.fixture(scope="module")
def dice(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture(scope="module")
def attacked(world: World, dice: random.Random) -> Iterator[Attacked]:
    folder = Path(world.airflow.dags_folder) / f"{world.name}_killed"
    folder.mkdir()
    shutil.copy(world.folder / "defaults.yaml", folder)
    here = replace(world, folder=folder)
    at_points = here.pipeline("at_points", "weather", THE_LONG_DAY, SETTINGS)
    at_random = {
        short: here.pipeline(short, "weather", THE_LONG_DAY, settings)
        for short, settings in AT_RANDOM_TIMES.items()
    }
    kills = folder / "kills" / at_points
    (kills / "taken").mkdir(parents=True)
    for order in orders(dice):
        (kills / order).touch()
    loader = folder.with_suffix(".py")
    shutil.copy(Path(__file__).with_name("killing_dags.py"), loader)
    for dag_id in (at_points, *at_random.values()):
        world.airflow.unpause(dag_id)
        for _ in range(LIVE_RUNS):
            world.airflow.trigger(dag_id)
    yield Attacked(at_points, at_random, kills)
    (kills / "wake").touch()
    for pid in orphans(kills):
        wait(lambda pid=pid: not processes.alive(pid), f"process {pid} ends")  # type: ignore[misc]
    loader.unlink()
    shutil.rmtree(folder)


def orders(dice: random.Random) -> list[str]:
    """Return where and how a task kills itself: HOW@POINT."""
    possible = {how: sorted(POINTS) for how in AT_POINTS}
    possible[ORPHAN] = sorted(set(POINTS) - IN_A_TRANSACTION)
    return [
        f"{how}@{point}" for how, count in AT_POINTS.items() for point in dice.sample(possible[how], count)
    ]


def orphans(kills: Path) -> list[int]:
    return [int(order.read_text()) for order in (kills / "taken").glob(f"{ORPHAN}@*")]


@pytest.mark.parametrize("short", AT_RANDOM_TIMES)
def test_kills_at_random_times_lose_and_double_no_row(
    world: World, attacked: Attacked, dice: random.Random, seed: int, short: str
) -> None:
    """Kill any running process; when all is done before the last kill, request a window again."""
    dag_id, left = attacked.at_random[short], [how for how, count in AT_RANDOM.items() for _ in range(count)]
    dice.shuffle(left)
    orphaned = []
    while left:
        time.sleep(dice.uniform(0, 2))
        running = running_tries(world, dag_id)
        if running:
            try_id, runner = dice.choice(sorted(running.items()))
            if processes.kill(try_id, runner, left[-1]) and left.pop() == ORPHAN:
                orphaned.append(runner.pid)
        elif all(run["state"] in FINISHED for run in world.airflow.runs(dag_id)):
            start, end = dice.choice(sorted(PLANNED))
            world.airflow.trigger(dag_id, {"window_start": start.isoformat(), "window_end": end.isoformat()})
    for pid in orphaned:
        wait(lambda pid=pid: not processes.alive(pid), f"process {pid} ends")  # type: ignore[misc]
    world.airflow.quiet(dag_id, LIVE_RUNS + 1)
    assert again(world, dag_id) > 0, f"no task was tried again: nothing was killed (seed {seed})"
    assert_moved(world, dag_id)
    if short == "larger":  # or in small ones, after its run failed
        longest = max(end - start for start, end in world.committed(dag_id))
        assert longest > timedelta(hours=HOURS), "every window was small"
    else:
        assert set(world.committed(dag_id)) >= PLANNED


def test_kills_at_fault_points_lose_and_double_no_row(world: World, attacked: Attacked) -> None:
    dag_id, kills = attacked.at_points, attacked.kills
    world.airflow.quiet(dag_id, LIVE_RUNS + 1)
    untaken = [order.name for order in kills.glob("*@*")]
    assert not untaken, "no task reached these points"
    assert len(list((kills / "taken").iterdir())) == sum(AT_POINTS.values())
    before = world.warehouse.tokens(dag_id)
    (kills / "wake").touch()  # every window was committed by a retry before its orphan continues
    for pid in orphans(kills):
        wait(lambda pid=pid: not processes.alive(pid), f"process {pid} ends")  # type: ignore[misc]
    assert world.warehouse.tokens(dag_id) == before, "a stale task changed the target"
    assert_moved(world, dag_id)
    assert set(world.committed(dag_id)) >= PLANNED


def running_tries(world: World, dag_id: str) -> dict[str, processes.Runner]:
    """Map the try id of each running task that may be killed to its process."""
    path = f"dags/{dag_id}/dagRuns/~/taskInstances"
    found = world.airflow.listed(path, "task_instances", state="running")
    ids = {ti["id"] for ti in found if ti["try_number"] <= MOST_TRIES}
    return {try_id: runner for try_id, runner in processes.runners().items() if try_id in ids} if ids else {}


def again(world: World, dag_id: str) -> int:
    """Return the number of tries that were not the first of their task."""
    found = world.airflow.listed(f"dags/{dag_id}/dagRuns/~/taskInstances", "task_instances")
    return sum(max(ti["try_number"] - 1, 0) for ti in found)


def assert_moved(world: World, dag_id: str) -> None:
    states = Counter(run["state"] for run in world.airflow.runs(dag_id))
    assert set(states) == {"success"}, states
    world.assert_complete(dag_id, "weather", *THE_LONG_DAY)
    world.assert_left_nothing(dag_id)
    last = world.airflow.events(f"{dag_id}.days")[-1]
    assert last["token"] == max(world.committed(dag_id).values()), "no event has the newest commit"
