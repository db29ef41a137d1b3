"""Runs of one pipeline over Airflow-like Variables in simulated time.

Each run is a thread, and exactly one of them is awake: reading, writing and sleeping take simulated time, in which
the others work.  A Variable loses updates as Airflow's do: whoever writes last wins.  The same seed gives the same
order, and no test depends on how fast the machine is.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_pipeline_provider import fault_points
from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors import registry
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.exceptions import LeaseHeldError, SupersededError, TransientError
from airflow_pipeline_provider.phases.drain import drain
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Next, RunKind, RunRequest
from airflow_pipeline_provider.state import variable, variable_lease
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from tests.doubles.memory_source import MemorySource, MemoryTable
from tests.doubles.memory_stage import MemoryFiles, MemoryStage
from tests.doubles.memory_target import MemoryTarget, MemoryWarehouse

NOON = parse_utc("2013-11-06T12:00:00Z")
LONGEST_OPERATION = 0.4  # seconds that a read or a write of a Variable takes at most
PAUSE = 1.0  # more than a read and a write


class Killed(BaseException):
    """The process ends here: no handler runs that a real kill would not run."""


@dataclass
class World:
    """Simulated time, the Variables, and what the runs share."""

    monkeypatch: pytest.MonkeyPatch
    seed: int = 0
    kill_chance: float = 0.0
    kills_left: int = 0
    seconds: float = 0.0
    values: dict[str, str] = field(default_factory=dict)
    warehouse: MemoryWarehouse = field(default_factory=MemoryWarehouse)
    outcomes: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    killed: int = 0

    def __post_init__(self) -> None:
        for kind, connector in (("source", MemorySource), ("stage", MemoryStage), ("target", MemoryTarget)):
            self.monkeypatch.setitem(registry._registered, f"{kind}.memory", connector)
        MemorySource.clear()
        self.random = random.Random(self.seed)
        self.files = MemoryFiles(self.now)
        self._queue: list[tuple[float, int, threading.Semaphore]] = []
        self._number = 0
        self._over = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._me = threading.local()
        clock = SimpleNamespace(sleep=self.sleep, monotonic=lambda: self.seconds)
        self.monkeypatch.setattr(variable_lease, "time", clock)
        self.monkeypatch.setattr(variable, "time", clock)
        before = fault_points.install(self._reach)
        self._restore = lambda: fault_points.install(before)

    @property
    def rows(self) -> MemoryTable:
        return MemorySource.table("rows")

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    # --- simulated time

    def sleep(self, seconds: float) -> None:
        gate = getattr(self._me, "gate", None)
        if gate is None:  # the test's own thread, before and after the runs
            self.seconds += seconds
            return
        self._enqueue(seconds, gate)
        self._wake_next()
        gate.acquire()

    def _enqueue(self, seconds: float, gate: threading.Semaphore) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.seconds + seconds, self._number, gate))

    def _wake_next(self) -> None:
        if not self._queue:
            self._over.release()
            return
        at, _, gate = heapq.heappop(self._queue)
        self.seconds = max(self.seconds, at)
        gate.release()

    def start(self, after: float, body: Callable[[], None]) -> None:
        """Run `body` in a thread of its own, from so many simulated seconds on."""
        gate = threading.Semaphore(0)

        def work() -> None:
            self._me.gate = gate
            gate.acquire()
            try:
                body()
            except BaseException as error:  # noqa: BLE001  (`play` raises it)
                self.errors.append(error)
            self._wake_next()

        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        self._enqueue(after, gate)
        thread.start()

    def play(self) -> None:
        """Until every run has ended."""
        self._wake_next()
        self._over.acquire()
        for thread in self._threads:
            thread.join()
        self._restore()
        for error in self.errors:
            raise error

    # --- kills

    def _reach(self, _point: str) -> None:
        if self.kills_left and getattr(self._me, "gate", None) and self.random.random() < self.kill_chance:
            self.kills_left -= 1
            self.killed += 1
            self._me.dead = True
            raise Killed

    def check_alive(self) -> None:
        """What handlers of a killed process would still write, it does not write."""
        if getattr(self._me, "dead", False):
            raise Killed

    def revive(self) -> None:
        self._me.dead = False

    # --- the pipeline

    def runtime(self, **changes: object) -> Runtime:
        config = parse_pipeline(
            {
                "pipeline_id": "flights",
                "timezone": "America/New_York",
                "granularity": "4h",
                "x_time_back": "1d",
                "start_day": "2013-11-03",
                "end_day": "2013-11-04",
                "max_backlog_days": None,
                "source": {"type": "memory"},
                "stage": {"type": "memory"},
                "target": {"type": "memory"},
                "state": {"type": "variable"},
                **changes,
            },
            options_model=options_model,
        )
        identity = Identity(config.pipeline_id, config.timezone)
        return Runtime(
            config,
            MemorySource(config.source, identity),
            MemoryStage(config.stage, identity, files=self.files),
            MemoryTarget(config.target, identity, warehouse=self.warehouse),
            self.state(),
            self.now,
        )

    def state(self, pause: float = PAUSE) -> VariableState:
        state = VariableState(
            VariableStateOptions(type="variable"),
            Identity("flights", "America/New_York"),
            variables=SimulatedVariables(self),
            pause_seconds=pause,
        )
        self.monkeypatch.setattr(state, "now", self.now)
        return state

    def request(self, run: str, **changes: object) -> RunRequest:
        request = RunRequest(f"flights/{run}", RunKind.LIVE, self.now(), follows=True)
        return request._replace(**changes)  # type: ignore[arg-type]

    def task(self, run: str, request: Callable[[], RunRequest]) -> Callable[[], None]:
        """A run as Airflow has it: killed or waiting, it is tried again; after its commit, it drains."""

        def body() -> None:
            while True:
                runtime = self.runtime()
                try:
                    with suppress(SupersededError):
                        outcome = run_window(runtime, request())
                        reason = "committed" if outcome.audited else outcome.reason
                        self.outcomes.append(f"{run}: {reason}")
                        if outcome.claim:  # killed after its commit, the drain task comes all the same
                            token = outcome.audited.token if outcome.audited else len(self.outcomes) + 1000
                            self._follow(drain(runtime, outcome.claim, token))
                    return
                except LeaseHeldError:
                    self.sleep(self.random.uniform(10, 20))
                except (TransientError, Killed):
                    self.revive()
                    self.sleep(self.random.uniform(1, 60))

        return body

    def _follow(self, following: Next) -> None:
        run, at = following.run_id, following.reference_time
        if run is not None and at is not None:
            self.start(1.0, self.task(run, lambda: self.request(run, reference_time=at)))


class SimulatedVariables:
    """Airflow's Variables: a read and a write take a while, and the last write wins."""

    def __init__(self, world: World, stall: dict[str, float] | None = None) -> None:
        self.world = world
        self.stall = stall or {}

    def get(self, key: str) -> str | None:
        self._wait()
        value = self.world.values.get(key)
        self._wait()
        return value

    def set(self, key: str, value: str) -> None:
        self._wait()
        self.world.sleep(self.stall.pop(key, 0.0))  # the process stands still before its write
        self.world.values[key] = value
        self._wait()

    def _wait(self) -> None:
        self.world.check_alive()
        self.world.sleep(self.world.random.uniform(0, LONGEST_OPERATION / 2))
