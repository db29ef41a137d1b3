"""Wait until every DAG is there and each pipeline's scheduled run has ended: none of it is to be measured."""

from __future__ import annotations

import json
import sys
from contextlib import closing

from benchmarks.wide.pipelines import WINDOWS_PIPELINE, tasks_pipeline
from tests.integration.real_airflow.rest import Airflow, wait


def main() -> None:
    counts = [int(count) for count in sys.argv[1:]]
    pipelines = [WINDOWS_PIPELINE, *map(tasks_pipeline, counts)]
    expected = {*pipelines, *(f"wide_empty_{count}" for count in counts)}
    with closing(Airflow()) as airflow:

        def there() -> bool:
            errors = airflow.import_errors("")
            assert not errors, errors
            return airflow.dags("wide_%").keys() >= expected

        wait(there, f"the DAGs {sorted(expected)} appear", 180)
        for dag_id in pipelines:  # one window after the end day: Airflow runs the last one of all
            ended = airflow.quiet(dag_id, 1)
            assert {run["state"] for run in ended} == {"success"}, ended
    print(json.dumps({"dags": len(expected)}))


if __name__ == "__main__":
    main()
