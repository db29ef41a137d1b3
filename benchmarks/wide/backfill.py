"""Windows by a backfill, so many side by side: timed from the first task's start to the last one's end."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from typing import Any

from benchmarks.documents import interval
from benchmarks.wide import tasks
from benchmarks.wide.arguments import parser
from benchmarks.wide.delivery import begin_with_nothing, delivered
from benchmarks.wide.machine import BusyMachine
from benchmarks.wide.pipelines import DOCS, WINDOWS, WINDOWS_PIPELINE
from tests.integration.real_airflow.rest import Airflow


def backfill_runs(airflow: Airflow) -> list[str]:
    runs = airflow.runs(WINDOWS_PIPELINE)
    return [str(run["dag_run_id"]) for run in runs if run["run_type"] == "backfill"]


def move(airflow: Airflow, at_once: int) -> list[dict[str, Any]]:
    """The task instances of all runs, once the backfill has ended."""
    start, end = interval(DOCS)
    last = (end - timedelta(milliseconds=1)).isoformat()  # the API takes starts of windows, both included
    airflow.backfilled(airflow.backfill(WINDOWS_PIPELINE, start.isoformat(), last, at_once=at_once))
    runs = backfill_runs(airflow)
    assert len(runs) == WINDOWS, f"expected {WINDOWS} runs, found {runs}"
    return [task for run in runs for task in airflow.tasks(WINDOWS_PIPELINE, run).values()]


def main() -> None:
    given = parser(__doc__).parse_args()
    with closing(Airflow()) as airflow:
        for run in backfill_runs(airflow):
            airflow.call("DELETE", f"dags/{WINDOWS_PIPELINE}/dagRuns/{run}")
        begin_with_nothing(given.database, given.work, WINDOWS_PIPELINE)
        with BusyMachine(given.workers) as machine:
            found = move(airflow, given.count)
    tasks.assert_successful(found)
    extracts = [task for task in found if task["task_id"] == "extract"]
    figures = {
        **tasks.figures(found, machine),
        "extract_seconds": tasks.each(extracts),
        "each_seconds": tasks.each([task for task in found if task["task_id"] != "extract"]),
        **delivered(given.database, WINDOWS_PIPELINE),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
