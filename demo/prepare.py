"""Fills the demo's servers: documents into Elasticsearch, a bucket into S3, an external stage into Snowflake.

    python -m demo.prepare      with ELASTICSEARCH_URL, S3_ENDPOINT_URL, AWS_* and SNOWFLAKE_* in the environment

Each step can be repeated: it replaces what it finds.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from demo import nyc

BUCKET = "data-stage"
DATABASE, SCHEMA, STAGE = "ANALYTICS", "RAW", "LAKE"
BATCH = 5_000  # documents a bulk request: about 1.5 MB

# Loopback and compose hosts are never behind a proxy.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def load_cut(url: str, *, shards: int = 2) -> dict[str, int]:
    """Index the four days of flights and weather at Elasticsearch (or OpenSearch) `url`; documents a name."""
    return {name: index_documents(url, name, nyc.cut(name), shards=shards) for name in nyc.NAMES}


def index_documents(url: str, name: nyc.Name, documents: Iterable[nyc.Document], *, shards: int = 2) -> int:
    """Index `documents` under the mapping of `name`, and make them visible; returns how many.

    An index is made anew when its first document comes. Raises RuntimeError with the server's first complaint.
    """
    seen: set[str] = set()
    count = 0
    for batch in _batches(documents):
        for index in sorted({document.index_name for document in batch} - seen):
            _make_index(url, index, nyc.MAPPINGS[name], shards)
            seen.add(index)
        lines = []
        for document in batch:
            lines.append(json.dumps({"index": {"_index": document.index_name, "_id": document.id}}))
            lines.append(document.body)
        answer = _request("POST", f"{url}/_bulk?filter_path=errors,items.*.error", "\n".join(lines) + "\n")
        if answer["errors"]:
            raise RuntimeError(f"{url}: a document of {name} was refused: {answer['items'][0]}")
        count += len(batch)
    for index in sorted(seen):
        _request("POST", f"{url}/{index}/_refresh")
    return count


def make_weather_db(path: Path) -> int:
    """The cut's weather as a table of a SQLite file, for `dags/pipelines/stations.yaml`; returns its rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bodies = [json.loads(document.body) for document in nyc.cut("weather")]
    columns = list(bodies[0])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE weather ({', '.join(columns)}, PRIMARY KEY (time_hour, origin))")
        marks = ", ".join("?" * len(columns))
        connection.executemany(
            f"INSERT INTO weather VALUES ({marks})", [list(body.values()) for body in bodies]
        )
    return len(bodies)


def make_bucket(
    endpoint: str, key: str, secret: str, *, bucket: str = BUCKET, region: str = "us-east-1"
) -> None:
    """Make the bucket that holds staged parts, if it is missing."""
    import boto3

    client = boto3.client(
        "s3", region, endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret
    )
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)


def make_stage(*, host: str, port: int, user: str, password: str, account: str = "pipeline") -> None:
    """Make ANALYTICS.RAW and the external stage ANALYTICS.RAW.LAKE over the bucket.

    The stand-in's certificate is checked against REQUESTS_CA_BUNDLE, which must be in the environment.
    """
    import snowflake.connector

    connection = snowflake.connector.connect(
        host=host, port=port, user=user, password=password, account=account
    )
    try:
        for statement in (
            f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
            f"CREATE SCHEMA IF NOT EXISTS {DATABASE}.{SCHEMA}",
            f"CREATE OR REPLACE STAGE {DATABASE}.{SCHEMA}.{STAGE} URL = 's3://{BUCKET}/'",
        ):
            connection.cursor().execute(statement)
    finally:
        connection.close()


def _batches(documents: Iterable[nyc.Document]) -> Iterator[list[nyc.Document]]:
    rest = iter(documents)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _make_index(url: str, index: str, properties: dict[str, Any], shards: int) -> None:
    _request("DELETE", f"{url}/{index}?ignore_unavailable=true")
    settings = {"number_of_shards": shards, "number_of_replicas": 0}
    body = {"settings": settings, "mappings": {"dynamic": "strict", "properties": properties}}
    _request("PUT", f"{url}/{index}", json.dumps(body))


def _request(method: str, url: str, body: str | None = None) -> dict[str, Any]:
    kind = "application/x-ndjson" if "_bulk" in url else "application/json"
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    try:
        with _http.open(request, timeout=60) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as e:
        with e:
            raise RuntimeError(f"{method} {url}: {e.code} {e.read(500).decode(errors='replace')}") from None


def main() -> None:
    """Fill the servers that the environment names."""
    env = os.environ
    print("documents:", load_cut(env["ELASTICSEARCH_URL"]))
    if "WEATHER_DB" in env:
        print("rows of the table weather:", make_weather_db(Path(env["WEATHER_DB"])))
    make_bucket(env["S3_ENDPOINT_URL"], env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
    print(f"bucket: {BUCKET}")
    make_stage(
        host=env["SNOWFLAKE_HOST"],
        port=int(env["SNOWFLAKE_PORT"]),
        user=env["SNOWFLAKE_USER"],
        password=env["SNOWFLAKE_PASSWORD"],
    )
    print(f"stage: {DATABASE}.{SCHEMA}.{STAGE}")


if __name__ == "__main__":
    main()
