"""Usual documents, two shards: every peer, every setting of ours, and the limits, on a replayed and a real server."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.groups.extract.race import LIMIT, LZ4, OURS, Race, at_least, at_most, use_elasticsearch
from benchmarks.servers import fill_elasticsearch, start_replay, truth

REPLAY, REAL = "replay server", "Elasticsearch"
DELAYED = "replay server, 150 ms a page"
BARE, BY_TIME = "thrown away, without times", "thrown away, sorted by time"
FOR_SNOWFLAKE = "ours, rows held to the limits of Snowflake"
SCAN, HOOK = "helpers.scan, json, gzip", "Airflow hook loop"
SLICES = (1, 2, 4, 8)
SERVERS = {REPLAY: "replay", REAL: "elasticsearch", DELAYED: "delayed"}


def prepare(settings: Settings, opened: ExitStack) -> None:
    if settings.wants_race(REPLAY):
        start_replay(settings, opened, SERVERS[REPLAY], "--docs", settings.docs)
    if settings.wants_race(DELAYED):
        start_replay(settings, opened, SERVERS[DELAYED], "--docs", settings.docs, "--delay-ms", 150)
    if settings.wants_race(REAL):
        use_elasticsearch(settings, opened)
        fill_elasticsearch(settings, settings.docs)


def contestants(settings: Settings) -> list[Contestant]:
    wanted = [race for race in SERVERS if settings.wants_race(race)]
    if not wanted:
        return []
    known = truth(settings, settings.docs)
    races = [Race(settings, race, SERVERS[race], settings.docs, known) for race in wanted]
    return [contestant for race in races for contestant in _of(race)]


def _of(race: Race) -> list[Contestant]:
    ours = [race.ours()] + [race.ours(sliced(n), "--slices", n) for n in SLICES]
    if race.race == DELAYED:
        return [*ours, _by_tasks(race, 8)]
    limits = [race.thrown_away(LIMIT)] + [race.thrown_away(limit(n), "--slices", n) for n in SLICES[1:3]]
    ours += [_by_tasks(race, 2), race.ours(LZ4, "--compression", "lz4")]
    if race.race == REAL:
        limits += [race.thrown_away(BARE, "--bare"), race.thrown_away(BY_TIME, "--sort", "time")]
    else:
        ours.append(race.ours(FOR_SNOWFLAKE, "--limits", "snowflake"))
    return [
        *ours,
        *limits,
        race.contestant(SCAN, "helpers_scan", check="hits"),
        race.elasticdump(),
        race.contestant("dlt", "dlt_rest", check="dlt"),
        race.contestant(HOOK, "airflow_hook", check="hits"),
    ]


def _by_tasks(race: Race, n: int) -> Contestant:
    return race.contestant(by_tasks(n), "ours_tasks", "--tasks", n, check="parquet")


def sliced(n: int) -> str:
    return f"ours, {n} slice{'s' if n > 1 else ''}"


def by_tasks(n: int) -> str:
    return f"ours, {n} tasks side by side"


def limit(n: int) -> str:
    return f"{LIMIT}, {n} slices"


def goals(results: Results) -> list[Goal]:
    best_of, real = (
        "extract to Parquet, replay server, best setting",
        "extract, Elasticsearch, default settings",
    )
    names = [name for name in results.names(REPLAY) if name.startswith(OURS)]
    best = results.best(REPLAY, names) if names else OURS
    cpu = "client_cpu_seconds"
    return [
        at_least(best_of, results, REPLAY, best, "elasticdump", 9),
        at_least(best_of, results, REPLAY, best, "dlt", 25),
        at_least(best_of, results, REPLAY, best, HOOK, 20),
        at_most(f"{real}: client CPU", results, REAL, OURS, HOOK, cpu, 1 / 10),
        at_most(f"{real}: client CPU", results, REAL, OURS, SCAN, cpu, 1 / 8),
        # "no more than": within what two runs of the very same query differ by
        at_most(f"{real}: server CPU", results, REAL, OURS, BARE, "server_cpu_seconds", 1.05),
        at_least("extract with 150 ms a page, 8 slices", results, DELAYED, sliced(8), sliced(1), 6),
    ]
