"""`source.fields` and `source.redact` from Elasticsearch through S3 to PostgreSQL: what they remove is nowhere.

Environment: ELASTICSEARCH_URL, S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, S3_BUCKET, POSTGRES_URL.
"""

from __future__ import annotations

import io
import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow.parquet as pq
import pytest
import yaml
from psycopg import sql

from airflow_pipeline_provider.cli.main import main
from tests.canaries import canary, leaks
from tests.connectors.elasticsearch.places import CONN_ID, ElasticsearchTests, Server

pytestmark = pytest.mark.integration

BIRDS = [canary(name) for name in ("lake", "hill", "reed", "moor")]
MAIL, NAME, NOTE, ID = (bird.plain for bird in BIRDS)
DAY = ("2013-11-03T00:00:00+00:00", "2013-11-04T00:00:00+00:00")


class TestRedact(ElasticsearchTests):
    @pytest.fixture
    def url(self) -> str:
        return os.environ["ELASTICSEARCH_URL"]

    @pytest.fixture
    def schema(self) -> Iterator[str]:
        name = f"redact_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(os.environ["POSTGRES_URL"], autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            yield name
            admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))

    @pytest.fixture
    def values(
        self, server: Server, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> dict[str, Any]:
        database = urlsplit(os.environ["POSTGRES_URL"])
        connections: dict[str, dict[str, Any]] = {
            "redact_key": {"conn_type": "generic", "password": "a key that is long enough"},
            "lake": {
                "conn_type": "aws",
                "login": os.environ["AWS_ACCESS_KEY_ID"],
                "password": os.environ["AWS_SECRET_ACCESS_KEY"],
                "extra": {"endpoint_url": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
            },
            "warehouse": {
                "conn_type": "postgres",
                "host": database.hostname,
                "port": database.port,
                "login": database.username,
                "password": database.password,
                "schema": database.path[1:],
            },
            "states": {"conn_type": "sqlite", "host": str(tmp_path / "state.db")},
        }
        for name, connection in connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        index = server.index()
        documents = {
            f"{ID}-{n}": f'{{"ts":"2013-11-03T05:{n:02}:00Z", "n": 1.10, "u":{{"mail":"{MAIL}{n % 3}"}},'
            f'"u.name":"{NAME}", "note":"{NOTE}", "tags":[{{"u":{{"mail":"{MAIL}"}}}}]}}'
            for n in range(40)
        }
        server.put(index, documents)
        return {
            "pipeline_id": "people",
            "granularity": "1d",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "source": {
                "type": "elasticsearch",
                "conn_id": CONN_ID,
                "index": index,
                "time_field": "ts",
                "page_size": 7,
                "fields": {"exclude": ["note"]},
                "redact": [
                    {"path": "**.mail", "how": "hash"},
                    {"path": "u.name", "how": "drop"},
                    {"path": "_id", "how": "hash"},
                ],
                "redact_conn_id": "redact_key",
            },
            "stage": {
                "type": "object_store",
                "path": f"s3://lake@{os.environ['S3_BUCKET']}/{schema}",
            },
            "target": {"type": "postgres", "conn_id": "warehouse", "table": f"{schema}.people"},
            "state": {"type": "sql", "conn_id": "states"},
        }

    def test_nothing_of_what_is_removed_is_in_stage_target_state_or_log(
        self,
        values: dict[str, Any],
        schema: str,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        file = tmp_path / "people.yaml"
        file.write_text(yaml.safe_dump(values))
        assert main(["check", "--connect", str(file)]) == 0
        assert main(["run", str(file)]) == 0
        assert main(["history", str(file), "2013-11-03"]) == 0
        out, err = capfd.readouterr()
        assert "documents are redacted (rules " in out
        stage = _stage_texts(schema)
        assert len(stage) >= 3  # part, receipt, manifest
        with psycopg.connect(os.environ["POSTGRES_URL"]) as connection:
            rows = connection.execute(
                sql.SQL('SELECT "RECORD_ID", "BODY"::text FROM {}.people').format(sql.Identifier(schema))
            ).fetchall()
        assert (len(rows), len({record_id for record_id, _ in rows})) == (40, 40)
        bodies = [json.loads(body, parse_float=str) for _, body in rows]
        assert len({body["u"]["mail"] for body in bodies}) == 3
        assert {body["n"] for body in bodies} == {
            "1.1"
        }  # 1.10 in the index: the server writes what it filters again
        assert {tuple(body) for body in bodies} == {("ts", "n", "u", "tags")}
        logged = [logging.Formatter().format(record) for record in caplog.records]
        state = (tmp_path / "state.db").read_bytes().decode("latin-1")
        for text in (*stage, str(rows), out, err, *logged, state):
            assert leaks(BIRDS, text) == []

    def test_an_error_about_a_document_shows_neither_its_id_nor_its_content(
        self,
        values: dict[str, Any],
        server: Server,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        times = json.dumps([f"2013-11-03T0{hour}:00:00Z" for hour in (5, 6)])
        server.put(values["source"]["index"], {f"{ID}-two": f'{{"ts":{times},"u":{{"mail":"{MAIL}"}}}}'})
        file = tmp_path / "people.yaml"
        file.write_text(yaml.safe_dump(values))
        assert main(["run", str(file)]) == 4
        out, err = capfd.readouterr()
        assert "a document: ts holds 2 dates" in err
        logged = [logging.Formatter().format(record) for record in caplog.records]
        state = (tmp_path / "state.db").read_bytes().decode("latin-1")
        assert "a document: ts holds 2 dates" in state
        for text in (out, err, *logged, state):
            assert leaks(BIRDS, text) == []


def _stage_texts(folder: str) -> list[str]:
    """The files of the stage, rows decompressed."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT_URL"],
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    found = []
    listed = client.list_objects_v2(Bucket=os.environ["S3_BUCKET"], Prefix=f"{folder}/")
    for item in listed.get("Contents", []):
        data = client.get_object(Bucket=os.environ["S3_BUCKET"], Key=item["Key"])["Body"].read()
        rows = str(pq.read_table(io.BytesIO(data)).to_pydict()) if item["Key"].endswith(".parquet") else ""
        found.append(item["Key"] + data.decode("latin-1") + rows)
    client.close()
    return found
