"""A small world: one pipeline, its servers, a clock, and DAG runs whose tasks are driven one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import CommitRow, Identity, Stage, Target
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.registry import options_model, register
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import PipelineError, SupersededError, TransientError
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime, identity_of
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.testing.faults import Crash
from airflow_pipeline_provider.testing.memory_source import MemorySource, MemoryTable
from airflow_pipeline_provider.testing.memory_stage import MemoryFiles, MemoryStage
from airflow_pipeline_provider.testing.memory_state import MemoryState, MemoryStore
from airflow_pipeline_provider.testing.memory_target import MemoryTarget, MemoryWarehouse
from tests.property.machine_model import Model
from tests.property.machine_process import Fault, Process, UnexpectedError

PIPELINE, ZONE = "flights", "America/New_York"
PHASES = ("generate", "validate", "extract", "stage", "load", "audit")
LEASE = timedelta(minutes=30)


@dataclass(frozen=True)
class Settings:
    """What the pipeline's file says at the moment; a task reads it when it starts."""

    granularity: str = "5h"
    slices: int = 1
    distribute: str = "threads"
    settle: str = "10m"
    history: str = "events"


@dataclass
class Run:
    """A DAG run: what its tasks left (`xcoms`, by phase), and which task is next; None when it has ended."""

    name: str
    request: RunRequest
    may_shrink: bool = False
    next: str | None = "generate"
    xcoms: dict[str, Any] = field(default_factory=dict)


class Servers:
    """Stage, target and state in memory."""

    stage_section: dict[str, Any] = {"type": "memory", "keep_attempts": 1}  # noqa: RUF012
    target_section: dict[str, Any] = {"type": "memory", "busy_seconds": 0}  # noqa: RUF012
    state_section: dict[str, Any] = {"type": "memory", "lease": "30m"}  # noqa: RUF012

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.files = MemoryFiles(clock=clock)
        self.warehouse = MemoryWarehouse()
        self.store = MemoryStore(clock=clock)

    def stage(self, config: PipelineConfig, identity: Identity) -> Stage:
        return MemoryStage(config.stage, identity, files=self.files)

    def target(self, config: PipelineConfig, identity: Identity) -> Target:
        return MemoryTarget(config.target, identity, warehouse=self.warehouse)

    def state(self, config: PipelineConfig, identity: Identity) -> State:
        return MemoryState(config.state, identity, store=self.store)

    def lose_state(self) -> None:
        self.store.pipelines.clear()

    def rows(self) -> list[tuple[str, datetime, str]]:
        return [(row.record_id, row.event_time, row.body) for row in self.warehouse.rows]

    def latest(self) -> dict[str, tuple[datetime, str]]:
        """What `_LATEST` shows: one row a record."""
        return {row.record_id: (row.event_time, row.body) for row in self.warehouse.latest()}

    def commits(self) -> list[CommitRow]:
        return [row for _, row in self.warehouse.commits]

    def close(self) -> None:
        """Let go of what the servers hold."""


class OnDisk(Servers):
    """The same with DuckDB and local files."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self.folder = TemporaryDirectory(prefix="machine-")
        self.stage_section = {"type": "object_store", "path": f"{self.folder.name}/stage"}
        self.file = f"{self.folder.name}/lake.duckdb"
        self.target_section = {"type": "duckdb", "path": self.file, "table": "main.flights"}

    def stage(self, config: PipelineConfig, identity: Identity) -> Stage:
        return ObjectStoreStage(config.stage, identity)

    def target(self, config: PipelineConfig, identity: Identity) -> Target:
        return DuckDBTarget(config.target, identity)

    def rows(self) -> list[tuple[str, datetime, str]]:
        return self._select("flights")

    def latest(self) -> dict[str, tuple[datetime, str]]:
        return {name: (at, body) for name, at, body in self._select("flights_LATEST")}

    def _select(self, name: str) -> list[tuple[str, datetime, str]]:
        if not self.commits():
            return []
        with duckdb.connect(self.file) as connection:
            asked = f"SELECT RECORD_ID, epoch_us(EVENT_TIME), BODY FROM main.{name}"
            found = connection.execute(asked).fetchall()
        epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
        return [(name, epoch + timedelta(microseconds=at), body) for name, at, body in found]

    def commits(self) -> list[CommitRow]:
        """Tokens grow with time where they overlap, so their order will do."""
        options = DuckDBTarget.Options(**self.target_section)
        return DuckDBTarget(options, Identity(PIPELINE, ZONE)).commits()

    def close(self) -> None:
        self.folder.cleanup()


class World:
    """Drives runs and keeps the model informed."""

    def __init__(
        self, first_day: date, days: int, servers: type[Servers] = Servers, history: str = "events"
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
        self.settings = Settings(history=history)
        self.servers = servers(lambda: self.now)
        self.model = Model(self.source, keeps_history=history == "changes")
        self.runs: list[Run] = []
        self.frozen: list[tuple[Process, Run, str]] = []
        self.configs: dict[tuple[Settings, bool], PipelineConfig] = {}

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
                "x_time_back": "1d",
                "settle": settings.settle,
                "start_day": str(self.first_day),
                "end_day": str(self.last_day),
                "max_backlog_days": None,
                "max_attempts": 3,
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

    def runtime(self, *, may_shrink: bool = False) -> Runtime:
        config = self.config(may_shrink=may_shrink)
        identity = identity_of(config)
        return Runtime(
            config,
            MemorySource(config.source, identity),
            self.servers.stage(config, identity),
            self.servers.target(config, identity),
            self.servers.state(config, identity),
            clock=lambda: self.now,
        )

    # --- runs and their tasks

    def new_run(
        self, kind: RunKind = RunKind.LIVE, interval: Interval | None = None, *, may_shrink: bool = False
    ) -> Run:
        name = f"{PIPELINE}/{kind.value}-{len(self.runs)}"
        run = Run(name, RunRequest(name, kind, self.now, interval), may_shrink)
        self.runs.append(run)
        return run

    def execute(self, run: Run, phase: str, fault: Fault | None = None) -> Any:
        """One execution of one task with what its run has; what it returned, or how it ended, None while frozen."""
        work = self._work(run, phase)
        runtime = self.runtime(may_shrink=run.may_shrink)
        process = Process(f"{run.name} {phase}", runtime, self.model, fault)
        process.run(work)
        return self._settle(process, run, phase)

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
            self._check_error(outcome)
            run.next = None
        elif not isinstance(outcome, Crash):
            self._done(run, phase, outcome)
        return outcome

    def _check_error(self, error: PipelineError) -> None:
        """Errors that say that the product contradicts itself; a lost state may make it so."""
        if not self.model.state_was_lost:
            assert type(error).__name__ == "DataError", f"{type(error).__name__}: {error}"

    def observe(self, process: Process | None = None) -> None:
        may_shrink = process is not None and process.config.audit.on_shrink == "accept"
        entries = self.state().entries()
        changed = entries != self.model.ledger
        rows, commits = self.servers.rows(), self.servers.commits()
        self.model.observe(rows, commits, entries, may_shrink=may_shrink)
        if self.model.keeps_history:
            assert self.servers.latest() == self.model.latest(), "_LATEST shows an older version"
        if changed:
            for day in self.days:
                seen = self.state().latest_timestamp_available(day.start)
                assert seen == self.model.continuation(day), f"the continuation is {seen}, past a gap"

    def state(self) -> State:
        return self.servers.state(self.config(), Identity(PIPELINE, ZONE))

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

    def _work(self, run: Run, phase: str) -> Callable[[Runtime], Any]:
        xcoms = dict(run.xcoms)  # as they are when the task starts
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

    def waive(self, interval: Interval) -> None:
        self.state().append(
            ledger.Entry(ledger.Kind.WAIVED, interval, self.now, detail={"reason": "of no use"})
        )
        self.observe()


def _staged(xcoms: dict[str, Any]) -> Any:
    """The manifest that audit counts: the one that validate found loaded, else that of the stage task; or None."""
    return xcoms["validate"].staged or xcoms.get("stage")
