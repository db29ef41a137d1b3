"""Sources and targets compared: what is another one, and what two pipelines share."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_pipeline_provider.core.datasets import changes, days_overlap, fingerprint, overlap

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
        ({"database": "bank"}, ['source.database was "shop" and is "bank"']),
        ({"query": fingerprint("SELECT 1")}, ["source.query has changed"]),
        (
            {"conn_id": "renamed", "server": "other:5432"},
            ['source.conn_id was "shop" (db:5432) and is "renamed" (other:5432)'],
        ),
        (
            {"type": "x", "table": "y"},
            ['source.table was "public.orders" and is "y"', 'source.type was "sql" and is "x"'],
        ),
    ],
)
def test_what_is_another_source(change: dict[str, Any], said: list[str]) -> None:
    assert changes("source", SQL, {**SQL, **change}) == said


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
