"""`airflow pipelines status` of so many pipelines, each with a week of windows in one database.

    python -m benchmarks.control.status [--url postgresql://…] [--pipelines 1000] [--windows 1]

Without --url the database is a SQLite file.  `seconds` begins when Airflow's own command line has started: reading
the files, asking the state, working out every day, and the table; `cpu` are the processor's seconds of it.  `windows`
is how many a day has.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.state.sql import SqlState
from airflow_pipeline_provider.state.sql_tables import stored_utc

NOW = datetime(2024, 1, 9, 12, tzinfo=timezone.utc)
DAYS = 7
PIPELINE = """\
pipeline_id: bench_{n:04d}
timezone: UTC
granularity: {hours}h
x_time_back: 1d
start_day: 2024-01-02
source: {{type: elasticsearch, conn_id: search, index: flights-{n}, time_field: updated_at}}
stage: {{type: object_store, path: "s3://lake/stage/{n}"}}
target: {{type: postgres, conn_id: warehouse, table: raw.flights_{n}}}
state: {{type: sql, conn_id: bench_state{schema}}}
"""


def fill(state: SqlState, pipelines: int, windows: int) -> None:
    """What a week of windows leaves behind: three entries each."""
    state.mint_token()
    database = state._database()
    start, length = datetime(2024, 1, 2, tzinfo=timezone.utc), timedelta(hours=24) / windows
    rows: list[dict[str, Any]] = []
    for number in range(DAYS * windows):
        for kind in ("attempt", "replacing", "committed"):
            rows.append(
                {
                    "kind": kind,
                    "window_start": start + number * length,
                    "window_end": start + (number + 1) * length,
                    "at": NOW,
                    "token": number + 1,
                    "attempt": f"a{number}",
                    "run": "bench/run",
                    "rows": 1000,
                    "detail": "{}",
                }
            )
    tables = database.tables
    with database.engine.begin() as connection:
        connection.execute(tables.pipelines.delete())
        for n in range(pipelines):
            name = f"bench_{n:04d}"
            longest = length // timedelta(microseconds=1)
            connection.execute(
                tables.pipelines.insert().values(pipeline_id=name, version=1, token=99, longest_us=longest)
            )
            connection.execute(tables.ledger.insert(), [{**row, "pipeline_id": name} for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url")
    parser.add_argument("--pipelines", type=int, default=1000)
    parser.add_argument("--windows", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pipelines").mkdir()
        schema = "bench_status" if args.url else None
        url = args.url or f"sqlite:///{folder}/state.db"
        os.environ["AIRFLOW_CONN_BENCH_STATE"] = url
        for n in range(args.pipelines):
            text = PIPELINE.format(
                n=n, hours=24 // args.windows, schema=", schema: bench_status" if schema else ""
            )
            (folder / "pipelines" / f"bench_{n:04d}.yaml").write_text(text)
        state = SqlState.from_url(url, Identity("bench_0000", "UTC"), schema=schema)
        if schema:
            with state._database().engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        fill(state, args.pipelines, args.windows)

        from airflow.cli import cli_parser

        cli_parser.get_parser()
        from airflow_pipeline_provider.cli.main import main as command

        said = io.StringIO()
        arguments = ["status", "--folder", str(folder / "pipelines"), "--reference-time", stored_utc(NOW)]
        begun, cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(said):
            code = command(arguments)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        lines = [line for line in said.getvalue().splitlines() if "bench_" in line]
        assert code == 0, said.getvalue()
        assert len(lines) == args.pipelines, said.getvalue()
        assert all("100.0%" in line for line in lines), lines[0]
        if schema:
            with state._database().engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        state.close()
    print(json.dumps({"rows": args.pipelines, "seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()
