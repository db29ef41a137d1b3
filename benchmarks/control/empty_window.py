"""What the phases themselves take: windows without rows, or with few, embedded.

    python -m benchmarks.control.empty_window [--windows 40] [--rows 0]

`--rows` is the number of rows of each window.  Source in memory, stage in files, target DuckDB, state SQLite; all
phases of a window one after the other in this process, imports and tables made before.  `seconds` is the median
window, `first` the one that still had to import and to create everything; `cpu` and `first_cpu` are the same in CPU
seconds; `phases` is the median of each phase by its own log line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.registry import options_model, register
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from tests.doubles.memory_source import MemorySource

NOW = datetime(2024, 1, 9, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


class PhaseSeconds:
    """A sink that keeps what every phase took."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def count(self, name: str, by: int, tags: Mapping[str, str]) -> None: ...

    def gauge(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...

    def timing(self, name: str, seconds: float, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        self.seen.setdefault(tags["phase"], []).append(seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--rows", type=int, default=0, help="rows of each window; 0: none")
    parser.add_argument("--folder", help="where the files are put; a temporary folder without it")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    register("source", "memory", MemorySource)
    table = MemorySource.table("rows")
    for number in range(args.rows):
        for hour in range(args.windows + 1):
            at = NOW - 8 * 24 * HOUR + hour * HOUR + timedelta(seconds=number % 3600)
            table.put(f"{hour}-{number}", at, f'{{"hour": {hour}, "number": {number}}}')
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(
            {"conn_type": "sqlite", "host": str(folder / "state.db")}
        )
        config = parse_pipeline(
            {
                "pipeline_id": "bench",
                "timezone": "UTC",
                "granularity": "1h",
                "start_day": "2024-01-01",
                "source": {"type": "memory", "table": "rows"},
                "stage": {"type": "object_store", "path": str(folder / "stage")},
                "target": {"type": "duckdb", "path": str(folder / "lake.duckdb"), "table": "main.bench"},
                "state": {"type": "sql", "conn_id": "bench"},
            },
            options_model=options_model,
        )
        sink = PhaseSeconds()
        seconds, cpu = [], []
        with metrics.sending_to(sink), open_runtime(config, clock=lambda: NOW) as runtime:
            for number in range(args.windows + 1):
                request = RunRequest(f"bench/{number}", RunKind.LIVE, NOW)
                begun, begun_cpu = time.perf_counter(), time.process_time()
                outcome = run_window(runtime, request)
                seconds.append(time.perf_counter() - begun)
                cpu.append(time.process_time() - begun_cpu)
                assert outcome.audited is not None, f"expected a committed window, got {outcome.detail}"
                assert outcome.audited.target_rows == args.rows, "expected the rows of one window"
    figures = {
        "rows": args.windows,
        "seconds": statistics.median(seconds[1:]),
        "first": seconds[0],
        "cpu": statistics.median(cpu[1:]),
        "first_cpu": cpu[0],
        "phases": {phase: round(statistics.median(seen[1:]), 5) for phase, seen in sink.seen.items()},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
