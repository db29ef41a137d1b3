"""The state machine, part 3: wrong clocks, two installations, a state that falls back, values of other runs."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.values import RunKind
from tests.property.machine_end import End, repair
from tests.property.machine_process import Fault
from tests.property.machine_runs import RunMachine, bounds, faults
from tests.property.machine_source import days, recent
from tests.property.machine_world import PHASES, Run, World

offs = st.sampled_from([timedelta(hours=n) for n in (-72, -24, -6, -1, 1, 6, 24, 72)])
FOREIGN = ("pipeline", "window", "attempt", "receipts", "staged")


def values_of_another(world: World, run: Run, other: Run, what: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each phase that can tell `what` of another run, with the values that it gets."""
    mine, theirs = run.xcoms, other.xcoms
    claim = mine["generate"]
    if what == "pipeline":
        moved = replace(claim, pipeline_id="other")
        return [(phase, {**mine, "generate": moved}) for phase in PHASES[1:] if world.can(run, phase)]
    if (
        other is run or other.name == run.name
    ):  # two installations share the run, and either may load its rows
        return []
    if what == "window":
        strange = theirs["generate"]
        bound = world.state().bound(run.name)
        if strange.interval == claim.interval or bound != claim.interval:
            return []
        moved = replace(claim, interval=strange.interval, day=strange.day)
        return [(phase, {**mine, "generate": moved}) for phase in PHASES[1:] if world.can(run, phase)]
    if what == "attempt" and world.can(run, "stage") and world.can(other, "stage"):
        names = ("attempt", "slices", "extract")
        return [("stage", {**mine, **{name: theirs[name] for name in names}})]
    if what == "receipts" and world.can(run, "stage") and world.can(other, "stage"):
        return [("stage", {**mine, "extract": theirs["extract"]})]
    if what == "staged" and world.can(run, "load") and world.can(other, "load"):
        return [("load", {**mine, "stage": theirs["stage"]})]
    return []


class Machine(RunMachine):
    """All rules."""

    # --- clocks

    @rule(off=offs, who=st.sampled_from(["worker", "scheduler", "both"]), phase=st.sampled_from(PHASES),
          fault=faults)  # fmt: skip
    def a_run_of_a_wrong_clock(self, off: timedelta, who: str, phase: str, fault: Fault | None) -> None:
        """Of its scheduler, which says when the run was due, or of the workers that execute its tasks."""
        run = self.world.new_run(scheduler_off=timedelta(0) if who == "worker" else off)
        run.clock_off = timedelta(0) if who == "scheduler" else off
        run.off_time = True
        self.go(run, phase, fault)

    @rule(off=offs, day=days, pair=bounds)
    def a_named_run_of_a_wrong_clock(self, off: timedelta, day: int, pair: tuple[int, int]) -> None:
        window: Interval = self.interval(day, pair)
        run = self.world.new_run(RunKind.WINDOW, window, may_shrink=True, scheduler_off=off)
        run.clock_off, run.off_time = off, True
        self.world.finish(run)

    @rule(off=offs)
    def a_caller_chooses_the_reference_time(self, off: timedelta) -> None:
        """In the conf of a run, while all clocks are right: the past is planned again, the future is refused."""
        run = self.world.new_run()
        run.request = run.request._replace(reference_time=self.world.now + off)
        run.off_time, run.refused = True, off > timedelta(0)
        outcome = self.world.finish(run)
        assert isinstance(outcome, ConfigError) or not run.refused, "a run is planned from the future"

    @rule(off=offs, phase=st.sampled_from(PHASES), fault=faults)
    def the_stores_clock_is_wrong_for_a_while(self, off: timedelta, phase: str, fault: Fault | None) -> None:
        run = self.world.new_run()
        run.off_time = True
        self.world.servers.store_off = off
        try:
            self.go(run, phase, fault)
        finally:
            self.world.servers.store_off = timedelta(0)

    # --- installations

    @precondition(lambda self: self.world.runs)
    @rule(which=recent, off=st.just(timedelta(0)) | offs)
    def another_installation_has_the_run_too(self, which: int, off: timedelta) -> None:
        """Blue and green, or a standby: equal run ids on one state, each with XComs and a clock of its own."""
        run = self.world.runs[-1 - which % len(self.world.runs)]
        names = {twin.installation for twin in self.world.runs if twin.name == run.name}
        if names == {"blue"}:
            twin = Run(run.name, run.request, run.may_shrink, installation="green", clock_off=off)
            twin.off_time, twin.refused = True, run.refused
            self.world.runs.append(twin)

    # --- a state that falls back

    @precondition(lambda self: len(self.world.copies) > 1)
    @rule(back=st.integers(1, 12), sure=st.integers(0, 2))
    def the_state_falls_back(self, back: int, sure: int) -> None:
        """To an older copy: a replica took over, or a backup was restored.  Runs may be anywhere."""
        if sure == 0:
            self.world.fall_back(self.world.copies[max(0, len(self.world.copies) - 1 - back)])

    @precondition(lambda self: self.world.is_behind())
    @rule(newer=st.booleans())
    def an_operator_repairs_the_state(self, newer: bool) -> None:
        """Brings a newer copy back if there is one, or rebuilds from the target."""
        if newer:
            self.world.fall_back(max(self.world.copies, key=lambda copy: (copy.token, len(copy.entries))))
        if self.world.is_behind():
            repair(self.world)

    # --- values of other runs

    @precondition(lambda self: any("generate" in run.xcoms for run in self.world.runs))
    @rule(which=recent, other=recent, what=st.sampled_from(FOREIGN))
    def tasks_get_values_of_another_run(self, which: int, other: int, what: str) -> None:
        planned = [run for run in self.world.runs if "generate" in run.xcoms]
        run, theirs = (planned[-1 - number % len(planned)] for number in (which, other))
        for phase, xcoms in values_of_another(self.world, run, theirs, what):
            self.cleared = True
            self.world.hand_over(run, phase, xcoms)

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
