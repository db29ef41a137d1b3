"""One window, extracted by so many mapped tasks: timed from the first extract task's start to the last one's end."""

from __future__ import annotations

import json
from contextlib import closing

from benchmarks.documents import interval
from benchmarks.wide import tasks
from benchmarks.wide.arguments import parser
from benchmarks.wide.delivery import begin_with_nothing, delivered
from benchmarks.wide.machine import BusyMachine
from benchmarks.wide.pipelines import DOCS, tasks_pipeline
from tests.integration.real_airflow.rest import Airflow


def main() -> None:
    given = parser(__doc__).parse_args()
    dag_id = tasks_pipeline(given.count)
    begin_with_nothing(given.database, given.work, dag_id)
    window_start, window_end = (bound.isoformat() for bound in interval(DOCS))
    with closing(Airflow()) as airflow:
        with BusyMachine(given.workers) as machine:
            conf = {"window_start": window_start, "window_end": window_end, "exact": True}
            run_id = airflow.trigger(dag_id, conf)
            airflow.finished(dag_id, run_id)
        found = list(airflow.tasks(dag_id, run_id).values())
    tasks.assert_successful(found)
    extracts = [task for task in found if task["task_id"] == "extract"]
    assert len(extracts) == given.count, f"expected {given.count} extract tasks, found {len(extracts)}"
    first, last = tasks.span(found)
    figures = {
        **tasks.figures(extracts, machine),
        "each_seconds": tasks.each(extracts),
        "whole_seconds": last - first,
        **delivered(given.database, dag_id),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
