"""So many pipelines to so many DAGs, in one process, imports made before.

    python -m benchmarks.control.parse --by ours|loop|dag-factory [--dags 1000]

`ours` reads a YAML file a pipeline; `loop` builds the same operators and arrows in a Python loop from configurations
that are there already; `dag-factory` reads a YAML file a DAG with the same number of tasks and the same arrows (of
EmptyOperator, which is in its favour).  `seconds` is the time from the first file to the last DAG.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from pathlib import Path
from typing import Any

PIPELINE = """\
pipeline_id: bench_{n:04d}
timezone: UTC
granularity: 1h
x_time_back: 1d
start_day: 2024-01-02
source: {{type: elasticsearch, conn_id: search, index: flights-{n}, time_field: updated_at}}
stage: {{type: object_store, path: "s3://lake/stage/{n}"}}
target: {{type: postgres, conn_id: warehouse, table: raw.flights_{n}}}
state: {{type: sql, conn_id: pipeline_state}}
"""


def ours(folder: Path, dags: int) -> tuple[float, dict[str, Any]]:
    from airflow_pipeline_provider.factory import load_pipelines

    _warm_up(folder)
    for n in range(dags):
        (folder / "pipelines" / f"bench_{n:04d}.yaml").write_text(PIPELINE.format(n=n))
    found: dict[str, Any] = {"__file__": str(folder / "dag.py")}
    begun = time.perf_counter()
    load_pipelines(found, "pipelines")
    return time.perf_counter() - begun, found


def loop(folder: Path, dags: int) -> tuple[float, dict[str, Any]]:
    """The same DAGs; the configurations are read before the clock runs."""
    from airflow_pipeline_provider.config.loader import load_folder
    from airflow_pipeline_provider.connectors.registry import options_model
    from airflow_pipeline_provider.factory.dag import build_dag

    _warm_up(folder)
    for n in range(dags):
        (folder / "pipelines" / f"bench_{n:04d}.yaml").write_text(PIPELINE.format(n=n))
    loaded = load_folder(folder / "pipelines", options_model=options_model).pipelines
    begun = time.perf_counter()
    found = {pipeline_id: build_dag(config, file) for pipeline_id, (file, config) in loaded.items()}
    return time.perf_counter() - begun, found


def _warm_up(folder: Path) -> None:
    """Imports, and what is made once for all pipelines."""
    from airflow_pipeline_provider.factory import load_pipelines

    (folder / "warm").mkdir()
    (folder / "pipelines").mkdir()
    (folder / "warm" / "warm.yaml").write_text(PIPELINE.format(n=0))
    load_pipelines({"__file__": str(folder / "dag.py")}, "warm")


def dag_factory(folder: Path, dags: int) -> tuple[float, dict[str, Any]]:
    import yaml
    from dagfactory import load_yaml_dags

    shape = _shape(folder)
    (folder / "warm").mkdir(exist_ok=True)

    def write(into: Path, n: int) -> None:
        tasks = {
            name: {
                "operator": "airflow.providers.standard.operators.empty.EmptyOperator",
                "dependencies": above,
            }
            for name, above in shape.items()
        }
        dag = {
            "default_args": {"owner": "bench", "start_date": "2024-01-02", "retries": 3},
            "schedule": "@hourly",
            "catchup": False,
            "tasks": tasks,
        }
        (into / f"dag_{n:04d}.yml").write_text(yaml.safe_dump({f"bench_{n:04d}": dag}, sort_keys=False))

    (folder / "one").mkdir()
    write(folder / "one", 0)
    load_yaml_dags({}, dags_folder=str(folder / "one"))
    (folder / "all").mkdir()
    for n in range(dags):
        write(folder / "all", n)
    found: dict[str, Any] = {}
    begun = time.perf_counter()
    load_yaml_dags(found, dags_folder=str(folder / "all"))
    return time.perf_counter() - begun, found


def _shape(folder: Path) -> dict[str, list[str]]:
    """Task -> what is above it, of one of our DAGs."""
    (folder / "shape").mkdir()
    _, found = ours(folder / "shape", 1)
    dag = found["bench_0000"]
    return {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", choices=["ours", "loop", "dag-factory"], required=True)
    parser.add_argument("--dags", type=int, default=1000)
    args = parser.parse_args()
    gc.collect()
    with tempfile.TemporaryDirectory() as name:
        build = {"ours": ours, "loop": loop, "dag-factory": dag_factory}[args.by]
        seconds, found = build(Path(name), args.dags)
    built = [dag for dag_id, dag in found.items() if dag_id.startswith("bench_")]
    tasks = sum(len(dag.tasks) for dag in built)
    assert len(built) == args.dags, f"expected {args.dags} DAGs, got {len(built)}"
    print(json.dumps({"rows": len(built), "tasks": tasks, "seconds": seconds}))


if __name__ == "__main__":
    main()
