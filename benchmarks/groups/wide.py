"""One window by several Airflow tasks, and several windows side by side, on Celery workers of a real Airflow.

The server is far away (150 ms a page), so extraction waits; what is seen is whether tasks wait side by side, and what
Airflow takes for a task itself.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from urllib.parse import urlsplit

from benchmarks.contract import Column, Contestant, Goal, Results, Settings
from benchmarks.harness import output_of
from benchmarks.servers import start_replay
from benchmarks.wide.pipelines import DOCS, PAGE_SIZE, WINDOWS
from benchmarks.wide.services import service_env, start_airflow, warehouse

DELAY_MS = 150
TITLE = f"Wide: CeleryExecutor, two workers; {DOCS:,} documents, {PAGE_SIZE:,} a page, {DELAY_MS} ms a page"

EMPTY = "tasks that do nothing, side by side"
TASKS = "one window, distribute: tasks"
BACKFILL = f"{WINDOWS} windows by a backfill"
COUNTS = (1, 2, 4, 8)

_QUEUED = Column("queued → started s", "queued_seconds", 1, ".2f")
_MACHINE = [
    Column("most at once", "at_once", 1, ".0f"),
    Column("workers' CPU s", "client_cpu_seconds"),
    Column("machine busy %", "busy", 0.01, ".0f"),
]
COLUMNS = {
    EMPTY: [
        Column("first start → last end s", "seconds"),
        Column("a task s", "each_seconds"),
        _QUEUED,
        *_MACHINE,
    ],
    TASKS: [
        Column("rows/s", "rows_per_second", 1, ",.0f"),
        Column("first extract start → last end s", "seconds"),
        Column("an extract task s", "each_seconds"),
        _QUEUED,
        Column("whole run s", "whole_seconds"),
        *_MACHINE,
    ],
    BACKFILL: [
        Column("rows/s", "rows_per_second", 1, ",.0f"),
        Column("first start → last end s", "seconds"),
        Column("an extract task s", "extract_seconds"),
        Column("another task s", "each_seconds"),
        _QUEUED,
        *_MACHINE,
    ],
}


def prepare(settings: Settings, opened: ExitStack) -> None:
    start_replay(settings, opened, "delayed", "--docs", DOCS, "--delay-ms", DELAY_MS)
    replay = urlsplit(settings.servers["delayed"].url)
    search = {"conn_type": "elasticsearch", "host": replay.hostname, "port": replay.port, "schema": "http"}
    start_airflow(settings, opened, {"wide_search": json.dumps(search)}, COUNTS)


def contestants(settings: Settings) -> list[Contestant]:
    expected = output_of(settings.module("wide.expected", DOCS))
    env = service_env(settings)

    def make(race: str, name: str, module: str, count: int, moves: bool) -> Contestant:
        arguments = ["--count", count, "--workers", *settings.servers["airflow"].pids]
        if moves:
            arguments += ["--work", settings.work, "--database", warehouse(settings)]
        return Contestant(
            race,
            name,
            settings.module(f"wide.{module}", *arguments),
            env=env,
            servers=("delayed",) if moves else (),
            expected=expected if moves else {},
        )

    return [
        *(make(EMPTY, _tasks(n), "empty", n, moves=False) for n in COUNTS),
        *(make(TASKS, _tasks(n), "mapped", n, moves=True) for n in COUNTS),
        *(make(BACKFILL, f"{n} at once", "backfill", n, moves=True) for n in COUNTS),
    ]


def _tasks(n: int) -> str:
    return f"{n} task{'s' if n > 1 else ''}"


def goals(results: Results) -> list[Goal]:  # noqa: ARG001
    """None: the table is what was asked for."""
    return []
