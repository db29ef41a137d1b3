"""Sources and targets compared: what is another one, and what two pipelines share."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_pipeline_provider.core.datasets import (
    changes,
    days_overlap,
    fingerprint,
    other_spelling,
    overlap,
)

SQL: dict[str, Any] = {
    "type": "sql",
    "conn_id": "shop",
    "server": "db:5432",
    "database": "shop",
    "table": "public.orders",
    "query": None,
}
SEARCH: dict[str, Any] = {
    "type": "elasticsearch",
    "conn_id": "es",
    "server": "a:9200,b:9200",
    "index": ["flights"],
    "query": None,
}
SQLITE: dict[str, Any] = {
    "type": "sql",
    "conn_id": "shop",
    "dialect": "sqlite",
    "server": "/data",
    "database": "shop.db",
    "file": "/data/shop.db",
    "table": "orders",
    "query": None,
}
FILE_MOVED = ['source.conn_id was "shop" (db:5432) and is "renamed" (/x/../data)']


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"server": "other:5432"}, []),
        ({"conn_id": "renamed"}, []),
        ({"conn_id": "renamed", "server": None}, []),
        ({"added by a newer version": 1}, []),
        ({"database": None}, []),
        ({"table": "public.sales"}, ['source.table was "public.orders" and is "public.sales"']),
        ({"table": '"public"."orders"'}, []),
        ({"table": '"public.orders"'}, ['source.table was "public.orders" and is "\\"public.orders\\""']),
        ({"table": "public.Orders"}, ['source.table was "public.orders" and is "public.Orders"']),
        ({"table": 'public."or'}, ['source.table was "public.orders" and is "public.\\"or"']),
        ({"database": "bank"}, ['source.database was "shop" and is "bank"']),
        ({"query": fingerprint("SELECT 1")}, ["source.query has changed"]),
        (
            {"conn_id": "renamed", "server": "other:5432"},
            ['source.conn_id was "shop" (db:5432) and is "renamed" (other:5432)'],
        ),
        ({"file": "/data/shop.db"}, []),
        ({"conn_id": "renamed", "server": "/x/../data", "file": "/data/shop.db"}, FILE_MOVED),
        ({"dialect": "postgres"}, []),
        (
            {"type": "x", "table": "y"},
            ['source.table was "public.orders" and is "y"', 'source.type was "sql" and is "x"'],
        ),
    ],
)
def test_what_is_another_source(change: dict[str, Any], said: list[str]) -> None:
    assert changes("source", SQL, {**SQL, **change}) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"server": "/data/x/..", "conn_id": "renamed"}, []),
        ({"server": "/links", "database": "current.db", "conn_id": "renamed"}, []),
        ({"server": "/moved", "file": "/moved/shop.db"}, []),
        (
            {"database": "bank.db", "file": "/data/bank.db"},
            ['source.database was "shop.db" and is "bank.db"'],
        ),
        (
            {"server": "/moved", "file": "/moved/shop.db", "conn_id": "renamed"},
            ['source.conn_id was "shop" (/data) and is "renamed" (/moved)'],
        ),
        ({"table": "other"}, ['source.table was "orders" and is "other"']),
    ],
)
def test_another_spelling_of_a_file_is_no_other_source(change: dict[str, Any], said: list[str]) -> None:
    assert changes("source", SQLITE, {**SQLITE, **change}) == said


def test_another_spelling_of_a_path_is_no_other_target() -> None:
    before = {"type": "duckdb", "path": "lake.duckdb", "file": "/data/lake.duckdb"}
    assert changes("target", before, {**before, "path": "/data/x/../lake.duckdb"}) == []
    other = {**before, "path": "other.duckdb", "file": "/data/other.duckdb"}
    assert changes("target", before, other) == ['target.path was "lake.duckdb" and is "other.duckdb"']


@pytest.mark.parametrize(
    ("dialect", "one", "other", "shared"),
    [
        ("sqlite", "orders", "Orders", True),
        ("sqlite", "orders", "main.ORDERS", True),
        ("sqlite", "orders", '"orders"', True),
        ("sqlite", "orders", "order", False),
        ("sqlite", "order*", "orders", False),
        ("mysql", "orders", "Orders", True),
        ("mysql", "orders", "shop.orders", True),
        ("mysql", "orders", "bank.orders", False),
        ("mssql", "dbo.orders", "Orders", True),
        ("mssql", "sales.orders", "Orders", False),
        ("postgres", "orders", "Orders", False),
        ("postgres", "orders", 'public."orders"', True),
        ("oracle", "ORDERS", "orders", False),
        ("snowflake", "ORDERS", "orders", False),
        ("trino", "hive.sales.orders", "hive.sales.Orders", True),
        (None, "orders", "Orders", False),
        (None, "orders", "orders", True),
    ],
)
def test_which_names_are_one_table(dialect: str | None, one: str, other: str, shared: bool) -> None:
    now = {**SQL, "dialect": dialect, "table": one}
    recorded = {**SQL, "table": other}  # as versions recorded it that knew no dialect
    assert overlap(now, recorded) is shared
    assert overlap(recorded, now) is shared


def test_a_connection_may_name_the_schema() -> None:
    now = {**SQL, "dialect": "snowflake", "schema": "SALES", "table": "ORDERS"}
    assert overlap(now, {**now, "table": "SALES.ORDERS"})
    assert not overlap(now, {**now, "table": "BANK.ORDERS"})


def test_names_that_differ_are_explained() -> None:
    other = {**SQLITE, "table": "Orders"}
    assert "'orders' and 'Orders' mean one table" in other_spelling(SQLITE, other)
    assert other_spelling(SQLITE, SQLITE) == ""
    assert other_spelling({**SQLITE, "table": None}, other) == ""


def test_a_long_value_is_cut() -> None:
    [said] = changes("target", {"path": "a"}, {"path": "b" * 999})
    assert len(said) < 250
    assert said.endswith("...")


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (SQL, {}, True),
        (SQL, {"table": "public.sales"}, False),
        (SQL, {"conn_id": "renamed"}, True),
        (SQL, {"conn_id": "other", "server": "x"}, False),
        (SQL, {"conn_id": "other", "server": None}, False),
        (SQL, {"database": "bank"}, False),
        (SQL, {"database": None}, True),
        (SQLITE, {"conn_id": "other", "server": "/x/../data"}, True),
        (SQLITE, {"conn_id": "other", "server": "/b", "database": "b.db", "file": "/b/b.db"}, False),
        (SQL, {"type": "other"}, False),
        (SQL, {"table": None, "query": fingerprint("SELECT 1")}, False),
        (
            {**SQL, "table": None, "query": fingerprint("SELECT  1")},
            {"query": fingerprint("SELECT\n1")},
            True,
        ),
        ({**SQL, "table": None}, {}, False),
        (SEARCH, {"index": ["flights", "trains"]}, True),
        (SEARCH, {"index": ["trains"]}, False),
        (SEARCH, {"index": ["fl*"]}, True),
        ({**SEARCH, "index": ["f*"]}, {"index": ["flights"]}, True),
        ({**SEARCH, "index": ["f*", "-flights"]}, {"index": ["flights"]}, False),
        (SEARCH, {"index": ["*", "-fl*"]}, False),
        (SEARCH, {"query": fingerprint({"term": {"carrier": "AA"}})}, True),
        (
            {**SEARCH, "query": fingerprint({"term": {"carrier": "UA"}})},
            {"query": fingerprint({"term": {"carrier": "AA"}})},
            False,
        ),
        ({"type": "own", "conn_id": "x"}, {}, False),
    ],
)
def test_what_two_pipelines_share(one: dict[str, Any], other: dict[str, Any], shared: bool) -> None:
    assert overlap(one, {**one, **other}) is shared
    assert overlap({**one, **other}, one) is shared


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ((None, None), (None, None), True),
        (("2024-01-01", "2024-12-31"), ("2025-01-01", None), False),
        ((None, "2024-12-31"), ("2024-12-31", None), True),
        (("2024-01-01", None), (None, "2023-12-31"), False),
    ],
)
def test_days(one: Any, other: Any, shared: bool) -> None:
    assert days_overlap(one, other) is shared
    assert days_overlap(other, one) is shared


def test_a_query_is_not_kept_as_text() -> None:
    assert fingerprint(None) is None
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert "secret" not in (fingerprint("SELECT 'secret'") or "")
