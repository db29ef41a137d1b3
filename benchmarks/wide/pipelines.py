"""The DAGs folder of the group `wide`: its pipelines, and DAGs with nothing to do.

Imported by the harness, so by the standard library alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.documents import START
from benchmarks.shapes import TIME_FIELD

PAGE_SIZE = 2_400  # fixed, so that the number of pages is too
WINDOWS, WINDOW_SECONDS = 8, 60
DOCS = WINDOWS * WINDOW_SECONDS * 1000  # one a millisecond (documents.py)
WINDOWS_PIPELINE = "wide_windows"

LOADER = '''"""Each file of the folder pipelines as a DAG."""

from airflow_pipeline_provider.factory import load_pipelines

load_pipelines(globals(), "pipelines")
'''
EMPTY = '''"""DAGs of so many tasks side by side that do nothing: what Airflow itself takes for a task."""

from airflow.sdk import DAG, task

for count in {counts}:
    with DAG(f"wide_empty_{{count}}", schedule=None) as dag:

        @task
        def nothing(number):
            """Nothing."""

        nothing.expand(number=list(range(count)))
    globals()[dag.dag_id] = dag
'''


def tasks_pipeline(count: int) -> str:
    """The pipeline whose window is extracted by `count` tasks."""
    return f"wide_tasks_{count}"


def stage_folder(work: Path, pipeline_id: str) -> Path:
    return work / "stage" / pipeline_id


def write_dags(folder: Path, work: Path, counts: tuple[int, ...]) -> None:
    pipelines = folder / "pipelines"
    pipelines.mkdir(parents=True, exist_ok=True)
    for old in pipelines.glob("*.yaml"):
        old.unlink()
    found = [_pipeline(WINDOWS_PIPELINE, work, 1), *(_pipeline(tasks_pipeline(n), work, n) for n in counts)]
    for pipeline in found:
        (pipelines / f"{pipeline['pipeline_id']}.yaml").write_text(json.dumps(pipeline))  # JSON is YAML
    (folder / "wide.py").write_text(LOADER)
    (folder / "wide_empty.py").write_text(EMPTY.format(counts=counts))


def _pipeline(pipeline_id: str, work: Path, slices: int) -> dict[str, Any]:
    """What a user writes; state, stage and table are its own, so that each run can begin with nothing."""
    day = f"{START:%Y-%m-%d}"
    return {
        "pipeline_id": pipeline_id,
        "timezone": "UTC",
        "granularity": f"{WINDOW_SECONDS}s",
        "x_time_back": "1d",
        "start_day": day,
        "end_day": day,
        "backlog": "wait",  # no runs but those that are measured
        "source": {
            "type": "elasticsearch",
            "conn_id": "wide_search",
            "index": "bench",
            "time_field": TIME_FIELD,
            "page_size": PAGE_SIZE,
            "slices": slices,
            "distribute": "tasks",
        },
        "stage": {"type": "object_store", "path": str(stage_folder(work, pipeline_id))},
        "target": {"type": "postgres", "conn_id": "wide_warehouse", "table": f"{pipeline_id}.logs"},
        "state": {"type": "sql", "conn_id": "wide_warehouse", "schema": f"{pipeline_id}_state"},
        "airflow": {"retries": 0, "max_active_runs": WINDOWS},
    }
