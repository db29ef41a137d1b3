"""This package with `distribute: tasks`: sub-ranges of the window side by side, a process each, as workers have them.

Without Airflow, and on one machine.  A process is forked with everything imported, as Airflow's tasks are, and opens
the pipeline before time is taken, as the one process of `ours` does.  CPU and memory are those of all processes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.manifest import Receipt
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.runtime import open_runtime, utc_now
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Claim, RunKind, RunRequest
from benchmarks.contestants.arguments import parser
from benchmarks.contestants.ours import connection, import_what_phases_need, write_pipeline
from benchmarks.contestants.timing import Timing
from benchmarks.documents import interval

STATE = "bench_state"


class Task(NamedTuple):
    claim: Claim
    attempt: str
    slice_: Slice


def work(path: Path, task: Task, ready: Any, go: Any, done: Any) -> None:
    """One extract task; what it measured of itself goes to `done`."""
    with open_runtime(load_pipeline(path, options_model=options_model)) as runtime:
        ready.release()
        go.wait()
        with Timing() as timing:
            receipt = extract(runtime, *task)
        done.put((receipt, timing.figures))


def move(path: Path, docs: int) -> dict[str, Any]:
    """The figures of one extraction."""
    with open_runtime(load_pipeline(path, options_model=options_model)) as runtime:
        window = Interval(*interval(docs))
        claim = generate(runtime, RunRequest("bench/1", RunKind.WINDOW, utc_now(), window)).claim
        assert claim is not None
        validated = validate(runtime, claim)
        tasks = [Task(claim, validated.attempt or "", slice_) for slice_ in validated.slices]
    forks = multiprocessing.get_context("fork")
    ready, go, done = forks.Semaphore(0), forks.Event(), forks.SimpleQueue()
    processes = [forks.Process(target=work, args=(path, task, ready, go, done)) for task in tasks]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    began = time.monotonic()
    go.set()
    ended = [done.get() for _ in processes]
    seconds = time.monotonic() - began
    for process in processes:
        process.join()
    with open_runtime(load_pipeline(path, options_model=options_model)) as runtime:
        receipts = [Receipt.from_bytes(runtime.stage.read(receipt)) for receipt, _ in ended]
    return {
        "rows": sum(receipt.rows for receipt in receipts),
        "parts": sum(len(receipt.parts) for receipt in receipts),
        "readers": len(tasks),
        "seconds": seconds,
        **{
            name: sum(figures[name] for _, figures in ended)
            for name in ("cpu_seconds", "rss_before_mb", "own_peak_rss_mb")
        },
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--tasks", type=int, required=True)
    given = arguments.parse_args()
    os.environ["AIRFLOW_CONN_ELASTICSEARCH_DEFAULT"] = connection(given.url)
    os.environ["AIRFLOW_CONN_BENCH_STATE"] = json.dumps(
        {"conn_type": "sqlite", "host": str(given.out / "state.sqlite")}
    )
    path = write_pipeline(
        given, {"slices": given.tasks, "distribute": "tasks"}, state={"type": "sql", "conn_id": STATE}
    )
    import_what_phases_need()
    print(json.dumps(move(path, given.docs)))


if __name__ == "__main__":
    main()
