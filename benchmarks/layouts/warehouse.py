"""Tables before a run, and their rows after it, seen without the package."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from benchmarks.digest import digest
from benchmarks.layouts.dags import BUCKET, SCHEMA, STAGE, Work, pipeline_file


@contextmanager
def connection() -> Iterator[Any]:
    import snowflake.connector

    with closing(
        snowflake.connector.connect(
            **{
                key: os.environ[f"SNOWFLAKE_{key.upper()}"]
                for key in ("host", "account", "user", "password", "database", "schema")
            },
            port=int(os.environ["SNOWFLAKE_PORT"]),
        )
    ) as opened:
        yield opened


def query(opened: Any, sql: str) -> list[tuple[Any, ...]]:
    with opened.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def make_schema() -> None:
    """Make the empty schema of all contestants, and the external stage over the bucket."""
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    with connection() as opened:
        query(opened, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        query(opened, f"CREATE SCHEMA {SCHEMA}")
        query(
            opened,
            f"CREATE OR REPLACE STAGE {STAGE} URL = 's3://{BUCKET}/' "
            f"CREDENTIALS = (AWS_KEY_ID = '{key}' AWS_SECRET_KEY = '{secret}')",
        )


def make_tables(work: Work) -> None:
    """Make the tables of all DAGs: no contestant is measured while it creates one."""
    if work.is_ours:
        _make_pipelines_tables(work)
        return
    with connection() as opened:
        for number in work.numbers:
            query(
                opened,
                f"CREATE TABLE {work.table(number)} (WINDOW_START TIMESTAMP_NTZ, ID VARCHAR, "
                "EVENT_TIME TIMESTAMP_NTZ, BODY VARIANT)",
            )


def _make_pipelines_tables(work: Work) -> None:
    import tempfile
    from pathlib import Path

    from airflow_pipeline_provider.config.loader import load_folder
    from airflow_pipeline_provider.connectors.registry import options_model
    from airflow_pipeline_provider.phases.runtime import open_runtime

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "all.yaml").write_text(json.dumps(pipeline_file(work)))
        loaded = load_folder(Path(name), options_model=options_model)
    assert not loaded.errors, loaded.errors
    for _, config in loaded.pipelines.values():
        with open_runtime(config) as runtime:
            runtime.target.prepare()


def delivered(work: Work) -> dict[str, Any]:
    """Return rows and digest of all tables: a doubled, lost or changed document shows."""
    column = "SPLIT_PART(RECORD_ID, '/', 2)" if work.is_ours else "ID"

    def documents() -> Iterator[tuple[str, str]]:
        for number in work.numbers:
            yield from query(opened, f"SELECT {column}, BODY FROM {work.table(number)}")

    with connection() as opened:
        rows, figure, _ = digest(documents())
    return {"rows": rows, "digest": figure}


def drop_tables(work: Work) -> None:
    with connection() as opened:
        for name, kind in query(
            opened,
            "SELECT TABLE_NAME, TABLE_TYPE FROM ANALYTICS.INFORMATION_SCHEMA.TABLES "
            f"WHERE TABLE_SCHEMA = '{SCHEMA.partition('.')[2]}' AND TABLE_NAME LIKE '{work.name.upper()}%'",
        ):
            what = "VIEW" if "VIEW" in kind else "TABLE"
            query(opened, f"DROP {what} {SCHEMA}.{name}")


if __name__ == "__main__":
    make_schema()
