"""Staged parts into a table of DuckDB: by our target, or by DuckDB's own bulk load of the same files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import duckdb
import pyarrow.parquet  # noqa: F401  (so that its import is not timed)

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.envelope.manifest import Manifest
from benchmarks.contestants.timing import Timing
from benchmarks.staged import PIPELINE

TABLE = "logs"


def ours(staged: Path, database: Path) -> Timing:
    """The load's transaction: fence, delete, copy, counts, commit row."""
    identity = Identity(PIPELINE, "UTC")
    options = ObjectStoreStage.Options(type="object_store", path=str(staged / "stage"))
    stage = ObjectStoreStage(options, identity)
    target = DuckDBTarget(DuckDBTarget.Options(path=str(database), table=TABLE), identity)
    target.prepare()
    manifest = Manifest.from_bytes((staged / "manifest.json").read_bytes())
    with Timing() as timing:
        target.load(manifest, stage)
    return timing


def own(staged: Path, database: Path) -> Timing:
    """What its documentation says: INSERT from read_parquet into a table of the file's columns."""
    parts = [str(path) for path in sorted((staged / "stage" / "parts").iterdir())]
    with duckdb.connect(database) as connection:
        connection.execute(
            f"CREATE TABLE {TABLE} (RECORD_ID VARCHAR NOT NULL, EVENT_TIME TIMESTAMPTZ NOT NULL, "
            "SOURCE_NAME VARCHAR NOT NULL, BODY VARCHAR NOT NULL)"
        )
    with Timing() as timing, duckdb.connect(database) as connection:
        connection.execute(f"INSERT INTO {TABLE} SELECT * FROM read_parquet(?)", [parts])
    return timing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--how", choices=("ours", "own"), required=True)
    parser.add_argument("--staged", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    database = given.out / "lake.duckdb"
    timing = (ours if given.how == "ours" else own)(given.staged, database)
    with duckdb.connect(database, read_only=True) as connection:
        counted = connection.execute(
            f"SELECT COUNT(*), SUM(octet_length(encode(BODY))) FROM {TABLE}"
        ).fetchone()
    assert counted is not None
    print(json.dumps({"rows": counted[0], "document_bytes": int(counted[1]), **timing.figures}))


if __name__ == "__main__":
    main()
