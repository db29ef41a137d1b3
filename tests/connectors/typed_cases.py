"""Typed views: one table of cases for all targets, and what their views promise.

A target's tests subclass `TypedViewCases` and define its fixtures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.base import Identity, Target
from airflow_pipeline_provider.connectors.sql_target import SqlTarget
from airflow_pipeline_provider.core.columns import Column, parse_path, parse_type
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.testing.sample_rows import Loader, Row, hours

Read = Callable[[str, dict[str, str]], list[dict[str, Any]]]
"""Reads columns of a view (suffix of its name, column -> kind) as `parse` takes them, in the order of RECORD_ID."""
MakeTarget = Callable[..., SqlTarget]

UNCASTABLE = object()  # NULL, and counted


class Case(NamedTuple):
    """A column's type and options, a document, and the value of the column."""

    type: str
    document: str
    expected: Any
    path: str = "v"
    formats: tuple[str, ...] = ()
    mask: Any = None


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc, arg-type]


def values(kind: str, *pairs: tuple[str, Any], formats: tuple[str, ...] = ()) -> list[Case]:
    return [Case(kind, f'{{"v": {value}}}', expected, formats=formats) for value, expected in pairs]


DEFAULT_AND_MILLIS = ("strict_date_optional_time", "epoch_millis")
CASES = [
    *values(
        "text",
        ('"abc"', "abc"),
        ('""', ""),
        ('"it\'s \\"quoted\\" \\\\ %s ? \\u00e9 \\ud83d\\ude00"', 'it\'s "quoted" \\ %s ? é 😀'),
        ("5", "5"),
        ("true", "true"),
        ("null", None),
        ('["one"]', "one"),
        ('["one", "two"]', UNCASTABLE),
        ("[]", None),
        ("[null]", None),
        ('{"a": 1}', UNCASTABLE),
        ("{}", UNCASTABLE),
    ),
    *values(
        "integer",
        ("5", 5),
        ('"5"', 5),
        ('"+5"', 5),
        ("5.0", 5),
        ('"5.0"', 5),
        ("5.7", UNCASTABLE),
        ("1e3", 1000),
        ('"1e3"', 1000),
        ('"n/a"', UNCASTABLE),  # ignore_malformed
        ('""', UNCASTABLE),
        ('" 5"', UNCASTABLE),
        ("true", UNCASTABLE),
        ("[7]", 7),
        ("[7, 8]", UNCASTABLE),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", UNCASTABLE),
        ('"99999999999999999999999999999999999999999999999999"', UNCASTABLE),
        ('"1e999"', UNCASTABLE),
        ('"1_000"', UNCASTABLE),
        ('"0x10"', UNCASTABLE),
        ('"٥"', UNCASTABLE),
    ),
    *values("decimal(20,0)", ("18446744073709551615", 2**64 - 1), ('"18446744073709551615"', 2**64 - 1)),
    *values(
        "decimal(10,2)",
        ("12.5", Decimal("12.50")),
        ('"12.5"', Decimal("12.50")),
        ("1.005", Decimal("1.01")),
        ("-1.005", Decimal("-1.01")),
        ('"1.5e2"', Decimal("150.00")),
        ('".5"', Decimal("0.50")),
        ("99999999.99", Decimal("99999999.99")),
        ("99999999.999", UNCASTABLE),
        ('"12,5"', UNCASTABLE),
        ('"NaN"', UNCASTABLE),
    ),
    *values(
        "double",
        ("0.1", 0.1),
        ('"0.1"', 0.1),
        ("1e300", 1e300),
        ('"1e400"', UNCASTABLE),
        ('"-1e400"', UNCASTABLE),
        ('"1e-400"', 0.0),
        ('"Infinity"', UNCASTABLE),
        ('"NaN"', UNCASTABLE),
        ("-0.5", -0.5),
    ),
    *values(
        "boolean",
        ("true", True),
        ("false", False),
        ('"true"', True),
        ('"FALSE"', False),
        ("1", UNCASTABLE),
        ('"yes"', UNCASTABLE),
        ("[true]", True),
    ),
    *values(
        "date",
        ('"2013-11-03"', date(2013, 11, 3)),
        ('"2013-11-03T23:30:00"', date(2013, 11, 3)),
        ('"2013-11-03T23:30:00-01:00"', date(2013, 11, 4)),
        ('"2013-02-29"', UNCASTABLE),
        ('"2012-02-29"', date(2012, 2, 29)),
        ('"2013-11-31"', UNCASTABLE),
        ('"2013"', date(2013, 1, 1)),
        ('"03.11.2013"', UNCASTABLE),
    ),
    *values(
        "date",
        ('"03/11/2013"', date(2013, 11, 3)),
        ('"20131103"', date(2013, 11, 3)),
        ("20131103", date(2013, 11, 3)),
        ('"31/04/2013"', UNCASTABLE),
        formats=("dd/MM/yyyy", "basic_date"),
    ),
    *values(
        "timestamp",
        ('"2013-11-03T05:30:00Z"', utc(2013, 11, 3, 5, 30)),
        ('"2013-11-03T05:30:00"', utc(2013, 11, 3, 5, 30)),  # without an offset it is UTC
        ('"2013-11-03 05:30:00"', utc(2013, 11, 3, 5, 30)),
        ('"2013-11-03T05:30:00+05:30"', utc(2013, 11, 3)),
        ('"2013-11-03T05:30:00+0530"', utc(2013, 11, 3)),
        ('"2013-11-03T05:30:00-05"', utc(2013, 11, 3, 10, 30)),
        ('"2013-11-03T05:30"', utc(2013, 11, 3, 5, 30)),
        ('"2013-11-03T05"', utc(2013, 11, 3, 5)),
        ('"2013-11-03T"', utc(2013, 11, 3)),
        ('"2013-11"', utc(2013, 11, 1)),
        ('"2013-11-03T05:30:00.1Z"', utc(2013, 11, 3, 5, 30, 0, 100_000)),
        ('"2013-11-03T05:30:00,123456Z"', utc(2013, 11, 3, 5, 30, 0, 123_456)),
        ('"2013-11-03T05:30:00.123456789Z"', utc(2013, 11, 3, 5, 30, 0, 123_456)),  # date_nanos
        ('"2013-11-03T05:30:00.999999999Z"', utc(2013, 11, 3, 5, 30, 0, 999_999)),
        ('"2013-02-30T00:00:00Z"', UNCASTABLE),
        ('"2013-13-01"', UNCASTABLE),
        ('"2013-11-03T24:00:00"', UNCASTABLE),
        ('"2013-11-03T05:30:60"', UNCASTABLE),
        ('"2013-11-03T05:30:00+99:00"', UNCASTABLE),
        ('"0000-01-01"', UNCASTABLE),
        ('"now"', UNCASTABLE),
        ('"infinity"', UNCASTABLE),
        ('""', UNCASTABLE),
        ("1383456600000", UNCASTABLE),
        ('["2013-11-03T05:30:00Z"]', utc(2013, 11, 3, 5, 30)),
    ),
    *values(
        "timestamp",
        ('"2013-11-03T05:30:00Z"', utc(2013, 11, 3, 5, 30)),
        ("1383456600000", utc(2013, 11, 3, 5, 30)),
        ('"1383456600000"', utc(2013, 11, 3, 5, 30)),
        ("1383456600123.456", utc(2013, 11, 3, 5, 30, 0, 123_456)),
        ("-1", utc(1969, 12, 31, 23, 59, 59, 999_000)),
        ("2013", utc(2013, 1, 1)),  # the first format that fits
        ("999999999999999", UNCASTABLE),  # the year 33658
        ('"n/a"', UNCASTABLE),
        formats=DEFAULT_AND_MILLIS,
    ),
    *values("timestamp", ("1383456600", utc(2013, 11, 3, 5, 30)), formats=("epoch_second",)),
    *values(
        "timestamp",
        ('"2013/11/03 05:30:00"', utc(2013, 11, 3, 5, 30)),
        ('"2013/11/03"', utc(2013, 11, 3)),
        ('"11/03/2013 05:30:00"', utc(2013, 11, 3, 5, 30)),
        ('"2013-11-03 05:30:00.123"', utc(2013, 11, 3, 5, 30, 0, 123_000)),
        ('"2013-11-03T05:30:00Z"', UNCASTABLE),
        formats=("yyyy/MM/dd HH:mm:ss", "yyyy/MM/dd", "MM/dd/yyyy HH:mm:ss", "yyyy-MM-dd HH:mm:ss.SSS"),
    ),
    *values(
        "json",
        ('{"a": [1, null], "b": {}}', {"a": [1, None], "b": {}}),
        ('"x"', "x"),
        ("[]", []),
        ("null", None),
    ),
    *values(
        "array",
        ("[1, 2]", [1, 2]),
        ("5", [5]),
        ('"x"', ["x"]),
        ('{"a": 1}', [{"a": 1}]),
        ("[[1], [2]]", [[1], [2]]),
        ("[]", []),
        ("null", None),
        ("[null]", [None]),
    ),
    Case("integer", '{"a": {"b": 1}}', 1, "a.b"),
    Case("integer", '{"a.b": 1}', 1, "a.b"),
    Case("integer", '{"a": {"b.c": 1}}', 1, "a.b.c"),
    Case("integer", '{"a.b": {"c": 1}}', 1, "a.b.c"),
    Case("integer", '{"a.b.c": 1}', 1, "a.b.c"),
    Case("integer", '{"a": {"b": {"c": "x"}}}', UNCASTABLE, "a.b.c"),
    Case("integer", '{"a": 5}', None, "a.b"),
    Case("integer", '{"a": [{"b": 1}]}', None, "a.b"),  # no path through an array
    Case("integer", '{"it\'s/a~key": 1}', 1, "it's/a~key"),
    Case("integer", '{"100% \\\\ ?": 1}', 1, "100% \\ ?"),
    Case("integer", '{"\\"q\\"": 1}', 1, '"""q"""'),
    Case("integer", '{"V": 1}', None),  # keys differ by case
    Case("text", '{"v": "4111111111111111"}', "****1111", mask="last4"),
    Case("text", '{"v": "1234"}', "****", mask="last4"),
    Case("text", '{"v": null}', None, mask="last4"),
    Case("text", '{"v": ["an element is no key"]}', None, path="v.0"),
    Case("text", '{"v": {"0": {"~1": "x"}}}', "x", path="v.0.~1"),
    Case(
        "text",
        '{"v": "é"}',
        "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c",
        mask="sha256",
    ),
]
COLUMNS = {
    key: Column(f"C{n}", parse_path(key.path), parse_type(key.type), formats=key.formats, mask=key.mask)
    for n, key in enumerate(dict.fromkeys(case._replace(document="", expected=None) for case in CASES))
}
HOUR = hours(0, 1)


def parse(kind: str, text: Any) -> Any:
    """Return the Python value of what a target's `read` returned as text."""
    if text is None:
        return None
    text = str(text)
    if kind in ("json", "array", "rows"):
        return json.loads(text)
    if kind == "boolean":
        return {"true": True, "false": False}[text.lower()]
    if kind == "timestamp":
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    to = {"integer": int, "decimal": Decimal, "double": float, "date": date.fromisoformat}
    return to.get(kind, str)(text)


def flights(*columns: Column) -> Identity:
    return Identity("flights", "UTC", columns=columns)


def column(name: str, kind: str, path: str | None = None, **more: Any) -> Column:
    return Column(name, parse_path(path or name.lower()), parse_type(kind), **more)


def documents(*texts: str) -> list[Row]:
    return [Row(f"r{n:04}", HOUR.start + timedelta(seconds=n), text) for n, text in enumerate(texts)]


class TypedViewCases:
    """Fixtures: `make(identity, **options)`, `load(target, documents)`, `read`, `run` (SQL of the user's own)."""

    def load_documents(self, make: MakeTarget, stage: Any, identity: Identity, *texts: str) -> None:
        make(identity).prepare()
        Loader(lambda _: make(identity), stage)(HOUR, documents(*texts), token=1)

    def test_each_value_is_the_same_on_every_target(self, make: MakeTarget, stage: Any, read: Read) -> None:
        identity = flights(*COLUMNS.values())
        self.load_documents(make, stage, identity, *(case.document for case in CASES))
        kinds = {column.name: column.type.kind for column in COLUMNS.values()}
        rows = read("_typed", {"RECORD_ID": "text", **kinds})
        seen, expected = {}, {}
        for n, (case, row) in enumerate(zip(CASES, rows, strict=True)):
            name = COLUMNS[case._replace(document="", expected=None)].name
            seen[n, case[:2]] = parse(kinds[name], row[name])
            expected[n, case[:2]] = None if case.expected is UNCASTABLE else case.expected
        different = [f"{case}: {seen[case]!r}" for case in expected if seen[case] != expected[case]]
        assert not different, "\n".join(different)

    def test_what_does_not_cast_is_counted(self, make: MakeTarget, stage: Any) -> None:
        identity = flights(
            column("N", "integer"),
            column("T", "timestamp", "t%.it's"),
            column("WORDS", "array"),
            column("GONE", "integer", mask="drop"),
        )
        self.load_documents(
            make,
            stage,
            identity,
            '{"n": 1, "t%": {"it\'s": "2013-11-03"}, "words": 5, "gone": "x"}',
            '{"n": "n/a", "t%.it\'s": "2013-02-30"}',
            '{"n": [1, 2], "t%": null}',
            '{"n": [], "words": [[]]}',
            '{"n": null}',
            '{"n": [null]}',
            '{"n": {}}',
        )
        target = make(identity)
        counted = {"N": (4, 3), "T": (2, 1), "WORDS": (2, 0)}
        nothing = dict.fromkeys(counted, (0, 0))
        assert target.count_uncastable(HOUR) == counted
        assert target.count_uncastable(HOUR, 1) == counted
        assert target.count_uncastable(HOUR, 2) == nothing
        assert target.count_uncastable(hours(5, 6)) == nothing
        target.close()

    def test_rows_become_a_child_view(self, make: MakeTarget, stage: Any, read: Read) -> None:
        identity = flights(
            column(
                "LEGS",
                "rows",
                columns=(column("CARRIER", "text"), column("DEP", "timestamp", "dep.time")),
            ),
            column("N", "integer"),
        )
        self.load_documents(
            make,
            stage,
            identity,
            '{"legs": [{"carrier": "AA", "dep": {"time": "2013-11-03"}}, {"carrier": "UA", "dep.time": "?"}]}',
            '{"legs": {"carrier": "B6"}, "n": 1}',
            '{"legs": [5, null, {}]}',
            '{"legs": []}',
            '{"legs": null}',
            '{"legs": "x"}',
            "{}",
        )
        kinds = {"RECORD_ID": "text", "ORDINAL": "integer", "CARRIER": "text", "DEP": "timestamp"}
        found = read("_legs", kinds)
        rows = sorted(
            ((str(row["RECORD_ID"]), int(row["ORDINAL"]), row["CARRIER"]), parse("timestamp", row["DEP"]))
            for row in found
        )
        assert rows == [
            (("r0000", 0, "AA"), utc(2013, 11, 3)),
            (("r0000", 1, "UA"), None),
            (("r0001", 0, "B6"), None),
            *((("r0002", n, None), None) for n in range(3)),
        ]
        parents = read("_typed", {"RECORD_ID": "text", "LEGS": "rows", "_REST": "json"})
        assert [parse("rows", row["LEGS"]) for row in parents[1:]] == [
            [{"carrier": "B6"}],
            [5, None, {}],
            [],
            *[None] * 3,
        ]
        assert [parse("json", row["_REST"]) for row in parents] == [{}] * 7
        target = make(identity)
        counted = target.count_uncastable(HOUR)
        target.close()
        assert counted == {"LEGS": (5, 1), "N": (1, 0), "LEGS.CARRIER": (3, 0), "LEGS.DEP": (2, 1)}

    @pytest.mark.parametrize(
        ("document", "rest"),
        [
            ('{"a": 1, "b": {"c": 2}, "d.e": 3}', {}),
            ('{"b": {"c": 2, "x": null}, "y": [null]}', {"b": {"x": None}, "y": [None]}),
            ('{"b.c": 1, "B": 2, "d": {"e": 1, "f": {}}}', {"B": 2, "d": {"f": {}}}),
            ('{"b": 5, "d": [{"e": 1}]}', {"b": 5, "d": [{"e": 1}]}),
            ('{"b": {}}', {}),
            ('{"secret": {"pin": 1, "hint": 2}}', {"secret": {"hint": 2}}),
            ('{"secret.pin": 1}', {}),
            ('{"secret": [{"pin": 1}]}', {}),  # the masked value may be in it
            ('{"g": {"h": {"i": {"j": 1}}}}', {}),
            ('{"g": {"h": {"i": {"j": 1}, "k": 1}}}', {"g": {"h": {"k": 1}}}),
            ('{"g.h": {"i.j": 1, "k": 1}}', {"g.h": {"k": 1}}),
            ('{"gone": "4111"}', {}),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_rest_is_what_no_column_holds(
        self, make: MakeTarget, stage: Any, read: Read, document: str, rest: Any
    ) -> None:
        identity = flights(
            column("A", "integer"),
            column("C", "integer", "b.c"),
            column("E", "integer", "d.e"),
            column("J", "integer", "g.h.i.j"),
            column("PIN", "text", "secret.pin", mask="sha256"),
            column("GONE", "text", "gone", mask="drop"),
        )
        self.load_documents(make, stage, identity, document)
        [row] = read("_typed", {"_REST": "json"})
        assert parse("json", row["_REST"]) == rest

    def test_the_views_follow_the_columns(self, make: MakeTarget, read: Read) -> None:
        first = flights(column("A", "integer"), column("B", "rows", columns=(column("C", "text"),)))
        made = [self.names(first, make)]
        assert made == [["_TYPED", "_B"]]
        target = make(first)
        assert target.apply_columns() == []
        second = flights(column("NEW", "text"), column("A", "text"), column("GONE", "text", mask="drop"))
        changed = make(second)
        statements = changed.apply_columns(dry_run=True)
        assert statements
        assert self.shown(target) == ["RECORD_ID", "EVENT_TIME", "A", "B", "_REST", "TOKEN"]
        assert changed.apply_columns() == statements
        assert self.shown(target) == ["RECORD_ID", "EVENT_TIME", "NEW", "A", "_REST", "TOKEN"]
        assert read("_typed", {"NEW": "text", "A": "text"}) == []
        assert changed.apply_columns() == []
        for each in (target, changed):
            each.close()

    def test_a_child_view_goes_when_its_column_is_masked_or_of_another_type(self, make: MakeTarget) -> None:
        rows = column("B", "rows", columns=(column("C", "text"),))
        typed = column("TYPED", "text")  # named like the view itself
        for changed in (replace(rows, mask="drop"), column("B", "json")):
            assert self.names(flights(rows, typed), make) == ["_TYPED", "_B"]
            assert self.names(flights(changed, typed), make) == ["_TYPED"]
            target = make(flights(changed, typed))
            assert target.apply_columns() == []
            target.close()

    def test_apply_drops_the_child_view_of_a_column_that_is_gone(self, make: MakeTarget) -> None:
        rows = column("B", "rows", columns=(column("C", "text"),))
        before, after = flights(rows), flights(replace(rows, name="D"))
        target = make(before)
        target.prepare()
        longer = make(before, table=f"{target.options.table}_EU")  # its views also begin with <table>_
        longer.prepare()
        target.close()
        assert self.names(after, make) == ["_TYPED", "_B", "_D"], "a load drops nothing"
        target = make(after)
        statements = target.apply_columns(dry_run=True)
        assert [statement.split()[:2] for statement in statements] == [["DROP", "VIEW"]]
        assert target.apply_columns() == statements
        assert target.apply_columns() == []
        target.close()
        assert self.names(after, make) == ["_TYPED", "_D"]
        assert [view.name.upper().rpartition("_EU")[2] for view in longer.typed_views() or ()] == [
            "_TYPED",
            "_B",
        ]
        longer.close()

    def test_views_of_a_table_with_a_longer_name_are_not_of_this_table(self, make: MakeTarget) -> None:
        other = make(Identity("other", "UTC", columns=(column("B", "rows", columns=(column("C", "text"),)),)))
        other.prepare()  # <table>_B may be another table, and <table>_B_TYPED its view
        other.close()
        target = make(flights(column("A", "text")))
        views = target.typed_views()
        target.close()
        assert [view.pipeline_id for view in views or ()] == ["other"]
        assert [view.name.rpartition("_")[2].upper() for view in views or ()] == ["TYPED"]

    def names(self, identity: Identity, make: MakeTarget) -> list[str]:
        target = make(identity)
        target.prepare()
        views = target.typed_views()
        target.close()
        assert views is not None
        assert {view.pipeline_id for view in views} == {"flights"}
        return [f"_{view.name.rpartition('_')[2].upper()}" for view in views]

    def shown(self, target: Target) -> list[str]:
        views = target.typed_views()
        assert views
        return [name.upper() for name in views[0].columns]

    def test_a_view_of_the_users_own_is_never_replaced(
        self, make: MakeTarget, run: Callable[[str], Any]
    ) -> None:
        make(flights()).prepare()
        run("CREATE VIEW {_typed} AS SELECT 1 AS mine")
        target = make(flights(column("A", "integer")))
        with pytest.raises(FatalError, match="did not create"):
            target.prepare()
        with pytest.raises(FatalError, match="did not create"):
            make(flights(column("A", "integer"))).apply_columns()
        assert target.typed_views() == ()
        target.close()

    def test_views_of_another_pipeline_are_not_replaced(self, make: MakeTarget, stage: Any) -> None:
        one = flights(column("A", "integer"))
        self.load_documents(make, stage, one, '{"a": 1}')
        other = one._replace(pipeline_id="other")
        make(other).prepare()  # the same contract
        changed = other._replace(columns=(column("A", "text"),))
        with pytest.raises(FatalError, match="follows the columns of pipeline flights"):
            make(changed).prepare()

    def test_a_pipeline_that_loads_nothing_has_no_contract(self, make: MakeTarget) -> None:
        make(flights(column("A", "integer"))).prepare()
        target = make(Identity("renamed", "UTC", columns=(column("A", "text"),)))
        target.prepare()
        [view] = target.typed_views() or ()
        assert view.pipeline_id == "renamed"
        target.close()

    def test_the_statements_make_the_views(
        self, make: MakeTarget, run: Callable[[str], Any], read: Read
    ) -> None:
        make(flights()).prepare()
        target = make(flights(column("A", "integer")))
        for statement in target.typed_statements():
            run(statement)
        assert read("_typed", {"A": "integer"}) == []
        assert target.apply_columns() == []
        target.close()

    @pytest.mark.parametrize("naming", ["upper", "lower", "as_is"])
    def test_names_have_the_case_that_naming_asks_for(self, make: MakeTarget, naming: str) -> None:
        target = make(flights(column("DepTime", "text")), naming=naming)
        target.prepare()
        [view] = target.typed_views() or ()
        assert target.expected_views() == (view,)
        spelled: Sequence[str] = {
            "upper": ("_TYPED", "RECORD_ID", "DEPTIME"),
            "lower": ("_typed", "record_id", "deptime"),
            "as_is": ("_TYPED", "RECORD_ID", "DepTime"),
        }[naming]
        assert (view.name[-6:], view.columns[0], view.columns[2]) == tuple(spelled)
        target.close()
