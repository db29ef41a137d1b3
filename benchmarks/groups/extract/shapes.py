"""Tiny, usual and nested documents in one to five shards of a real Elasticsearch: default settings beside the limit.

The limit has as many readers as ours by default, which ours is asked before.  elasticdump and lz4
are measured on one index of each shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.groups.extract.race import (
    ELASTICDUMP,
    LZ4,
    OURS,
    Race,
    at_least,
    at_most,
    peak_goal,
    use_elasticsearch,
)
from benchmarks.harness import output_of
from benchmarks.servers import fill_elasticsearch, index_of, truth
from benchmarks.shapes import NESTED, SHAPES, TINY, USUAL

SHARDS = (1, 2, 3, 5)
SAME_READERS = "thrown away, as many readers"
CPU_OF_ELASTICDUMP: Mapping[str, float] = {TINY: 0.18, USUAL: 0.15, NESTED: 0.15}


def race_name(shape: str, shards: int) -> str:
    return f"Elasticsearch: {shape} documents, {shards} shard{'s' if shards > 1 else ''}"


def chosen_shards(settings: Settings) -> list[int]:
    """Return `--set shards=1,3`, or all."""
    return [int(n) for n in settings.options.get("shards", ",".join(map(str, SHARDS))).split(",")]


def chosen(settings: Settings) -> list[tuple[str, int]]:
    """Return (shape, shards) of each race that is to run."""
    shapes = settings.options.get("shapes", ",".join(SHAPES)).split(",")
    every = [(shape, shards) for shape in shapes for shards in chosen_shards(settings)]
    return [one for one in every if settings.wants_race(race_name(*one))]


def prepare(settings: Settings, opened: ExitStack) -> None:
    for shape, shards in chosen(settings):
        use_elasticsearch(settings, opened)
        fill_elasticsearch(settings, SHAPES[shape].scale(settings.docs), shape, shards)


def contestants(settings: Settings) -> list[Contestant]:
    found = []
    with_peer: set[str] = set()
    preferred = sorted(
        chosen(settings), key=lambda one: one[1] != 2
    )  # two shards first, if they are among them
    for shape, shards in preferred:
        docs = SHAPES[shape].scale(settings.docs)
        known = truth(settings, docs, shape=shape)
        race = Race(settings, race_name(shape, shards), "elasticsearch", docs, known, index_of(shape, shards))
        readers = output_of(race.planning(), **race.environment())["readers"]
        ours = race.ours()
        found.append(replace(ours, expected={**ours.expected, "readers": readers}))
        found.append(race.thrown_away(SAME_READERS, "--slices", readers))
        if shape not in with_peer:
            found += [race.ours(LZ4, "--compression", "lz4"), race.elasticdump()]
            with_peer.add(shape)
    return found


def goals(results: Results) -> list[Goal]:
    walls = [
        at_most(
            f"{race_name(shape, shards)}: wall time",
            results, race_name(shape, shards), OURS, SAME_READERS, "seconds", 1.4,
        )
        for shape in SHAPES
        for shards in SHARDS
    ]  # fmt: skip
    cpu = [
        at_most(
            f"Elasticsearch: {shape} documents: client CPU",
            results, _with_peer(results, shape), OURS, ELASTICDUMP, "client_cpu_seconds", times,
        )
        for shape, times in CPU_OF_ELASTICDUMP.items()
    ]  # fmt: skip
    rate = at_least(
        f"Elasticsearch: {TINY} documents", results, _with_peer(results, TINY), OURS, ELASTICDUMP, 3
    )
    return [*walls, *cpu, rate, *(_peak(results, shape) for shape in SHAPES)]


def _with_peer(results: Results, shape: str) -> str:
    races = [race_name(shape, shards) for shards in SHARDS]
    return next((race for race in races if results.has(race, OURS, ELASTICDUMP)), races[0])


def _peak(results: Results, shape: str) -> Goal:
    races = [race_name(shape, shards) for shards in SHARDS]
    peaks = {
        race.rpartition(", ")[2]: results.median(race, OURS, "peak_rss_bytes")
        for race in races
        if results.has(race, OURS)
    }
    work = f"Elasticsearch: {shape} documents: peak RSS by number of shards"
    return peak_goal(work, peaks, complete=len(peaks) == len(SHARDS))
