"""The target and state of a pipeline before a run, nothing; and what a run delivered, document by document."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.wide.pipelines import stage_folder


def begin_with_nothing(database: str, work: Path, pipeline_id: str) -> None:
    """As if the pipeline had never run: a window that is replaced would cost more than a new one."""
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        for schema in (pipeline_id, f"{pipeline_id}_state"):
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    shutil.rmtree(stage_folder(work, pipeline_id), ignore_errors=True)


def delivered(database: str, pipeline_id: str) -> dict[str, Any]:
    """Rows and digest of the whole target table: a doubled, lost or changed document shows.

    The server computes it, over ids and documents byte for byte in the order of the ids (`expected.py`).
    """
    document = """md5(split_part("RECORD_ID", '/', 2) || ' ' || "BODY")"""
    query = f"""
        SELECT COUNT(*), md5(string_agg({document}, '' ORDER BY "RECORD_ID" COLLATE "C"))
        FROM {pipeline_id}.logs
    """
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        rows, digest = cursor.fetchone() or (0, "")
    return {"rows": rows, "digest": digest}


def make_databases(url: str, *names: str) -> None:
    """Empty ones on the server of this URL."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True  # databases cannot be made inside a transaction
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                cursor.execute(f"CREATE DATABASE {name}")


if __name__ == "__main__":
    import sys

    make_databases(*sys.argv[1:])
