"""Staged parts into a table of PostgreSQL: by our target, or by its own COPY of the same, rendered beforehand."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg2
import pyarrow.parquet  # noqa: F401  (so that its import is not timed)

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.postgres import sql
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.envelope.manifest import Manifest
from benchmarks.contestants.timing import Timing
from benchmarks.staged import PIPELINE

TABLE = "public.logs"


def ours(staged: Path, target: PostgresTarget) -> Timing:
    """The load's transaction: fence, delete, copy, counts, commit row."""
    options = ObjectStoreStage.Options(type="object_store", path=str(staged / "stage"))
    stage = ObjectStoreStage(options, target.identity)
    manifest = Manifest.from_bytes((staged / "manifest.json").read_bytes())
    with Timing() as timing:
        target.load(manifest, stage)
    return timing


def own(staged: Path, url: str) -> Timing:
    """COPY alone, into the same table with the same index."""
    with (
        Timing() as timing,
        closing(psycopg2.connect(url)) as connection,
        connection,
        connection.cursor() as cursor,
        (staged / "rows.copy").open("rb") as rows,
    ):
        cursor.copy_expert(sql.copy_statement(sql.DIALECT.parse_name(TABLE)), rows, 1 << 20)
    return timing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--how", choices=("ours", "own"), required=True)
    parser.add_argument("--staged", type=Path, required=True)
    parser.add_argument("--url", required=True)
    given = parser.parse_args()
    name = f"bench_{uuid4().hex[:12]}"
    url = urlunsplit(urlsplit(given.url)._replace(path=f"/{name}"))
    with closing(psycopg2.connect(given.url)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            try:
                os.environ["AIRFLOW_CONN_BENCH_POSTGRES"] = url
                options = PostgresTarget.Options(conn_id="bench_postgres", table=TABLE)
                target = PostgresTarget(options, Identity(PIPELINE, "UTC"))
                target.prepare()
                timing = ours(given.staged, target) if given.how == "ours" else own(given.staged, url)
                target.close()
                with closing(psycopg2.connect(url)) as connection, connection.cursor() as reader:
                    reader.execute(
                        f'SELECT COUNT(*), SUM(octet_length("BODY")) FROM {sql.DIALECT.parse_name(TABLE)}'
                    )
                    rows, size = reader.fetchone() or (0, 0)
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    print(json.dumps({"rows": rows, "document_bytes": int(size), **timing.figures}))


if __name__ == "__main__":
    main()
