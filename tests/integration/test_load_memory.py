"""A load of large documents that compress well needs memory for a few row groups, measured on the process.

Environment: POSTGRES_URL, S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, S3_BUCKET.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from airflow_pipeline_provider.connectors.base import Identity, Stage
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.envelope.parts import write_parts
from airflow_pipeline_provider.envelope.schema import ENVELOPE

pytestmark = pytest.mark.integration

START = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
WINDOW = Interval(START, START + timedelta(hours=2))
DOCUMENTS, DOCUMENT_BYTES = 400, 1_000_000
MOST_MEGABYTES = 250  # more than before the load; read without bounds it is over 1,000

LOAD = """
import json, resource, sys
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.envelope.manifest import Manifest

path, table, manifest = sys.argv[1:]
identity = Identity("memory", "UTC")
stage = ObjectStoreStage(ObjectStoreStage.Options(type="object_store", path=path), identity)
target = PostgresTarget(PostgresTarget.Options(type="postgres", conn_id="memory", table=table), identity)
manifest = Manifest.from_bytes(open(manifest, "rb").read())
stage.read(manifest.parts[0].path)  # the libraries are not what is measured
target.prepare()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = target.load(manifest, stage)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": result.rows, "megabytes": (after - before) / 1024}))
"""


@pytest.fixture(params=["local", "s3"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "local":
        return str(tmp_path / "stage")
    connection = {
        "conn_type": "aws",
        "login": os.environ["AWS_ACCESS_KEY_ID"],
        "password": os.environ["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(connection))
    return f"s3://lake@{os.environ['S3_BUCKET']}/memory/{uuid.uuid4().hex}"


@pytest.fixture
def stage(path: str) -> Iterator[Stage]:
    made = ObjectStoreStage(
        ObjectStoreStage.Options(type="object_store", path=path), Identity("memory", "UTC")
    )
    yield made
    made.delete([file.path for file in made.list("")])
    made.close()


@pytest.fixture
def table(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    parts = urlsplit(postgres["POSTGRES_URL"])
    connection = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path[1:],
    }
    monkeypatch.setenv("AIRFLOW_CONN_MEMORY", json.dumps(connection))
    schema = f"memory_{uuid.uuid4().hex}"
    yield f"{schema}.documents"
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def documents() -> Iterator[pa.RecordBatch]:
    for n in range(DOCUMENTS):
        columns = ([f"i/{n}"], [START], ["i"], [f'{{"n":{n},"t":"{"x" * DOCUMENT_BYTES}"}}'])
        arrays = [pa.array(values, one.type) for values, one in zip(columns, ENVELOPE, strict=True)]
        yield pa.record_batch(arrays, schema=ENVELOPE)


def test_memory_is_bounded_by_bytes(stage: Stage, path: str, table: str, tmp_path: Path) -> None:
    written = write_parts(
        documents(),
        open_write=stage.open_write,
        folder="f",
        index=0,
        interval=WINDOW,
        part_bytes=128_000_000,
    )
    assert sum(part.bytes for part in written.parts) < DOCUMENT_BYTES  # says nothing of the rows
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(Manifest("memory", WINDOW, "a", 1, parts=tuple(written.parts)).to_bytes())
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "airflow")}
    found = subprocess.run(
        [sys.executable, "-c", LOAD, path, table, str(manifest)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    seen = json.loads(found.stdout.splitlines()[-1])
    assert seen["rows"] == DOCUMENTS
    assert seen["megabytes"] < MOST_MEGABYTES
