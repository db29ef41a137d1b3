"""Documents out of Elasticsearch into files: ours beside the limit and the peers, on a replayed and a real server.

`--set memory_docs=16000000` is how many documents the larger of the memory runs moves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.documents import time_query
from benchmarks.servers import start_elasticsearch, start_replay, truth

TITLE = "Extract"

REPLAY, REAL = "replay server", "Elasticsearch"
DELAYED, MEMORY, LARGE = "replay server, 150 ms a page", "memory", "memory, documents of 10 MB"
LARGE_DOCS, LARGE_PADDING = 104, 10_000_000
OURS, LIMIT, BARE, BY_TIME = (
    "ours",
    "thrown away",
    "thrown away, without times",
    "thrown away, sorted by time",
)
FOR_SNOWFLAKE = "ours, rows held to the limits of Snowflake"
LZ4 = "ours, lz4"
SLICES = (1, 2, 4, 8)


def prepare(settings: Settings, opened: ExitStack) -> None:
    """Only the servers that the chosen races need."""

    def wanted(race: str) -> bool:
        return not settings.races or any(part in race for part in settings.races)

    memory = int(settings.options.get("memory_docs", 16 * settings.docs))
    if wanted(REPLAY) or wanted(MEMORY):
        start_replay(settings, opened, "replay", "--docs", max(settings.docs, memory))
    if wanted(DELAYED):
        start_replay(settings, opened, "delayed", "--docs", settings.docs, "--delay-ms", 150)
    if wanted(LARGE):
        start_replay(settings, opened, "large", "--docs", LARGE_DOCS, "--padding", LARGE_PADDING)
    if wanted(REAL):
        start_elasticsearch(settings, opened, settings.docs)


def contestants(settings: Settings) -> list[Contestant]:
    every: list[Contestant] = []
    known = truth(settings, settings.docs)
    for race, server in ((REPLAY, "replay"), (REAL, "elasticsearch"), (DELAYED, "delayed")):
        if server in settings.servers:
            every += _Race(settings, race, server, settings.docs, known).contestants()
    if "replay" in settings.servers:
        every += _memory(settings)
    if "large" in settings.servers:
        every += _large(settings)
    return every


class _Race:
    """The contestants on one server."""

    def __init__(
        self, settings: Settings, race: str, server: str, docs: int, known: Mapping[str, Any]
    ) -> None:
        self.settings, self.race, self.server, self.docs, self.known = settings, race, server, docs, known
        self.url = settings.servers[server].url

    def contestants(self) -> list[Contestant]:
        ours = [self.ours(OURS)] + [self.ours(sliced(n), "--slices", n) for n in SLICES]
        limits = [self.thrown_away(LIMIT)] + [self.thrown_away(limit(n), "--slices", n) for n in SLICES[1:3]]
        if self.race == DELAYED:
            return [*ours, self.ours_by_tasks(8)]
        ours += [self.ours_by_tasks(2), self.ours(LZ4, "--compression", "lz4")]
        if self.race == REAL:
            limits += [self.thrown_away(BARE, "--bare"), self.thrown_away(BY_TIME, "--sort", "time")]
        else:
            ours.append(self.ours(FOR_SNOWFLAKE, "--limits", "snowflake"))
        return [*ours, *limits, *self.peers()]

    def ours(self, name: str, *more: object, rows_only: bool = False) -> Contestant:
        return self._contestant(name, "ours", *more, check=None if rows_only else "parquet")

    def ours_by_tasks(self, n: int) -> Contestant:
        return self._contestant(by_tasks(n), "ours_tasks", "--tasks", n, check="parquet")

    def thrown_away(self, name: str, *more: object) -> Contestant:
        return self._contestant(name, "throw_away", *more, check=None)

    def peers(self) -> list[Contestant]:
        return [
            self._contestant("helpers.scan, json, gzip", "helpers_scan", check="hits"),
            self._elasticdump(),
            self._contestant("dlt", "dlt_rest", check="dlt"),
            self._contestant("Airflow hook loop", "airflow_hook", check="hits"),
        ]

    def _contestant(self, name: str, module: str, *more: object, check: str | None) -> Contestant:
        arguments = ["--url", self.url, "--docs", self.docs, *more]
        if module != "throw_away":
            arguments += ["--out", "{out}"]
        return self._make(name, self.settings.module(f"contestants.{module}", *arguments), check)

    def _elasticdump(self) -> Contestant:
        command = (
            str(self.settings.data / "npm" / "node_modules" / ".bin" / "elasticdump"),
            f"--input={self.url}/bench",
            "--output={out}/hits.json",
            "--type=data",
            "--limit=10000",
            "--searchBody=" + json.dumps({"query": time_query(self.docs)}),
        )
        return self._make("elasticdump", command, "hits")

    def _make(self, name: str, command: tuple[str, ...], check: str | None) -> Contestant:
        settings = self.settings
        return Contestant(
            race=self.race,
            name=name,
            command=command,
            env={
                "AIRFLOW_HOME": str(settings.work / "airflow"),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            },
            servers=(self.server,),
            check=settings.module("digest", check, "{out}") if check else None,
            expected={key: self.known[key] for key in (("rows", "digest") if check else ("rows",))},
            moves_bytes=self.known["document_bytes"],
        )


def sliced(n: int) -> str:
    return f"ours, {n} slice{'s' if n > 1 else ''}"


def by_tasks(n: int) -> str:
    return f"ours, {n} tasks side by side"


def limit(n: int) -> str:
    return f"{LIMIT}, {n} slices"


def _memory(settings: Settings) -> list[Contestant]:
    """Ours with default settings; what was delivered is checked in the other races, here the rows are."""
    found = []
    for docs in (settings.docs, int(settings.options.get("memory_docs", 16 * settings.docs))):
        known = {"rows": docs, "document_bytes": 0}
        found.append(_Race(settings, MEMORY, "replay", docs, known).ours(in_memory(docs), rows_only=True))
    return found


def in_memory(docs: int) -> str:
    return f"ours, {docs:,} documents"


def _large(settings: Settings) -> list[Contestant]:
    known = truth(settings, LARGE_DOCS, LARGE_PADDING)
    race = _Race(settings, LARGE, "large", LARGE_DOCS, known)
    return [race.ours(OURS), race.ours(sliced(4), "--slices", 4)]


# --- goals ----------------------------------------------------------------------------------------------------------


def goals(results: Results) -> list[Goal]:
    return [*_rates(results), *_real(results), _slices(results), *_memory_goals(results)]


def _at_least(work: str, results: Results, race: str, name: str, other: str, times: float) -> Goal:
    goal = f"≥ {times:g} × {other}"
    if not results.has(race, name, other):
        return Goal(work, goal, "", None)
    ratio = results.ratio(race, name, other)
    return Goal(work, goal, f"{ratio:.1f} × ({name})", ratio >= times)


def _at_most(work: str, results: Results, name: str, other: str, what: str, times: float) -> Goal:
    goal = f"≤ {times:.3g} × {other}"
    if not results.has(REAL, name, other):
        return Goal(work, goal, "", None)
    ratio = results.ratio(REAL, name, other, what)
    seen = (
        f"{ratio:.3f} × ({results.median(REAL, name, what):.2f} s, {results.median(REAL, other, what):.2f} s)"
    )
    return Goal(work, goal, seen, ratio <= times)


def _rates(results: Results) -> list[Goal]:
    work = "extract to Parquet, replay server, best setting"
    names = [name for name in results.names(REPLAY) if name.startswith(OURS)]
    best = results.best(REPLAY, names) if names else OURS
    peers = (("elasticdump", 9.0), ("dlt", 25.0), ("Airflow hook loop", 20.0))
    return [_at_least(work, results, REPLAY, best, peer, times) for peer, times in peers]


def _real(results: Results) -> list[Goal]:
    work = "extract, Elasticsearch, default settings"
    cpu, cheapest = "client_cpu_seconds", "server_cpu_seconds"
    return [
        _at_most(f"{work}: wall time", results, OURS, LIMIT, "seconds", 1.15),
        # the index has two shards, so two readers are the default
        _at_most(f"{work}: wall time", results, OURS, limit(2), "seconds", 1.15),
        _at_most(f"{work}: client CPU", results, OURS, "elasticdump", cpu, 1 / 10),
        _at_most(f"{work}: client CPU", results, OURS, "Airflow hook loop", cpu, 1 / 10),
        _at_most(f"{work}: client CPU", results, OURS, "helpers.scan, json, gzip", cpu, 1 / 8),
        # "no more than": within what two runs of the very same query differ by
        _at_most(f"{work}: server CPU", results, OURS, BARE, cheapest, 1.05),
    ]


def _slices(results: Results) -> Goal:
    work = "extract with 150 ms a page, 8 slices"
    return _at_least(work, results, DELAYED, sliced(8), sliced(1), 6)


def _memory_goals(results: Results) -> list[Goal]:
    work = "peak RSS, default settings"
    names = results.names(MEMORY)
    peaks = [results.median(MEMORY, name, "peak_rss_bytes") for name in names]
    large = [results.median(LARGE, OURS, "peak_rss_bytes")] if results.has(LARGE, OURS) else []
    return [
        _peak(f"{work}, {' and '.join(names)}", peaks),
        Goal(
            f"{work}, few and many documents",
            "within 10 % of each other",
            f"{max(peaks) / min(peaks) - 1:.1%}" if peaks else "",
            max(peaks) <= 1.1 * min(peaks) if peaks else None,
        ),
        _peak(f"{work}, {LARGE_DOCS} documents of 10 MB", large),
    ]


def _peak(work: str, peaks: list[float]) -> Goal:
    seen = ", ".join(f"{peak / 2**20:.0f} MiB" for peak in peaks)
    return Goal(work, "≤ 256 MiB", seen, max(peaks) <= 256 * 2**20 if peaks else None)
