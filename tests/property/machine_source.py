"""The state machine, part 1: the pipeline, and documents that come, change, move and go."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.phases.values import RunKind
from tests.property.machine_process import places_counted
from tests.property.machine_servers import Servers
from tests.property.machine_world import PHASES, World

recent = st.integers(0, 5)  # 0 is the newest
half_hours = st.integers(0, 49)
days = st.integers(0, 1)


class SourceMachine(RuleBasedStateMachine):
    """The rules about documents; `servers` is where stage, target and state are."""

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
        start_day=st.booleans(),
    )
    def begin(
        self, first: date, times: list[tuple[int, int]], settled: bool, history: str, start_day: bool
    ) -> None:
        """Without a `start_day` the pipeline remembers its first day, once its first run is planned."""
        self.world = World(first, 2, self.servers, self.history or history, start_day=start_day)
        if settled:
            self.world.remember_first_day()
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
