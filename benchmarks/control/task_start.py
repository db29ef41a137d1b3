"""What importing this package adds when a task starts: its modules and those that only it needs.

    python -m benchmarks.control.task_start

First comes what Airflow's own task process imports; then, measured, the DAG file's import, the options of a pipeline,
and the phase that the task runs.  The garbage collector rests meanwhile: what it would look through is Airflow's.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time

AIRFLOW = ("airflow.sdk", "airflow.sdk.execution_time.task_runner", "airflow.dag_processing.dagbag")
OURS = (
    "airflow_pipeline_provider.factory.dag",
    "airflow_pipeline_provider.connectors.elasticsearch.source",
    "airflow_pipeline_provider.connectors.object_store.stage",
    "airflow_pipeline_provider.connectors.postgres.target",
    "airflow_pipeline_provider.state.sql",
    "airflow_pipeline_provider.phases.load",
)


def main() -> None:
    for name in AIRFLOW:
        importlib.import_module(name)
    gc.collect()
    gc.disable()
    before = set(sys.modules)
    begun, cpu = time.perf_counter(), time.process_time()
    for name in OURS:
        importlib.import_module(name)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(json.dumps({"rows": len(set(sys.modules) - before), "seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()
