"""Differences of a contract to declared types, documents and views."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.values import TypedView
from airflow_pipeline_provider.core.columns import Column, contract_hash, parse_path, parse_type
from airflow_pipeline_provider.phases.columns_diff import Change, compare_fields, compare_views, holds
from airflow_pipeline_provider.phases.columns_fields import Tree
from airflow_pipeline_provider.phases.columns_propose import propose
from tests.unit.test_columns_infer import declared, tree_of


def column(name: str, path: str, type_: str, *formats: str, **more: Any) -> Column:
    return Column(name, parse_path(path), parse_type(type_), formats, **more)


A = column("A", "a", "integer")
LEGS = column("LEGS", "legs", "rows", columns=(column("F", "f", "text"),))


@pytest.mark.parametrize(
    ("columns", "types", "documents", "expected"),
    [
        pytest.param([A], {"a": "integer"}, [{"a": 1}], [], id="equal"),
        pytest.param([A], {}, [], [], id="nothing was looked at"),
        pytest.param([A], {}, [{"a": None}], [], id="only null"),
        pytest.param([A], {"a": "integer"}, [{}], [], id="declared and in no document"),
        pytest.param([A], {"a": "integer", "b": "text"}, [], ["new_field source b"], id="newly declared"),
        pytest.param([A], {}, [{"a": 1, "b": {"c": 2}}], ["new_field documents b.c"], id="newly written"),
        pytest.param([A], {"b": "text"}, [], ["missing_field source a", "new_field source b"], id="renamed"),
        pytest.param([A], {}, [{"x": {}}], ["missing_field documents a", "new_field documents x"], id="gone"),
        pytest.param([A], {"a": "text"}, [], ["type_change source a"], id="declared as another type"),
        pytest.param([A], {"a": "text"}, [{"a": "5"}], [], id="another type whose values all cast"),
        pytest.param([A], {"a": "text"}, [{"a": "x"}], ["uncastable documents a"], id="another type"),
        pytest.param([A], {}, [{"a": [1]}], [], id="one value in an array"),
        pytest.param([A], {}, [{"a": [1, 2]}], ["type_change documents a"], id="several values"),
        pytest.param([A], {}, [{"a": 1}, {"a": {"b": 1}}], ["uncastable documents a"], id="an object"),
        pytest.param([column("A", "a", "json")], {}, [{"a": {"b": 1}}], [], id="json holds all of it"),
        pytest.param([column("A", "a.b", "text")], {"a": "json"}, [], [], id="a part of a json field"),
        pytest.param([column("A", '"a.b"', "integer")], {}, [{"a": {"b": 1}}], [], id="another spelling"),
        pytest.param([replace(A, required=True)], {}, [{"a": 1}, {"a": None}], [], id="required in some"),
        pytest.param(
            [replace(A, required=True)],
            {"a": "integer"},
            [{"a": None}],
            ["missing_field documents a"],
            id="required",
        ),
        pytest.param([A], {}, [{"a": 5.0}, {"a": "1e3"}], [], id="whole numbers written with a point"),
        pytest.param([A], {}, [{"a": 5.5}, {"a": "5.5"}], ["uncastable documents a"], id="fractions"),
        pytest.param(
            [column("A", "a", "date", "yyyy/MM/dd")],
            {},
            [{"a": "2024-01-01"}],
            ["uncastable documents a"],
            id="another format",
        ),
        pytest.param(
            [LEGS],
            {},
            [{"legs": [{"f": "x", "t": 1}]}],
            ["new_field documents legs.t"],
            id="a new field of elements",
        ),
        pytest.param(
            [LEGS],
            {"legs": "rows", "legs.f": "text", "legs.t": "text"},
            [],
            ["new_field source legs.t"],
            id="nested",
        ),
        pytest.param([LEGS], {}, [{"legs": "x"}], ["type_change documents legs"], id="no rows"),
    ],
)
def test_differences_of_fields(
    columns: list[Column], types: dict[str, str], documents: list[Any], expected: list[str]
) -> None:
    found = compare_fields(tree_of(*documents), declared(**types), columns)
    assert sorted(f"{one.change.value} {one.side} {one.path}" for one in found) == expected


def test_proposed_columns_do_not_differ_from_what_they_were_proposed_from() -> None:
    tree = tree_of(
        {"a": 1, "b": ["x"], "c": {"d": "2024-01-01"}, "legs": [{"f": 1}], "n": None, "e": {}, "m": "n/a"},
        {"a": "x", "b": "y", "c.d": "2024/01/01", "legs": {"f": 2}, "s": "01/02/2024"},
    )
    types = declared(
        b="text", m="text", only="integer", **{"legs": "rows", "legs.f": "integer", "legs.g": "text"}
    )
    columns = [one.column for one in propose(tree, types).columns]
    assert list(compare_fields(tree, types, columns)) == []


@pytest.mark.parametrize(
    ("kind", "formats", "cast", "others"),
    [
        ("boolean", (), ["true", "False", "TRUE"], ["yes", "1", ""]),
        ("integer", (), ["5", "+5", "5.", "-05", "1e3"], ["+", ".5", "5,0", "0x5"]),
        ("double", (), [".5", "+.5e3", "-1."], ["NaN", "1e", "."]),
        (
            "timestamp",
            (),
            [
                "2024",
                "2024-05",
                "2024-05-01T",
                "2024-05-01 10:00",
                "2024-05-01 10:00:00",
                "2024-05-01 10:00:00.123456",
                "2024-05-01 10:00:00,5+02:00",
                "2024-05-01T10:00:00.1234567891Z",
            ],
            ["2024-13", "2024-02-30 10:00", "2024-05-01 25:00:00+02", "20240501", "05"],
        ),
        ("timestamp", ("epoch_second",), ["1700000000", "1700000000.5", "-5"], ["2024-05", "now"]),
        ("date", ("dd/MM/yyyy",), ["31/12/2024"], ["2024-05-01 10:00:00", "2024"]),
    ],
)
def test_values_that_the_view_casts_are_not_uncastable(
    kind: Any, formats: tuple[str, ...], cast: list[str], others: list[str]
) -> None:
    column = Column("A", ("a",), parse_type(kind), formats)
    for text in cast:
        assert changes(column, text) == [], text
    for text in others:
        assert changes(column, text) == [Change.UNCASTABLE], text


def changes(column: Column, value: object) -> list[Change]:
    tree = Tree()
    tree.add({"a": value})
    return [one.change for one in compare_fields(tree, [], [column])]


HASH = contract_hash([A, LEGS])
NAMES = ("record_id", "event_time", "a", "legs", "_rest", "token")
MAIN = TypedView("t_typed", HASH, "flights", NAMES)
CHILD = TypedView("t_legs", HASH, "flights", ("record_id", "ordinal", "event_time", "f"))


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        pytest.param([MAIN, CHILD], [], id="equal"),
        pytest.param([], ["no typed view exists"], id="none"),
        pytest.param([MAIN], ["the view of its elements is missing"], id="no child view"),
        pytest.param(
            [MAIN._replace(columns=NAMES[:2]), CHILD], ["not in view t_typed"] * 2, id="edited by hand"
        ),
        pytest.param(
            [MAIN._replace(contract="0" * 16), CHILD],
            [f"view t_typed follows other columns (hash {'0' * 16}, not {HASH})"],
            id="older columns",
        ),
        pytest.param(
            [MAIN._replace(contract="0" * 16, pipeline_id="other"), CHILD],
            [f"view t_typed follows the columns of pipeline other (hash {'0' * 16}, not {HASH})"],
            id="another pipeline",
        ),
    ],
)
def test_differences_of_views(views: list[TypedView], expected: list[str]) -> None:
    assert [one.detail for one in compare_views(views, [A, LEGS], "flights")] == expected


EVERY = (
    "text integer decimal(5,2) decimal(12,2) decimal(5,1) decimal(12,3) decimal(13,2) double boolean date timestamp "
    "json array rows"
)


@pytest.mark.parametrize(
    ("column", "types"),
    [
        ("text", EVERY.replace("json array rows", "")),
        ("array", EVERY),
        ("integer", "integer"),
        ("decimal(12,2)", "integer decimal(5,2) decimal(12,2) decimal(5,1)"),
        ("double", EVERY[EVERY.index("integer") : EVERY.index(" boolean")]),
        ("boolean", "boolean"),
        ("date", "date"),
        ("timestamp", "date timestamp"),
        ("rows", "json rows"),
    ],
)
def test_declared_types_that_a_column_holds(column: str, types: str) -> None:
    held = [one for one in EVERY.split() if holds(parse_type(column), parse_type(one))]
    assert held == [one for one in EVERY.split() if one in types.split()]
