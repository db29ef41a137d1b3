"""Crash at every point of a run, then rerun it, then check the result.

A run is traced once.  Then, for each point of the trace, a process of its own runs the same window in a fresh copy of
the same environment and crashes there by `os._exit`; another process reruns it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from airflow_pipeline_provider.testing import faults

from . import check
from .backends import Combination, LoadedRow, World
from .child import Ended, ForkServers, Order
from .scenario import LATER_RUN, PIPELINE, REFERENCE_TIME, Scenario

RUN = f"{PIPELINE}/the-run"
SIDE_BY_SIDE = 2  # cells, and fork servers
RETRIES, RETRY_SECONDS = 3, 5.0  # a session of the crashed process may still hold what the rerun needs
EXPIRES_SECONDS = 3  # the lease of runs whose successor is another run


@dataclass(frozen=True)
class Cell:
    """One crash: at the `index`-th point (from 1) of the run, which has the name `point`."""

    index: int
    point: str
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"crash {self.index} at {self.point}: " + ("; ".join(self.problems) or "survived")


@dataclass
class Matrix:
    """The crashes of one scenario on one combination.  `sabotage` names a break of `child.SABOTAGE`."""

    combination: Combination
    scenario: Scenario
    servers: ForkServers
    folder: Path
    sabotage: str | None = None
    another_run: bool = False
    template: World = field(init=False)
    before: list[LoadedRow] = field(init=False)

    def __post_init__(self) -> None:
        self.template = self._world()

    # --- before the crashes

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Keep the template during the block."""
        try:
            self._prepare()
            yield
        finally:
            self.combination.drop(self.template)

    def _prepare(self) -> None:
        """Move the windows that the scenario needs beforehand, without a crash."""
        self.combination.make(self.template)
        for number, window in enumerate(self.scenario.prepared):
            order = Order(
                self._config(self.template),
                self.combination.environment(self.template),
                [list(row) for row in self.scenario.old],
                f"{PIPELINE}/prepared-{number}",
                "window",
                REFERENCE_TIME,
                msgspec.to_builtins(window),
            )
            self._must_commit(self.servers.run(order))
        self.before = self.combination.target.rows(self.template)

    def trace(self) -> list[str]:
        """Return the points of an undisturbed run, which must pass every check itself."""
        world = self._copy()
        try:
            ended = self.servers.run(self._order(world, RUN))
            self._must_commit(ended)
            problems = check.after_rerun(self.combination, world, self.scenario, self.before)
            if problems:
                raise AssertionError(f"an undisturbed run fails the checks: {problems}")
            return ended.points
        finally:
            self.combination.drop(world)

    # --- crashes

    def crashes(self, points: list[str], indices: Iterable[int] | None = None) -> list[Cell]:
        """Crash at each of the indices (default: all), rerun, check."""
        chosen = [Cell(i, points[i - 1]) for i in indices or range(1, len(points) + 1)]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            if not self.another_run:
                return list(pool.map(lambda cell: self._finish(*self._crash(cell)), chosen))
            crashed = list(pool.map(self._crash, chosen))
            time.sleep(EXPIRES_SECONDS)  # until the last lease of a crashed run has expired
            return list(pool.map(lambda pair: self._finish(*pair), crashed))

    def crash(self, point: str) -> Cell:
        """Crash the first time that the point is reached, rerun, check."""
        return self._finish(*self._crash(Cell(0, point), f"{point}:1"))

    def _crash(self, cell: Cell, where: str | None = None) -> tuple[World, Cell]:
        world = self._copy()
        ended = self.servers.run(self._order(world, RUN, where or f"{faults.ANY}:{cell.index}"))
        if ended.exit_code != faults.EXIT_CODE or not ended.points or ended.points[-1] != cell.point:
            return world, replace(
                cell, problems=(f"it did not crash there, it ended as {_description(ended)}",)
            )
        problems = check.after_crash(self.combination, world, self.scenario, self.before)
        return world, replace(cell, problems=tuple(problems))

    def _finish(self, world: World, cell: Cell) -> Cell:
        try:
            ended = self._rerun(world)
            problems = list(cell.problems)
            if ended.exit_code:
                problems.append(f"the rerun ended as {_description(ended)}")
            problems += check.after_rerun(self.combination, world, self.scenario, self.before)
            return replace(cell, problems=tuple(problems))
        finally:
            self.combination.drop(world)

    def _rerun(self, world: World) -> Ended:
        """Run again; after a transient error try again, as Airflow does."""
        order = self._order(world, LATER_RUN if self.another_run else RUN)
        for _ in range(RETRIES):
            ended = self.servers.run(order)
            if not ended.transient:
                return ended
            time.sleep(RETRY_SECONDS)
        return self.servers.run(order)

    # --- worlds and orders

    def _world(self) -> World:
        name = f"rel_{uuid.uuid4().hex[:12]}"
        return World(name, self.folder / name)

    def _copy(self) -> World:
        world = self._world()
        self.combination.copy(self.template, world)
        if self.scenario.prepared:  # the same data at another place, which a run refuses until it is adopted
            check.adopt_copy(self.combination, world, self.scenario)
        return world

    def _config(self, world: World) -> dict[str, object]:
        lease = {"lease": f"{EXPIRES_SECONDS}s"} if self.another_run else {}
        return self.combination.config(world, self.scenario.history, self.scenario.columns, **lease)

    def _order(self, world: World, run: str, crash_at: str | None = None) -> Order:
        return Order(
            self._config(world),
            self.combination.environment(world),
            [list(row) for row in self.scenario.new],
            run,
            self.scenario.kind,
            REFERENCE_TIME,
            self.scenario.interval,
            crash_at,
            self.sabotage,
        )

    def _must_commit(self, ended: Ended) -> None:
        if ended.outcome != "committed":
            raise AssertionError(f"a run that nothing disturbs ended as {_description(ended)}")


def _description(ended: Ended) -> str:
    last = ended.points[-1] if ended.points else "no point"
    return f"{ended.error or ended.outcome or 'no outcome'} (exit code {ended.exit_code}, after {last})"
