"""The CPU seconds of each task of a window of few rows, from Elasticsearch through S3 to Snowflake.

    python -m benchmarks.control.task_seconds [--layout tasks|single] [--windows 3] [--preload]

The servers are those of the demo, and each task is a process of its own.  It first imports what Airflow's own task
process imports, with --preload also what `airflow_pipeline_provider.preload` does; then, measured, it loads the DAG
file for its one DAG (`dag`), opens the pipeline's parts and runs its phase (`phase`).  Airflow's own work is in
neither: scheduling, its API, XComs.  A figure is the median of the windows after the first, which creates the tables;
`modules` is how many modules the task imported itself, `statements` how many statements the state got.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

PHASES = ("generate", "validate", "extract", "stage", "load", "audit", "drain")
PIPELINE = """\
pipeline_id: bench
timezone: UTC
granularity: 1h
start_day: 2013-11-02
end_day: 2013-11-02
source: {type: elasticsearch, conn_id: elasticsearch_default, index: "weather-*", time_field: time_hour}
stage: {type: object_store, path: "s3://aws_default@data-stage/bench"}
target: {type: snowflake, conn_id: snowflake_default, table: ANALYTICS.RAW.BENCH, external_stage: ANALYTICS.RAW.LAKE}
state: {type: sql, conn_id: pipeline_state}
"""
DAG_FILE = """\
from airflow_pipeline_provider import load_pipelines

load_pipelines(globals(), "pipelines")
"""
NOW = datetime(2013, 11, 10, tzinfo=timezone.utc)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- one task


class _NoSupervisor:
    """Takes the place of the connection to Airflow's supervisor; connections are found in the environment."""

    def send(self, _: object) -> None:
        """Accept a secret to mask."""


def run_task(phase: str, folder: Path, run: str, *, preloads: bool = False) -> dict[str, Any]:
    """Run one task of the window; what it passes on to the next is in a file of the folder."""
    import airflow.dag_processing.dagbag  # noqa: F401
    from airflow.sdk.execution_time import task_runner

    task_runner.SUPERVISOR_COMMS = cast(Any, _NoSupervisor())  # as in a task's process
    if preloads:
        from airflow_pipeline_provider.preload import preload

        preload("elasticsearch", "object_store", "snowflake", "sql")
    before, begun = set(sys.modules), cpu_seconds()
    namespace: dict[str, Any] = {"__file__": str(folder / "dag.py")}
    exec(compile(DAG_FILE, namespace["__file__"], "exec"), namespace)
    parsed = cpu_seconds()
    statements = _count_statements()
    config = namespace["bench"].get_task("generate_window")._config
    from airflow_pipeline_provider.phases.runtime import open_runtime

    with open_runtime(config, clock=lambda: NOW) as runtime:
        _work(phase)(runtime, folder / "passed.json", run)
    ended = cpu_seconds()
    return {
        "dag": parsed - begun,
        "phase": ended - parsed,
        "modules": len(set(sys.modules) - before),
        "statements": statements[0],
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _count_statements() -> list[int]:
    """Return a list whose one number is that of the statements that SQLAlchemy sent."""
    import sqlalchemy as sa

    seen = [0]

    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def count(*_: object) -> None:
        seen[0] += 1

    return seen


def _work(phase: str) -> Callable[[Any, Path, str], None]:
    """Return the function that runs the phase and passes its result on."""
    import msgspec

    from airflow_pipeline_provider.phases.values import Claim, RunKind, RunRequest, Staged, Validated

    def generate(runtime: Any, passed: Path, run: str) -> None:
        from airflow_pipeline_provider.phases.generate import generate

        claim = generate(runtime, RunRequest(run, RunKind.LIVE, NOW)).claim
        passed.write_bytes(msgspec.json.encode({"claim": claim}))

    def step(work: Callable[[Any, Any, dict[str, Any]], dict[str, Any]]) -> Callable[[Any, Path, str], None]:
        def run_step(runtime: Any, passed: Path, _: str) -> None:
            given = msgspec.json.decode(passed.read_bytes())
            claim = msgspec.convert(given["claim"], Claim)
            passed.write_bytes(msgspec.json.encode(given | work(runtime, claim, given)))

        return run_step

    def validate(runtime: Any, claim: Any, _: dict[str, Any]) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.validate import validate

        return {"validated": validate(runtime, claim)}

    def extract(runtime: Any, claim: Any, given: dict[str, Any]) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.extract import extract

        validated = msgspec.convert(given["validated"], Validated)
        return {
            "receipts": [extract(runtime, claim, validated.attempt or "", one) for one in validated.slices]
        }

    def stage(runtime: Any, claim: Any, given: dict[str, Any]) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.stage import stage

        return {"staged": stage(runtime, claim, given["validated"]["attempt"], given["receipts"])}

    def load(runtime: Any, claim: Any, given: dict[str, Any]) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.load import load

        load(runtime, claim, msgspec.convert(given["staged"], Staged))
        return {}

    def audit(runtime: Any, claim: Any, given: dict[str, Any]) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.audit import audit

        audited = audit(runtime, claim, msgspec.convert(given["staged"], Staged))
        return {"token": audited.token}

    def drain(runtime: Any, claim: Any, given: dict[str, Any]) -> dict[str, Any]:
        from airflow_pipeline_provider.phases.drain import drain

        drain(runtime, claim, given["token"])
        return {}

    def move(runtime: Any, _: Path, run: str) -> None:
        from airflow_pipeline_provider.phases.drain import drain
        from airflow_pipeline_provider.phases.run import run_window

        outcome = run_window(runtime, RunRequest(run, RunKind.LIVE, NOW))
        assert outcome.claim is not None, outcome.detail
        assert outcome.audited is not None, outcome.detail
        drain(runtime, outcome.claim, outcome.audited.token)

    steps = {
        "validate": validate,
        "extract": extract,
        "stage": stage,
        "load": load,
        "audit": audit,
        "drain": drain,
    }
    return {"generate": generate, "move": move, **{name: step(work) for name, work in steps.items()}}[phase]


# --- all tasks


def measure(folder: Path, layout: str, windows: int, *, preloads: bool) -> dict[str, Any]:
    """Move the windows by processes; return the medians of each task."""
    tasks = PHASES if layout == "tasks" else ("move",)
    seen: dict[str, list[dict[str, Any]]] = {task: [] for task in tasks}
    for number in range(windows + 1):
        for task in tasks:
            command = [sys.executable, "-m", "benchmarks.control.task_seconds", "--task", task]
            command += ["--preload"] if preloads else []
            with (folder / f"{task}.log").open("w") as log:
                done = subprocess.run(
                    [*command, "--folder", str(folder), "--run", f"bench/{number}"],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    check=True,
                    text=True,
                )
            if number:
                seen[task].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        task: {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
        for task, runs in seen.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layout", choices=["tasks", "single"], default="tasks")
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--preload", action="store_true", help="import the connectors before the task begins")
    parser.add_argument("--task", help="run this one task (the processes that are measured)")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.task:
        print(json.dumps(run_task(args.task, args.folder, args.run, preloads=args.preload)))
        return
    from demo.servers import DemoServers

    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        (folder / "pipelines").mkdir(parents=True, exist_ok=True)
        (folder / "pipelines" / "bench.yaml").write_text(PIPELINE)
        (folder / "dag.py").write_text(DAG_FILE)
        with DemoServers(folder / "servers") as servers:
            os.environ.update(servers.env)
            os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "bench"
            tasks = measure(folder, args.layout, args.windows, preloads=args.preload)
    seconds = sum(one["dag"] + one["phase"] for one in tasks.values())
    print(json.dumps({"rows": len(tasks), "seconds": seconds, "tasks": tasks}))


if __name__ == "__main__":
    main()
