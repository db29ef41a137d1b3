"""The demo's tables: what the ledger says, and what source and target say when they are asked again."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from airflow_pipeline_provider.core.day_status import day_status
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.wording import local_window
from demo import prepare
from demo.airflow_home import DAY
from demo.servers import ACCOUNT, PASSWORD, USER

if TYPE_CHECKING:
    from demo.__main__ import Demo


def clock(interval: Interval, zone: str) -> str:
    """`[00:00 EDT, 01:00 EST)`: the window without its date."""
    return local_window(interval, zone).removeprefix(f"{DAY} ")


def _entries(demo: Demo, pipeline_id: str) -> list[Entry]:
    state = demo.state(pipeline_id)
    try:
        return state.entries()
    finally:
        state.close()


def windows(console: Console, demo: Demo, pipeline_id: str) -> None:
    """The day's windows with their counts, as the audits committed them."""
    zone = demo.configs[pipeline_id].timezone
    table = Table(
        title=f"{pipeline_id}, {DAY}", title_justify="left", box=None, header_style="bold", padding=(0, 1)
    )
    table.add_column("window", no_wrap=True)
    for name in ("source", "staged", "target", "distinct", "token"):
        table.add_column(name, justify="right")
    table.add_column()
    newest: dict[Any, Entry] = {}
    for entry in _entries(demo, pipeline_id):
        if entry.kind is Kind.COMMITTED:
            newest[entry.interval] = entry
    totals = [0, 0, 0, 0]
    for interval in sorted(newest):
        entry = newest[interval]
        counts = [entry.detail["source"], entry.rows or 0, entry.detail["target"], entry.detail["distinct"]]
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        verdict = "[green]=[/]" if len(set(counts)) == 1 else "[red]differ[/]"
        table.add_row(clock(interval, zone), *map(str, counts), str(entry.token), verdict)
    table.add_section()
    table.add_row(f"{len(newest)} windows", *(f"[bold]{total}[/]" for total in totals), "", "")
    console.print()
    console.print(table)


def day(console: Console, demo: Demo, pipeline_id: str) -> None:
    """The day's status in one line, as `airflow-pipelines status` gives it."""
    config = demo.configs[pipeline_id]
    state = demo.state(pipeline_id)
    try:
        found = day_status(
            day_interval(demo.day, config.timezone),
            state.entries(),
            now=state.now(),
            settle_seconds=config.rules.settle_seconds,
            max_attempts=config.max_attempts,
            timezone=config.timezone,
        )
    finally:
        state.close()
    console.print(f"  {pipeline_id} {DAY}: [bold]{found.status.value}[/], {found.reason}")


def proof(console: Console, demo: Demo, pipelines: tuple[str, ...]) -> bool:
    """Ask Elasticsearch and Snowflake for the day's rows, once more and directly."""
    good = True
    for pipeline_id in pipelines:
        source, (rows, distinct) = source_count(demo, pipeline_id), target_counts(demo, pipeline_id)
        same = source == rows == distinct
        good = good and same
        sign = "[green]=[/]" if same else "[red]≠[/]"
        target = f"Snowflake {rows} rows, {distinct} distinct ids"
        console.print(f"  {pipeline_id:8} Elasticsearch {source} {sign} {target}")
    return good


def source_count(demo: Demo, pipeline_id: str) -> int:
    """`_count` of the day at the search server."""
    interval = day_interval(demo.day, demo.configs[pipeline_id].timezone)
    start, end = iso_utc(interval.start), iso_utc(interval.end)
    query = {"query": {"range": {"time_hour": {"gte": start, "lt": end}}}}
    request = urllib.request.Request(
        f"{demo.servers.elasticsearch_url}/{pipeline_id}-*/_count",
        json.dumps(query).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        return int(json.load(response)["count"])


def target_count(demo: Demo, pipeline_id: str) -> int:
    return target_counts(demo, pipeline_id)[0]


def target_counts(demo: Demo, pipeline_id: str) -> tuple[int, int]:
    """Rows and distinct ids of the day in the Snowflake table."""
    import snowflake.connector

    interval = day_interval(demo.day, demo.configs[pipeline_id].timezone)
    connection = snowflake.connector.connect(
        host=demo.servers.env["SNOWFLAKE_HOST"],
        port=int(demo.servers.env["SNOWFLAKE_PORT"]),
        user=USER,
        password=PASSWORD,
        account=ACCOUNT,
        database=prepare.DATABASE,
        schema=prepare.SCHEMA,
    )
    try:
        cursor = connection.cursor()
        cursor.execute(
            f"SELECT COUNT(*), COUNT(DISTINCT RECORD_ID) FROM {pipeline_id.upper()} "
            "WHERE EVENT_TIME >= %s AND EVENT_TIME < %s",
            (interval.start.isoformat(), interval.end.isoformat()),
        )
        (row,) = cursor.fetchall()
        return int(row[0]), int(row[1])
    finally:
        connection.close()


def next_steps(console: Console, seconds: float) -> None:
    console.print(
        f"""
Done in {seconds:.0f} s. Try next:
  .venv/bin/airflow-pipelines plan weather --day {DAY} --folder dags
      the windows of the long day, in UTC and local time
  .venv/bin/airflow-pipelines check dags/pipelines/*.yaml
      every problem of a pipeline file at once: break one and see
  docker compose up
      the same with a real Elasticsearch and an Airflow to click in
  README.md, "A first pipeline"
      ten lines of YAML of your own"""
    )
