"""A small world: one pipeline, its servers, a clock, and DAG runs whose tasks are driven one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import options_model, register
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import target_day
from airflow_pipeline_provider.exceptions import (
    ConfigError,
    PipelineError,
    StateBehindError,
    SupersededError,
    TransientError,
)
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.first_day import remember_first_day
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime, identity_of
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from airflow_pipeline_provider.state.base import Lease, Snapshot, State
from airflow_pipeline_provider.state.owners import Execution
from airflow_pipeline_provider.testing.faults import Crash
from tests.doubles.memory_source import MemorySource, MemoryTable
from tests.doubles.memory_stage import MemoryStage
from tests.doubles.memory_state import MemoryState
from tests.doubles.memory_target import MemoryTarget
from tests.property.machine_model import Model
from tests.property.machine_process import Fault, Process, UnexpectedError
from tests.property.machine_servers import PIPELINE, ZONE, Servers

PHASES = ("generate", "validate", "extract", "stage", "load", "audit")
LEASE = timedelta(minutes=30)


@dataclass(frozen=True)
class Settings:
    """What the pipeline's file says at the moment; a task reads it when it starts."""

    granularity: str = "5h"
    backlog_granularity: str | None = None
    slices: int = 1
    distribute: str = "threads"
    settle: str = "10m"
    history: str = "events"
    start_day: date | None = None  # None: the pipeline remembers its first day


@dataclass
class Run:
    """A DAG run: what its tasks left (`xcoms`, by phase), and which task is next; None when it has ended.

    `installation` is the Airflow that executes it, on workers whose clock is ahead by `clock_off`; `off_time`: it may
    be refused, since its time comes from a caller or a wrong clock; `refused`: it must be.
    """

    name: str
    request: RunRequest
    may_shrink: bool = False
    next: str | None = "generate"
    xcoms: dict[str, Any] = field(default_factory=dict)
    installation: str = "blue"
    clock_off: timedelta = timedelta(0)
    off_time: bool = False
    refused: bool = False


class World:
    """Drives runs and keeps the model informed."""

    def __init__(
        self,
        first_day: date,
        days: int,
        servers: type[Servers] = Servers,
        history: str = "events",
        *,
        start_day: bool = True,
    ) -> None:
        for kind, connector in (
            *(("source", MemorySource), ("stage", MemoryStage)),
            *(("target", MemoryTarget), ("state", MemoryState)),
        ):
            register(kind, "memory", connector, replace=True)
        MemorySource.tables.pop("rows", None)
        self.source: MemoryTable = MemorySource.table("rows")
        self.first_day, self.last_day = first_day, first_day + timedelta(days=days - 1)
        self.days = [day_interval(first_day + timedelta(days=n), ZONE) for n in range(days)]
        self.now = self.days[0].end + timedelta(hours=7)
        self.settings = Settings(history=history, start_day=first_day if start_day else None)
        self.servers = servers(lambda: self.now)
        self.model = Model(self.source, self.entries, keeps_history=history == "changes")
        self.runs: list[Run] = []
        self.frozen: list[tuple[Process, Run, str]] = []
        self.configs: dict[tuple[Settings, bool], PipelineConfig] = {}
        self.executions = 0  # of tasks
        self.copies: list[Snapshot] = []  # of the state, each newer than the one before

    # --- the pipeline

    def config(self, *, may_shrink: bool = False) -> PipelineConfig:
        known = self.configs.get((self.settings, may_shrink))
        if known is not None:
            return known
        settings, servers = self.settings, self.servers
        config = parse_pipeline(
            {
                "pipeline_id": PIPELINE,
                "timezone": ZONE,
                "granularity": settings.granularity,
                "backlog_granularity": settings.backlog_granularity,
                "x_time_back": "1d",
                "settle": settings.settle,
                "start_day": settings.start_day and str(settings.start_day),
                "end_day": str(self.last_day),
                "max_backlog_days": None,
                "max_attempts": 3,
                "contract": {},
                "audit": {"on_shrink": "accept" if may_shrink else "fail"},
                "source": {
                    "type": "memory",
                    "slices": settings.slices,
                    "distribute": settings.distribute,
                    "page_size": 3,
                    "history": settings.history,
                },
                "stage": servers.stage_section,
                "target": servers.target_section,
                "state": servers.state_section,
            },
            options_model=options_model,
        )
        self.configs[settings, may_shrink] = config
        return config

    def runtime(self, run: Run | None = None, phase: str = "") -> Runtime:
        """As a task of the run gets it; without one as an operator's command does."""
        config = self.config(may_shrink=run is not None and run.may_shrink)
        clock_off = run.clock_off if run is not None else timedelta(0)
        identity = identity_of(config)
        return Runtime(
            config,
            MemorySource(config.source, identity),
            self.servers.stage(config, identity),
            self.servers.target(config, identity),
            self.servers.state(config, identity),
            clock=lambda: self.now + clock_off,
            **self.identity(run, phase),
        )

    def identity(self, run: Run | None, phase: str) -> dict[str, Any]:
        """Return the process that executes the run's task, which is a part of the owner of a lease."""
        if run is None:
            return {}
        self.executions += 1
        return {
            "installation": run.installation,
            "execution": Execution(phase, self.executions, f"process-{self.executions}"),
        }

    # --- runs and their tasks

    def new_run(
        self,
        kind: RunKind = RunKind.LIVE,
        interval: Interval | None = None,
        *,
        may_shrink: bool = False,
        scheduler_off: timedelta = timedelta(0),
    ) -> Run:
        """`scheduler_off`: by how much the clock is ahead that says when the run was due."""
        name = f"{PIPELINE}/{kind.value}-{len(self.runs)}"
        due = self.now + scheduler_off
        run = Run(name, RunRequest(name, kind, due, interval, run_after=due), may_shrink)
        self.runs.append(run)
        return run

    def execute(self, run: Run, phase: str, fault: Fault | None = None) -> Any:
        """One execution of one task with what its run has; what it returned, or how it ended, None while frozen."""
        behind = self.is_behind()
        before = (self.model.newest_token, dict(self.model.target))
        leases = self.leases_of_others(run)
        process = self.process(run, phase, fault)
        process.run(self._work(run, phase))
        outcome = self._settle(process, run, phase)
        lost = leases - self.leases_of_others(run)
        assert not lost, f"{phase} of installation {run.installation} took the lease of another one: {lost}"
        if behind:
            assert (self.model.newest_token, self.model.target) == before, "a run relies on an older state"
            judged = phase == "validate" and getattr(outcome, "verdict", "skip") != "skip"
            assert not judged, f"a run relies on an older state: {outcome}"
        return outcome

    def process(self, run: Run, phase: str, fault: Fault | None = None) -> Process:
        return Process(f"{run.name} {phase}", self.runtime(run, phase), self.model, fault)

    def wake(self, number: int) -> Any:
        process, run, phase = self.frozen.pop(number)
        process.wake()
        return self._settle(process, run, phase)

    def _settle(self, process: Process, run: Run, phase: str) -> Any:
        if process.frozen:
            self.frozen.append((process, run, phase))
            self.observe(process)
            return None
        target = dict(self.model.target)
        self.observe(process)
        outcome = process.outcome
        if isinstance(outcome, SupersededError):
            if phase != "audit":  # which may have loaded again before
                assert self.model.target == target, "a fenced-off attempt changed the target"
            run.next = None
        elif isinstance(outcome, (TransientError, UnexpectedError)):
            run.next = phase  # the task is tried again
        elif isinstance(outcome, PipelineError):
            self._check_error(run, phase, outcome)
            run.next = None
        elif not isinstance(outcome, Crash):
            self._done(run, phase, outcome)
        return outcome

    def _check_error(self, run: Run, phase: str, error: PipelineError) -> None:
        """Errors that say that the product contradicts itself; a lost state may make it so."""
        if isinstance(error, StateBehindError):
            own_token = self.model.state_was_lost and phase in ("load", "audit")
            assert self.is_behind() or own_token, error
        elif run.refused or (run.off_time and isinstance(error, ConfigError)):
            assert (phase, type(error)) == ("generate", ConfigError), error
        elif not self.model.state_was_lost:
            assert type(error).__name__ == "DataError", f"{type(error).__name__}: {error}"

    def observe(self, process: Process | None = None) -> None:
        may_shrink = process is not None and process.config.audit.on_shrink == "accept"
        entries = self.entries()
        changed = entries != self.model.ledger
        rows, commits = self.servers.rows(), self.servers.commits()
        self.model.observe(rows, commits, entries, now=self.now, may_shrink=may_shrink)
        copy = self.servers.copy_of_state()
        self.model.observe_first_day(copy.first_day, target_day(self.config().rules, self.now))
        if not self.copies or (copy.token, copy.entries) != (self.copies[-1].token, self.copies[-1].entries):
            self.copies.append(copy)
        if self.model.keeps_history:
            assert self.servers.latest() == self.model.latest(), "_LATEST shows an older version"
        if changed:
            for day in self.days:
                seen = self.state().latest_timestamp_available(day.start)
                assert seen == self.model.continuation(day), f"the continuation is {seen}, past a gap"

    def state(self) -> State:
        return self.servers.state(self.config(), Identity(PIPELINE, ZONE))

    def leases_of_others(self, run: Run) -> set[Lease]:
        """Return the leases of the other installation, which no task of this run may take or release."""
        return {x for x in self.state().leases() if x.installation not in (None, run.installation)}

    def entries(self) -> list[ledger.Entry]:
        return self.state().entries()

    def finish(self, run: Run) -> Any:
        """The rest of the run's tasks; each that fails for a moment is tried twice more."""
        outcome: Any = None
        tries = 0
        while run.next is not None and tries < 3:
            phase = run.next
            outcome = self.execute(run, phase)
            tries = tries + 1 if run.next == phase else 0
        return outcome

    def can(self, run: Run, phase: str) -> bool:
        """Has the run what this task needs?"""
        needs = {
            "generate": (),
            "validate": ("generate",),
            "extract": ("generate", "slices"),
            "stage": ("generate", "slices", "extract"),
            "load": ("generate", "stage", "slices"),
            "audit": ("generate", "validate"),
        }[phase]
        return all(need in run.xcoms for need in needs) and (
            phase != "audit" or _staged(run.xcoms) is not None
        )

    def _work(self, run: Run, phase: str, xcoms: dict[str, Any] | None = None) -> Callable[[Runtime], Any]:
        xcoms = dict(run.xcoms if xcoms is None else xcoms)  # as they are when the task starts
        claim, attempt, slices = (xcoms.get(name) for name in ("generate", "attempt", "slices"))
        works: dict[str, Callable[[Runtime], Any]] = {
            "generate": lambda r: generate(r, run.request),
            "validate": lambda r: validate(r, claim),
            "extract": lambda r: [extract(r, claim, attempt, slice_) for slice_ in slices],
            "stage": lambda r: stage(r, claim, attempt, xcoms["extract"]),
            "load": lambda r: load(r, claim, xcoms["stage"]),
            "audit": lambda r: audit(r, claim, _staged(xcoms)),
        }
        return works[phase]

    def _done(self, run: Run, phase: str, result: Any) -> None:
        """What Airflow does when a task has ended well: keep what it returned, go on with the next."""
        after = dict(zip(PHASES, (*PHASES[1:], None), strict=True))
        run.next = after[phase]
        if phase == "generate":
            if result.claim is None:
                run.next = None
                return
            result = result.claim
        if phase == "validate":
            for name in ("attempt", "slices"):  # what later tasks left stays until they run again
                run.xcoms.pop(name, None)
            if result.verdict == "skip":
                run.next = None
            elif result.verdict == "already_loaded":
                run.next = "audit"
            else:
                run.xcoms |= {"attempt": result.attempt, "slices": result.slices}
        run.xcoms[phase] = result

    # --- the rest of the world

    def change(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)

    def lose_state(self) -> None:
        self.servers.lose_state()
        self.model.state_is_lost()

    def remember_first_day(self) -> None:
        """As the first run of a pipeline without `start_day` does."""
        remember_first_day(self.runtime(), None)
        self.observe()

    def is_behind(self) -> bool:
        """Does the target hold a token that the state never gave out?"""
        newest = max((row.token for row in self.model.commits), default=0)
        return 0 < self.servers.copy_of_state().token < newest

    def fall_back(self, copy: Snapshot) -> None:
        self.servers.fall_back(copy)
        self.model.state_falls_back(copy)

    def hand_over(self, run: Run, phase: str, xcoms: dict[str, Any]) -> Any:
        """The run's task gets values that are not its run's: it must refuse them and change nothing."""

        own = run.xcoms["generate"].interval

        def seen() -> tuple[Any, ...]:
            leases = {lease.interval for lease in self.state().leases()} - {own}
            return self.servers.rows(), self.servers.commits(), self.runtime().stage.list(""), leases

        before, entries = seen(), self.entries()
        process = self.process(run, phase)
        process.run(self._work(run, phase, xcoms))
        outcome = process.outcome
        assert isinstance(outcome, PipelineError), f"{phase} works with values of another run: {outcome}"
        assert seen() == before, f"{phase} changed something with values of another run: {outcome}"
        for entry in self.entries()[len(entries) :]:
            assert (entry.kind, entry.interval) == (ledger.Kind.FAILED, own), entry
        self.observe(process)
        return outcome

    def waive(self, interval: Interval) -> None:
        self.state().append(
            ledger.Entry(ledger.Kind.WAIVED, interval, self.now, detail={"reason": "of no use"})
        )
        self.observe()


def _staged(xcoms: dict[str, Any]) -> Any:
    """The manifest that audit counts: the one that validate found loaded, else that of the stage task; or None."""
    return xcoms["validate"].staged or xcoms.get("stage")
