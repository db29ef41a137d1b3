"""What a COPY to PostgreSQL proves about its rows while they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest

from airflow_pipeline_provider.connectors.postgres import sent_rows
from airflow_pipeline_provider.connectors.postgres.sent_rows import SentRows
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.schema import ENVELOPE

NOON = datetime(2013, 11, 3, 12, tzinfo=timezone.utc)
WINDOW = Interval(NOON, NOON + timedelta(hours=1))
MICRO = timedelta(microseconds=1)


def batch(ids: Sequence[str], times: Sequence[datetime] | None = None) -> pa.RecordBatch:
    columns = [list(ids), list(times or [NOON] * len(ids)), ["kit"] * len(ids), ["{}"] * len(ids)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, ENVELOPE, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)


def sent(*batches: pa.RecordBatch) -> SentRows:
    rows = SentRows(WINDOW)
    assert list(rows.watch(batches)) == list(batches)
    return rows


@pytest.mark.parametrize(
    ("batches", "distinct"),
    [
        pytest.param([], True, id="no batch"),
        pytest.param([batch([])], True, id="no rows"),
        pytest.param([batch(["a"])], True, id="one row"),
        pytest.param([batch(["", "a", "A", "ä", "a ", "\\"]), batch(["b"])], True, id="all different"),
        pytest.param([batch(["a\u0301"]), batch(["á"])], True, id="equal to a reader, other bytes"),
        pytest.param([batch(["a", "b", "a"])], False, id="twice in a batch"),
        pytest.param([batch(["a", "b"]), batch([]), batch(["c", "b"])], False, id="twice in two batches"),
        pytest.param([batch(["a", "b", "a"]).slice(1)], True, id="the other one is outside of the slice"),
        pytest.param([batch(["x", "a", "b", "a"]).slice(1)], False, id="both are in the slice"),
        pytest.param([batch(["", ""])], False, id="two empty ids"),
    ],
)
def test_repeated_ids_are_not_reported_as_distinct(batches, distinct):
    rows = sent(*batches)
    assert rows.rows == sum(one.num_rows for one in batches)
    assert rows.are_distinct_inside() is distinct


@pytest.mark.parametrize("repeated", [None, 0, 1, 500, 998])
def test_a_repeated_id_is_found_in_any_group_of_hashes(monkeypatch, repeated):
    monkeypatch.setattr(sent_rows, "_ROWS_AT_ONCE", 10)
    ids = [f"id{n}" for n in range(999)]
    more = [] if repeated is None else [ids[repeated]]
    assert sent(batch(ids), batch(more)).are_distinct_inside() is (repeated is None)


@pytest.mark.parametrize(
    ("time", "inside"),
    [(NOON - MICRO, False), (NOON, True), (WINDOW.end - MICRO, True), (WINDOW.end, False)],
)
def test_a_row_outside_the_window_is_noticed(time, inside):
    rows = sent(batch(["a", "b"], [NOON, time]), batch(["c"]))
    assert rows.are_distinct_inside() is inside


def test_of_too_many_rows_nothing_is_kept_and_nothing_is_proven(monkeypatch):
    monkeypatch.setattr(sent_rows, "MOST_ROWS", 3)
    assert sent(batch(["a", "b"]), batch(["c"])).are_distinct_inside()
    rows = sent(batch(["a", "b"]), batch(["c", "d"]), batch(["e"]))
    assert (rows.rows, rows.are_distinct_inside(), len(rows._hashes)) == (5, False, 0)


def test_different_ids_of_equal_hash_are_not_reported_as_distinct(monkeypatch):
    monkeypatch.setattr(sent_rows, "hash", len, raising=False)
    assert not sent(batch(["a", "b"])).are_distinct_inside()
    assert sent(batch(["a", "bb"])).are_distinct_inside()
