"""Which fields are gathered of documents, and what is checked in all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pytest

from airflow_pipeline_provider.core.columns import Column, parse_path, parse_type
from airflow_pipeline_provider.core.drift import MOST_FIELDS, FieldSet
from airflow_pipeline_provider.envelope.field_kinds import ALL_UP_TO, EVERY, FieldKinds
from airflow_pipeline_provider.envelope.schema import ENVELOPE, instants, text


def batch(*bodies: str) -> pa.RecordBatch:
    ids = text(map(str, range(len(bodies))))
    return pa.record_batch([ids, instants([0] * len(bodies)), ids, text(bodies)], schema=ENVELOPE)


def column(path: str, *, required: bool = False) -> Column:
    return Column("C", parse_path(path), parse_type("text"), required=required)


def gathered(*batches: pa.RecordBatch, columns: Sequence[Column] = ()) -> FieldSet:
    found = FieldKinds(columns)
    for each in batches:
        found.add(each)
    return found.result()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"a":"x"}', {"a": ("string",)}),
        ('{ "a" : -1 , "b":0}', {"a": ("integer",), "b": ("integer",)}),
        ('{"a":1.0,"b":1e3,"c":-2E-1}', {"a": ("number",), "b": ("number",), "c": ("number",)}),
        ('{"a":18446744073709551616}', {"a": ("integer",)}),
        ('{"a":true,"b":false,"c":null}', {"a": ("boolean",), "b": ("boolean",), "c": ("null",)}),
        ('{"a":[],"b":[{"x":1}],"c":{}}', {"a": ("array",), "b": ("array",), "c": ("object",)}),
        ('{"a":1,"a":"x"}', {"a": ("string",)}),
        ('{"a.b":1}', {"a.b": ("integer",)}),
        ('{"\\u00e9":1,"é ":2}', {"é": ("integer",), "é ": ("integer",)}),
        ('{"":1}', {"": ("integer",)}),
        ("{}", {}),
        ("[1]", {}),
        ('{"a":', {}),
        ('{"a":' + "[" * 5000 + "]" * 5000 + "}", {}),
    ],
)
def test_kinds_of_the_top_level(body: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert gathered(batch(body)).kinds == expected


@pytest.mark.parametrize(
    "body",
    [
        '{"a":{"b":{"c":1,"d":"x"}}}',
        '{"a.b":{"c":1,"d":"x"}}',
        '{"a":{"b.c":1,"b.d":"x"}}',
        '{"a.b.c":1,"a.b.d":"x"}',
    ],
)
def test_names_next_to_a_column_are_gathered_in_each_spelling(body: str) -> None:
    found = gathered(batch(body), columns=[column("a.b.c")]).kinds
    assert (found["a.b.c"], found["a.b.d"]) == (("integer",), ("string",))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            '{"legs":[{"gate":"A"},{"gate":1,"x":{}}]}',
            {"legs[].gate": ("integer", "string"), "legs[].x": ("object",)},
        ),
        (
            '{"legs":[null,{"gate":"A"},[{"x":1}],5]}',
            {"legs[].gate": ("string",)},
        ),
        ('{"legs":{"gate":"A"}}', {"legs[].gate": ("string",)}),
        ('{"legs":[]}', {}),
        ('{"legs":[1,"x"]}', {}),
        ('{"legs":null}', {}),
    ],
)
def test_names_of_elements_are_gathered(body: str, expected: dict[str, tuple[str, ...]]) -> None:
    rows = Column("LEGS", ("legs",), parse_type("rows"), columns=(column("gate"),))
    found = gathered(batch(body), columns=[rows]).kinds
    assert {field: kinds for field, kinds in found.items() if field != "legs"} == expected


def test_kinds_of_documents_add_up() -> None:
    found = gathered(batch('{"a":1}', '{"a":"x"}'), batch('{"a":null}', '{"b":{}}'))
    assert found == FieldSet({"a": ("integer", "null", "string"), "b": ("object",)}, 4, 4)


def test_all_documents_of_a_small_window_and_a_part_of_a_large_one_are_looked_at() -> None:
    bodies = [json.dumps({f"f{n // EVERY}": 1}) for n in range(20 * EVERY)]
    whole = gathered(batch(*bodies))
    in_pieces = gathered(*(batch(*bodies[n : n + 100]) for n in range(0, len(bodies), 100)))
    assert whole == in_pieces
    assert len(whole.kinds) == 20, "one of each EVERY documents"
    assert whole.looked_at == ALL_UP_TO + len(range(-(-ALL_UP_TO // EVERY) * EVERY, len(bodies), EVERY))
    small = gathered(batch(*bodies[:ALL_UP_TO]))
    assert (small.looked_at, small.documents) == (ALL_UP_TO, ALL_UP_TO)


@pytest.mark.parametrize(
    ("path", "body", "is_absent"),
    [
        ("carrier", '{"carrier":"UA"}', False),
        ("carrier", '{"carrier":null}', True),
        ("carrier", '{"x":{"carrier":"UA"}}', True),
        ("carrier", '{"x":"\\"carrier\\": 1"}', True),
        ("carrier", '{"x":"carrier"}', True),
        ("dep.time", '{"dep":{"time":1}}', False),
        ("dep.time", '{"dep.time":1}', False),
        ("dep.time", '{"dep":[1],"time":1}', True),
        ('"dep.time".at', '{"dep":{"time":{"at":1}}}', True),
        ('"dep.time".at', '{"dep.time":{"at":1}}', False),
        ("größe", '{"gr\\u00F6\\u00dfe":1}', False),
        ("größe", '{"größe":1}', False),
        ("größe", '{"gross":1}', True),
        ("a/b", '{"a\\/b":1}', False),
    ],
)
def test_a_required_field_is_looked_for_in_every_document(path: str, body: str, is_absent: bool) -> None:
    others = ['{"x":1}'] * (ALL_UP_TO + 2 * EVERY)
    others.insert(ALL_UP_TO + EVERY // 2, body)  # a document that is not looked at otherwise
    found = gathered(batch(*others[:100]), batch(*others[100:]), columns=[column(path, required=True)])
    assert bool(found.absent) is is_absent
    sliced = batch(*others).slice(ALL_UP_TO)
    assert bool(gathered(sliced, columns=[column(path, required=True)]).absent) is is_absent


def test_a_value_that_the_path_does_not_read_is_absent() -> None:
    assert gathered(batch('{"a":{"b":{"c":1}}}'), columns=[column('"a.b".c', required=True)]).absent == (
        "a.b.c",
    )


def test_documents_with_keys_without_end_are_cut() -> None:
    bodies = [
        json.dumps({"a": 1, **{f"k{n}-{m}": m for m in range(10)}}) for n in range(MOST_FIELDS // 10 + 1)
    ]
    found = gathered(batch(*bodies))
    assert (len(found.kinds), found.cut, found.kinds["a"]) == (MOST_FIELDS, True, ("integer",))


def test_batches_without_rows_hold_nothing() -> None:
    empty = gathered(batch(), columns=[column("a", required=True)])
    assert empty == FieldSet({}, absent=("a",))
