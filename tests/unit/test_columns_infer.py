"""Proposed columns for documents and mappings that broke other loaders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.values import FieldType
from airflow_pipeline_provider.core.columns import Column, format_path, parse_path, parse_type
from airflow_pipeline_provider.phases.columns_fields import Tree, decode_document
from airflow_pipeline_provider.phases.columns_propose import Lengths, Proposal, Proposals, propose


def tree_of(*documents: Any) -> Tree:
    tree = Tree()
    for document in documents:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        found = decode_document(body)
        assert found is not None, body
        tree.add(found)
    return tree


def declared(**types: str) -> list[FieldType]:
    found = []
    for path, text in types.items():
        type_, _, formats = text.partition(" ")
        found.append(FieldType(parse_path(path), parse_type(type_), tuple(filter(None, formats.split("||")))))
    return found


def text_of(one: Proposal) -> str:
    """`NAME path type [formats] {inner; inner}`."""
    column = one.column
    inner = "; ".join(map(text_of, one.columns))
    formats = " " + "||".join(column.formats) if column.formats else ""
    return f"{column.name} {format_path(column.path)} {column.type}{formats}" + (
        f" {{{inner}}}" if inner else ""
    )


def texts_of(found: Proposals) -> list[str]:
    return [text_of(one) for one in found.columns]


def proposal(*documents: Any, types: list[FieldType] | None = None) -> Proposal:
    (one,) = propose(tree_of(*documents), types or []).columns
    return one


A = "A a "


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        pytest.param([1, -5], "integer", "guessed", id="whole numbers"),
        pytest.param([1, None], "integer", "guessed", id="null beside a number"),
        pytest.param([1, 2.5], "double", "guessed", id="whole numbers and fractions"),
        pytest.param([18446744073709551615], "decimal(38,0)", "20 digits", id="unsigned long"),
        pytest.param([10**17], "integer", "guessed", id="18 digits"),
        pytest.param([10**38], "text", "39 digits", id="more than a decimal holds"),
        pytest.param([True, False], "boolean", "guessed", id="booleans"),
        pytest.param([True, "false"], "boolean", "some of them as text", id="booleans also as text"),
        pytest.param(["true", "false"], "boolean", "is true or false", id="booleans as text"),
        pytest.param([True, 1], "text", "booleans and integers", id="booleans and numbers"),
        pytest.param([5, "5"], "integer", "some of them as text", id="coerce"),
        pytest.param([5, "5.5"], "double", "some of them as text", id="coerce a fraction"),
        pytest.param([5, "n/a"], "text", "integers and strings", id="ignore_malformed"),
        pytest.param([5, "05"], "text", "integers and strings", id="a leading zero is no number"),
        pytest.param(["10115", "94105"], "text", "integer if it is not an id", id="postal codes stay text"),
        pytest.param(["1.5", "2"], "text", "double or decimal", id="numbers as text stay text"),
        pytest.param(["x", ""], "text", "guessed", id="text"),
        pytest.param([None, None], "text", "every sampled value is null", id="nulls only"),
        pytest.param([{}, {}], "json", "only empty objects", id="empty objects"),
        pytest.param([{}, None], "json", "only empty objects", id="empty objects and null"),
        pytest.param([[]], "array", "only empty arrays", id="empty arrays"),
        pytest.param([[1], [2, 3]], "array", "arrays of up to 2 values", id="arrays"),
        pytest.param(["x", ["y", "z"]], "array", "1 single value", id="one value or many"),
        pytest.param([[[1, 2], [3]]], "array", "arrays of up to 2 values", id="arrays of arrays"),
        pytest.param([[None]], "array", "only empty arrays", id="an array of null"),
        pytest.param(["x", {"b": 1}], "json", "objects and strings", id="an object and a text"),
        pytest.param([[1, {"b": 1}]], "json", "arrays, integers and objects", id="mixed elements"),
        pytest.param([{"b": 1}, ["x"]], "json", "arrays and objects", id="an object and an array of texts"),
        pytest.param(["2024-02-29"], "date", "is a date", id="days"),
        pytest.param(["2024-02-30"], "text", "guessed", id="a day that does not exist"),
        pytest.param(["2024-01-01T10:00:00Z"], "timestamp", "is a date", id="instants"),
        pytest.param(["2024-01-01T10:00:00.123456789+0200"], "timestamp", "is a date", id="nanoseconds"),
        pytest.param(["2024-01-01", "2024-01-01T10"], "timestamp", "is a date", id="days and instants"),
        pytest.param(
            ["2024-01-01 10:00:00"], "timestamp yyyy-MM-dd HH:mm:ss", "is a date", id="a space instead of T"
        ),
        pytest.param(
            ["2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z", "2024/01/01 10:00:00"],
            "timestamp strict_date_optional_time||yyyy/MM/dd HH:mm:ss",
            "is a date",
            id="mixed formats",
        ),
        pytest.param(["31/12/2024", "01/02/2024"], "date dd/MM/yyyy", "is a date", id="day before month"),
        pytest.param(["12/31/2024", "01/02/2024"], "date MM/dd/yyyy", "is a date", id="month before day"),
        pytest.param(["01/02/2024"], "text", "cannot be told apart", id="day or month"),
        pytest.param(["31/12/2024", "12/31/2024"], "text", "cannot be told apart", id="both orders"),
        pytest.param(["2024-01-01", "unknown"], "text", "1 of 2 sampled texts are dates", id="some dates"),
        pytest.param(["20240101"], "text", "whole number", id="digits are no date"),
        pytest.param([1704103200000], "integer", "guessed", id="milliseconds are a number"),
        pytest.param(["9" * 41], "text", "guessed", id="long digits"),
    ],
)
def test_type_guessed_from_documents(values: list[Any], expected: str, note: str) -> None:
    one = proposal(*({"a": value} for value in values))
    assert text_of(one) == A + expected
    assert one.guessed
    assert one.note is not None
    assert note in one.note
    assert one.note.startswith("guessed")


@pytest.mark.parametrize(
    ("type_", "values", "expected", "note"),
    [
        pytest.param("integer", [1, "5"], "integer", None, id="coerce"),
        pytest.param(
            "integer", [1, "n/a", True], "integer", "NULL for 2 of 3 sampled values", id="malformed"
        ),
        pytest.param("integer", [1, [2, 3]], "array", "an array in 1 of 2 sampled values", id="arrays"),
        pytest.param(
            "text", ["2024-01-01"], "text", "every one of 1 sampled text is a date", id="dates in a keyword"
        ),
        pytest.param("text", [5, True], "text", None, id="a keyword that holds numbers"),
        pytest.param("text", [{"b": 1}], "text", "NULL for 1 of 1 sampled value", id="an object in a text"),
        pytest.param("boolean", ["true", 0], "boolean", "NULL for 1 of 2 sampled values", id="booleans"),
        pytest.param(
            "timestamp strict_date_optional_time||epoch_millis",
            [1704103200000, "2024-01-01", "1704103200000"],
            "timestamp strict_date_optional_time||epoch_millis",
            None,
            id="date or milliseconds",
        ),
        pytest.param("timestamp", [5], "timestamp", "NULL for 1 of 1 sampled value", id="no milliseconds"),
        pytest.param("date basic_date", ["20240101"], "date basic_date", None, id="basic date"),
        pytest.param("date yyyy-MM-dd", ["2024-01-01"], "date yyyy-MM-dd", None, id="a pattern of ISO 8601"),
        pytest.param(
            "date yyyy/MM/dd", ["2024-01-01"], "date yyyy/MM/dd", "NULL for 1 of 1", id="another pattern"
        ),
        pytest.param("timestamp", ["n/a"], "timestamp", "NULL for 1 of 1 sampled value", id="malformed date"),
        pytest.param("decimal(20,0)", [18446744073709551615], "decimal(20,0)", None, id="unsigned long"),
        pytest.param("json", [{"b": {"c": 1}}], "json", None, id="flattened"),
        pytest.param("rows", [[{"b": 1}], {"b": 2}], "rows {B b integer}", "1 of 2", id="nested"),
        pytest.param(
            "rows", [None], "json", "no field of its elements is known", id="nested without elements"
        ),
    ],
)
def test_type_of_the_source_is_kept(type_: str, values: list[Any], expected: str, note: str | None) -> None:
    one = proposal(*({"a": value} for value in values), types=declared(a=type_))
    assert text_of(one) == A + expected
    assert not one.guessed
    assert (one.note is None) if note is None else note in (one.note or "")


@pytest.mark.parametrize(
    ("documents", "types", "expected"),
    [
        pytest.param(
            [{"dep": {"time": "x", "at": {"z": 1}}}],
            {},
            ["DEP_TIME dep.time text", "DEP_AT_Z dep.at.z integer"],
            id="nested objects",
        ),
        pytest.param(
            [{"a": {"b": 1}}, {"a.b": 2}], {}, ["A_B a.b integer"], id="both spellings are one field"
        ),
        pytest.param([{"a.b": 2}], {"a.b": "integer"}, ["A_B a.b integer"], id="dotted keys"),
        pytest.param([{"a.b": {"c": 1}}], {}, ['A_B_C "a.b".c integer'], id="dots in the middle"),
        pytest.param(
            [{"a": {}}, {"a": {"b": 1}}], {}, ["A_B a.b integer"], id="an object that is empty once"
        ),
        pytest.param(
            [{"Name": 1, "name": 2, "NAME": 3}],
            {},
            ["NAME Name integer", "NAME_2 name integer", "NAME_3 NAME integer"],
            id="names that differ in case",
        ),
        pytest.param(
            [{"a_b": 1, "a": {"b": 2}}], {}, ["A_B a_b integer", "A_B_2 a.b integer"], id="collision"
        ),
        pytest.param(
            [{"depTime": 1, "größe": 2}], {}, ["DEP_TIME depTime integer", "GROSSE größe integer"], id="words"
        ),
        pytest.param(
            [{"日本": 1, "中国": 2}],
            {},
            ["FIELD 日本 integer", "FIELD_2 中国 integer"],
            id="no letter of a name",
        ),
        pytest.param(
            [{"2nd": 1, "@timestamp": 2}],
            {},
            ["F_2ND 2nd integer", "TIMESTAMP @timestamp integer"],
            id="start",
        ),
        pytest.param(
            [{"token": 1, "_rest": 2}], {}, ["TOKEN_2 token integer", "REST _rest integer"], id="reserved"
        ),
        pytest.param([{"a": 1}], {"b": "text"}, ["A a integer", "B b text"], id="only in the mapping"),
        pytest.param(
            [{"legs": [{"from": "x", "stops": [{"a": 1}]}, {"to": "y"}]}],
            {},
            ["LEGS legs rows {FROM from text; STOPS stops array; TO to text}"],
            id="rows",
        ),
        pytest.param(
            [],
            {"legs": "rows", "legs.from": "text", "legs.stops": "rows", "legs.stops.a": "text"},
            ["LEGS legs rows {FROM from text; STOPS stops array}"],
            id="nested in the mapping",
        ),
        pytest.param([{"a": {"b": 1}}], {"a": "json"}, ["A a json"], id="an object that is not indexed"),
        pytest.param([{"a": {f"k{n}": n}} for n in range(200)], {}, ["A a json"], id="keys that are data"),
    ],
)
def test_fields_that_become_columns(documents: list[Any], types: dict[str, str], expected: list[str]) -> None:
    assert texts_of(propose(tree_of(*documents), declared(**types))) == expected


def test_names_differ_whatever_the_case_and_fit_the_target() -> None:
    keys = [f"{'x' * 100}{n}" for n in range(30)] + [f"{'X' * 100}{n}" for n in range(30)]
    names = [one.column.name for one in propose(tree_of(dict.fromkeys(keys, 1)), []).columns]
    assert len({name.casefold() for name in names}) == 60
    assert max(map(len, names)) == 63


def test_names_of_rows_leave_room_for_the_table() -> None:
    (one,) = propose(tree_of({"x" * 100: [{"y" * 100: 1}]}), [], (), Lengths(63, 20)).columns
    assert [len(one.column.name), len(one.columns[0].column.name)] == [20, 63]


def test_object_around_a_masked_column_is_left_out() -> None:
    held = [Column("SSN", ("user", "ssn"), parse_type("text"), mask="drop")]
    found = propose(tree_of({"user": {"ssn": "1", "id": 5}}, {"user": "x"}), [], held)
    assert texts_of(found) == []
    assert [(one.path, one.why) for one in found.left_out] == [("user", "the column SSN holds a part of it")]


def test_collision_names_the_other_path() -> None:
    first, second = propose(tree_of({"a_b": 1, "a": {"b": 2}}), []).columns
    assert first.note == "guessed"
    assert second.note == "the name A_B belongs to a_b; guessed"


def test_no_more_columns_than_a_view_can_have() -> None:
    found = propose(tree_of({f"f{n}": n for n in range(1_600)}), [])
    assert len(found.columns) == 1_500
    assert [one.path for one in found.left_out][:2] == ["f1500", "f1501"]
    assert {one.why for one in found.left_out} == {"a view has at most 1,500 columns"}


@pytest.mark.parametrize("key", ["", "a\u0000b", "a\nb", "a..b", ".", "\ud800"])
def test_keys_that_no_path_can_name(key: str) -> None:
    found = propose(tree_of({key: 1, "ok": 2}), [])
    written = [one.column.path for one in found.columns]
    assert ("ok",) in written
    for path in written:
        assert parse_path(format_path(path)) == path
    assert len(written) + len(found.left_out) == 2


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        pytest.param([], ["A_B a.b integer", "A_C a.c integer", "D d integer"], id="none"),
        pytest.param([("X", "a.b", "text")], ["A_C a.c integer", "D d integer"], id="one field"),
        pytest.param([("X", '"a.b"', "text")], ["A_C a.c integer", "D d integer"], id="its other spelling"),
        pytest.param([("X", "a", "json")], ["D d integer"], id="the object around it"),
        pytest.param(
            [("d", "x", "text")], ["A_B a.b integer", "A_C a.c integer", "D_2 d integer"], id="its name"
        ),
    ],
)
def test_existing_columns_are_kept(existing: list[tuple[str, str, str]], expected: list[str]) -> None:
    held = [Column(name, parse_path(path), parse_type(type_)) for name, path, type_ in existing]
    assert texts_of(propose(tree_of({"a": {"b": 1, "c": 2}, "d": 3}), [], held)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[1]", None),
        (b"not json", None),
        (b'{"a": NaN', None),
        (b"[" * 100_000, None),
        (b'{"a": 1e999}', {"a": float("inf")}),
        (b'{"a": ' + b"9" * 5_000 + b"}", {"a": float("inf")}),
    ],
)
def test_documents_that_are_hard_to_decode(body: bytes, expected: object) -> None:
    assert decode_document(body) == expected


def test_no_value_of_a_document_is_in_a_proposal() -> None:
    secret = "hunter2"
    found = propose(tree_of({"a": secret, "b": [secret], "c": {"d": secret}, "e": 5}, {"e": secret}), [])
    assert secret not in repr(found)
