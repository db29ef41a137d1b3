"""Move a lost week, or one window of many pipelines, by one layout or by hand-written DAGs.

    python -m benchmarks.layouts.contestant --by single_task --windows 168 [--backlog 1d] [--at-once 4] ...

Tables are made before, and compared with the documents after the measured time.  That begins when Airflow queues the
first run, and ends with the last task.  CPU is that of the processes of `--processes`, with all that they start.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.request
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.layouts import dags, warehouse
from benchmarks.layouts.dags import Work
from benchmarks.layouts.records import Records
from benchmarks.wide.machine import tree_cpu_seconds

AIRFLOW = ("scheduler", "api_server", "dag_processor")
PATIENCE = 3 * 3600.0


def search_requests(url: str) -> int:
    """Return how many HTTP requests the source has received."""
    with urllib.request.urlopen(f"{url}/_nodes/stats/http", timeout=60) as answer:
        nodes = json.loads(answer.read())["nodes"].values()
    return sum(route["requests"]["count"] for node in nodes for route in node["http"]["routes"].values())


class Meter:
    """CPU seconds of groups of processes, and requests to the source, from `start` to `figures`."""

    def __init__(self, processes: dict[str, list[int]], search: str) -> None:
        self._processes, self._search = processes, search

    def start(self) -> None:
        self._requests = search_requests(self._search)
        self._before = self._cpu()

    def figures(self) -> dict[str, float]:
        used = {f"{name}_cpu": after - self._before[name] for name, after in self._cpu().items()}
        asked = search_requests(self._search) - self._requests - 1  # the first of these two requests
        return {**used, "search_requests": asked, "cpu_seconds": sum(used[f"{name}_cpu"] for name in AIRFLOW)}

    def _cpu(self) -> dict[str, float]:
        return {name: tree_cpu_seconds(pids) for name, pids in self._processes.items()}


def move(work: Work, folder: Path, metadata: str, meter: Meter) -> dict[str, float]:
    """Write the DAG files and wait until everything has been moved; return the figures."""
    with Records(metadata, work.name) as records:
        meter.start()
        dags.write(folder, work)
        records.wait_for(work.runs, PATIENCE)
        return {**meter.figures(), **records.figures(), "runs": records.progress().runs}


def drop_state(state: str, schema: str) -> None:
    with closing(psycopg2.connect(state)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by", choices=dags.WAYS, required=True)
    parser.add_argument("--windows", type=int, default=0, help="windows of one pipeline that were lost")
    parser.add_argument("--hours", type=int, default=1, help="hours of such a window")
    parser.add_argument("--pipelines", type=int, default=0, help="pipelines with one window each")
    parser.add_argument("--backlog", help="backlog_granularity")
    parser.add_argument("--at-once", type=int, default=1, help="runs of the hand-written DAG side by side")
    parser.add_argument("--metadata", required=True, help="URL of Airflow's database")
    parser.add_argument("--state", required=True, help="URL of the database with the pipelines' states")
    parser.add_argument("--processes", nargs="+", required=True, help="name=pid,pid: whose CPU is counted")
    return parser.parse_args()


def main() -> None:
    given = parse_arguments()
    search = os.environ["ELASTICSEARCH_URL"]
    work = Work(
        name=f"{given.by.replace('-', '').replace('_', '')}{uuid.uuid4().hex[:6]}",
        by=given.by,
        windows=given.windows,
        hours=given.hours,
        pipelines=given.pipelines,
        backlog_granularity=given.backlog,
        at_once=given.at_once,
        search=search,
    )
    processes = {
        name: [int(pid) for pid in pids.split(",")]
        for name, pids in (text.split("=") for text in given.processes)
    }
    folder = Path(os.environ["AIRFLOW_DAGS_FOLDER"])
    if work.moves_rows:
        warehouse.make_tables(work)
    try:
        figures: dict[str, Any] = move(work, folder, given.metadata, Meter(processes, search))
    finally:
        dags.remove(folder, work)
    if work.moves_rows:
        figures |= warehouse.delivered(work)
        warehouse.drop_tables(work)
    drop_state(given.state, work.name)
    windows = work.windows or work.pipelines
    print(json.dumps({**figures, "windows": windows, "each_seconds": figures["seconds"] / windows}))


if __name__ == "__main__":
    main()
