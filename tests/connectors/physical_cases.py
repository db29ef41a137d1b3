"""Physical columns: what each target promises for columns of the table itself.

A target's tests subclass `PhysicalColumnCases` and define its fixtures: those of `TypedViewCases`, `stored(name)`,
the values of a column of the table as text in the order of RECORD_ID, and `run_on_table(sql)` with `{}` for the table
and `{n}` for a name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.connectors import physical, physical_target
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.core.columns import Column
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.testing import faults
from airflow_pipeline_provider.testing.sample_rows import Loader, Row, hours
from tests.connectors.typed_cases import (
    CASES,
    COLUMNS,
    HOUR,
    UNCASTABLE,
    MakeTarget,
    Read,
    column,
    documents,
    flights,
    parse,
)

Stored = Callable[[str], list[str | None]]

N = column("N", "integer", physical=True)
T = column("T", "text", physical=True)
WINDOWS = 6
OTHER = "the table's column holds another path, type or format, or values of another version"
ADD_POINTS = ("columns.fence_taken", "columns.added", "columns.add_committed")
FILL_POINTS = ("columns.rows_filled", "columns.progress_written", "columns.window_committed")


def document(n: int) -> str:
    """Return a document in which N is NULL for every third row, by right or because it does not cast."""
    return [f'{{"n": {n}, "t": "{n}"}}', f'{{"n": null, "t": "{n}{n}"}}', '{"n": "n/a", "t": null}'][n % 3]


def row(n: int, document: str) -> Row:
    return Row(f"r{n:04}", hours(n, n + 1).start + timedelta(minutes=n % 3), document)


def texts(read: Read, name: str) -> list[str | None]:
    """Return a column of the view as texts."""
    return [None if row[name] is None else str(row[name]) for row in read("_typed", {name: "text"})]


class PhysicalColumnCases:
    """Cases for each target with physical columns; the module lists the fixtures."""

    @pytest.fixture
    def load(self, make: MakeTarget, stage: Any) -> Callable[..., None]:
        """Load one row into the n-th hour, as a run does."""

        def load(identity: Identity, n: int, document: str, *, token: int = 1) -> None:
            def target(_: str) -> Any:
                made = make(identity)
                made.prepare()
                return made

            Loader(target, stage)(hours(n, n + 1), [row(n, document)], token=token)

        return load

    @pytest.fixture
    def apply(self, make: MakeTarget) -> Callable[..., list[str]]:
        def apply(identity: Identity, *, dry_run: bool = False) -> list[str]:
            target = make(identity)
            try:
                return target.apply_columns(dry_run=dry_run)
            finally:
                target.close()

        return apply

    @pytest.fixture
    def unfilled(self, make: MakeTarget) -> Callable[[Identity], dict[str, str]]:
        def unfilled(identity: Identity) -> dict[str, str]:
            target = make(identity)
            try:
                return target.unfilled_columns()
            finally:
                target.close()

        return unfilled

    @pytest.fixture
    def view(self, read: Read) -> Callable[[], list[tuple[Any, ...]]]:
        def view() -> list[tuple[Any, ...]]:
            rows = read("_typed", {"RECORD_ID": "text", "N": "integer", "T": "text", "_REST": "json"})
            return [
                (r["RECORD_ID"], parse("integer", r["N"]), r["T"], parse("json", r["_REST"])) for r in rows
            ]

        return view

    # --- values

    @pytest.mark.parametrize("filled_by", ["load", "apply"])
    def test_each_value_is_that_of_the_expression(
        self, make: MakeTarget, stage: Any, read: Read, apply: Any, unfilled: Any, filled_by: str
    ) -> None:
        columns = [
            one if one.mask else Column(one.name, one.path, one.type, one.formats, physical=True)
            for one in COLUMNS.values()
        ]
        identity = flights(*columns)
        first = identity if filled_by == "load" else flights()
        make(first).prepare()
        Loader(lambda _: make(first), stage)(HOUR, documents(*(case.document for case in CASES)), token=1)
        apply(identity)
        assert unfilled(identity) == {}
        kinds = {one.name: one.type.kind for one in columns}
        rows = read("_typed", {"RECORD_ID": "text", **kinds})
        different = []
        for case, found in zip(CASES, rows, strict=True):
            name = COLUMNS[case._replace(document="", expected=None)].name
            seen = parse(kinds[name], found[name])
            if seen != (None if case.expected is UNCASTABLE else case.expected):
                different.append(f"{case}: {seen!r}")
        assert not different, "\n".join(different)

    def test_a_name_may_be_one_of_the_statements(
        self, make: MakeTarget, read: Read, load: Any, apply: Any
    ) -> None:
        names = ["d", "p0", "k0", "r0", "f", "r", "own", "t0", "z", "x", "value"]
        physical = [column(name, "integer", "n", physical=True) for name in names]
        identity = flights(*physical, column("t1", "text", "m"))
        load(flights(), 0, '{"n": 1, "m": 3}')
        apply(identity)
        load(identity, 1, '{"n": 2}')
        assert {name: texts(read, name) for name in names} == {name: ["1", "2"] for name in names}
        target = make(identity)
        assert target.count_uncastable(hours(0, 2)) == {**dict.fromkeys(names, (2, 0)), "t1": (1, 0)}
        target.close()

    # --- the table and the declared columns

    def test_a_table_that_prepare_creates_has_them(
        self, load: Any, stored: Stored, apply: Any, view: Any
    ) -> None:
        load(flights(N, T), 0, document(0))
        load(flights(N, T), 1, document(1))
        assert (stored("N"), stored("T")) == (["0", None], ["0", "11"])
        assert apply(flights(N, T)) == []
        assert view() == [("r0000", 0, "0", {}), ("r0001", None, "11", {})]

    def test_a_table_with_rows_gets_them_by_apply_only(
        self, load: Any, stored: Stored, apply: Any, unfilled: Any, view: Any
    ) -> None:
        identity = flights(N, T)
        load(flights(), 0, document(0))
        load(identity, 1, document(1))
        before = view()
        assert unfilled(identity) == dict.fromkeys(("N", "T"), "not a column of the table yet")
        statements = apply(identity, dry_run=True)
        assert [word for s in statements for word in ("ADD COLUMN", "UPDATE", "_typed") if word in s]
        assert view() == before
        assert unfilled(identity)
        assert apply(identity) == statements
        assert view() == before
        assert (stored("N"), stored("T"), unfilled(identity)) == (["0", None], ["0", "11"], {})
        assert apply(identity) == []

    def test_a_load_fills_the_columns_of_the_table_whatever_its_columns(
        self, load: Any, stored: Stored, apply: Any, view: Any
    ) -> None:
        load(flights(N), 0, document(0))
        load(flights(), 3, document(3))
        load(flights(column("T", "text")), 6, document(6))
        assert stored("N") == ["0", "3", "6"]
        load(flights(N, T), 9, document(9))
        assert view() == [(f"r{n:04}", n, str(n), {}) for n in (0, 3, 6, 9)]
        load(flights(N, T), 0, '{"n": 5}', token=2)
        assert stored("N") == ["5", "3", "6", "9"]
        apply(flights(N, T))
        assert stored("T") == [None, "3", "6", "9"]

    def test_a_column_of_the_users_own_is_never_touched(
        self, load: Any, run_on_table: Callable[[str], None], stored: Stored, apply: Any, view: Any
    ) -> None:
        load(flights(), 0, document(0))
        run_on_table("ALTER TABLE {} ADD COLUMN {n} VARCHAR")
        run_on_table("UPDATE {} SET {n} = 'mine'")
        with pytest.raises(FatalError, match="did not add"):
            apply(flights(N, T))
        load(flights(N, T), 3, document(3))
        assert stored("N") == ["mine", None]
        assert view() == [("r0000", 0, "0", {}), ("r0003", 3, "3", {})]

    @pytest.mark.parametrize(
        "changed",
        [column("N", "text", physical=True), column("N", "integer", "t", physical=True)],
        ids=["type", "path"],
    )
    def test_a_changed_column_is_filled_again(
        self, load: Any, stored: Stored, apply: Any, unfilled: Any, read: Read, changed: Column
    ) -> None:
        old, new = flights(N), flights(changed)
        load(old, 0, '{"n": 1, "t": 7}')
        load(new, 1, '{"n": 2, "t": 8}')  # filled as the table has it, and not shown
        expected = ["1", "2"] if changed.type.kind == "text" else ["7", "8"]
        assert texts(read, "N") == expected
        assert unfilled(new) == {"N": OTHER}
        with faults.failing_at("columns.rows_filled", 2), pytest.raises(faults.Crash):
            apply(new)
        load(old, 2, '{"n": 3, "t": 9}')  # with the earlier pipeline file
        apply(new)
        assert stored("N") == [*expected, "3" if changed.type.kind == "text" else "9"]
        assert texts(read, "N") == stored("N")
        assert unfilled(new) == {}

    @pytest.mark.parametrize("point", ["columns.add_committed", "columns.window_committed"])
    def test_no_view_reads_a_column_while_its_values_change(
        self, load: Any, apply: Any, stored: Stored, read: Read, point: str
    ) -> None:
        changed = flights(column("N", "integer", "t", physical=True))
        for n in range(2):
            load(flights(N), n, f'{{"n": {n}, "t": {n + 5}}}')
        with faults.failing_at(point), pytest.raises(faults.Crash):
            apply(changed)
        assert stored("N") == (["0", "1"] if point == "columns.add_committed" else ["5", "1"])
        assert texts(read, "N") == ["5", "6"]

    def test_no_longer_physical_is_computed(self, load: Any, apply: Any, view: Any) -> None:
        load(flights(N, T), 0, document(0))
        load(flights(column("N", "integer"), T), 3, document(3))
        assert view() == [("r0000", 0, "0", {}), ("r0003", 3, "3", {})]
        assert apply(flights(N, T))  # the view, which reads it again
        assert view() == [("r0000", 0, "0", {}), ("r0003", 3, "3", {})]

    def test_another_version_of_the_expressions_fills_all_rows_again(
        self, load: Any, stored: Stored, apply: Any, unfilled: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(flights(N), 0, document(0))
        for module in (physical, physical_target):
            monkeypatch.setattr(module, "VERSION", 1000)
        load(flights(N), 3, document(3))
        assert unfilled(flights(N)) == {"N": OTHER}
        assert stored("N") == ["0", None]
        apply(flights(N))
        assert (stored("N"), unfilled(flights(N))) == (["0", "3"], {})

    # --- interruptions

    @pytest.fixture
    def past(self, make: MakeTarget, stage: Any) -> list[tuple[Any, ...]]:
        """Load the past, and return what the view shows of it."""
        target = make(flights(column("N", "integer"), column("T", "text")))
        loader = Loader(lambda _: target, stage)
        target.prepare()
        for n in range(WINDOWS):
            target.load(loader.manifest(hours(n, n + 1), [row(n, document(n))], token=1), stage)
        target.close()
        texts = [str(n) if n % 3 == 0 else f"{n}{n}" if n % 3 == 1 else None for n in range(WINDOWS)]
        return [(f"r{n:04}", None if n % 3 else n, texts[n], {}) for n in range(WINDOWS)]

    @pytest.mark.parametrize(
        ("point", "visit"),
        [
            *((point, 1) for point in (*ADD_POINTS, "columns.filled")),
            *((point, WINDOWS // 2) for point in FILL_POINTS),
        ],
    )
    def test_it_continues_after_a_crash(
        self,
        past: Any,
        load: Any,
        stored: Stored,
        apply: Any,
        view: Any,
        unfilled: Any,
        point: str,
        visit: int,
    ) -> None:
        identity = flights(N, T)
        with faults.failing_at(point, visit), pytest.raises(faults.Crash):
            apply(identity)
        assert view() == past
        load(identity, 1, '{"n": 100}', token=2)  # which is filled
        load(identity, WINDOWS - 2, '{"n": 200}', token=2)  # of what is not
        load(flights(), WINDOWS, '{"n": 300}')
        past[1], past[WINDOWS - 2] = ("r0001", 100, None, {}), (f"r{WINDOWS - 2:04}", 200, None, {})
        past.append((f"r{WINDOWS:04}", 300, None, {}))
        assert view() == past
        with faults.traced() as points:
            apply(identity)
        assert view() == past
        assert stored("N") == [None if n is None else str(n) for _, n, _, _ in past]
        assert stored("T") == [text for _, _, text, _ in past]
        assert (unfilled(identity), apply(identity)) == ({}, [])
        if visit > 1:  # windows that were filled are not filled again
            assert points.count("columns.window_committed") <= WINDOWS - visit + 4

    def test_a_column_that_is_added_later_catches_up(
        self, past: Any, stored: Stored, apply: Any, view: Any
    ) -> None:
        with faults.failing_at("columns.window_committed", 4), pytest.raises(faults.Crash):
            apply(flights(N, column("T", "text")))
        with faults.failing_at("columns.window_committed", 2), pytest.raises(faults.Crash):
            apply(flights(N, T))
        assert view() == past
        apply(flights(N, T))
        assert view() == past
        assert stored("T") == [text for _, _, text, _ in past]
