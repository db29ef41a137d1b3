"""What a group of benchmarks is made of, and what was measured of it.

A group is a module in `benchmarks/groups/` with

    TITLE: str                                                    the heading of its part of results.md
    prepare(settings, opened: ExitStack) -> None                  optional: build data, start servers
    contestants(settings) -> list[Contestant]
    goals(results) -> list[Goal]
    COLUMNS: dict[str, list[Column]]                              optional: of its tables by race, not the usual ones
    LISTS_ALL_GOALS: bool                                         optional: its goals are listed measured or not, so
                                                                  any other goal of an earlier page is an old one

`prepare` puts the servers it starts into `settings.servers` and what ends them on `opened`.

A contestant is a command, run as a process of its own.  The last line of its stdout is one JSON object with its own
figures: `rows`, `bytes` (as it counts them), `digest` (where it can tell at no cost), `seconds` and `cpu_seconds`
(where the start of the process must not count), and anything more.  The harness measures the rest: wall time, CPU and
peak RSS by `os.wait4`, the CPU of the servers from /proc.

This module and the harness import nothing but the standard library: a child's peak RSS is at least that of the
process that started it, so that one must be small.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Server:
    """A running server; `pids` are the processes whose CPU counts as its own."""

    name: str
    url: str
    pids: tuple[int, ...]


@dataclass
class Settings:
    """What the command line says, and what groups have started.  `work` may be removed at any time, `data` is kept
    from run to run."""

    rounds: int
    docs: int
    work: Path
    data: Path
    races: tuple[str, ...] = ()  # only these, by a part of their names; all when empty
    names: tuple[str, ...] = ()  # of contestants, likewise
    options: Mapping[str, str] = field(default_factory=dict)  # `--set name=value`, for groups
    servers: dict[str, Server] = field(default_factory=dict)
    python: str = sys.executable

    def wants_race(self, name: str) -> bool:
        """Whether a race of this name is to run."""
        return not self.races or any(part in name for part in self.races)

    def module(self, name: str, *arguments: object) -> tuple[str, ...]:
        """The command that runs a module of this folder: `module("contestants.ours", "--slices", 2)`."""
        return (self.python, "-m", f"benchmarks.{name}", *(str(argument) for argument in arguments))


@dataclass(frozen=True)
class Contestant:
    """One command.  Those of the same `race` run interleaved, and stand in one table.

    In `command` and `check`, `{out}` stands for an empty folder of its own; what is in it after the run counts as
    written.  `check` is run after the measured time: a command whose last line says what was delivered, `rows` and
    `digest`.  `expected` are figures that the run (or its check) must show, or it fails: `{"rows": 1000000}`.
    """

    race: str
    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    check: tuple[str, ...] | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    moves_bytes: int = 0  # the rows' bytes at their source, for MB/s
    rounds: int | None = None  # instead of the settings'
    timeout: float = 1800.0


@dataclass(frozen=True)
class Run:
    """One execution.

    `seconds` and `client_cpu_seconds` are the contestant's own figures where it gives them (`seconds`, `cpu_seconds`:
    benchmarks/contestants/timing.py), else those of the whole process, `wall_seconds` and `process_cpu_seconds`.
    """

    wall_seconds: float
    seconds: float
    process_cpu_seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float
    peak_rss_bytes: int
    written_bytes: int
    moved_bytes: int
    figures: Mapping[str, Any]

    @property
    def rows(self) -> int:
        return int(self.figures.get("rows") or 0)

    def value(self, name: str) -> float:
        """A measured value by its name, a rate, or one of the contestant's own figures; KeyError for none of them."""
        if name == "rows":
            return float(self.rows)
        if name == "rows_per_second":
            return self.rows / self.seconds
        if name == "bytes_per_second":
            return self.moved_bytes / self.seconds
        if name in self.__dataclass_fields__ and name != "figures":
            return float(getattr(self, name))
        return float(self.figures[name])


@dataclass(frozen=True)
class Goal:
    """`seen` is what was measured, in words; `reached` is None where this run does not tell."""

    work: str
    goal: str
    seen: str
    reached: bool | None


class Column(NamedTuple):
    """A column of a race's table: its heading, which value of a run it shows (`Run.value`), and how."""

    heading: str
    value: str
    divided_by: float = 1
    format: str = ".3g"


@dataclass
class Results:
    """The runs of a group, by race and contestant, in the order in which they ran."""

    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)

    def add(self, contestant: Contestant, run: Run) -> None:
        self.runs.setdefault((contestant.race, contestant.name), []).append(run)

    def races(self) -> list[str]:
        return list(dict.fromkeys(race for race, _ in self.runs))

    def names(self, race: str) -> list[str]:
        return [name for of, name in self.runs if of == race]

    def has(self, race: str, *names: str) -> bool:
        return all((race, name) in self.runs for name in names)

    def values(self, race: str, name: str, what: str) -> list[float]:
        return [run.value(what) for run in self.runs[race, name]]

    def median(self, race: str, name: str, what: str = "rows_per_second") -> float:
        return statistics.median(self.values(race, name, what))

    def ratio(self, race: str, name: str, other: str, what: str = "rows_per_second") -> float:
        """Median of `name` divided by the median of `other`."""
        return self.median(race, name, what) / self.median(race, other, what)

    def best(self, race: str, names: Iterable[str], what: str = "rows_per_second") -> str:
        """The name with the highest median."""
        return max(names, key=lambda name: self.median(race, name, what))


def interleaved(contestants: Sequence[Contestant], rounds: int) -> list[Contestant]:
    """Race by race: every contestant once, then every one again; what drifts meets them all.

    Each round begins with another one than the round before, so that none always follows the same neighbour.
    """
    order: list[Contestant] = []
    for race in dict.fromkeys(contestant.race for contestant in contestants):
        members = [contestant for contestant in contestants if contestant.race == race]
        most = max(member.rounds or rounds for member in members)
        for number in range(most):
            first = number % len(members)
            rotated = members[first:] + members[:first]
            order += [member for member in rotated if number < (member.rounds or rounds)]
    return order
