"""Peak memory of default settings: few and many documents, one to five shards, documents of 10 MB.

What was delivered is checked in the other races; here the rows are.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.groups.extract.peers import sliced
from benchmarks.groups.extract.race import OURS, Race, peak_goal
from benchmarks.groups.extract.shapes import SHARDS, chosen_shards
from benchmarks.servers import start_replay, truth

MEMORY, LARGE = "memory", "memory, documents of 10 MB"
LARGE_DOCS, LARGE_PADDING = 104, 10_000_000
FEW = 100_000


def prepare(settings: Settings, opened: ExitStack) -> None:
    if settings.wants_race(MEMORY):
        for shards in chosen_shards(settings):
            start_replay(
                settings, opened, _server(shards), "--docs", max(_sizes(settings)), "--shards", shards
            )
    if settings.wants_race(LARGE):
        start_replay(settings, opened, "large", "--docs", LARGE_DOCS, "--padding", LARGE_PADDING)


def contestants(settings: Settings) -> list[Contestant]:
    found = []
    if settings.wants_race(MEMORY):
        for shards in chosen_shards(settings):
            for docs in _sizes(settings):
                known = {"rows": docs, "document_bytes": 0}
                race = Race(settings, MEMORY, _server(shards), docs, known)
                found.append(race.ours(in_memory(shards, docs), rows_only=True))
            if docs > FEW:  # by far the longest, and its peak hardly differs from run to run
                found[-1] = replace(found[-1], rounds=1)
    if settings.wants_race(LARGE):
        race = Race(settings, LARGE, "large", LARGE_DOCS, truth(settings, LARGE_DOCS, LARGE_PADDING))
        found += [race.ours(), race.ours(sliced(4), "--slices", 4)]
    return found


def _server(shards: int) -> str:
    return f"replay-{shards}-shards"


def _sizes(settings: Settings) -> list[int]:
    most = int(settings.options.get("memory_docs", 16 * settings.docs))
    return sorted({FEW, *(docs for docs in (settings.docs, most) if docs > FEW)})


def in_memory(shards: int, docs: int) -> str:
    return f"{_of(shards)}{docs:,} documents"


def _of(shards: int) -> str:
    return f"{OURS}, {shards} shard{'s' if shards > 1 else ''}, "


def goals(results: Results) -> list[Goal]:
    found = []
    for shards in SHARDS:
        peaks = {
            name.removeprefix(_of(shards)): results.median(MEMORY, name, "peak_rss_bytes")
            for name in results.names(MEMORY)
            if name.startswith(_of(shards))
        }
        work = f"peak RSS, default settings, {shards} shard{'s' if shards > 1 else ''}"
        found += [peak_goal(work, peaks), _apart(work, list(peaks.values()))]
    large = {OURS: results.median(LARGE, OURS, "peak_rss_bytes")} if results.has(LARGE, OURS) else {}
    found.append(peak_goal(f"peak RSS, default settings, {LARGE_DOCS} documents of 10 MB", large))
    return found


def _apart(work: str, peaks: list[float]) -> Goal:
    goal = "within 5 % of each other, few and many documents"
    if len(peaks) < 2:
        return Goal(work, goal, "", None)
    return Goal(work, goal, f"{max(peaks) / min(peaks) - 1:.1%}", max(peaks) <= 1.05 * min(peaks))
