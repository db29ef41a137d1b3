"""The page's answers, asked of Airflow's own application in this process, with its authentication.

    python -m benchmarks.page.answers --work year|list [--url postgresql://…] [--pipelines 1000] [--days 14]

`year`: one pipeline with a year of hourly windows. `list`: so many pipelines with daily windows. Without --url the
state is a SQLite file; Airflow's own database always is one. `first_seconds` is the answer of a new process, whose
caches are empty; `seconds` is the median after changes of the state, `unchanged_seconds` that with an ETag.
`queries` and `unchanged_queries` are statements on the state's database, `bytes` the largest answer.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROUNDS = 7
PIPELINE = """\
pipeline_id: bench_{n:04d}
granularity: {granularity}
x_time_back: 1d
start_day: {first}
source: {{type: elasticsearch, conn_id: search, index: flights-{n}, time_field: updated_at}}
stage: {{type: object_store, path: "s3://lake/stage/{n}"}}
target: {{type: postgres, conn_id: warehouse, table: raw.flights_{n}}}
state: {{type: sql, conn_id: bench_state{schema}}}
"""
LOADER = """\
from airflow_pipeline_provider.factory import load_pipelines

load_pipelines(globals(), "pipelines")  # a dag for each file
"""


def fill(state: Any, names: list[str], start: datetime, windows: int, length: timedelta) -> None:
    """What so many windows leave behind: three entries each, with the detail of a commit."""
    state.mint_token()
    database = state._database()
    tables = database.tables
    detail = {"source": 1000, "target": 1000, "distinct": 1000, "quarantined": 0, "slices": 1, "untimed": 0}
    with database.engine.begin() as connection:
        connection.execute(tables.pipelines.delete())
        for name in names:
            longest = length // timedelta(microseconds=1)
            row = {"pipeline_id": name, "version": 1, "token": windows, "longest_us": longest}
            connection.execute(tables.pipelines.insert(), row)
            rows = [
                {
                    "pipeline_id": name,
                    "kind": kind,
                    "window_start": start + n * length,
                    "window_end": start + (n + 1) * length,
                    "at": start + (n + 1) * length + HOUR,
                    "token": n + 1 if kind != "attempt" else None,
                    "attempt": f"a{n}",
                    "run": f"{name}/scheduled__{n}",
                    "rows": 1000 if kind != "attempt" else None,
                    "manifest": f"{n:064x}" if kind != "attempt" else None,
                    "detail": json.dumps(detail if kind == "committed" else {"slices": 1, "untimed": 0}),
                }
                for n in range(windows)
                for kind in ("attempt", "replacing", "committed")
            ]
            connection.execute(tables.ledger.insert(), rows)
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")


def keep_coverage(state: Any, names: list[str]) -> None:
    """As a run of each pipeline does now and then."""
    from airflow_pipeline_provider.state.sql_coverage import read_coverage, save_coverage

    database = state._database()
    for name in names:
        with database.read() as connection:
            read = read_coverage(database, connection, name)
        database.change(lambda c, name=name, read=read: save_coverage(database, c, name, read))


def store_dags() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()  # type: ignore[no-untyped-call]
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", choices=("year", "list"), required=True)
    parser.add_argument("--url")
    parser.add_argument("--pipelines", type=int, default=1000)
    parser.add_argument("--days", type=int, default=14)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        home = Path(name)
        os.environ |= {
            "AIRFLOW_HOME": name,
            "AIRFLOW__CORE__DAGS_FOLDER": f"{name}/dags",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",  # of 1,000 DAGs in one file
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{name}/airflow.db",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of-no-use-outside-of-this-benchmark-" * 2,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        print(json.dumps(measure(home, args, opened)))


def measure(home: Path, args: argparse.Namespace, opened: ExitStack) -> dict[str, Any]:
    schema = f"bench_page_{args.work}" if args.url else None
    url = args.url or f"sqlite:///{home}/state.db"
    os.environ["AIRFLOW_CONN_BENCH_STATE"] = url
    now = datetime.now(timezone.utc)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    year = args.work == "year"
    days = 366 if year else args.days
    first = midnight - days * DAY
    names = [f"bench_{n:04d}" for n in range(1 if year else args.pipelines)]
    (home / "dags" / "pipelines").mkdir(parents=True)
    (home / "dags" / "pipelines.py").write_text(LOADER)
    for n, pipeline in enumerate(names):
        text = PIPELINE.format(
            n=n,
            granularity="1h" if year else "1d",
            first=first.date(),
            schema=f", schema: {schema}" if schema else "",
        )
        (home / "dags" / "pipelines" / f"{pipeline}.yaml").write_text(text)

    from airflow.utils.db import initdb

    initdb()
    logging.disable(logging.WARNING)
    from airflow_pipeline_provider.connectors.base import Identity
    from airflow_pipeline_provider.state.sql import SqlState

    state = SqlState.from_url(url, Identity(names[0], "UTC"), schema=schema)
    opened.callback(state.close)
    if schema:
        with state._database().engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    length = HOUR if year else DAY
    fill(state, names, first, (days - 1) * (24 if year else 1), length)
    keep_coverage(state, names)
    store_dags()

    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    app = create_app()
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="admin"))
    client = TestClient(app, headers={"Authorization": f"Bearer {token}"})
    client.get("/api/v2/version")
    paths = ["/api/pipelines"]
    if year:
        lanes = f"from={(midnight - 7 * DAY).date()}&to={midnight.date()}"
        paths = [f"/api/pipelines/{names[0]}", f"/api/pipelines/{names[0]}/windows?{lanes}"]

    def change() -> None:
        """A write of the first pipeline, as a run makes them every few seconds."""
        lease = state.acquire(_window(now), "bench/other", 60)
        state.release(lease.interval, "bench/other")

    asked = [ask(client, f"/airflow-pipelines{path}", change, len(names)) for path in paths]
    if schema:
        with state._database().engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    return {
        "rows": len(names) if not year else (days - 1) * 24,
        **{key: max(one[key] for one in asked) for key in asked[0]},
    }


def _window(now: datetime) -> Any:
    from airflow_pipeline_provider.core.intervals import Interval

    return Interval(now, now + HOUR)


def ask(client: Any, path: str, change: Callable[[], None], pipelines: int) -> dict[str, Any]:
    """Ask for one answer: of an empty cache, after changes, and again with its ETag."""
    from airflow_pipeline_provider.state.sql import SqlState
    from airflow_pipeline_provider.web.stores import _stores

    queries: list[str] = []

    def listen() -> None:
        import sqlalchemy as sa

        for kept in _stores.values():
            engine = kept.state._database().engine if isinstance(kept.state, SqlState) else None
            if engine is not None and not sa.event.contains(engine, "before_cursor_execute", count):
                sa.event.listen(engine, "before_cursor_execute", count)

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "SELECT set_config")):  # the opening of a transaction
            queries.append(statement)

    def timed(**headers: str) -> tuple[float, Any, int]:
        queries.clear()
        begun = time.perf_counter()
        answer = client.get(path, headers=headers)
        return time.perf_counter() - begun, answer, len(queries)

    first, answer, _ = timed()
    assert answer.status_code == 200, answer.text
    assert answer.json().get("total") in (None, pipelines), answer.json()["total"]
    listen()
    changed, unchanged, most, most_unchanged, size = [], [], 0, 0, len(answer.content)
    for _ in range(ROUNDS):
        change()
        seconds, answer, number = timed()
        assert answer.status_code == 200
        changed.append(seconds)
        most = max(most, number)
        seconds, again, number = timed(**{"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304, again.status_code
        unchanged.append(seconds)
        most_unchanged = max(most_unchanged, number)
    return {
        "first_seconds": first,
        "seconds": statistics.median(changed),
        "unchanged_seconds": statistics.median(unchanged),
        "queries": most,
        "unchanged_queries": most_unchanged,
        "bytes": size,
    }


if __name__ == "__main__":
    main()
