"""Random sequences of everything that may happen to a pipeline: runs, deaths, zombies, a source that moves, a clock
that jumps, a lost state; and after every step what was promised still holds (`machine_model`).

The fast tests take a short cut.  `RELIABILITY_EXAMPLES=2000` makes it long; a failure prints the steps that lead to
it, cut down to the fewest, and a blob with which `@reproduce_failure` repeats it.  Runs are random; a failure's seed
is printed, and `--hypothesis-seed=N` repeats it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_pipeline_provider.connectors.base import CommitRow, LoadResult, Source, Stage
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.day_status import DayStatus, day_status
from airflow_pipeline_provider.core.intervals import Interval, gaps
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases import load as load_phase
from airflow_pipeline_provider.phases import stage as stage_phase
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.testing import memory_target
from airflow_pipeline_provider.testing.memory_source import MemorySource
from airflow_pipeline_provider.testing.memory_target import MemoryTarget, MemoryWarehouse, TargetRow
from tests.property.machine_process import ENDINGS, Fault, Process, What, places_counted
from tests.property.machine_world import LEASE, PHASES, ZONE, OnDisk, Run, Servers, World

EXAMPLES = int(os.environ.get("RELIABILITY_EXAMPLES", "0"))
BOUNDS = ("0h", "5h", "7h30m", "10h", "13h37m", "15h", "20h", "end")

recent = st.integers(0, 5)  # 0 is the newest
places = st.integers(1, 24)
faults = st.none() | st.builds(Fault, st.sampled_from(What), places)
half_hours = st.integers(0, 49)
days = st.integers(0, 1)
bounds = st.tuples(st.integers(0, 6), st.integers(1, 7)).filter(lambda pair: pair[0] < pair[1])


class Machine(RuleBasedStateMachine):
    """The rules; `servers` is where stage, target and state are."""

    servers: type[Servers] = Servers
    history: str | None = None  # None: either

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(places_counted())
        self.documents = 0
        self.cleared = False  # was a task ever?
        self.world: World

    @initialize(
        first=st.sampled_from([date(2013, 11, 2), date(2013, 11, 3), date(2013, 3, 9), date(2013, 3, 10)]),
        times=st.lists(st.tuples(days, half_hours), max_size=12),
        settled=st.booleans(),
        history=st.sampled_from(["events", "changes"]),
    )
    def begin(self, first: date, times: list[tuple[int, int]], settled: bool, history: str) -> None:
        self.world = World(first, 2, self.servers, self.history or history)
        if settled:
            self.world.now += timedelta(days=3)
        for day, at in times:
            self.put(None, day, at)

    # --- the source

    def put(self, name: str | None, day: int, at: int) -> None:
        """A record that is there already moves; where updates set its time, to a later one."""
        self.documents += 1
        whole = self.world.days[day]
        moment = min(whole.start + timedelta(minutes=30 * at), whole.end - timedelta(microseconds=1))
        if name is not None and self.world.model.keeps_history:
            before = self.world.source.rows[name].event_time
            assert before is not None
            moment = min(
                max(moment, before + timedelta(minutes=1)),
                self.world.days[-1].end - timedelta(microseconds=1),
            )
        self.world.source.put(name or f"d{self.documents}", moment, f'{{"version":{self.documents}}}')

    def document(self, which: int) -> str | None:
        names = list(self.world.source.rows)
        return names[-1 - which % len(names)] if names else None

    @rule(day=days, at=half_hours)
    def a_document_comes_late(self, day: int, at: int) -> None:
        self.put(None, day, at)

    @rule(which=recent)
    def a_document_is_updated(self, which: int) -> None:
        name = self.document(which)
        if name is not None:
            self.documents += 1
            moment = self.world.source.rows[name].event_time
            self.world.source.put(name, moment, f'{{"version":{self.documents}}}')

    @rule()
    def all_documents_are_updated(self) -> None:
        """So that whoever has read before has older rows, in the same number."""
        for which in range(len(self.world.source.rows)):
            self.a_document_is_updated(which)

    @rule(which=recent, day=days, at=half_hours)
    def a_document_moves(self, which: int, day: int, at: int) -> None:
        name = self.document(which)
        if name is not None:
            self.put(name, day, at)

    @rule(which=recent)
    def a_document_is_deleted(self, which: int) -> None:
        name = self.document(which)
        if name is not None:
            self.world.source.delete(name)

    @rule(which=recent, accept=st.booleans())
    def a_window_that_lost_a_document_is_loaded_again(self, which: int, accept: bool) -> None:
        name, window = self.document(which), self.committed_window(which)
        if name is not None and window is not None:
            self.world.source.delete(name)
            self.world.finish(self.world.new_run(RunKind.WINDOW, window, may_shrink=accept))

    @rule(which=recent, at=half_hours)
    def an_update_overtakes_a_load(self, which: int, at: int) -> None:
        """A window is read, one of its records moves to the next day, which is loaded first."""
        name, window = self.document(which), self.committed_window(which)
        if name is None or window is None or not self.world.days[0].covers(window):
            return
        run = self.world.new_run(RunKind.WINDOW, window, may_shrink=True)
        for phase in PHASES[: PHASES.index("stage")]:
            if run.next == phase:  # else it ended, or waits for a lease
                self.world.execute(run, phase)
        self.put(name, 1, at)
        self.world.finish(self.world.new_run(RunKind.WINDOW, self.world.days[1], may_shrink=True))
        self.world.finish(run)

    def committed_window(self, which: int) -> Interval | None:
        """The newest committed window around the document."""
        name = self.document(which)
        at = self.world.source.rows[name].event_time if name is not None else None
        windows = [e.interval for e in self.world.model.ledger if e.kind is Kind.COMMITTED]
        return next((window for window in reversed(windows) if at is not None and window.holds(at)), None)

    # --- runs

    @rule(phase=st.sampled_from(PHASES), fault=faults)
    def live_run(self, phase: str, fault: Fault | None) -> None:
        """A whole run; the fault strikes in `phase`, and then the run stays as it is."""
        self.go(self.world.new_run(), phase, fault)

    @rule(day=days, pair=bounds, backfill=st.booleans(), accept=st.booleans(), phase=st.sampled_from(PHASES),
          fault=faults)  # fmt: skip
    def named_run(
        self, day: int, pair: tuple[int, int], backfill: bool, accept: bool, phase: str, fault: Fault | None
    ) -> None:
        kind = RunKind.BACKFILL if backfill else RunKind.WINDOW
        self.go(self.world.new_run(kind, self.interval(day, pair), may_shrink=accept), phase, fault)

    def possible(self, fault: Fault | None) -> Fault | None:
        """Who freezes in a transaction of DuckDB keeps its file from everybody for good, us too."""
        frozen_file = fault is not None and fault.what is What.FREEZE and self.servers is OnDisk
        return None if frozen_file else fault

    def interval(self, day: int, pair: tuple[int, int]) -> Interval:
        from airflow_pipeline_provider.core.durations import parse_duration

        whole = self.world.days[day]

        def at(text: str) -> Any:
            return (
                whole.end if text == "end" else whole.start + timedelta(seconds=parse_duration(text).seconds)
            )

        return Interval(at(BOUNDS[pair[0]]), at(BOUNDS[pair[1]]))

    def go(self, run: Run, phase: str, fault: Fault | None) -> None:
        fault = self.possible(fault)
        while run.next is not None:
            now = run.next
            outcome = self.world.execute(run, now, fault if now == phase else None)
            note(f"{run.name} {now}: {told(outcome)}")
            if run.next == now:  # it died, froze, or waits for its retry
                return

    @rule(phase=st.sampled_from(PHASES[:-1]))
    def a_run_waits(self, phase: str) -> None:
        """Its tasks up to and with `phase` are done, the next has not started."""
        run = self.world.new_run()
        while run.next is not None and run.next != PHASES[PHASES.index(phase) + 1]:
            self.world.execute(run, run.next)

    @rule()
    def two_installations_execute_one_run(self) -> None:
        """On one state, under equal run ids; the documents change between the two readings."""
        run = self.world.new_run()
        for phase in PHASES[: PHASES.index("stage")]:
            if run.next == phase:
                self.world.execute(run, phase)
        twin = Run(run.name, run.request, run.may_shrink)
        self.world.runs.append(twin)
        self.all_documents_are_updated()
        self.world.finish(twin)
        self.world.finish(run)

    @precondition(lambda self: any(run.next for run in self.world.runs))
    @rule(which=recent, fault=faults)
    def next_task(self, which: int, fault: Fault | None) -> None:
        """The next task of a run, or the one that failed again."""
        waiting = [run for run in self.world.runs if run.next]
        run = waiting[-1 - which % len(waiting)]
        phase = run.next
        assert phase is not None
        note(f"{run.name} {phase}: {told(self.world.execute(run, phase, self.possible(fault)))}")

    @precondition(lambda self: any(run.next for run in self.world.runs))
    @rule(which=recent)
    def a_run_goes_on(self, which: int) -> None:
        waiting = [run for run in self.world.runs if run.next]
        run = waiting[-1 - which % len(waiting)]
        note(f"{run.name}: {told(self.world.finish(run))}")

    @precondition(lambda self: self.world.runs)
    @rule(which=recent, phase=st.sampled_from(PHASES), on=st.booleans(), fault=faults)
    def a_task_is_cleared(self, which: int, phase: str, on: bool, fault: Fault | None) -> None:
        """Any task of any run once more, with what its run has now; with `on` all that follow it too."""
        run = self.world.runs[-1 - which % len(self.world.runs)]
        if not self.world.can(run, phase):
            return
        self.cleared = True
        note(f"{run.name} {phase} again: {told(self.world.execute(run, phase, self.possible(fault)))}")
        if on:
            note(f"{run.name}: {told(self.world.finish(run))}")

    @precondition(lambda self: self.world.frozen)
    @rule(which=recent)
    def a_zombie_wakes(self, which: int) -> None:
        number = which % len(self.world.frozen)
        process = self.world.frozen[number][0]
        note(f"{process.name} wakes at {process.places[-1]}: {told(self.world.wake(number))}")

    # --- the rest of the world

    @rule(
        by=st.sampled_from(
            [timedelta(minutes=5), LEASE + timedelta(minutes=1), timedelta(hours=6), timedelta(days=1)]
        )
    )
    def time_passes(self, by: timedelta) -> None:
        self.world.now += by

    @rule(granularity=st.sampled_from(["5h", "8h", "3h37m", "11h", "1d"]))
    def the_granularity_changes(self, granularity: str) -> None:
        self.world.change(granularity=granularity)

    @rule(slices=st.integers(1, 4), distribute=st.sampled_from(["threads", "tasks"]))
    def the_slices_change(self, slices: int, distribute: str) -> None:
        self.world.change(slices=slices, distribute=distribute)

    @rule(settle=st.sampled_from(["10m", "0s", "6h"]))
    def the_settle_changes(self, settle: str) -> None:
        self.world.change(settle=settle)

    @rule(day=days, which=recent)
    def a_gap_is_waived(self, day: int, which: int) -> None:
        whole = self.world.days[day]
        open_gaps = gaps(
            whole, [e.interval for e in self.world.model.ledger if e.kind in (Kind.COMMITTED, Kind.WAIVED)]
        )
        if open_gaps and which == 0:
            self.world.waive(open_gaps[-1])

    @rule(sure=st.integers(0, 3))
    def the_state_is_lost(self, sure: int) -> None:
        """Runs may wait between two tasks meanwhile; tasks that are at work die with it."""
        if sure == 0:
            while self.world.frozen:
                process, _, _ = self.world.frozen.pop()
                process.kill()
            self.world.lose_state()

    @rule()
    def late_data_is_looked_for(self) -> None:
        """And what grew is loaded again, as the maintenance DAG does."""
        report = recheck(self.world.runtime(), 7)
        self.world.observe()
        for found in report.grown:
            self.world.finish(self.world.new_run(RunKind.WINDOW, found.interval))

    # --- the end

    def teardown(self) -> None:
        with self.stack:
            if not hasattr(self, "world"):
                return
            try:
                if sys.exc_info()[0] is None:
                    End(self.world, cleared=self.cleared).comes()
            finally:
                for process, _, _ in self.world.frozen:
                    process.kill()
                self.world.servers.close()


def told(outcome: Any) -> str:
    if outcome is None:
        return "frozen"
    if isinstance(outcome, ENDINGS):
        return f"{type(outcome).__name__} {outcome}"
    return type(outcome).__name__


def is_in_transaction(process: Process) -> bool:
    return process.places.count("load.fence_taken") > process.places.count("load.committed")


class End:
    """Everything comes to rest: the pipeline catches up by itself, then a person has every day loaded anew."""

    def __init__(self, world: World, *, cleared: bool) -> None:
        self.world, self.cleared = world, cleared

    def comes(self) -> None:
        world = self.world
        for number in reversed(range(len(world.frozen))):
            if is_in_transaction(world.frozen[number][0]):  # which no server leaves open for days
                world.wake(number)
        world.change(granularity="1d", settle="10m")
        world.now = max(world.now, world.days[-1].end) + timedelta(days=3)
        self.it_catches_up()
        self.a_person_reloads()
        self.zombies_wake()

    def it_catches_up(self) -> None:
        """Scheduled runs alone bring every day to its end; what they leave must have a stated reason."""
        world = self.world
        for _ in range(40):
            world.now += LEASE + timedelta(minutes=1)
            run = world.new_run()
            world.finish(run)
            if "generate" not in run.xcoms:
                break
        else:
            raise AssertionError(f"scheduled runs move nothing: {[told(e) for e in world.model.ledger[-4:]]}")
        for day in world.days:
            report = self.report(day)
            allowed = {DayStatus.COMPLETE, DayStatus.WAIVED, DayStatus.UNVERIFIED, DayStatus.DRIFTED}
            if report.status is DayStatus.BLOCKED:
                failed = [e for e in world.model.ledger if e.kind is Kind.FAILED and e.interval.overlaps(day)]
                reason = failed[-1].detail["message"]
                by_hand = (
                    self.cleared and ": clear " in reason
                )  # a task alone, with what no longer belongs to it
                unexpected = any(entry.detail.get("unexpected") for entry in failed)
                assert "the warehouse" in reason or by_hand or unexpected, failed[-1]
            else:
                assert report.status in allowed, report
            assert world.state().latest_timestamp_available(day.start) == world.model.continuation(day)

    def report(self, day: Interval) -> Any:
        return day_status(
            day,
            self.world.model.ledger,
            now=self.world.now,
            settle_seconds=600,
            max_attempts=3,
            timezone=ZONE,
        )

    def a_person_reloads(self) -> None:
        world = self.world
        for day in world.days:
            run = world.new_run(RunKind.WINDOW, day, may_shrink=True)
            outcome = world.finish(run)
            assert not isinstance(outcome, PipelineError), outcome
            assert self.report(day).status is DayStatus.COMPLETE
        self.all_is_there()

    def all_is_there(self) -> None:
        model = self.world.model
        there = model.source_rows(self.world.days)
        if not model.keeps_history:
            assert model.target == there
            return
        assert there.items() <= model.target.items()
        latest = model.latest()
        for row in self.world.source.rows.values():
            assert latest[row.record_id] == (row.event_time, row.body)

    def zombies_wake(self) -> None:
        """Who slept through all that changes nothing of it, and neither do the runs that wait for a task."""
        world = self.world
        while world.frozen:
            world.wake(0)
        for run in world.runs:
            world.finish(run)
        self.all_is_there()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A line for each phase of thousands of runs is of no use to anybody."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


LONG = settings(
    max_examples=EXAMPLES or 40,
    stateful_step_count=50 if EXAMPLES else 25,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def test_what_is_promised_holds_whatever_happens() -> None:
    run_state_machine_as_test(Machine, settings=LONG)


class MachineOnDisk(Machine):
    servers = OnDisk


def test_it_holds_on_duckdb_and_files_too() -> None:
    """Each operation opens the DuckDB file, so the way is short."""
    few = settings(LONG, max_examples=max(2, EXAMPLES // 50), stateful_step_count=8)
    run_state_machine_as_test(MachineOnDisk, settings=few)


# --- the machine itself can fail: each of these breaks one safeguard, and it notices


def no_delete(self: MemoryTarget, manifest: Manifest, stage: Stage) -> LoadResult:
    self.warehouse.rows += tuple(self._copy(manifest, stage))
    row = CommitRow(manifest.interval, manifest.token, manifest.sha256, manifest.rows)
    self.warehouse.commits += ((manifest.pipeline_id, row),)
    return LoadResult(manifest.rows, manifest.rows)


original_load = MemoryTarget.load


def load_without_history(self: MemoryTarget, manifest: Manifest, stage: Stage) -> LoadResult:
    of_events = MemoryTarget(
        self.options, self.identity._replace(keeps_history=False), warehouse=self.warehouse
    )
    return original_load(of_events, manifest, stage)


def overtaken_by_other_runs(entries: Iterable[ledger.Entry], attempt: str | None) -> ledger.Entry | None:
    """As before two installations were thought of, which give equal names to their runs."""
    written = list(entries)
    begun = [n for n, entry in enumerate(written) if entry.attempt == attempt is not None]
    after = written[begun[0] :] if begun else []
    others = (e for e in after if e.kind is Kind.COMMITTED and e.run != after[0].run)
    return next(others, None)


BROKEN: dict[str, list[tuple[object, str, Any]]] = {
    "a load does not delete": [(MemoryTarget, "load", no_delete)],
    "a load takes any token": [(memory_target, "is_loaded", lambda rows, manifest: False)],
    "the furthest commit is the continuation": [
        (ledger, "contiguous_end", lambda day, covered: max((i.end for i in covered), default=day.start))
    ],
    "nobody asks who committed meanwhile": [
        (ledger, "overtaken_by", lambda entries, attempt: None),
        (stage_phase, "overtaken_by", lambda entries, attempt: None),
    ],
    "a run is asked after, not its attempts": [
        (ledger, "overtaken_by", overtaken_by_other_runs),
        (stage_phase, "overtaken_by", overtaken_by_other_runs),
    ],
    "rows may go from a committed window": [(load_phase, "_check_shrink", lambda *args: None)],
    "a slice is forgotten": [
        (
            MemorySource,
            "plan_slices",
            lambda self, interval, n: Source.plan_slices(self, interval, n)[: max(1, n - 1)],
        )
    ],
    "tokens begin anew with the state": [(MemoryTarget, "newest_token", lambda self: 0)],
}


class OfEvents(Machine):
    history = "events"


class OfChanges(Machine):
    history = "changes"


def loaded_last(self: MemoryWarehouse) -> list[TargetRow]:
    newest: dict[str, TargetRow] = {}
    for row in sorted(self.rows, key=lambda row: row.token):
        newest[row.record_id] = row
    return list(newest.values())


BROKEN_HISTORY: dict[str, list[tuple[object, str, Any]]] = {
    "a load takes any token": BROKEN["a load takes any token"],
    "older versions go with their window": [(MemoryTarget, "load", load_without_history)],
    "the newest version is the one loaded last": [(MemoryWarehouse, "latest", loaded_last)],
}
CASES = [
    *(pytest.param(OfEvents, changes, id=name) for name, changes in BROKEN.items()),
    *(pytest.param(OfChanges, changes, id=f"history: {name}") for name, changes in BROKEN_HISTORY.items()),
]


@pytest.mark.parametrize(("machine", "changes"), CASES)
def test_a_broken_safeguard_is_noticed(
    machine: type[Machine], changes: list[tuple[object, str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, instead in changes:
        monkeypatch.setattr(place, name, instead)
    quick = settings(
        LONG, max_examples=400, stateful_step_count=40, derandomize=True, database=None,
        phases=[Phase.generate], report_multiple_bugs=False, print_blob=False,
    )  # fmt: skip
    with pytest.raises((AssertionError, PipelineError)):
        run_state_machine_as_test(machine, settings=quick)
