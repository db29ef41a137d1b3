"""The contestants of a race on one server, and goals that compare two of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.documents import time_query
from benchmarks.servers import start_elasticsearch

OURS, LZ4, LIMIT, ELASTICDUMP = "ours", "ours, lz4", "thrown away", "elasticdump"
PEAK = 256 * 2**20


def use_elasticsearch(settings: Settings, opened: ExitStack) -> None:
    """Start the real server unless it was started for another race."""
    if "elasticsearch" not in settings.servers:
        start_elasticsearch(settings, opened)


class Race:
    """Makes contestants that move `docs` documents of an index; `known` is what each must deliver."""

    def __init__(
        self,
        settings: Settings,
        race: str,
        server: str,
        docs: int,
        known: Mapping[str, Any],
        index: str = "bench",
    ) -> None:
        self.settings, self.race, self.server = settings, race, server
        self.docs, self.known, self.index = docs, known, index
        self._url = settings.servers[server].url
        self._where = ("--url", self._url, "--index", index, "--docs", docs)

    def ours(self, name: str = OURS, *more: object, rows_only: bool = False) -> Contestant:
        return self.contestant(name, "ours", *more, check=None if rows_only else "parquet")

    def thrown_away(self, name: str, *more: object) -> Contestant:
        return self._make(name, self.settings.module("contestants.throw_away", *self._where, *more), None)

    def elasticdump(self) -> Contestant:
        command = (
            str(self.settings.data / "npm" / "node_modules" / ".bin" / "elasticdump"),
            f"--input={self._url}/{self.index}",
            "--output={out}/hits.json",
            "--type=data",
            "--limit=10000",
            "--searchBody=" + json.dumps({"query": time_query(self.docs)}),
        )
        return self._make(ELASTICDUMP, command, "hits")

    def contestant(self, name: str, module: str, *more: object, check: str | None) -> Contestant:
        """One that writes files; `check` is the form in which they are read back."""
        command = self.settings.module(f"contestants.{module}", *self._where, "--out", "{out}", *more)
        return self._make(name, command, check)

    def planning(self) -> tuple[str, ...]:
        """The command by which ours prints how many readers it has by default."""
        return self.settings.module("contestants.ours", *self._where, "--out", self.settings.work, "--plan")

    def environment(self) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.settings.work / "airflow"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }

    def _make(self, name: str, command: tuple[str, ...], check: str | None) -> Contestant:
        return Contestant(
            race=self.race,
            name=name,
            command=command,
            env=self.environment(),
            servers=(self.server,),
            check=self.settings.module("digest", check, "{out}") if check else None,
            expected={key: self.known[key] for key in (("rows", "digest") if check else ("rows",))},
            moves_bytes=self.known["document_bytes"],
        )


def at_least(work: str, results: Results, race: str, name: str, other: str, times: float) -> Goal:
    """Ours has at least `times` the rate of the other."""
    goal = f"≥ {times:g} × {other}"
    if not results.has(race, name, other):
        return Goal(work, goal, "", None)
    ratio = results.ratio(race, name, other)
    return Goal(work, goal, f"{ratio:.1f} × ({name})", ratio >= times)


def at_most(work: str, results: Results, race: str, name: str, other: str, what: str, times: float) -> Goal:
    """Ours needs at most `times` the seconds of the other."""
    goal = f"≤ {times:.3g} × {other}"
    if not results.has(race, name, other):
        return Goal(work, goal, "", None)
    ratio = results.ratio(race, name, other, what)
    seconds = f"{results.median(race, name, what):.2f} s, {results.median(race, other, what):.2f} s"
    return Goal(work, goal, f"{ratio:.3f} × ({seconds})", ratio <= times)


def peak_goal(work: str, peaks: Mapping[str, float], *, complete: bool = True) -> Goal:
    """No peak, of those named, is above the limit; without all of them (`complete`) the goal is not measured."""
    seen = ", ".join(f"{peak / 2**20:.0f} MiB ({name})" for name, peak in peaks.items())
    measured = peaks and complete
    return Goal(work, "≤ 256 MiB", seen, max(peaks.values()) <= PEAK if measured else None)
