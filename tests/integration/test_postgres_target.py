"""Target `postgres` on PostgreSQL (POSTGRES_URL): the kit with both drivers, and what only a server can show."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.targets.postgres import PostgresTarget
from airflow_pipeline_provider.testing.target_kit import Fetch, MakeTarget, TargetConformance

pytestmark = pytest.mark.integration

TABLE = "raw.Flights"


@pytest.fixture(scope="module")
def database(postgres: dict[str, str]) -> Iterator[str]:
    """URL of a database of this module's own, with settings that are nobody's."""
    word = f"pipeline_{uuid.uuid4().hex}"
    name = sql.Identifier(word)
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield urlsplit(postgres["POSTGRES_URL"])._replace(path=f"/{word}").geturl()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def admin(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A connection to the database, which is also the Airflow connection `kit`."""
    monkeypatch.setenv("AIRFLOW_CONN_KIT", connection_json(database))
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as connection:
        yield connection
        connection.execute("DROP SCHEMA IF EXISTS raw CASCADE")
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def connection_json(url: str, **changes: Any) -> str:
    parts = urlsplit(url)
    conn = {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path[1:],
    }
    return json.dumps({**conn, **changes})


def target_of(pipeline_id: str = "flights", **options: Any) -> PostgresTarget:
    given = {"type": "postgres", "conn_id": "kit", "table": TABLE, **options}
    return PostgresTarget(PostgresTarget.Options.model_validate(given), Identity(pipeline_id, "UTC"))


class TestPostgres(TargetConformance):
    @pytest.fixture(autouse=True)
    def driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", True)

    @pytest.fixture
    def make_target(self, admin: psycopg.Connection) -> MakeTarget:
        return target_of

    @pytest.fixture
    def fetch(self, admin: psycopg.Connection) -> Fetch:
        return lambda suffix: admin.execute(f'SELECT * FROM raw."Flights{suffix}"').fetchall()

    @pytest.fixture
    def make_other_shape(self, admin: psycopg.Connection):
        def make() -> None:
            admin.execute('CREATE SCHEMA raw; CREATE TABLE raw."Flights" ("RECORD_ID" text, "BODY" integer)')

        return make


class TestPostgresWithPsycopg2(TestPostgres):
    @pytest.fixture(autouse=True)
    def driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", False)
