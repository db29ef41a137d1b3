"""A provider, a hook or a driver that is not installed: a FatalError of one sentence that says what to install."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.databases import opener
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.testing.source_kit import WINDOW

CONNECTIONS: dict[str, dict[str, Any]] = {
    "es": {"conn_type": "elasticsearch", "host": "127.0.0.1"},
    "pg": {"conn_type": "postgres", "host": "127.0.0.1"},
    "db2": {"conn_type": "db2_of_1983", "host": "127.0.0.1"},
    "snow": {"conn_type": "snowflake", "login": "kit", "password": "kit-secret"},
    "lake": {"conn_type": "aws", "login": "kit-key", "password": "kit-secret"},
}


def connector(kind: str, name: str, **options: Any) -> Any:
    cls = connector_class(kind, name)
    return cls(cls.Options.model_validate({"type": name, **options}), Identity("flights", "UTC"))


def sql_source(conn_id: str) -> Any:
    return connector("source", "sql", conn_id=conn_id, table="t", time_column="at", key_columns=["id"])


def elasticsearch() -> Any:
    return connector("source", "elasticsearch", conn_id="es", index="i")


def object_store(path: str) -> Any:
    return connector("stage", "object_store", path=path)


CASES: list[tuple[str, list[str], Callable[[], Any], str]] = [
    (
        "elasticsearch",
        ["elastic_transport"],
        lambda: elasticsearch().count(WINDOW),
        "provider[elasticsearch]",
    ),
    (
        "source postgres",
        ["airflow.providers.postgres.hooks.postgres"],
        lambda: sql_source("pg").count(WINDOW),
        "provider[postgres]",
    ),
    (
        "target postgres",
        ["airflow.providers.postgres.hooks.postgres"],
        lambda: connector("target", "postgres", conn_id="pg", table="raw.t").prepare(),
        "provider[postgres]",
    ),
    (
        "state postgres",
        ["airflow.providers.postgres.hooks.postgres"],
        lambda: connector("state", "sql", conn_id="pg").entries(),
        "provider[postgres]",
    ),
    (
        "a hook of no provider",
        [],
        lambda: sql_source("db2").count(WINDOW),
        "apache-airflow-providers-db2-of-1983",
    ),
    (
        "snowflake",
        ["airflow.providers.snowflake.hooks.snowflake"],
        lambda: connector("target", "snowflake", conn_id="snow", table="A.B.C").prepare(),
        "provider[snowflake]",
    ),
    ("s3fs", ["s3fs"], lambda: object_store("s3://lake@bucket/x").list(""), "provider[amazon]"),
    (
        "a store of no provider",
        [],
        lambda: object_store("zzz://lake@bucket/x").list(""),
        "install the provider of its cloud",
    ),
    (
        "duckdb",
        ["duckdb"],
        lambda: connector("target", "duckdb", path="/tmp/none.duckdb", table="main.t").prepare(),
        "provider[duckdb]",
    ),
]


@pytest.mark.parametrize(("absent", "use", "words"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, absent: list[str], use: Callable[[], Any], words: str
) -> None:
    for conn_id, fields in CONNECTIONS.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FatalError) as caught:
        use()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(CONNECTIONS["pg"]))
    _, hook, connect = opener("pg", sqlite_mode="ro")

    def no_driver() -> Any:
        raise ModuleNotFoundError("No module named 'psycopg2'")

    monkeypatch.setattr(hook, "get_conn", no_driver)
    with pytest.raises(FatalError, match="driver cannot be imported"), database_errors("connection 'pg'"):
        connect()
