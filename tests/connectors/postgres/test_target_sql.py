"""Target postgres without a server: names, the binary COPY format, errors by what to do about them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import errors
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.database_errors import database_error
from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol
from airflow_pipeline_provider.connectors.physical import FIRST
from airflow_pipeline_provider.connectors.postgres import sql
from airflow_pipeline_provider.connectors.postgres.copy import (
    CHUNK_BYTES,
    HEADER,
    TRAILER,
    copy_rows,
    copy_stream,
)
from airflow_pipeline_provider.connectors.postgres.target import PostgresTarget
from airflow_pipeline_provider.connectors.postgres.typed import PostgresTyped
from airflow_pipeline_provider.connectors.sql_tables import DATA_COLUMNS, TargetTables, is_first_view
from airflow_pipeline_provider.connectors.typed_views import TypedViews
from airflow_pipeline_provider.core.columns import Column, parse_type
from airflow_pipeline_provider.core.datasets import changes
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError

UTC = timezone.utc
NOON = datetime(2013, 11, 3, 12, 0, 0, 1, tzinfo=UTC)
STAMPS = ("flights", NOON, NOON + timedelta(hours=2), 7, NOON)


def batch(*rows: tuple[str, datetime, str, str]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [[]] * 4
    arrays = [pa.array(list(values), field.type) for values, field in zip(columns, ENVELOPE, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)


def copied(*batches: pa.RecordBatch) -> Iterator[bytes]:
    return copy_stream(copy_rows(batches, STAMPS))


def decoded(stream: bytes) -> Iterator[tuple[Any, ...]]:
    """A reader of the format, field by field, as its documentation describes it."""
    assert stream.startswith(HEADER)
    assert stream.endswith(TRAILER)
    at = len(HEADER)
    while at < len(stream) - len(TRAILER):
        (fields,) = struct.unpack_from(">h", stream, at)
        at += 2
        values = []
        for _ in range(fields):
            (size,) = struct.unpack_from(">i", stream, at)
            values.append(stream[at + 4 : at + 4 + size])
            at += 4 + size
        yield tuple(values)
    assert at == len(stream) - len(TRAILER)


def instant(value: bytes) -> datetime:
    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=struct.unpack(">q", value)[0])


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(("a", NOON, "kit", "{}"), id="plain"),
        pytest.param(("", NOON, "", ""), id="empty texts"),
        pytest.param(("a\tb\nc\r\n\\.\n", NOON, '"', '{"a": "x,\\"y\\n"}'), id="what text formats escape"),
        pytest.param(("ü/🛩", NOON, "ß", '{"é": "\\u0000"}'), id="more bytes than characters"),
        pytest.param(("a", datetime(1, 1, 1, tzinfo=UTC), "kit", "{}"), id="year 0001"),
        pytest.param(("a", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "kit", "{}"), id="year 9999"),
        pytest.param(("a", NOON, "kit", "x" * (2 * CHUNK_BYTES + 5)), id="larger than a chunk"),
    ],
)
def test_a_row_comes_out_as_it_went_in(row):
    chunks = list(copied(batch(row, ("z", NOON, "kit", "last"))))
    assert max(map(len, chunks)) <= CHUNK_BYTES
    found, last = decoded(b"".join(chunks))
    record_id, event_time, source_name, body, pipeline_id, start, end, token, loaded_at = found
    texts = (record_id.decode(), instant(event_time), source_name.decode(), body.decode())
    assert texts == row
    assert (pipeline_id, token) == (b"flights", struct.pack(">q", 7))
    assert (instant(start), instant(end), instant(loaded_at)) == (NOON, NOON + timedelta(hours=2), NOON)
    assert last[0] == b"z"
    assert last[4:] == found[4:]


@pytest.mark.parametrize(("start", "count"), [(0, 5), (1, 3), (4, 1), (5, 0)])
def test_a_slice_of_a_batch_is_only_that_slice(start, count):
    whole = batch(*((f"id{i}" * i, NOON + timedelta(seconds=i), f"s{i}", "b" * i) for i in range(5)))
    found = [
        (row[0].decode(), instant(row[1]), row[2].decode(), row[3].decode())
        for row in decoded(b"".join(copied(whole.slice(start, count))))
    ]
    assert found == [tuple(row.values()) for row in whole.slice(start, count).to_pylist()]


def test_no_rows_are_a_whole_stream():
    assert b"".join(copied()) == HEADER + TRAILER


@pytest.mark.parametrize("column", [0, 2, 3])
def test_a_nul_character_is_refused_by_name(column):
    good = ("good", NOON, "kit", "{}")
    bad = ["bad", NOON, "kit", "{}"]
    bad[column] += "\0x"
    with pytest.raises(DataError, match=rf"record 'bad.*its {ENVELOPE.names[column]} contains a NUL"):
        list(copied(batch(good, tuple(bad), good)))
    # outside of the slice it does no harm
    assert len(list(decoded(b"".join(copied(batch(good, tuple(bad), good).slice(2)))))) == 1


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40001", TransientError),  # serialization_failure
        ("40P01", TransientError),  # deadlock_detected
        ("55P03", TransientError),  # lock_not_available
        ("57014", TransientError),  # query_canceled: statement_timeout
        ("57P01", TransientError),  # admin_shutdown
        ("25P03", TransientError),  # idle_in_transaction_session_timeout
        ("53100", TransientError),  # disk_full
        ("53300", TransientError),  # too_many_connections
        ("08006", TransientError),  # connection_failure
        ("42501", FatalError),  # insufficient_privilege
        ("42P01", FatalError),  # undefined_table
        ("22021", DataError),  # character_not_in_repertoire
        ("22P05", DataError),  # untranslatable_character
        ("23502", DataError),  # not_null_violation
    ],
)
def test_the_servers_errors_by_what_to_do(state, expected):
    mapped = database_error(errors.lookup(state)("said the server"), "load")
    assert type(mapped) is expected
    assert "said the server" in str(mapped)


def test_a_connection_that_breaks_is_transient():
    assert type(database_error(psycopg.OperationalError("server closed"), "load")) is TransientError


@pytest.mark.parametrize("table", ["flights", "raw.flights", "Raw.Flights$1", "select.order", "x" * 55])
def test_names_that_are_taken(table):
    assert PostgresTarget.Options(table=table).table == table


@pytest.mark.parametrize(
    "table",
    ["", "a.b.c", "a..b", 'a"b', "a b", "a;b", "1a", "ü", "x" * 56, "s" * 64 + ".x", "a'b", "a%s", "a\nb"],
)
def test_names_that_are_refused(table):
    with pytest.raises(ValidationError, match="must be"):
        PostgresTarget.Options(table=table)


@pytest.mark.parametrize("earlier", ["raw.flights", 'raw."flights"', '"raw"."flights"'])
@pytest.mark.parametrize("table", ["raw.flights", '"raw".flights'])
def test_quoting_alone_is_no_change_of_the_table(earlier, table):
    """An earlier version recorded the name as the pipeline file wrote it."""
    target = PostgresTarget(PostgresTarget.Options(table=table), Identity("flights", "UTC"))
    assert target.dataset()["table"] == "raw.flights"
    assert changes("target", {**target.dataset(), "table": earlier}, target.dataset()) == []


COLUMNS = [f'"{name}"' for name in DATA_COLUMNS]


@pytest.mark.parametrize("table", ["", "flights."], ids=["PostgreSQL 16", "PostgreSQL 14"])
@pytest.mark.parametrize(
    ("change", "first"),
    [
        pytest.param(lambda text: text, True, id="as it was created"),
        pytest.param(lambda text: text.replace("\n  ORDER", "\n  WHERE true\n  ORDER"), False, id="a condition"),
        pytest.param(lambda text: text.replace('"TOKEN" DESC', '"TOKEN"'), False, id="another order"),
        pytest.param(lambda text: text.replace('"BODY"', 'upper("BODY") AS "BODY"'), False, id="another column"),
        pytest.param(lambda text: text.replace(";", " LIMIT 5;"), False, id="a limit"),
    ],
)  # fmt: skip
def test_the_first_view_is_recognised_and_no_other(
    table: str, change: Callable[[str], str], first: bool
) -> None:
    """By the text of pg_get_viewdef."""
    columns = ",\n    ".join(table + name for name in COLUMNS)
    text = (
        f' SELECT DISTINCT ON ({table}"PIPELINE_ID", {table}"RECORD_ID") {columns}\n   FROM raw.flights\n'
        f'  ORDER BY {table}"PIPELINE_ID", {table}"RECORD_ID", {table}"TOKEN" DESC, {table}"EVENT_TIME" DESC;'
    )
    assert is_first_view(change(text)) is first


def test_a_load_computes_physical_columns_from_a_table_of_its_transaction() -> None:
    tables = TargetTables(sql.DIALECT.parse_name("raw.flights"), sql.DIALECT)
    key = Column("N", ("100%",), parse_type("integer"), physical=True)
    typed = TypedViews(tables, Identity("flights", "UTC"), PostgresTyped(True, ""), "lower")
    source, values = typed.values(str(sql.STAGED), [key])
    insert = sql.insert_staged(tables, source, {"n": values[0]})
    assert insert.startswith('INSERT INTO "raw"."flights" ("RECORD_ID", ')
    assert '"LOADED_AT", "n") SELECT "RECORD_ID"' in insert
    assert (insert.count("'100%'"), insert.count("%%")) == (source.count("'100%%'"), 0)
    condition, bounds = LoadProtocol(tables, lambda *_: [], "flights").between(FIRST, None)
    fill = typed.fill({"n": key}).replace(TypedViews.CONDITION, condition)
    assert (fill.count("%s"), len(bounds)) == (2, 1)
    assert fill % ("a", "b")  # as a driver reads it
