"""Staged parts into a table of Snowflake: by our target, or by PUT and COPY alone into a table of the session.

The connection is that of AIRFLOW_CONN_SNOWFLAKE_DEFAULT.  Tables get a name of their own in --schema, and are
dropped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet  # noqa: F401  (so that its import is not timed)

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.snowflake import sql
from airflow_pipeline_provider.connectors.snowflake.session import SnowflakeSession
from airflow_pipeline_provider.connectors.snowflake.staging import copy_parts
from airflow_pipeline_provider.connectors.snowflake.target import SnowflakeTarget
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.envelope.manifest import Manifest
from benchmarks.contestants.timing import Timing
from benchmarks.staged import PIPELINE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--how", choices=("ours", "own"), required=True)
    parser.add_argument("--staged", type=Path, required=True)
    parser.add_argument("--schema", required=True)
    given = parser.parse_args()
    written = {"type": "snowflake", "table": f"{given.schema}.BENCH_{uuid4().hex[:12].upper()}"}
    target = SnowflakeTarget(SnowflakeTarget.Options.model_validate(written), Identity(PIPELINE, "UTC"))
    stage_options = ObjectStoreStage.Options(type="object_store", path=str(given.staged / "stage"))
    stage = ObjectStoreStage(stage_options, target.identity)
    manifest = Manifest.from_bytes((given.staged / "manifest.json").read_bytes())
    try:
        target.prepare()
        if given.how == "ours":
            with Timing() as timing:
                target.load(manifest, stage)
            with target.open_session("benchmark") as session:
                rows = count(session, target.tables.data)
        else:
            with target.open_session("benchmark") as session:
                with Timing() as timing:
                    table = copy_parts(session, target.options, manifest, stage)
                rows = count(session, table)
    finally:
        with target.open_session("benchmark") as session:
            drop(session, target.tables.data)
        target.close()
    print(json.dumps({"rows": rows, **timing.figures}))


def count(session: SnowflakeSession, table: ObjectName) -> int:
    """Return the rows of the table."""
    [(rows,)] = session.execute(f"SELECT COUNT(*) FROM {table}")
    return int(rows)


def drop(session: SnowflakeSession, data: ObjectName) -> None:
    """Drop the table, and what the target made next to it."""
    for kind in ("VIEW", "TABLE"):
        for row in session.execute_dicts(sql.show_below(f"{kind}S", data)):
            session.execute(f"DROP {kind} IF EXISTS {data.sibling(row['name'][len(data.last) :])}")
    session.execute(f"DROP TABLE IF EXISTS {data}")


if __name__ == "__main__":
    main()
