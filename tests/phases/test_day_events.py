"""One `.days` event each time a day becomes complete, and none lost, whatever crashes in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import combinations

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.day_status import is_complete
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.day_events import DayEvents
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import CompleteDay
from airflow_pipeline_provider.state.about import DayEvent, Task
from airflow_pipeline_provider.testing.faults import Crash, failing_at
from tests.doubles.memory_state import MemoryState

from .conftest import Pipeline
from .test_crashes import until

DAY = date(2013, 11, 3)
WHOLE = day_interval(DAY, "America/New_York")
STEPS = ("load", "expect", "commit", "collect", "succeed")


@dataclass
class World:
    """A pipeline's state and ledger, and the audit tasks of an Airflow, which it also answers for (`Runs`)."""

    runtime: Runtime
    windows: dict[str, Interval] = field(default_factory=dict)
    states: dict[Task, str | None] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    collected: dict[Task, list[CompleteDay]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    broken: bool = False

    # --- what Airflow answers

    def succeeded(self, task: Task) -> bool | None:
        if self.broken:
            raise TransientError("no answer")
        state = self.states.get(task, "failed")
        return None if state in (None, "running") else state == "success"

    def pending(self, _commit: Task, windows: Sequence[Interval], committed: Callable[[str], bool]) -> bool:
        return any(
            state is None or (state == "running" and not committed(task.run))
            for task, state in self.states.items()
            if self.windows.get(task.run) in windows
        )

    # --- what runs do

    def starts(self, run: str, window: Interval) -> Task:
        """Queue a run that will move the window."""
        task = Task(f"flights/{run}", "audit")
        self.windows[task.run], self.states[task] = window, None
        return task

    def events(self, task: Task) -> DayEvents:
        return DayEvents(self.runtime, task, self)

    def step(self, task: Task, step: str) -> None:
        """Do one step of the run's; `expect`, `commit` and `collect` are the audit task's."""
        state, window = self.runtime.state, self.windows[task.run]
        if step == "load":
            self.tokens[task.run] = state.mint_token()
            self._write(task, Kind.ATTEMPT)
            self._write(task, Kind.REPLACING)
            return
        self.states[task] = "running"
        if step == "expect":
            self.events(task).expect(self.runtime.window(window), self.tokens[task.run])
        elif step == "commit":
            self._write(task, Kind.COMMITTED)
            self.log.append("commit")
        elif step == "collect":
            events = self.events(task)
            events.collect(DAY)
            self.collected[task] = events.complete
        else:
            self.succeeds(task, self.collected.get(task, []))

    def _write(self, task: Task, kind: Kind) -> None:
        token = None if kind is Kind.ATTEMPT else self.tokens[task.run]
        window, now = self.windows[task.run], self.runtime.clock()
        self.runtime.state.append(Entry(kind, window, now, token, task.run, task.run, rows=1))

    def succeeds(self, task: Task, complete: list[CompleteDay]) -> None:
        """End the task with success: Airflow registers its events."""
        self.states[task] = "success"
        self.log += ["event"] * len(complete)

    def moves(self, run: str, window: Interval) -> None:
        task = self.starts(run, window)
        self.finishes(task)

    def finishes(self, task: Task) -> None:
        for step in STEPS:
            self.step(task, step)

    def later(self, run: str = "later") -> list[CompleteDay]:
        """Let the first task of a later run send what is left."""
        task = Task(f"flights/{run}", "generate_window")
        self.states[task] = "running"
        events = self.events(task)
        events.collect_all()
        self.succeeds(task, events.complete)
        return events.complete

    @property
    def left(self) -> tuple[DayEvent, ...]:
        return self.runtime.state.about().day_events


@pytest.fixture
def worlds(pipeline: Pipeline) -> Callable[[], World]:
    """Make worlds of an empty ledger each, with windows of 13 hours."""
    runtime = pipeline.runtime(granularity="13h")

    def make() -> World:
        pipeline.store.pipelines.clear()
        return World(runtime)

    return make


@pytest.fixture
def world(worlds: Callable[[], World]) -> World:
    return worlds()


@pytest.fixture
def halves(world: World) -> list[Interval]:
    return list(day_plan(world.runtime.config.rules, DAY))


@pytest.fixture
def complete(world: World, halves: list[Interval]) -> World:
    """A day that is complete, with its event sent."""
    for number, window in enumerate(halves):
        world.moves(f"first-{number}", window)
    assert world.log == ["commit", "commit", "event"]
    world.log.clear()
    return world


# --- one event


def test_the_commit_that_completes_a_day_sends_its_event(world: World, halves: list[Interval]) -> None:
    world.moves("a", halves[0])
    assert world.left == ()
    b = world.starts("b", halves[1])
    world.finishes(b)
    assert world.collected[b] == [CompleteDay(DAY, WHOLE, 2, 2)]
    assert world.log == ["commit", "commit", "event"]


def test_an_event_is_forgotten_once_its_task_has_succeeded(complete: World) -> None:
    assert [event.sender for event in complete.left] == [Task("flights/first-1", "audit")]
    assert complete.later() == []
    assert complete.left == ()


def test_of_many_replaced_windows_the_last_sends_the_event(complete: World, halves: list[Interval]) -> None:
    tasks = [complete.starts(f"backfill-{number}", window) for number, window in enumerate(halves)]
    for task in tasks:
        complete.finishes(task)
    assert complete.log == ["commit", "commit", "event"]
    assert complete.collected[tasks[-1]] == [CompleteDay(DAY, WHOLE, 2, 4)]


def test_a_window_that_is_replaced_alone_sends_the_event(complete: World, halves: list[Interval]) -> None:
    complete.moves("by-hand", halves[0])
    assert complete.log == ["commit", "event"]


def test_a_day_that_becomes_complete_does_not_wait(world: World, halves: list[Interval]) -> None:
    """Other runs may wait for it, and a later event follows what is replaced."""
    world.moves("first", halves[0])
    world.starts("backfill-0", halves[0])
    world.moves("backfill-1", halves[1])
    assert world.log == ["commit", "commit", "event"]


def test_a_ledger_of_an_earlier_version_sends_nothing_about_its_days(
    complete: World, halves: list[Interval]
) -> None:
    state = complete.runtime.state
    state.change_about(lambda about: about.with_day_event(DAY, None))
    assert complete.later() == []
    complete.moves("by-hand", halves[0])
    assert complete.log == ["commit", "event"]


def test_a_day_with_waived_time_sends_nothing(world: World, halves: list[Interval]) -> None:
    world.moves("a", halves[0])
    world.runtime.state.append(Entry(Kind.WAIVED, halves[1], world.runtime.clock()))
    world.moves("b", halves[0])
    assert (world.later(), world.log) == ([], ["commit", "commit"])


# --- no event lost


def test_the_event_of_a_run_that_fails_last_is_sent_by_a_later_run(
    complete: World, halves: list[Interval]
) -> None:
    first, last = (complete.starts(f"backfill-{n}", window) for n, window in enumerate(halves))
    complete.finishes(first)
    assert complete.later("while it waits") == []
    complete.states[last] = "upstream_failed"
    assert complete.later() == [CompleteDay(DAY, WHOLE, 2, 3)]
    assert complete.later("after that") == []
    assert complete.left == ()


def test_a_run_that_failed_first_is_not_waited_for(complete: World, halves: list[Interval]) -> None:
    first, last = (complete.starts(f"backfill-{n}", window) for n, window in enumerate(halves))
    complete.states[first] = "upstream_failed"
    complete.finishes(last)
    assert complete.log == ["commit", "event"]


def test_a_sender_that_is_still_running_is_left_alone(complete: World, halves: list[Interval]) -> None:
    task = complete.starts("by-hand", halves[0])
    for step in STEPS[:-1]:
        complete.step(task, step)
    assert complete.later() == []
    complete.step(task, "succeed")
    assert complete.log == ["commit", "event"]


def test_a_sender_that_must_wait_after_all_does_not_count_as_sender(
    complete: World, halves: list[Interval]
) -> None:
    """Its first try crashed; before the second one a backfill of the day began, whose runs then fail."""
    task = complete.starts("by-hand", halves[0])
    for step in STEPS[:-1]:
        complete.step(task, step)
    other = complete.starts("backfill", halves[1])
    complete.step(task, "collect")
    complete.step(task, "succeed")
    complete.states[other] = "upstream_failed"
    assert len(complete.later()) == 1


def test_what_cannot_be_found_out_is_left_to_a_later_run(complete: World) -> None:
    complete.broken = True
    assert complete.later("while Airflow does not answer") == []
    assert len(complete.left) == 1


def test_an_event_that_changes_all_the_time_is_left_to_those_that_change_it(
    complete: World, halves: list[Interval], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = complete.starts("by-hand", halves[0])
    for step in STEPS[:3]:
        complete.step(task, step)
    change = MemoryState.change_about

    def after_another(state: MemoryState, wanted: Callable[..., object]) -> object:
        event = state.about().day_event(DAY)
        assert event is not None
        change(state, lambda about: about.with_day_event(DAY, replace(event, token=event.token + 1)))
        return change(state, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryState, "change_about", after_another)
    events = complete.events(task)
    events.collect(DAY)
    assert events.complete == []
    assert [event.sender for event in complete.left] == [None]


# --- in every order, with a crash anywhere


def orders() -> Iterator[tuple[str, ...]]:
    """All orders of the steps of two runs."""
    number = len(STEPS)
    for places in combinations(range(2 * number), number):
        yield tuple("a" if place in places else "b" for place in range(2 * number))


def play(world: World, halves: list[Interval], order: Sequence[str], crash: int | None) -> None:
    """Do the steps of both runs in this order; run a crashes before its step of this number."""
    tasks = {name: world.starts(name, window) for name, window in zip("ab", halves, strict=True)}
    done = dict.fromkeys("ab", 0)
    for name in order:
        number = done[name]
        done[name] += 1
        if name == "a" and crash is not None and number >= crash:
            world.states[tasks["a"]] = "failed"
            continue
        world.step(tasks[name], STEPS[number])


def start(worlds: Callable[[], World], halves: list[Interval], replaced: bool) -> World:
    world = worlds()
    if replaced:
        for number, window in enumerate(halves):
            world.moves(f"first-{number}", window)
        world.log.clear()
    return world


@pytest.mark.parametrize("replaced", [False, True], ids=["first", "replaced"])
def test_two_runs_side_by_side_send_one_event(
    worlds: Callable[[], World], halves: list[Interval], replaced: bool
) -> None:
    for order in orders():
        world = start(worlds, halves, replaced)
        play(world, halves, order, None)
        assert world.log == ["commit", "commit", "event"], order
        assert world.later() == [], order
        assert world.left == (), order


@pytest.mark.parametrize("replaced", [False, True], ids=["first", "replaced"])
@pytest.mark.parametrize("crash", range(len(STEPS)), ids=[f"before {step}" for step in STEPS])
def test_a_crash_beside_another_run_loses_no_event(
    worlds: Callable[[], World], halves: list[Interval], replaced: bool, crash: int
) -> None:
    for order in orders():
        world = start(worlds, halves, replaced)
        play(world, halves, order, crash)
        world.later()
        if is_complete(WHOLE, world.runtime.state.entries(WHOLE)):
            assert world.log[-1] == "event", order
            assert world.log.count("event") <= 2, order
            assert world.left == () or world.later("after that") == [], order
        else:
            assert "event" not in world.log, order


@pytest.mark.parametrize("crash", range(1, len(STEPS)), ids=[f"before {step}" for step in STEPS[1:]])
def test_a_task_that_is_tried_again_sends_one_event(
    complete: World, halves: list[Interval], crash: int
) -> None:
    task = complete.starts("by-hand", halves[0])
    for step in (*STEPS[:crash], *STEPS[1:]):
        complete.step(task, step)
    complete.later()
    assert [line for line in complete.log if line == "event"] == ["event"]


# --- in audit


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    pipeline.seed("2013-11-03T03:00:00Z", "2013-11-03T09:00:00Z", timedelta(minutes=1))
    return pipeline


@pytest.mark.parametrize("point", ["audit.committed", "audit.files_removed", "audit.released"])
def test_an_audit_that_crashed_after_its_commit_sends_the_event(seeded: Pipeline, point: str) -> None:
    claim, staged = until(seeded, "load", "flights/a", granularity="1d")
    assert staged is not None
    world = World(seeded.runtime(granularity="1d"), {"flights/a": claim.interval})
    task = Task("flights/a", "audit")
    world.states[task] = "running"
    with failing_at(point), pytest.raises(Crash):
        audit(world.runtime, claim, staged, world.events(task))
    events = world.events(task)
    audit(world.runtime, claim, staged, events)
    assert events.complete == [CompleteDay(DAY, WHOLE, 300, staged.token)]


def test_an_audit_that_crashed_and_is_not_tried_again_leaves_its_event_to_a_later_run(
    seeded: Pipeline,
) -> None:
    claim, staged = until(seeded, "load", "flights/a", granularity="1d")
    assert staged is not None
    world = World(seeded.runtime(granularity="1d"), {"flights/a": claim.interval})
    task = Task("flights/a", "audit")
    with failing_at("audit.released"), pytest.raises(Crash):
        audit(world.runtime, claim, staged, world.events(task))
    world.states[task] = "failed"
    assert world.later() == [CompleteDay(DAY, WHOLE, 300, staged.token)]
    assert world.later("after that") == []
