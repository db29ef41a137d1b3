"""Short sequences of steps, each of which goes well only because one safeguard of the product is in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.values import RunKind
from tests.property.machine import values_of_another
from tests.property.machine_end import End
from tests.property.machine_process import Fault, What, places_counted
from tests.property.machine_world import LEASE, Run, World

LATER = LEASE + timedelta(minutes=1)


@contextmanager
def world(history: str = "events", *, start_day: bool = True) -> Iterator[World]:
    """Two days with a document every 2.5 hours; when the block ends, everything comes to rest."""
    with places_counted():
        made = World(date(2013, 11, 2), 2, history=history, start_day=start_day)
        for n in range(20):
            made.source.put(f"d{n}", made.days[0].start + timedelta(hours=2.5 * n), '{"version":0}')
        made.now += timedelta(days=3) if start_day else timedelta(0)
        try:
            yield made
            End(made, cleared=True).comes()
        finally:
            for process, _, _ in made.frozen:
                process.kill()


def until(world: World, run: Run, phase: str, fault: Fault | None = None) -> Run:
    """The run's tasks before `phase`; with a fault `phase` too, which it strikes."""
    while run.next not in (None, phase):
        world.execute(run, str(run.next))
    if fault is not None:
        world.execute(run, phase, fault)
    return run


def frozen_at(place: str) -> Fault:
    return Fault(What.FREEZE, place)


def window(world: World, interval: Interval | None = None, *, may_shrink: bool = False) -> Run:
    """A named run of the day's first hours, or of the interval."""
    first = Interval(world.days[0].start, world.days[0].start + timedelta(hours=5))
    return world.new_run(RunKind.WINDOW, interval or first, may_shrink=may_shrink)


def update(world: World, version: int = 1) -> None:
    for row in list(world.source.rows.values()):
        world.source.put(row.record_id, row.event_time, f'{{"version":{version}}}')


def a_window_is_replaced(world: World) -> None:
    world.finish(window(world))
    update(world)
    world.finish(window(world))


def a_stale_load_wakes(world: World) -> None:
    until(world, window(world), "load", frozen_at("load.recorded"))
    world.now += LATER
    update(world)
    world.finish(window(world))
    world.wake(0)


def the_days_end_comes_first(world: World) -> None:
    world.finish(window(world, Interval(world.days[0].start + timedelta(hours=5), world.days[0].end)))


def a_slow_run_is_overtaken(world: World) -> None:
    slow = until(world, window(world), "stage")
    world.now += LATER
    update(world)
    world.finish(window(world))
    world.finish(slow)


def two_installations_execute_one_run(world: World) -> None:
    run = until(world, window(world), "stage")
    twin = Run(run.name, run.request, run.may_shrink, installation="green")
    world.now += LATER
    update(world)
    world.finish(twin)
    world.finish(run)


def two_installations_begin_one_run(world: World) -> None:
    """The second one waits: while the first one works on the window, it does no work twice."""
    run = until(world, window(world), "stage")
    twin = Run(run.name, run.request, run.may_shrink, installation="green")
    world.execute(twin, "generate")
    world.finish(run)
    world.finish(twin)


def a_document_goes(world: World) -> None:
    world.finish(window(world))
    world.source.delete("d1")
    world.finish(window(world))


def the_window_is_sliced(world: World) -> None:
    world.change(slices=3, distribute="tasks")
    world.finish(window(world))


def the_state_is_lost(world: World) -> None:
    world.finish(window(world))
    world.lose_state()
    world.finish(window(world))


def a_caller_asks_from_the_future(world: World) -> None:
    run = world.new_run()
    run.request = run.request._replace(reference_time=world.now + timedelta(days=30))
    run.refused = True
    outcome = world.finish(run)
    assert isinstance(outcome, PipelineError), "a run is planned from the future"


def the_first_run_comes_from_the_future(world: World) -> None:
    run = world.new_run(scheduler_off=timedelta(days=1))
    run.clock_off = timedelta(days=1)
    world.finish(run)
    for _ in range(8):  # days that the first day hides are never moved
        world.finish(world.new_run())


def a_worker_is_ahead(world: World) -> None:
    """Its clock and its scheduler's are: the window that is asked for is not over."""
    world.now = world.days[1].start + timedelta(hours=3)
    run = window(world, Interval(world.days[1].start, world.days[1].start + timedelta(hours=5)))
    run.clock_off = timedelta(hours=6)
    run.request = run.request._replace(reference_time=world.now + run.clock_off)
    world.finish(run)
    world.now = world.days[-1].end + timedelta(days=3)


def the_state_falls_back(world: World) -> None:
    world.finish(window(world))
    older = world.copies[-1]
    update(world)
    world.finish(window(world))
    world.fall_back(older)
    world.finish(window(world))


def a_staged_run_outlives_its_state(world: World) -> None:
    """The state falls back to before the run's token; what it knows of the run makes its load look right."""
    world.finish(window(world))
    run = until(world, window(world), "stage")
    older = world.copies[-1]
    world.execute(run, "stage")
    world.fall_back(older)
    outcome = world.execute(run, "load")
    assert isinstance(outcome, PipelineError), f"a load relies on an older state: {outcome}"
    world.finish(window(world))


def another_pipelines_claim(world: World) -> None:
    of_another(world, "pipeline")


def another_windows_claim(world: World) -> None:
    of_another(world, "window")


def another_runs_receipts(world: World) -> None:
    of_another(world, "receipts")


def another_runs_attempt(world: World) -> None:
    of_another(world, "attempt")


def another_runs_manifest(world: World) -> None:
    of_another(world, "staged")


def of_another(world: World, what: str) -> None:
    """Two runs are about to load, the one of other rows and, for `window`, of another window."""
    start = world.days[0].start
    later = Interval(start + timedelta(hours=5), start + timedelta(hours=10))
    other = until(world, window(world, later if what == "window" else None), "load")
    world.now += LATER
    update(world)
    run = until(world, window(world), "load")
    world.now += LATER
    given = values_of_another(world, run, other, what)
    assert given
    for phase, xcoms in given:
        world.hand_over(run, phase, xcoms)


def an_audit_wakes_beside_a_newer_attempt(world: World) -> None:
    until(world, window(world), "load")  # an older attempt, whose files the audit removes
    world.now += LATER
    until(world, window(world), "audit", frozen_at("audit.committed"))
    world.now += LATER
    update(world)
    newer = until(world, window(world), "load")
    world.now += LATER
    world.wake(0)
    world.now += LATER
    world.finish(newer)


def the_stores_clock_was_ahead(world: World) -> None:
    world.servers.store_off = timedelta(days=90)
    until(world, world.new_run(), "validate")
    world.servers.store_off = timedelta(0)


def a_record_moves_on(world: World) -> None:
    """Its later version is loaded first, then the older window again."""
    world.finish(window(world))
    run = until(world, window(world, may_shrink=True), "stage")
    world.source.put("d1", world.days[1].start + timedelta(hours=1), '{"version":1}')
    world.finish(window(world, world.days[1], may_shrink=True))
    world.finish(run)


def a_record_moves_inside(world: World) -> None:
    """Both of its versions are in the window."""
    world.finish(window(world))
    world.source.put("d1", world.days[0].start + timedelta(hours=4), '{"version":1}')
    world.finish(window(world, may_shrink=True))
