"""So many pipelines to so many DAGs, in one process, imports made before.

    python -m benchmarks.control.parse --by ours|variants|loop|dag-factory [--dags 1000]

`ours` reads a YAML file a pipeline, `variants` one file that describes all of them by `matrix`.
`loop` is what somebody would write who knows nothing of pipeline files: `DAG`,
the package's operators with their arguments, `>>`, in a Python loop; nothing of the factory, and no YAML (the
operators' configurations are there already).  `dag-factory` reads a YAML file a DAG that says the same: the same
operators, arrows, timetable, Params and default arguments; its operators get the path of a pipeline's file, which
they read when a task runs, so that it is spared reading that.  `seconds` is the time from the first file to the last
DAG, `cpu` the processor's seconds of it.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_pipeline_provider.config.model import PipelineConfig

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


PARAMS = {
    "window_start": "Start of the window to move, with an offset; empty: the planner chooses.",
    "window_end": "End of the window to move, with an offset, in the same day.",
    "exact": "Move exactly this window, even if it is not a window of the day plan.",
}
TIMETABLE = {"timezone": "UTC", "granularity": "1h", "x_time_back": "1d", "settle_seconds": 600}
START_DAY = "2024-01-02"
RETRIES, RETRY_SECONDS, LONGEST_RETRY_SECONDS = 3, 30, 600
ABOVE: dict[str, list[str]] = {
    "generate_window": [],
    "validate": ["generate_window"],
    "extract": ["generate_window", "validate"],
    "stage": ["extract", "generate_window"],
    "load": ["generate_window", "stage"],
    "audit": ["generate_window", "load", "validate"],
    "drain": ["audit", "generate_window"],
}
OPERATORS = {
    "generate_window": "GenerateWindowOperator",
    "validate": "ValidateWindowOperator",
    "extract": "ExtractOperator",
    "stage": "StageOperator",
    "load": "LoadOperator",
    "audit": "AuditOperator",
    "drain": "DrainOperator",
}
Built = tuple[float, float, dict[str, Any]]
"""Seconds, the processor's seconds, and the DAGs among other things."""


def ours(folder: Path, dags: int) -> Built:
    from airflow_pipeline_provider.factory import load_pipelines

    files = _pipeline_files(folder / "pipelines", dags)
    _pipeline_files(folder / "warm", 1)
    load_pipelines({"__file__": str(folder / "dag.py")}, "warm")
    found: dict[str, Any] = {"__file__": str(folder / "dag.py")}
    return _timed(lambda: load_pipelines(found, files.name), found)


def variants(folder: Path, dags: int) -> Built:
    from airflow_pipeline_provider.factory import load_pipelines

    _variants_file(folder / "pipelines", dags)
    _variants_file(folder / "warm", 1)
    load_pipelines({"__file__": str(folder / "dag.py")}, "warm")
    found: dict[str, Any] = {"__file__": str(folder / "dag.py")}
    return _timed(lambda: load_pipelines(found, "pipelines"), found)


def _variants_file(folder: Path, dags: int) -> None:
    """Write one file that says the same as the files of `ours`."""
    folder.mkdir()
    rows = "".join(f'  - {{n: {n}, id: "{n:04d}"}}\n' for n in range(dags))
    text = (
        PIPELINE.format(n=0).replace("bench_0000", "bench_{{ id }}").replace("flights-0", '"flights-{{ n }}"')
    )
    text = text.replace("/stage/0", "/stage/{{ n }}").replace("raw.flights_0", '"raw.flights_{{ n }}"')
    (folder / "all.yaml").write_text(f"{text}matrix:\n{rows}")


def loop(folder: Path, dags: int) -> Built:
    from airflow_pipeline_provider.config.loader import load_folder
    from airflow_pipeline_provider.connectors.registry import options_model

    files = _pipeline_files(folder / "pipelines", dags)
    loaded = load_folder(files, options_model=options_model).pipelines
    configs = [config for _, config in loaded.values()]
    _by_hand(configs[:1])
    found: dict[str, Any] = {}
    return _timed(lambda: found.update(_by_hand(configs)), found)


def _by_hand(configs: Iterable[PipelineConfig]) -> dict[str, Any]:
    import pendulum
    from airflow.sdk import DAG, Param

    from airflow_pipeline_provider.factory.timetable import DayPlanTimetable
    from airflow_pipeline_provider.operators import (
        AuditOperator,
        DrainOperator,
        ExtractOperator,
        GenerateWindowOperator,
        LoadOperator,
        StageOperator,
        ValidateWindowOperator,
    )

    found = {}
    for config in configs:
        with DAG(
            dag_id=config.pipeline_id,
            schedule=DayPlanTimetable(**TIMETABLE, start_day=START_DAY),  # type: ignore[arg-type]
            start_date=pendulum.parse(START_DAY),  # type: ignore[arg-type]
            catchup=False,
            max_active_runs=1,
            default_args={
                "retries": RETRIES,
                "retry_delay": timedelta(seconds=RETRY_SECONDS),
                "retry_exponential_backoff": True,
                "max_retry_delay": timedelta(seconds=LONGEST_RETRY_SECONDS),
            },
            params={
                name: Param(None, type=["null", "string"], format="date-time", description=description)
                for name, description in PARAMS.items()
            },
            doc_md=f"The pipeline {config.pipeline_id}.",
        ) as dag:
            generate = GenerateWindowOperator(task_id="generate_window", pipeline=config)
            validate = ValidateWindowOperator(task_id="validate", pipeline=config)
            extract = ExtractOperator(task_id="extract", pipeline=config)
            stage = StageOperator(task_id="stage", pipeline=config)
            load = LoadOperator(task_id="load", pipeline=config)
            audit = AuditOperator(task_id="audit", pipeline=config)
            drain = DrainOperator(task_id="drain", pipeline=config)
            generate >> validate >> extract >> stage >> load >> audit >> drain
            generate >> [extract, stage, load, audit, drain]
            validate >> audit
        found[dag.dag_id] = dag
    return found


def dag_factory(folder: Path, dags: int) -> Built:
    from dagfactory import load_yaml_dags

    for name, count in (("warm", 1), ("all", dags)):
        (folder / name).mkdir()
        for n in range(count):
            _write_dag(folder / name, n)
    load_yaml_dags({}, dags_folder=str(folder / "warm"))
    found: dict[str, Any] = {}
    return _timed(lambda: load_yaml_dags(found, dags_folder=str(folder / "all")), found)


def _write_dag(folder: Path, n: int) -> None:
    import yaml

    package = "airflow_pipeline_provider"
    seconds = {"__type__": "datetime.timedelta"}
    dag = {
        "default_args": {
            "start_date": START_DAY,
            "retries": RETRIES,
            "retry_delay": {**seconds, "seconds": RETRY_SECONDS},
            "retry_exponential_backoff": True,
            "max_retry_delay": {**seconds, "seconds": LONGEST_RETRY_SECONDS},
        },
        "schedule": {
            "__type__": f"{package}.factory.timetable.DayPlanTimetable",
            **TIMETABLE,
            "start_day": START_DAY,
        },
        "catchup": False,
        "max_active_runs": 1,
        "params": {
            name: {
                "__type__": "airflow.sdk.Param",
                "default": None,
                "type": ["null", "string"],
                "format": "date-time",
                "description": description,
            }
            for name, description in PARAMS.items()
        },
        "doc_md": f"The pipeline bench_{n:04d}.",
        "tasks": {
            name: {
                "operator": f"{package}.operators.{OPERATORS[name]}",
                "pipeline": f"pipelines/bench_{n:04d}.yaml",
                "dependencies": above,
            }
            for name, above in ABOVE.items()
        },
    }
    (folder / f"dag_{n:04d}.yml").write_text(yaml.safe_dump({f"bench_{n:04d}": dag}, sort_keys=False))


def _pipeline_files(folder: Path, dags: int) -> Path:
    folder.mkdir()
    for n in range(dags):
        (folder / f"bench_{n:04d}.yaml").write_text(PIPELINE.format(n=n))
    return folder


def _timed(build: Callable[[], None], found: dict[str, Any]) -> Built:
    gc.collect()
    begun, cpu = time.perf_counter(), time.process_time()
    build()
    return time.perf_counter() - begun, time.process_time() - cpu, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", choices=["ours", "variants", "loop", "dag-factory"], required=True)
    parser.add_argument("--dags", type=int, default=1000)
    args = parser.parse_args()
    logging.disable(logging.INFO)  # dag-factory tells of each file
    with tempfile.TemporaryDirectory() as name:
        build = {"ours": ours, "variants": variants, "loop": loop, "dag-factory": dag_factory}[args.by]
        seconds, cpu, found = build(Path(name), args.dags)
    built = [dag for dag_id, dag in found.items() if dag_id.startswith("bench_")]
    assert len(built) == args.dags, f"expected {args.dags} DAGs, got {len(built)}"
    for dag in built:  # whoever builds them, they are the same
        arrows = {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks}
        assert arrows == ABOVE, f"expected {ABOVE}, got {arrows}"
        assert {type(dag.get_task(name)).__name__ for name in ABOVE} == set(OPERATORS.values())
        assert list(dag.params) == list(PARAMS), f"expected {list(PARAMS)}, got {list(dag.params)}"
        assert type(dag.timetable).__name__ == "DayPlanTimetable", dag.timetable
    tasks = sum(len(dag.tasks) for dag in built)
    print(json.dumps({"rows": len(built), "tasks": tasks, "seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()
