"""What pipelines cost beside moving rows: planning, starting, parsing, asking."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contract import Contestant, Goal, Results, Settings
from benchmarks.servers import start_elasticsearch, start_postgres

TITLE = "The control path"

NEXT, EMPTY, PARSE = "next window, PostgreSQL", "an empty window, embedded", "1,000 files to 1,000 DAGs"
FEW = "a window of 20 rows, embedded"
START, STATUS = "import when a task starts", "status of 1,000 pipelines"
SHELL, TASKS = "`run` of an empty window from the shell", "CPU of the tasks of a small window, demo servers"
RECHECK = "what a recheck of 720 windows asks Elasticsearch (3 shards)"
UNCHANGED, CHANGED, COUNTED = "unchanged", "changed", "counted"
SEVEN, SINGLE = "seven tasks", "single_task"
ONE, FIVE, ALL = "1 year", "5 years", "5 years, out of all entries"
OURS, VARIANTS, LOOP, FACTORY = "ours", "ours, one file", "a loop without YAML", "dag-factory"


def prepare(settings: Settings, opened: ExitStack) -> None:
    start_postgres(settings, opened)
    if not settings.races or any(part in RECHECK for part in settings.races):
        start_elasticsearch(settings, opened)


def contestants(settings: Settings) -> list[Contestant]:
    url = settings.servers["postgres"].url

    def module(race: str, name: str, *arguments: object, rounds: int | None = None) -> Contestant:
        return Contestant(race, name, settings.module(*arguments), rounds=rounds)  # type: ignore[arg-type]

    found = [
        module(NEXT, ONE, "control.next_window", "--url", url, "--years", 1),
        module(NEXT, FIVE, "control.next_window", "--url", url, "--years", 5),
        module(
            NEXT, ALL, "control.next_window", "--url", url, "--years", 5, "--read", "entries", "--looks", 3
        ),
        module(EMPTY, OURS, "control.empty_window"),
        module(FEW, OURS, "control.empty_window", "--rows", 20),
        module(PARSE, OURS, "control.parse", "--by", "ours"),
        module(PARSE, VARIANTS, "control.parse", "--by", "variants"),
        module(PARSE, LOOP, "control.parse", "--by", "loop"),
        module(PARSE, FACTORY, "control.parse", "--by", "dag-factory"),
        module(START, OURS, "control.task_start"),
        module(SHELL, OURS, "control.shell_run"),
        module(TASKS, SEVEN, "control.task_seconds"),
        module(TASKS, f"{SEVEN}, preloaded", "control.task_seconds", "--preload"),
        module(TASKS, SINGLE, "control.task_seconds", "--layout", "single"),
        module(TASKS, f"{SINGLE}, preloaded", "control.task_seconds", "--layout", "single", "--preload"),
        module(STATUS, "SQLite", "control.status"),
        module(STATUS, "PostgreSQL", "control.status", "--url", url),
    ]
    if "elasticsearch" in settings.servers:
        search = settings.servers["elasticsearch"].url
        found += [
            module(RECHECK, case, "control.recheck_requests", "--url", search, "--case", case)
            for case in (UNCHANGED, CHANGED, COUNTED)
        ]
    return found


def goals(results: Results) -> list[Goal]:
    found = []

    def most(work: str, goal: str, limit: float, race: str, *names: str) -> None:
        if results.has(race, *names):
            seen = max(results.median(race, name, "seconds") for name in names)
            found.append(Goal(work, goal, f"{seen * 1000:.0f} ms", seen <= limit))

    def ratio(work: str, limit: float, other: str, one: str = OURS) -> None:
        if results.has(PARSE, one, other):
            seen = results.ratio(PARSE, one, other, "seconds")
            found.append(Goal(work, f"≤ {limit} × {other}", f"{seen:.2f} ×", seen <= limit))

    most("next window after one and five years, on generate's connection", "≤ 10 ms", 0.010, NEXT, ONE, FIVE)
    most("the phases of an empty window", "≤ 30 ms", 0.030, EMPTY, OURS)
    for race, which in ((EMPTY, "empty"), (FEW, "20 rows")):
        if results.has(race, OURS):
            first = results.median(race, OURS, "first")
            found.append(
                Goal(
                    f"the first window of a process, {which}",
                    "≤ 700 ms",
                    f"{first * 1000:.0f} ms",
                    first <= 0.7,
                )
            )
    most("`run` of an empty window from the shell", "≤ 1.2 s", 1.2, SHELL, OURS)
    for case, limit in ((UNCHANGED, 3), (CHANGED, 8)):
        if results.has(RECHECK, case):
            seen = results.median(RECHECK, case, "requests")
            work = f"recheck of 720 hourly windows of an index of 3 shards, {case}"
            found.append(Goal(work, f"≤ {limit} requests", f"{seen:.0f}", seen <= limit))
    ratio("files to DAGs", 0.6, FACTORY)
    ratio("files to DAGs", 1.3, LOOP)
    ratio("variants of one file to DAGs", 0.6, FACTORY, VARIANTS)
    ratio("variants of one file to DAGs", 1.3, LOOP, VARIANTS)
    ratio("variants of one file to DAGs", 1.0, OURS, VARIANTS)
    most("import when a task starts", "≤ 50 ms", 0.050, START, OURS)
    most("status of 1,000 pipelines", "≤ 2 s", 2.0, STATUS, "SQLite", "PostgreSQL")
    return found
