"""Every document that target `postgres` takes casts to jsonb, on PostgreSQL (POSTGRES_URL)."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.connectors.probes import Answer
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.run import Outcome
from tests.connectors.postgres.jsonb_examples import BEYOND, CAST, REFUSED
from tests.doubles.memory_source import MemorySource
from tests.phases.conftest import Pipeline, pipeline

__all__ = ["pipeline"]  # a fixture

pytestmark = pytest.mark.integration


@pytest.fixture
def schema(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    parts = urlsplit(postgres["POSTGRES_URL"])
    connection = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path[1:],
    }
    monkeypatch.setenv("AIRFLOW_CONN_JSONB", json.dumps(connection))
    name = f"jsonb_{uuid.uuid4().hex[:8]}"
    yield name
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@pytest.fixture
def server(postgres: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as connection:
        yield connection


def test_the_server_agrees_about_each_example(server: psycopg.Connection[Any]) -> None:
    refused = {**REFUSED, **BEYOND}
    for name, body in {**CAST, **{name: body for name, (body, _) in refused.items()}}.items():
        try:
            server.execute("SELECT length(CAST(CAST(%s AS text) AS jsonb)::text)", [body])
            cast = True
        except psycopg.Error:
            cast = False
        assert cast is (name in CAST), name


def move(pipeline: Pipeline, schema: str, on_reject: str, **target: Any) -> Outcome:
    section = {"type": "postgres", "conn_id": "jsonb", "table": f"{schema}.flights", **target}
    return pipeline.move(pipeline.runtime(target=section, granularity="1d", audit={"on_reject": on_reject}))


def seed() -> None:
    bodies = [*CAST.values(), *(body for body, _ in REFUSED.values())]
    for number, body in enumerate([*bodies, "no JSON", '"\\ud800"']):
        MemorySource.table("rows").put(f"r{number}", "2013-11-03T12:00:00Z", body)


def test_the_query_of_the_readme_works_on_what_was_loaded(
    pipeline: Pipeline, schema: str, server: psycopg.Connection[Any]
) -> None:
    seed()
    with pytest.raises(DataError, match=r"record 'r\d+': its body .*set audit\.on_reject"):
        move(pipeline, schema, "fail")
    audited = move(pipeline, schema, "quarantine").audited
    assert audited is not None
    assert (audited.target_rows, audited.quarantined_rows) == (len(CAST), len(REFUSED) + 2)
    found = server.execute(f'SELECT "BODY"::jsonb::text FROM {schema}."flights_LATEST"').fetchall()
    assert len(found) == len(CAST)


def test_any_text_is_stored_on_request_and_can_be_queried(
    pipeline: Pipeline, schema: str, server: psycopg.Connection[Any]
) -> None:
    """By the query of docs/postgres.md, which also serves tables of earlier versions."""
    seed()
    assert move(pipeline, schema, "fail", require_jsonb=False).audited
    with pytest.raises(psycopg.Error):
        server.execute(f'SELECT "BODY"::jsonb FROM {schema}."flights_LATEST"')
    page = Path(__file__).parents[2].joinpath("docs", "postgres.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```sql\n")[1:]]
    [query] = [block for block in blocks if "CREATE FUNCTION" in block]
    server.execute(query.replace("raw.", f"{schema}."))  # type: ignore[arg-type]
    found = server.execute(
        f'SELECT count(*), count({schema}.try_jsonb("BODY")) FROM {schema}."flights_LATEST"'
    ).fetchone()
    assert found == (len(CAST) + len(REFUSED) + 2, len(CAST))


def test_another_encoding_of_the_database_is_a_warning(
    schema: str, server: psycopg.Connection[Any], postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guarantee does not hold there, and `check --connect` says so."""

    def answer() -> Answer:
        target = PostgresTarget(
            PostgresTarget.Options(conn_id="jsonb", table=f"{schema}.flights"), Identity("flights", "UTC")
        )
        return dict(target.probes())["encoding"]()

    assert answer().status == "ok"
    server.execute(f"CREATE DATABASE {schema} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")  # type: ignore[arg-type]
    try:
        connection = json.loads(os.environ["AIRFLOW_CONN_JSONB"])
        monkeypatch.setenv("AIRFLOW_CONN_JSONB", json.dumps({**connection, "schema": schema}))
        assert answer().status == "warning"
        assert "LATIN1" in answer().detail
    finally:
        server.execute(f"DROP DATABASE {schema} WITH (FORCE)")  # type: ignore[arg-type]
