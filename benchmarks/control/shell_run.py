"""`airflow-pipelines run` of an empty window, as a shell starts it.

    python -m benchmarks.control.shell_run [--windows 5]

Source and state SQLite, stage in files, target DuckDB, connections in the environment.  The first window makes the
tables; `seconds` is the median of the others, from the start of the process to its end, and `cpu` its CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PIPELINE = """\
pipeline_id: bench
timezone: UTC
granularity: 1h
start_day: 2024-01-01
source: {{type: sql, conn_id: bench_source, table: rows, time_column: at, time_column_zone: UTC, key_columns: [id]}}
stage: {{type: object_store, path: "{folder}/stage"}}
target: {{type: duckdb, path: "{folder}/lake.duckdb", table: main.bench}}
state: {{type: sql, conn_id: bench_state}}
"""


def cpu_seconds() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with sqlite3.connect(folder / "source.db") as source:
            source.execute("CREATE TABLE rows (id INTEGER, at TEXT)")
        source.close()
        (folder / "bench.yaml").write_text(PIPELINE.format(folder=folder))
        for database in ("source", "state"):
            connection = {"conn_type": "sqlite", "host": f"{folder}/{database}.db"}
            os.environ[f"AIRFLOW_CONN_BENCH_{database.upper()}"] = json.dumps(connection)
        command = [sys.executable, "-m", "airflow_pipeline_provider.cli.main", "run", "bench"]
        command += ["--folder", name, "--reference-time", "2024-01-09T00:00:00Z"]
        seconds, cpu = [], []
        for _ in range(args.windows + 1):
            begun, begun_cpu = time.perf_counter(), cpu_seconds()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds.append(time.perf_counter() - begun)
            cpu.append(cpu_seconds() - begun_cpu)
            assert "1 window committed" in done.stdout, done.stdout + done.stderr
    figures = {
        "rows": args.windows,
        "seconds": statistics.median(seconds[1:]),
        "first": seconds[0],
        "cpu": statistics.median(cpu[1:]),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
