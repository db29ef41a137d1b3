"""Layouts of a pipeline beside a hand-written DAG: a lost week of hourly windows, and one window of many pipelines.

On one Airflow with the LocalExecutor.  `--set days=2` makes the week shorter, `--set hours=4` its windows fewer,
`--set pipelines=100` the pipelines fewer, `--set documents=50` a window larger.  `--set idle=0.3` is the scheduler's
pause while it has nothing to do (`scheduler_idle_sleep_time`; Airflow's default is 1 second).
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contract import Column, Contestant, Goal, Results, Settings
from benchmarks.harness import output_of
from benchmarks.layouts.services import Servers, start

TITLE = "Layouts: Elasticsearch, S3, the Snowflake stand-in; LocalExecutor, 8 slots"
DAYS, PIPELINES, DOCUMENTS = 7, 1000, 20
AT_ONCE = 4

WEEK, MANY = "a lost week of hourly windows", "one window of each of many small pipelines"
NOTHING = "as many runs of tasks that do nothing"

_AIRFLOW = [
    Column("tasks", "tasks", 1, ".0f"),
    Column("a task s", "task_seconds", 1, ".2f"),
    Column("queued → started s", "queued_seconds", 1, ".2f"),
    Column("scheduler and tasks CPU s", "scheduler_cpu", 1, ".1f"),
    Column("api-server CPU s", "api_server_cpu", 1, ".1f"),
    Column("DAG processor CPU s", "dag_processor_cpu", 1, ".1f"),
    Column("stand-in CPU s", "snowflake_cpu", 1, ".1f"),
    Column("requests to the source", "search_requests", 1, ".0f"),
    Column("rows", "rows", 1, ".0f"),
]
COLUMNS = {
    WEEK: [
        Column("windows", "windows", 1, ".0f"),
        Column("seconds", "seconds", 1, ".1f"),
        Column("a window s", "each_seconds", 1, ".2f"),
        Column("runs", "runs", 1, ".0f"),
        *_AIRFLOW,
    ],
    NOTHING: [
        Column("runs", "runs", 1, ".0f"),
        Column("seconds", "seconds", 1, ".1f"),
        Column("a run s", "each_seconds", 1, ".2f"),
        *_AIRFLOW[:6],
    ],
    MANY: [
        Column("windows", "windows", 1, ".0f"),
        Column("seconds", "seconds", 1, ".1f"),
        Column("a window s", "each_seconds", 1, ".2f"),
        *_AIRFLOW,
        Column("longest in the queue s", "longest_queued_seconds", 1, ".1f"),
        Column("parse s", "parse_seconds", 1, ".2f"),
    ],
}
_servers = Servers()
_expected: dict[str, dict[str, object]] = {}


def prepare(settings: Settings, opened: ExitStack) -> None:
    global _servers
    _servers = start(settings, opened)
    url = _servers.env["ELASTICSEARCH_URL"]
    _expected.update(output_of(settings.module("layouts.documents", url, *_scale(settings))))


def contestants(settings: Settings) -> list[Contestant]:
    windows, hours, pipelines, _ = _scale(settings)

    def make(race: str, name: str, by: str, *more: object) -> Contestant:
        size = ("--pipelines", pipelines) if race == MANY else ("--windows", windows, "--hours", hours)
        index = "layouts-many" if race == MANY else "layouts-week"
        return Contestant(
            race,
            name,
            settings.module("layouts.contestant", "--by", by, *size, *more, *_servers.arguments),
            env=_servers.env,
            expected={} if race == NOTHING else _expected[index],
            timeout=4 * 3600,
        )

    day, side_by_side = ("--backlog", "1d"), ("--at-once", AT_ONCE)
    return [
        make(WEEK, "ours", "tasks"),
        make(WEEK, "ours, backlog_granularity: 1d", "tasks", *day),
        make(WEEK, "ours, single_task", "single_task"),
        make(WEEK, "ours, single_task, backlog_granularity: 1d", "single_task", *day),
        make(WEEK, "hand-written, three tasks", "hand-3"),
        make(WEEK, "hand-written, one task", "hand-1"),
        make(WEEK, f"hand-written, one task, {AT_ONCE} at once", "hand-1", *side_by_side),
        make(NOTHING, "seven tasks", "nothing-7"),
        make(NOTHING, "one task", "nothing-1"),
        make(MANY, "ours", "tasks"),
        make(MANY, "ours, single_task", "single_task"),
        make(MANY, "hand-written, three tasks", "hand-3"),
        make(MANY, "hand-written, one task", "hand-1"),
    ]


def _scale(settings: Settings) -> tuple[int, int, int, int]:
    """Return the lost windows, the hours of one, the pipelines, and the documents of a window."""

    def number(name: str, default: int) -> int:
        return int(settings.options.get(name, default))

    hours = number("hours", 1)
    if 24 % hours:
        raise SystemExit(f"error: --set hours={hours}: expected a divisor of 24")
    windows = number("days", DAYS) * 24 // hours
    return windows, hours, number("pipelines", PIPELINES), number("documents", DOCUMENTS)


def goals(results: Results) -> list[Goal]:  # noqa: ARG001
    """None: the table is what was asked for."""
    return []
