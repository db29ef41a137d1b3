"""How the fields of a window's documents differ from those before it and from the columns."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.columns import Column, Contract, parse_path, parse_type
from airflow_pipeline_provider.core.drift import (
    MOST_FIELDS,
    FieldSet,
    SchemaChanges,
    changes_in,
    compare,
    detail_of,
    known_after,
    merged,
    set_in,
)

NONE = SchemaChanges()


def fields(documents: int = 10, absent: tuple[str, ...] = (), *, cut: bool = False, **kinds: str) -> FieldSet:
    """`a="integer null"`; two underscores are a dot."""
    found: dict[str, Any] = {
        name.replace("__", "."): tuple(sorted(text.split())) for name, text in kinds.items()
    }
    return FieldSet(found, documents, documents, cut=cut, absent=absent)


def column(path: str, kind: str = "text", *, required: bool = False) -> Column:
    return Column(path.upper(), parse_path(path), parse_type(kind), required=required)


@pytest.mark.parametrize(
    ("before", "now", "columns", "expected"),
    [
        pytest.param(None, fields(a="integer"), (), NONE, id="nothing is known before the first window"),
        pytest.param(fields(a="integer"), fields(a="integer"), (), NONE, id="equal"),
        pytest.param(fields(a="integer"), fields(b="null"), (), SchemaChanges(new=("b",)), id="new"),
        pytest.param(fields(a="integer"), fields(b="null"), (column("b"),), NONE, id="a column is not new"),
        pytest.param(fields(x="string"), fields(0), (), NONE, id="a window without documents"),
        pytest.param(fields(x="string"), fields(y="object"), (column("y.z"),), NONE, id="leads to a column"),
        pytest.param(
            fields(y="object", y__z="string"),
            fields(y="object", y__b="string"),
            (column("y.z"),),
            SchemaChanges(new=("y.b",)),
            id="new next to a column",
        ),
        pytest.param(fields(cut=True, a="null"), fields(b="null"), (), NONE, id="too many fields to tell"),
        pytest.param(fields(a="null"), fields(cut=True, b="null"), (), NONE, id="too many fields now"),
        pytest.param(
            fields(a="integer"),
            fields(a="integer string"),
            (),
            SchemaChanges(changed=(("a", ("integer",), ("string",)),)),
            id="changed",
        ),
        pytest.param(fields(a="integer"), fields(a="null"), (), NONE, id="null is no type"),
        pytest.param(fields(a="null"), fields(a="string"), (), NONE, id="was only null"),
        pytest.param(fields(a="number"), fields(a="integer"), (), NONE, id="a whole number among numbers"),
        pytest.param(
            fields(a="integer"),
            fields(a="number"),
            (),
            SchemaChanges(changed=(("a", ("integer",), ("number",)),)),
            id="a fraction among whole numbers",
        ),
        pytest.param(
            None,
            fields(a="string"),
            (column("a", "integer"),),
            SchemaChanges(changed=(("a", ("integer",), ("string",)),)),
            id="another type than the column, in the first window",
        ),
        pytest.param(
            fields(a="string"), fields(a="string"), (column("a", "integer"),), NONE, id="accepted before"
        ),
        pytest.param(
            fields(a="string"), fields(a="integer"), (column("a", "integer"),), NONE, id="as the column has it"
        ),
        *(
            pytest.param(None, fields(a=kinds), (column("a", kind),), NONE, id=f"{kinds} in {kind}")
            for kind, kinds in (
                ("text", "boolean integer number string"),
                ("decimal(9,2)", "integer number"),
                ("double", "integer number"),
                ("boolean", "boolean null"),
                ("date", "integer string"),
                ("timestamp", "integer number string"),
                ("json", "array boolean integer object string"),
                ("array", "array string object"),
                ("rows", "array object"),
            )
        ),
        pytest.param(
            fields(a="string"),
            fields(absent=("a", "b.c"), x="null"),
            (column("a", required=True), column("b.c", required=True), column("d")),
            SchemaChanges(new=("x",), missing=("a", "b.c")),
            id="missing",
        ),
        pytest.param(
            FieldSet({"legs": ("array",), "legs[].gate": ("string",)}),
            FieldSet({"legs[].gate": ("object",), "legs[].x": ("null",), "legs[].at": ("object",)}, 1, 1),
            (Column("LEGS", ("legs",), parse_type("rows"), columns=(column("gate"), column("at.time"))),),
            SchemaChanges(
                new=("legs[].x",),
                changed=(("legs[].gate", ("boolean", "integer", "number", "string"), ("object",)),),
            ),
            id="elements of rows",
        ),
        pytest.param(
            None, fields(absent=("a",), x="null"), (column("a"),), NONE, id="no longer required"
        ),
        pytest.param(FieldSet({}), fields(a="string"), (), NONE, id="no document in the windows before"),
        pytest.param(
            fields(a="object", legs="array"),
            FieldSet({"a": ("object",), "a.b": ("null",), "legs[].x": ("null",), "c": ("null",)}, 1, 1),
            (column("a.b.d"), Column("LEGS", ("legs",), parse_type("rows"), columns=(column("gate"),))),
            SchemaChanges(new=("c",)),
            id="no column read from the object before",
        ),
        pytest.param(
            fields(a="null"),
            FieldSet({"a": ("object",), "a.x": ("null",)}, 1, 1),
            (column("a.b"),),
            SchemaChanges(new=("a.x",)),
            id="the object is new",
        ),
    ],
)  # fmt: skip
def test_compare(
    before: FieldSet | None, now: FieldSet, columns: tuple[Column, ...], expected: SchemaChanges
) -> None:
    assert compare(now, before, columns) == expected


def test_an_optional_field_is_new_once() -> None:
    first, second = fields(a="integer"), fields(a="string", b="null")
    known = known_after(known_after(None, first), second)
    assert known.kinds == {"a": ("integer", "string"), "b": ("null",)}
    assert compare(second, known_after(known, first), ()) == NONE


def test_more_fields_than_the_ledger_keeps_are_cut() -> None:
    many = FieldSet({f"f{n}": ("null",) for n in range(MOST_FIELDS)})
    assert not known_after(None, many).cut
    after = known_after(many, fields(a_first_one="null", f0="string"))
    assert after.cut
    assert after.kinds == {**many.kinds, "f0": ("null", "string")}


def test_readers_of_a_window_are_merged() -> None:
    found = merged(
        [
            fields(3, ("x", "y", "z"), a="integer"),
            FieldSet({"a": ("null",), "b": ("string",)}, 5, 2, absent=("x", "z")),
            fields(0, ("x", "y", "z")),
        ]
    )
    assert found == FieldSet({"a": ("integer", "null"), "b": ("string",)}, 8, 5, absent=("x", "z"))
    assert merged([]) is None


CHANGES = SchemaChanges(
    new=tuple("abcdefg"),
    missing=("carrier",),
    changed=(("delay", ("integer",), ("object", "string")),),
    uncastable={"DELAY": (2000, 3)},
)
NOT_COUNTED = SchemaChanges(not_counted="out of memory")


def test_changes_are_sentences() -> None:
    assert CHANGES.sentences() == [
        "7 new fields: a, b, c, d, e, and 2 more",
        "required field without a value in any document: carrier",
        "delay holds object or string, expected integer",
        "values that do not cast: DELAY 3 of 2,000 values (0.15%)",
    ]
    assert SchemaChanges(missing=("a", "b")).sentences() == [
        "required fields without a value in any document: a, b"
    ]
    assert SchemaChanges(new=("x" * 100,)).sentences() == [f"1 new field: {'x' * 57}..."]
    assert NONE.sentences() == []
    assert NOT_COUNTED.sentences() == ["values that do not cast: not counted (out of memory)"]
    assert (bool(NOT_COUNTED), NOT_COUNTED.count) == (False, 0), "it is not a change"
    assert (bool(CHANGES), CHANGES.count, bool(NONE), NONE.count) == (True, 10, False, 0)


@pytest.mark.parametrize("name", ["new_field", "missing_field", "type_change", "uncastable"])
def test_a_level_concerns_its_own_kind_of_change(name: str) -> None:
    left = CHANGES.by_level(replace(Contract(), **{name: "fail"}), "fail")
    assert len(left.sentences()) == 1
    assert len(CHANGES.by_level(replace(Contract(), **{name: "ignore"}), "warn", "fail").sentences()) == 3
    not_counted = NOT_COUNTED.by_level(replace(Contract(), **{name: "ignore"}), "warn", "fail").not_counted
    assert not_counted == (None if name == "uncastable" else "out of memory")


def test_a_commit_records_what_the_next_window_needs() -> None:
    known, now = fields(a="integer"), FieldSet({"a": ("integer",)}, 100, 10)
    detail = {"fields": detail_of(CHANGES, known, now, whole=True)}
    assert detail["fields"]["changed"] == [["delay", ["integer"], ["object", "string"]]]
    assert (detail["fields"]["looked_at"], detail["fields"]["documents"]) == (10, 100)
    assert changes_in(detail) == CHANGES
    found = set_in(detail)
    assert found is not None
    assert found.hash == known.hash == detail["fields"]["hash"]
    short = {"fields": detail_of(NONE, known, known, whole=False)}
    assert short == {"fields": {"hash": known.hash}}
    assert (changes_in(short), set_in(short)) == (NONE, None)
    assert (changes_in({}), set_in({})) == (NONE, None)
    assert detail_of(SchemaChanges(new=("a",)), None, None, whole=False) == {"new": ["a"]}
