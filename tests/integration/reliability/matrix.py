"""A death at every point of a run, then a rerun, then a close look.

A run is traced once.  Then, for each point of the trace, a process of its own runs the same window in a fresh copy of
the same surroundings and dies there by `os._exit`; another process reruns it.
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
RETRIES, RETRY_SECONDS = 3, 5.0  # a session of the dead may still hold what the rerun needs
EXPIRES_SECONDS = 3  # the lease of runs whose successor is another run


@dataclass(frozen=True)
class Cell:
    """One death: at the `index`-th point (from 1) of the run, which is called `point`."""

    index: int
    point: str
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"death {self.index} at {self.point}: " + ("; ".join(self.problems) or "survived")


@dataclass
class Matrix:
    """The deaths of one scenario on one combination.  `sabotage` names a break of `child.SABOTAGE`."""

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

    # --- before any death

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The template is there during the block."""
        try:
            self._prepare()
            yield
        finally:
            self.combination.drop(self.template)

    def _prepare(self) -> None:
        """Move what the scenario wants moved beforehand, with nothing broken."""
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
        """The points of an undisturbed run; it has to pass every check itself."""
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

    # --- deaths

    def deaths(self, points: list[str], indices: Iterable[int] | None = None) -> list[Cell]:
        """Die at each of the indices (all without them), rerun, look."""
        chosen = [Cell(i, points[i - 1]) for i in indices or range(1, len(points) + 1)]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            if not self.another_run:
                return list(pool.map(lambda cell: self._finish(*self._die(cell)), chosen))
            dead = list(pool.map(self._die, chosen))
            time.sleep(EXPIRES_SECONDS)  # the last of the dead runs' leases ends
            return list(pool.map(lambda pair: self._finish(*pair), dead))

    def death(self, point: str) -> Cell:
        """One death, the first time that the point is reached."""
        return self._finish(*self._die(Cell(0, point), f"{point}:1"))

    def _die(self, cell: Cell, where: str | None = None) -> tuple[World, Cell]:
        world = self._copy()
        ended = self.servers.run(self._order(world, RUN, where or f"{faults.ANY}:{cell.index}"))
        if ended.exit_code != faults.EXIT_CODE or not ended.points or ended.points[-1] != cell.point:
            return world, replace(cell, problems=(f"it should have died there, it ended as {_said(ended)}",))
        problems = check.after_death(self.combination, world, self.scenario, self.before)
        return world, replace(cell, problems=tuple(problems))

    def _finish(self, world: World, cell: Cell) -> Cell:
        try:
            ended = self._rerun(world)
            problems = list(cell.problems)
            if ended.exit_code:
                problems.append(f"the rerun ended as {_said(ended)}")
            problems += check.after_rerun(self.combination, world, self.scenario, self.before)
            return replace(cell, problems=tuple(problems))
        finally:
            self.combination.drop(world)

    def _rerun(self, world: World) -> Ended:
        """An ordinary rerun: what is transient is tried again, as Airflow does."""
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
        if self.scenario.prepared:  # the same data at another place, which a run refuses without a word
            check.adopt_copy(self.combination, world, self.scenario)
        return world

    def _config(self, world: World) -> dict[str, object]:
        lease = {"lease": f"{EXPIRES_SECONDS}s"} if self.another_run else {}
        return self.combination.config(world, self.scenario.history, **lease)

    def _order(self, world: World, run: str, die_at: str | None = None) -> Order:
        return Order(
            self._config(world),
            self.combination.environment(world),
            [list(row) for row in self.scenario.new],
            run,
            self.scenario.kind,
            REFERENCE_TIME,
            self.scenario.interval,
            die_at,
            self.sabotage,
        )

    def _must_commit(self, ended: Ended) -> None:
        if ended.outcome != "committed":
            raise AssertionError(f"a run that nothing disturbs ended as {_said(ended)}")


def _said(ended: Ended) -> str:
    last = ended.points[-1] if ended.points else "no point"
    return f"{ended.error or ended.outcome or 'nothing said'} (exit code {ended.exit_code}, after {last})"
