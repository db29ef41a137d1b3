"""`check --connect` on real servers: ELASTICSEARCH_URL, S3_ENDPOINT_URL, POSTGRES_URL and the Snowflake stand-in."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import psycopg
import pytest
import yaml
from psycopg import sql

from airflow_pipeline_provider.cli.main import main

pytestmark = pytest.mark.integration

Capture = pytest.CaptureFixture[str]
COUNT = sql.SQL("SELECT count(*) FROM {}.{}")
ROLE_PASSWORD = "only-for-this-test"


@pytest.fixture(scope="module")
def database(postgres: dict[str, str]) -> Iterator[str]:
    """URL of a new database with a role `reader` that may connect and nothing else."""
    name = f"connect_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
            sql.Identifier(name), sql.Literal(ROLE_PASSWORD)
        )
        admin.execute(role)
        yield urlsplit(postgres["POSTGRES_URL"])._replace(path=f"/{name}").geturl()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def index(elasticsearch: dict[str, str]) -> Iterator[str]:
    url, name = elasticsearch["ELASTICSEARCH_URL"], f"connect-{uuid.uuid4().hex}"
    with httpx.Client(base_url=url) as client:
        mapping = {"mappings": {"properties": {"ts": {"type": "date"}}}}
        client.put(f"/{name}", json=mapping).raise_for_status()
        document = {"ts": "2013-11-03T12:00:00Z"}
        client.post(f"/{name}/_doc", params={"refresh": "true"}, json=document).raise_for_status()
        yield name
        client.delete(f"/{name}")


def airflow_connection(url: str, **changes: str) -> str:
    parts = urlsplit(url)
    found = {"host": parts.hostname, "port": parts.port, "login": parts.username, "password": parts.password}
    return json.dumps({"conn_type": "postgres", "schema": parts.path[1:], **found, **changes})


class Pipeline:
    """A pipeline file on the servers, and what they hold besides."""

    def __init__(self, folder: Path, index: str, database: str, environment: dict[str, str]) -> None:
        self.folder, self.database, self.environment = folder, database, environment
        self.prefix = f"connect/{uuid.uuid4().hex}"
        bucket = environment["S3_BUCKET"]
        self.values: dict[str, Any] = {
            "pipeline_id": "connect",
            "granularity": "1d",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "max_backlog_days": None,
            "source": {
                "type": "elasticsearch",
                "conn_id": "elasticsearch_default",
                "index": index,
                "time_field": "ts",
            },
            "stage": {"type": "object_store", "path": f"s3://aws_default@{bucket}/{self.prefix}"},
            "target": {"type": "postgres", "conn_id": "kit", "table": "raw.flights"},
            "state": {"type": "sql", "conn_id": "kit", "schema": "state"},
        }

    def ask(self, capsys: Capture) -> tuple[int, dict[tuple[str, str], tuple[str, str]]]:
        path = self.folder / "connect.yaml"
        path.write_text(yaml.safe_dump(self.values))
        capsys.readouterr()
        code = main(["check", str(path), "--connect", "-o", "json"])
        (one,) = json.loads(capsys.readouterr().out)["files"]
        return code, {(s["section"], s["what"]): (s["status"], s["detail"]) for s in one["services"]}

    def run(self) -> int:
        path = self.folder / "connect.yaml"
        path.write_text(yaml.safe_dump(self.values))
        return main(["run", str(path)])

    def held(self) -> tuple[list[tuple[Any, ...]], list[str]]:
        """Schemas, tables and their numbers of rows in the database; objects below the stage's prefix."""
        with psycopg.connect(self.database) as connection:
            schemas = connection.execute(
                "SELECT nspname, NULL, NULL FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1"
            ).fetchall()
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('raw', 'state') ORDER BY 1, 2"
            ).fetchall()
            counts = [
                connection.execute(COUNT.format(*map(sql.Identifier, table))).fetchone() for table in tables
            ]
            found = [*schemas, *((*table, *(n or ())) for table, n in zip(tables, counts, strict=True))]
        client = boto3.client(
            "s3",
            endpoint_url=self.environment["S3_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        listed = client.list_objects_v2(Bucket=self.environment["S3_BUCKET"], Prefix=self.prefix)
        return found, [item["Key"] for item in listed.get("Contents", [])]


@pytest.fixture
def pipeline(
    tmp_path: Path,
    index: str,
    database: str,
    elasticsearch: dict[str, str],
    s3: dict[str, str],
    postgres: dict[str, str],
    snowflake: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Pipeline]:
    environment = {**elasticsearch, **s3, **postgres, **snowflake}
    for name in ("ELASTICSEARCH_DEFAULT", "AWS_DEFAULT", "SNOWFLAKE_DEFAULT"):
        key = f"AIRFLOW_CONN_{name}"
        monkeypatch.setenv(key, connections_of(environment)[key])
    monkeypatch.setenv("AIRFLOW_CONN_KIT", airflow_connection(database))
    yield Pipeline(tmp_path, index, database, environment)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS raw CASCADE")
        admin.execute("DROP SCHEMA IF EXISTS state CASCADE")


def connections_of(environment: dict[str, str]) -> dict[str, str]:
    search = urlsplit(environment["ELASTICSEARCH_URL"])
    aws = {
        "conn_type": "aws",
        "login": environment["AWS_ACCESS_KEY_ID"],
        "password": environment["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": environment["S3_ENDPOINT_URL"], "region_name": "us-east-1"},
    }
    elastic = {
        "conn_type": "elasticsearch",
        "schema": search.scheme,
        "host": search.hostname,
        "port": search.port,
    }
    return {
        "AIRFLOW_CONN_ELASTICSEARCH_DEFAULT": json.dumps(elastic),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW_CONN_SNOWFLAKE_DEFAULT": environment["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"],
    }


def test_before_and_after_the_first_run_nothing_is_left_behind(pipeline: Pipeline, capsys: Capture) -> None:
    before = pipeline.held()
    code, answers = pipeline.ask(capsys)
    assert (code, {status for status, _ in answers.values()}) == (0, {"ok"})
    assert "is created by the first load" in answers["target", "tables and rights"][1]
    assert "the tables are created by the first run" in answers["state", "tables and rights"][1]
    assert answers["source", "newest event"][1] == "2013-11-03 12:00 UTC"
    assert pipeline.held() == before

    assert pipeline.run() == 0
    before = pipeline.held()
    code, answers = pipeline.ask(capsys)
    assert (code, {status for status, _ in answers.values()}) == (0, {"ok"})
    assert answers["target", "connect"][1] == "newest token 1"
    assert answers["target", "tables and rights"][1].endswith("exists and may be changed")
    assert answers["state", "tables and rights"][1] == "the tables exist and may be changed"
    assert pipeline.held() == before


def test_missing_rights_are_named(
    pipeline: Pipeline, database: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    role = urlsplit(database).path[1:]
    monkeypatch.setenv("AIRFLOW_CONN_KIT", airflow_connection(database, login=role, password=ROLE_PASSWORD))
    code, answers = pipeline.ask(capsys)
    assert code == 5
    for section in ("target", "state"):
        status, detail = answers[section, "tables and rights"]
        assert status == "error"
        assert "may not create them: grant CREATE on" in detail

    monkeypatch.setenv("AIRFLOW_CONN_KIT", airflow_connection(database))
    assert pipeline.run() == 0
    with psycopg.connect(database, autocommit=True) as admin:
        for schema in ("raw", "state"):
            admin.execute(f'GRANT USAGE ON SCHEMA {schema} TO "{role}"')
            admin.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO "{role}"')
    monkeypatch.setenv("AIRFLOW_CONN_KIT", airflow_connection(database, login=role, password=ROLE_PASSWORD))
    code, answers = pipeline.ask(capsys)
    assert code == 5
    for section in ("target", "state"):
        status, detail = answers[section, "tables and rights"]
        assert status == "error"
        assert "permission denied" in detail


def test_snowflake(pipeline: Pipeline, capsys: Capture) -> None:
    name = f"CONNECT_{uuid.uuid4().hex[:12].upper()}"
    pipeline.values["target"] = {
        "type": "snowflake",
        "conn_id": "snowflake_default",
        "table": name,
    }
    code, answers = pipeline.ask(capsys)
    assert code == 0
    status, detail = answers["target", "tables and rights"]
    assert status == "unknown"  # Snowflake shows a missing right only when it is used
    assert f"{name}" in detail
    assert pipeline.run() == 0
    code, answers = pipeline.ask(capsys)
    assert code == 0
    assert answers["target", "tables and rights"][0] == "ok"
    assert answers["target", "connect"][1] == "newest token 1"
