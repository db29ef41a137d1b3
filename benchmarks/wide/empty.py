"""So many tasks side by side that do nothing: Airflow's own time."""

from __future__ import annotations

import json
from contextlib import closing

from benchmarks.wide import tasks
from benchmarks.wide.arguments import parser
from benchmarks.wide.machine import BusyMachine
from tests.integration.real_airflow.rest import Airflow


def main() -> None:
    given = parser(__doc__).parse_args()
    dag_id = f"wide_empty_{given.count}"
    with closing(Airflow()) as airflow:
        airflow.unpause(dag_id)
        with BusyMachine(given.workers) as machine:
            run_id = airflow.trigger(dag_id)
            airflow.finished(dag_id, run_id)
        found = list(airflow.tasks(dag_id, run_id).values())
    assert len(found) == given.count, f"expected {given.count} tasks, found {len(found)}"
    tasks.assert_successful(found)
    print(json.dumps({**tasks.figures(found, machine), "each_seconds": tasks.each(found)}))


if __name__ == "__main__":
    main()
