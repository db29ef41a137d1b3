"""The next window out of a PostgreSQL ledger with so many years of hourly windows.

    python -m benchmarks.control.next_window --url postgresql://… --years 5 [--read fold|entries]

`fold` is what generate does: `plan_next` in a session, the one connection of all that generate asks and writes;
between two looks a window is committed, so that the ledger grows as in life.  `entries` plans from all entries of
the horizon, which is what the fold saves.  Prints the medians of the looks, and of the looks with the opening of
their session; the slowest tenth; and what the first look at such a ledger takes (once in its life).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import Known, Plan, PlanRules, horizon, plan_live
from airflow_pipeline_provider.phases.generate import plan_next
from airflow_pipeline_provider.state.sql import SqlState

NOW = datetime(2024, 1, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def fill(state: SqlState, start: datetime, hours: int) -> None:
    """Three entries a window, as every window leaves them behind."""
    state.mint_token()
    database = state._database()
    table = database.tables.ledger.fullname
    statement = f"""
        INSERT INTO {table}
               (pipeline_id, kind, window_start, window_end, at, token, attempt, run, rows, manifest, detail)
        SELECT 'bench', kind, w, w + interval '1 hour', w + interval '2 hours', n, md5(n::text), 'bench/' || w,
               1000, md5(n::text) || md5(n::text), '{{}}'
        FROM generate_series(0, :hours - 1) AS n,
             LATERAL (SELECT cast(:start as timestamptz) + n * interval '1 hour' AS w) AS windows,
             (VALUES (1, 'attempt'), (2, 'replacing'), (3, 'committed')) AS kinds(step, kind)
        ORDER BY n, step
    """
    with database.engine.begin() as connection:
        connection.execute(sa.text(statement), {"start": start, "hours": hours})
        pipelines = database.tables.pipelines
        connection.execute(pipelines.update().values(token=hours, longest_us=3_600_000_000))
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"ANALYZE {table}")


def commit(state: SqlState, interval: Interval) -> None:
    token = state.mint_token()
    for kind in (Kind.ATTEMPT, Kind.REPLACING, Kind.COMMITTED):
        state.append(Entry(kind, interval, NOW, token=token, attempt=f"a{token}", run="bench/run", rows=1))


def plan_from_entries(runtime: Any, reference_time: datetime, owner: str) -> Plan:
    """What `plan_next` does, out of all entries."""
    span = horizon(runtime.config.rules, reference_time)
    entries = runtime.state.entries(span)
    known = Known(
        tuple(ledger.committed(entries)),
        tuple(ledger.waived(entries)),
        tuple(ledger.blocked(entries, runtime.config.max_attempts)),
        tuple(lease.interval for lease in runtime.state.leases() if lease.owner != owner),
    )
    return plan_live(runtime.config.rules, reference_time, known)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--looks", type=int, default=60)
    parser.add_argument("--read", choices=["fold", "entries"], default="fold")
    args = parser.parse_args()
    hours = args.years * 365 * 24
    start = NOW - hours * HOUR
    rules = PlanRules(
        "UTC", Duration(0, 0), Duration(0, 3600), start_day=date(start.year, start.month, start.day)
    )
    config = SimpleNamespace(rules=rules, max_attempts=3)
    plan = plan_next if args.read == "fold" else plan_from_entries
    schema = f"bench_{args.read}_{args.years}"
    with closing(SqlState.from_url(args.url, Identity("bench", "UTC"), schema=schema)) as state:
        with state._database().engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        fill(state, start, hours)
        runtime: Any = SimpleNamespace(config=config, state=state)
        seconds, with_connection = [], []
        now = NOW + (args.looks + 2) * HOUR
        for number in range(args.looks + 1):
            opening = time.perf_counter()
            with state.session():
                begun = time.perf_counter()
                found = plan(runtime, now, "bench/run")
                seconds.append(time.perf_counter() - begun)
                with_connection.append(time.perf_counter() - opening)
            expected = Interval(NOW + number * HOUR, NOW + (number + 1) * HOUR)
            assert found.interval == expected, f"expected {expected}, got {found}"
            commit(state, expected)
        first, *looks = seconds
        with state._database().engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    looks.sort()
    figures = {
        "rows": hours,
        "seconds": statistics.median(looks),
        "with_connection": statistics.median(with_connection),
        "slowest_tenth": looks[len(looks) * 9 // 10],
        "first_look": first,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
