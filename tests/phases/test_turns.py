"""Several runs at a state store without compare-and-set: one writes, the others wait or leave it to a follower."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind, committed
from airflow_pipeline_provider.exceptions import LeaseHeldError
from airflow_pipeline_provider.phases.drain import drain
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.state import variable_lease
from tests.phases.variable_world import PAUSE, SimulatedVariables, World

DAYS = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-05T05:00:00Z"))
FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T08:00:00Z"))
SECOND = Interval(FIRST.end, parse_utc("2013-11-03T12:00:00Z"))
STATE, FIRST_DAY = "pipelines.flights.state", "pipelines.flights.2013-11-03"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return seeded(World(monkeypatch))


def seeded(world: World) -> World:
    for number in range(98):
        moment = DAYS.start + timedelta(minutes=30 * number)
        world.rows.put(f"r{number:03d}", moment, f'{{"n":{number}}}')
    return world


def check_all_is_right(world: World) -> None:
    state = world.state()
    entries = state.entries()
    assert committed(entries) == [DAYS]
    assert Counter(row.record_id for row in world.warehouse.rows) == Counter(list(world.rows.rows))
    minted = Counter((e.token, e.interval) for e in entries if e.kind is Kind.REPLACING)
    assert max(Counter(token for token, _ in minted).values()) == 1, "a token was given twice"
    assert {(row.token, row.interval) for _, row in world.warehouse.commits} <= set(minted)
    assert state.leases() == []
    assert not state.lost_writes()


@pytest.mark.parametrize("seed", range(6))
def test_eight_runs_that_race_under_kills_move_every_window_once(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    world = seeded(World(monkeypatch, seed=seed, kill_chance=0.01, kills_left=12))
    names = [FIRST, SECOND]
    for number in range(8):
        run, at = f"run-{number}", world.random.uniform(0, 3)
        if number < 6:
            world.start(at, world.task(run, lambda run=run: world.request(run)))
        else:
            window = names[number - 6]
            asked = world.request(run, kind=RunKind.WINDOW, interval=window)
            world.start(at, world.task(run, lambda asked=asked: asked))
    world.play()
    assert world.killed > 0
    check_all_is_right(world)
    for run in ("run-6", "run-7"):
        assert world.outcomes.count(f"{run}: committed") >= 1


def overlaps(world: World, pause: float) -> bool:
    """Do two of eight processes hold the lease at the same time?"""
    holding: list[int] = []
    most: list[int] = []

    def body(number: int) -> None:
        with suppress(LeaseHeldError), world.state(pause).exclusive(f"process {number}", 120):
            holding.append(number)
            world.sleep(5)
            most.append(len(holding))
            holding.remove(number)

    for number in range(8):
        world.start(world.random.uniform(0, 0.6), partial(body, number))
    world.play()
    return max(most) > 1


def test_without_the_pause_two_processes_hold_the_lease_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The safeguard broken on purpose is noticed, so the one in place is what keeps them apart."""
    assert not any(overlaps(World(monkeypatch, seed=seed), PAUSE) for seed in range(12))
    monkeypatch.setattr(variable_lease, "SLOW_FACTOR", 0)
    assert any(overlaps(World(monkeypatch, seed=seed), 0) for seed in range(12))


@pytest.mark.parametrize("seed", range(4))
def test_a_backfill_of_two_days_beside_live_runs_waits_its_turn(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    world = seeded(World(monkeypatch, seed=seed))
    plan, start = [], DAYS.start
    for hours in (*[4] * 6, 1, *[4] * 6):
        plan.append(Interval(start, start + timedelta(hours=hours)))
        start = plan[-1].end
    assert start == DAYS.end
    for number, window in enumerate(plan):
        asked = world.request(f"backfill-{number}", kind=RunKind.BACKFILL, interval=window)
        world.start(0.1 * number, world.task(f"backfill-{number}", lambda asked=asked: asked))
    for number in range(3):
        world.start(
            5.0 + number, world.task(f"live-{number}", lambda number=number: world.request(f"live-{number}"))
        )
    world.play()
    check_all_is_right(world)
    for number in range(len(plan)):
        assert f"backfill-{number}: committed" in world.outcomes


def test_a_live_run_leaves_its_window_to_the_run_that_follows_the_holder(world: World) -> None:
    backfill = world.runtime()
    held = generate(backfill, world.request("backfill", kind=RunKind.BACKFILL, interval=FIRST)).claim
    assert held is not None
    live = generate(world.runtime(), world.request("live"))
    assert (live.claim, live.reason) == (None, "leased")
    assert re.match(
        r"state\.type variable serves one run at a time, and its lease is held by flights/backfill since "
        r"2013-11-06 07:00(:\d\d)? EST, until 2013-11-06 07:02(:\d\d)? EST unless renewed, for 2013",
        live.detail,
    )
    assert "for 2013-11-03 [00:00 EDT, 03:00 EST); its commit starts a run" in live.detail
    asked = world.state().asked_to_follow()
    outcome = run_window(backfill, world.request("backfill", kind=RunKind.BACKFILL, interval=FIRST))
    assert outcome.claim is not None
    assert outcome.audited is not None
    following = drain(world.runtime(), outcome.claim, outcome.audited.token)
    assert following.window is not None
    assert following.window.interval == SECOND
    assert following.reference_time == asked


def test_without_a_live_run_that_was_turned_away_a_backfill_starts_no_other_run(world: World) -> None:
    outcome = run_window(world.runtime(), world.request("b", kind=RunKind.BACKFILL, interval=FIRST))
    assert outcome.claim is not None
    assert outcome.audited is not None
    assert drain(world.runtime(), outcome.claim, outcome.audited.token).run_id is None


@pytest.mark.parametrize(
    ("holder", "waiter"),
    [
        pytest.param({"follows": False}, {}, id="the holder starts no run"),
        pytest.param({}, {"follows": False}, id="the waiter's DAG has no drain"),
        pytest.param({}, {"kind": RunKind.WINDOW, "interval": FIRST}, id="a named window"),
        pytest.param({}, {"kind": RunKind.BACKFILL, "interval": SECOND}, id="a backfill"),
    ],
)
def test_every_other_run_waits(world: World, holder: dict[str, object], waiter: dict[str, object]) -> None:
    generate(world.runtime(), world.request("holder", **holder))
    with pytest.raises(LeaseHeldError, match=r"held by flights/holder since 2013-11-06 07:00(:\d\d)? EST"):
        generate(world.runtime(), world.request("waiter", **waiter))


def test_a_run_that_finds_the_lease_held_writes_nothing_of_the_state(world: World) -> None:
    generate(world.runtime(), world.request("holder"))
    before = dict(world.values)
    generate(world.runtime(), world.request("live"))
    assert {key for key in world.values if world.values[key] != before.get(key)} == {
        "pipelines.flights.waiting"
    }


def test_a_run_with_nothing_to_do_does_not_take_the_lease(world: World) -> None:
    while run_window(world.runtime(), world.request(f"run-{world.seconds}")).audited:
        pass
    before = dict(world.values)
    assert generate(world.runtime(), world.request("idle")).reason == "after_end_day"
    assert world.values == before


def test_a_retry_waits_for_the_run_that_took_the_lease_in_between_and_goes_on(world: World) -> None:
    slow = world.request("slow", follows=False)
    claim = generate(world.runtime(), slow).claim
    assert claim is not None
    world.sleep(200)  # its lease of two minutes ends while it waits for its retry
    quick = world.request("quick", kind=RunKind.WINDOW, interval=SECOND)
    assert generate(world.runtime(), quick).claim is not None
    with pytest.raises(LeaseHeldError, match="flights/quick"):
        run_window(world.runtime(), slow)
    run_window(world.runtime(), quick)
    outcome = run_window(world.runtime(), slow)
    assert outcome.claim is not None
    assert (outcome.claim.interval, outcome.audited is not None) == (FIRST, True)


def test_maintenance_and_a_live_run_write_one_after_the_other(world: World) -> None:
    """Both wrote the same Variable in the same moment before: a commit, or a token, was lost."""
    run_window(world.runtime(), world.request("first"))
    world.rows.put("late", FIRST.start, "{}")
    found = []
    world.start(0, world.task("live", lambda: world.request("live")))

    def maintain() -> None:
        while not found:
            try:
                found.extend(recheck(world.runtime(), 2).grown)
                world.sleep(1)
            except LeaseHeldError:
                world.sleep(5)

    world.start(0.1, maintain)
    world.play()
    kinds = Counter(entry.kind for entry in world.state().entries(FIRST))
    assert kinds[Kind.CHECKED] == kinds[Kind.COMMITTED] == 1
    assert len(committed(world.state().entries())) == 1, "what the live runs committed is there"
    assert len(world.state().entries()) >= 3 * 12


def test_a_write_that_a_stalled_process_undid_is_seen_and_repaired_from_the_target(world: World) -> None:
    """The process stood still between its look and its write, for longer than the lease of a run lasts."""
    stalled = world.state()
    stalled._variables = SimulatedVariables(world, {FIRST_DAY: 600.0})
    run_window(world.runtime(), world.request("run-1"))

    def maintain() -> None:
        stalled.append(Entry(Kind.CHECKED, FIRST, world.now(), detail={"verdict": "grew"}))

    world.start(0, maintain)
    world.start(200, world.task("live", lambda: world.request("live", follows=False)))
    world.play()
    day = world.state().entries(SECOND)
    assert not committed(day), "the stalled process has overwritten the other run's day"
    loaded = {row.token for _, row in world.warehouse.commits}
    outcome = run_window(world.runtime(), world.request("next", kind=RunKind.BACKFILL, interval=FIRST))
    assert outcome.audited is not None
    assert outcome.audited.token > max(loaded), "no token is given twice"
    entries = world.state().entries()
    assert loaded <= {e.token for e in entries if e.kind is Kind.COMMITTED}
    assert not world.state().lost_writes()
