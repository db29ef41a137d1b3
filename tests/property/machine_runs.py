"""The state machine, part 2: runs, tasks that crash, freeze and are cleared, and what else changes meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.intervals import Interval, gaps
from airflow_pipeline_provider.core.ledger import Check, Kind
from airflow_pipeline_provider.exceptions import StateBehindError
from airflow_pipeline_provider.phases.cleanup import cleanup
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.recheck_findings import RecheckReport
from airflow_pipeline_provider.phases.values import RunKind
from tests.property.machine_end import told
from tests.property.machine_model import inside
from tests.property.machine_process import Fault, What
from tests.property.machine_servers import OnDisk
from tests.property.machine_source import SourceMachine, days, recent
from tests.property.machine_world import LEASE, PHASES, Run

NEVER = 10**9  # seconds

BOUNDS = ("0h", "5h", "7h30m", "10h", "13h37m", "15h", "20h", "end")

places = st.integers(1, 24)
faults = st.none() | st.builds(Fault, st.sampled_from(What), places)
bounds = st.tuples(st.integers(0, 6), st.integers(1, 7)).filter(lambda pair: pair[0] < pair[1])


class RunMachine(SourceMachine):
    """The rules about runs, the pipeline's file, time and the state."""

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
    def a_stale_task_resumes(self, which: int) -> None:
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

    @rule(longest=st.sampled_from([None, "1d"]))
    def the_backlog_granularity_changes(self, longest: str | None) -> None:
        self.world.change(backlog_granularity=longest)

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
        """Runs may wait between two tasks meanwhile; running tasks crash with it."""
        if sure == 0:
            while self.world.frozen:
                process, _, _ = self.world.frozen.pop()
                process.kill()
            self.world.lose_state()

    @rule()
    def old_part_files_are_removed(self) -> None:
        """And those of overtaken attempts; a run that waits for days keeps its files."""
        if self.world.is_behind():
            with pytest.raises(StateBehindError):
                cleanup(self.world.runtime(), safe_age_seconds=NEVER)
            return
        cleanup(self.world.runtime(), safe_age_seconds=NEVER)
        self.world.observe()

    @rule()
    def late_data_is_looked_for(self) -> None:
        """And what grew is loaded again, as the maintenance DAG does."""
        if self.world.is_behind():
            with pytest.raises(StateBehindError):
                recheck(self.world.runtime(), 7)
            return
        report = recheck(self.world.runtime(), 7)
        self.world.observe()
        self.what_is_equal_has_the_sources_content(report)
        for found in report.stale:
            self.world.finish(self.world.new_run(RunKind.WINDOW, found.interval))

    def what_is_equal_has_the_sources_content(self, report: RecheckReport) -> None:
        """With a marker that shows updates, equal counts are equal rows."""
        model = self.world.model
        for found in report.findings:
            if found.verdict is Check.EQUAL and found.not_seen is None and not model.keeps_history:
                there = model.source_rows([found.interval])
                assert inside(model.target, found.interval) == there, f"{found} differs by content"

    @rule(which=recent)
    def a_document_is_exchanged(self, which: int) -> None:
        """A delete that an insert at the same time cancels out."""
        name = self.document(which)
        if name is not None:
            self.documents += 1
            moment = self.world.source.rows[name].event_time
            self.world.source.delete(name)
            self.world.source.put(f"d{self.documents}", moment, f'{{"version":{self.documents}}}')

    @rule(marks=st.booleans())
    def the_source_gives_markers_or_not(self, marks: bool) -> None:
        self.world.source.marks = marks
