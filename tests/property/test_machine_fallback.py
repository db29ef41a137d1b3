"""The state falls back while a task is between its comparison of state and target and its new token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import DataError, SupersededError
from airflow_pipeline_provider.phases.values import Audited
from tests.property import machine_stories as stories
from tests.property.machine_end import repair
from tests.property.machine_model import Model
from tests.property.machine_world import World

pytestmark = pytest.mark.usefixtures("quiet")

OVERLAPS = {"the same window": (0, 5), "a part of it": (0, 2.5), "across its end": (2.5, 7.5)}
HISTORIES = ("events", "changes")


def hours(world: World, start: float, end: float) -> Interval:
    first = world.days[0].start
    return Interval(first + timedelta(hours=start), first + timedelta(hours=end))


def wake_after_a_fallback(world: World, newer: Interval, own: Interval | None = None) -> object:
    """Return how the stale task's run ends: it resumes with the token of the load of `newer`, which the copy lacks.

    `own` is the stale task's window, by default the first one, which is committed before.
    """
    world.finish(stories.window(world))
    stale = stories.until(world, stories.window(world, own), "stage", stories.frozen_at("state.mint_token"))
    older = world.copies[-1]
    world.now += stories.LATER
    stories.update(world)
    world.finish(stories.window(world, newer, may_shrink=True))
    world.fall_back(older)
    assert world.is_behind()
    world.wake(0)
    assert stale.xcoms["stage"].token == tokens(world)[-1] == 2
    return world.finish(stale)


def tokens(world: World) -> Sequence[int]:
    return [row.token for row in world.servers.commits()]


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("bounds", OVERLAPS.values(), ids=OVERLAPS)
def test_the_target_refuses_a_repeated_token_over_the_load_that_has_it(
    bounds: tuple[float, float], history: str
) -> None:
    with stories.world(history) as world:
        outcome = wake_after_a_fallback(world, hours(world, *bounds))
        assert isinstance(outcome, SupersededError), outcome
        assert tokens(world) == [1, 2]
        held = {body for _, at, body in world.servers.rows() if hours(world, *bounds).holds(at)}
        assert '{"version":1}' in held if history == "changes" else held == {'{"version":1}'}


@pytest.mark.parametrize("history", HISTORIES)
def test_a_repeated_token_of_another_window_changes_only_its_own_window(history: str) -> None:
    with stories.world(history) as world:
        other = hours(world, 5, 10)
        outcome = wake_after_a_fallback(world, other)
        assert isinstance(outcome, Audited), outcome
        assert tokens(world) == [1, 2, 2]
        assert {body for _, at, body in world.servers.rows() if other.holds(at)} == {'{"version":1}'}
        repair(world)
        written = [
            entry.token
            for entry in world.entries()
            if (entry.kind, entry.interval) == (Kind.COMMITTED, other)
        ]
        assert written == [2]


def test_the_next_run_reads_a_window_again_whose_token_is_of_another_load() -> None:
    with stories.world() as world:
        gap = hours(world, 5, 10)
        assert isinstance(wake_after_a_fallback(world, gap, gap), SupersededError)
        world.now += stories.LATER
        run = world.new_run()
        outcome = world.finish(run)
        assert isinstance(outcome, Audited), outcome
        assert (run.xcoms["generate"].interval, outcome.token) == (gap, 3)


def test_a_load_that_the_ledger_lacks_keeps_its_rows_though_another_has_its_token() -> None:
    with stories.world() as world:
        gap = hours(world, 5, 10)
        wake_after_a_fallback(world, gap, gap)
        world.now += stories.LATER
        world.source.delete("d2")
        outcome = world.finish(stories.window(world, gap))
        assert isinstance(outcome, DataError), outcome
        assert "retention at the source must not erase the warehouse" in str(outcome)
        world.source.put("d2", gap.start, '{"version":2}')


def test_a_repeated_token_without_a_fallback_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "state_falls_back", lambda self, copy: None)
    with (
        pytest.raises(AssertionError, match="got the token 2 after 2"),
        stories.world() as world,
    ):
        wake_after_a_fallback(world, hours(world, 5, 10))
