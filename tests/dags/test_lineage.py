"""Names of datasets for OpenLineage, by which lineage tools join, without credentials."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.base import Connector, Identity
from airflow_pipeline_provider.connectors.datasets import DatasetName
from airflow_pipeline_provider.connectors.registry import connector_class, options_model
from airflow_pipeline_provider.operators.lineage import dataset_name
from tests.doubles.memory_source import MemorySource

from .conftest import Folder

SECRETS = {"login": "canary-login", "password": "canary-password"}
SQL = "{type: sql, conn_id: place, table: %s, time_column: at, key_columns: [id]}"
ELASTIC = "{type: elasticsearch, conn_id: place, index: 'flights-*', time_field: at}"
SNOWFLAKE = "{type: snowflake, conn_id: place, table: %s}"


def built(folder: Folder, kind: str, section: str) -> Connector:
    """Return the connector of a pipeline file with this section."""
    options = getattr(load_pipeline(folder.write(**{kind: section}), options_model=options_model), kind)
    connector: Connector = connector_class(kind, options.type)(options, Identity("flights", "UTC"))
    return connector


@pytest.mark.parametrize(
    ("section", "connection", "expected"),
    [
        (
            {"source": ELASTIC},
            {
                "conn_type": "elasticsearch",
                "host": "es.internal",
                "port": 9243,
                "extra": {"api_key": "canary"},
            },
            ("elasticsearch://es.internal:9243", "flights-*"),
        ),
        (
            {"source": ELASTIC},
            {"conn_type": "elasticsearch", "host": "https://canary:canary-password@one:9201/es,two"},
            ("elasticsearch://one:9201", "flights-*"),
        ),
        (
            {"source": ELASTIC},
            {"conn_type": "elasticsearch", "host": "one"},
            ("elasticsearch://one:9200", "flights-*"),
        ),
        (
            {"source": SQL % "weather"},
            {"conn_type": "postgres", "host": "db", "schema": "lake"},
            ("postgres://db:5432", "lake.public.weather"),
        ),
        (
            {"source": SQL % "raw.weather"},
            {"conn_type": "postgres", "host": "db", "port": 6432, "schema": "lake"},
            ("postgres://db:6432", "lake.raw.weather"),
        ),
        (
            {"source": SQL % "weather"},
            {"conn_type": "mysql", "host": "db", "schema": "lake"},
            ("mysql://db:3306", "lake.weather"),
        ),
        (
            {"source": SQL % "weather"},
            {"conn_type": "sqlite", "host": "/d/w.db"},
            ("sqlite:/d/w.db", "weather"),
        ),
        (
            {"target": SNOWFLAKE % "ANALYTICS.RAW.FLIGHTS"},
            {"conn_type": "snowflake", "extra": {"account": "org-acc", "private_key_content": "canary"}},
            ("snowflake://org-acc", "ANALYTICS.RAW.FLIGHTS"),
        ),
        (
            {"target": SNOWFLAKE % "FLIGHTS"},
            {
                "conn_type": "snowflake",
                "schema": "RAW",
                "extra": {"account": "org-acc", "database": "ANALYTICS"},
            },
            ("snowflake://org-acc", "ANALYTICS.RAW.FLIGHTS"),
        ),
        (
            {"target": "{type: duckdb, path: /data/lake.duckdb, table: flights}"},
            {"conn_type": "unused"},
            ("duckdb:/data/lake.duckdb", "main.flights"),
        ),
    ],
    ids=[
        "elasticsearch",
        "the first of several hosts, without its credentials",
        "elasticsearch's own port",
        "postgres",
        "postgres with schema and port",
        "mysql",
        "sqlite",
        "snowflake",
        "snowflake with the connection's database",
        "duckdb",
    ],
)
def test_a_dataset_has_the_openlineage_name(
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    section: dict[str, str],
    connection: dict[str, Any],
    expected: tuple[str, str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", json.dumps({**SECRETS, **connection}))
    (kind,) = section
    name = dataset_name(built(folder, kind, section[kind]))
    assert name == DatasetName(*expected)
    assert "canary" not in repr(name)


def test_a_custom_connector_defines_its_dataset_name() -> None:
    class Kafka(MemorySource):
        def lineage_dataset(self) -> DatasetName:
            return DatasetName("kafka://broker:9092", "flights")

    assert dataset_name(Kafka(None, Identity("flights", "UTC"))) == ("kafka://broker:9092", "flights")


def test_a_name_that_cannot_be_determined_is_omitted(
    folder: Folder, airflow_db: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert dataset_name(built(folder, "source", SQL.replace("place", "nowhere") % "t")) is None
    assert "no lineage of sql: connection 'nowhere' is not defined" in caplog.text
