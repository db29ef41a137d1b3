"""Types, paths and the hash of typed columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_pipeline_provider.core.columns import (
    KINDS,
    Column,
    ColumnType,
    contract_hash,
    format_path,
    formats_of,
    indexed_path,
    parse_path,
    parse_type,
)

TEXT = ColumnType("text")
KEYS = st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1), min_size=1, max_size=5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "decimal"])
def test_a_type_is_written_as_it_is_read(kind: str) -> None:
    assert parse_type(kind).kind == kind
    assert str(parse_type(kind)) == kind


@pytest.mark.parametrize(
    ("text", "precision", "scale"),
    [
        ("decimal(12,2)", 12, 2),
        ("decimal(12, 2)", 12, 2),
        ("decimal( 1 , 1 )", 1, 1),
        ("decimal(38,0)", 38, 0),
    ],
)
def test_a_decimal_has_digits(text: str, precision: int, scale: int) -> None:
    found = parse_type(text)
    assert found == ColumnType("decimal", precision, scale)
    assert parse_type(str(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "string",
            "must be one of text, integer, decimal(p,s), double, boolean, date, timestamp, json, array, rows, "
            "got 'string'",
        ),
        ("decimal", "decimal(p,s)"),
        ("decimal(12)", "decimal(p,s)"),
        ("TEXT", "got 'TEXT'"),
        ("", "got ''"),
        ("decimal(39,0)", "must have 1 to 38 digits"),
        ("decimal(0,0)", "must have 1 to 38 digits"),
        ("decimal(2,3)", "of which at most all are after the point, got 'decimal(2,3)'"),
    ],
)
def test_what_is_not_a_type_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_type(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("carrier", ("carrier",)),
        ("dep.time", ("dep", "time")),
        ('"a.b".c', ("a.b", "c")),
        ('c."a.b"', ("c", "a.b")),
        ('"a""b"', ('a"b',)),
        ('"""".x', ('"', "x")),
        ("@timestamp", ("@timestamp",)),
        ("first name.x-y", ("first name", "x-y")),
        ('"plain"', ("plain",)),
        ('" a".b', (" a", "b")),
        ("größe.日本", ("größe", "日本")),
    ],
)
def test_a_path_is_keys(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path
    assert parse_path(format_path(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        '""',
        '"a',
        'a"b"',
        '"a"b',
        '"a".',
        "a. b",
        "a ",
        "a\nb",
        '"a\nb"',
        "a\x00",
        "\ud800",
    ],
)
def test_what_is_not_a_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be keys with dots between them") as error:
        parse_path(text)
    assert str(error.value).endswith(f"got {text!r}")


@given(KEYS)
def test_any_keys_can_be_written(keys: list[str]) -> None:
    assert parse_path(format_path(keys)) == tuple(keys)


def test_both_spellings_of_nested_keys_are_one_field() -> None:
    assert indexed_path(("a", "b")) == indexed_path(("a.b",)) == "a.b"


def test_a_date_without_formats_has_the_default_of_elasticsearch() -> None:
    column = Column("DAY", ("day",), ColumnType("date"))
    assert formats_of(column) == ("strict_date_optional_time",)
    assert formats_of(Column("DAY", ("day",), ColumnType("date"), ("epoch_millis",))) == ("epoch_millis",)


def test_the_hash_of_a_contract_is_stored_in_targets_and_must_not_change() -> None:
    rows = Column(
        "LEGS",
        ("legs",),
        ColumnType("rows"),
        columns=(Column("PRICE", ("price",), ColumnType("decimal", 12, 2)),),
    )
    when = Column("AT", ("a.b", "c"), ColumnType("timestamp"), ("basic_date",), True, True, "drop")
    assert contract_hash([Column("CARRIER", ("carrier",), TEXT), when, rows]) == "ddd8bd22d3d9473c"


def test_each_property_changes_the_hash() -> None:
    column = Column("A", ("a", "b"), TEXT)
    others = [
        Column("B", ("a", "b"), TEXT),
        Column("A", ("a.b",), TEXT),
        Column("A", ("a", "b"), ColumnType("json")),
        Column("A", ("a", "b"), ColumnType("decimal", 2, 1)),
        Column("A", ("a", "b"), ColumnType("decimal", 3, 1)),
        Column("A", ("a", "b"), TEXT, ("basic_date",)),
        Column("A", ("a", "b"), TEXT, required=True),
        Column("A", ("a", "b"), TEXT, physical=True),
        Column("A", ("a", "b"), TEXT, mask="last4"),
        Column("A", ("a", "b"), TEXT, columns=(column,)),
    ]
    contracts = [[], [column], [column, others[0]], [others[0], column], *([other] for other in others)]
    assert len({contract_hash(contract) for contract in contracts}) == len(contracts)
