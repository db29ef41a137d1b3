"""Test that a source meets its contract: subclass `SourceConformance` and override two fixtures.

::

    class TestMySource(SourceConformance):
        precision = timedelta(milliseconds=1)

        @pytest.fixture
        def load(self):
            def load(rows):
                ...  # create a table or index with exactly these rows
                source = MySource(MySource.Options(..., page_size=self.page_size), Identity("kit", "UTC"))
                return Loaded(source, {record_id: Expected(row.event_time, body), ...})
            yield load
            ...  # close the sources, remove the tables

        @pytest.fixture
        def missing(self):
            return MySource(MySource.Options(table="no_such_table"), Identity("kit", "UTC"))

For a source whose `open` is a snapshot, subclass `SnapshotConformance` and set `Loaded.delete_all`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import ClassVar

import msgspec
import pytest

from airflow_pipeline_provider.connectors.base import Slice, Source
from airflow_pipeline_provider.core.change_markers import ChangeMarker, MarkedWindow, Seen
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from airflow_pipeline_provider.exceptions import DataError, FatalError
from airflow_pipeline_provider.testing.properties import source as properties
from airflow_pipeline_provider.testing.source_rows import (
    END,
    SECOND,
    START,
    WINDOW,
    Expected,
    KitRow,
    Load,
    Loaded,
    assert_rows,
    expected_within,
    read_all,
    rows_of,
    spread,
)

__all__ = [
    "END",
    "SECOND",
    "START",
    "WINDOW",
    "Expected",
    "KitRow",
    "Load",
    "Loaded",
    "SnapshotConformance",
    "SourceConformance",
    "assert_rows",
    "expected_within",
    "read_all",
    "rows_of",
    "spread",
]


class SourceConformance:
    """Tests of the contract `connectors.base.Source`."""

    precision: ClassVar[timedelta] = timedelta(microseconds=1)  # of the times that the source stores
    page_size: ClassVar[int] = 50  # rows per page or batch, at most, of the sources that `load` returns

    @pytest.fixture
    def load(self) -> Iterator[Load]:
        raise NotImplementedError("override the fixture `load`")

    @pytest.fixture
    def missing(self) -> Source:
        raise NotImplementedError("override the fixture `missing`")

    # --- half-open to the last digit of a time

    @pytest.mark.parametrize(
        ("edge", "steps", "inside"),
        [
            pytest.param(START, -1, False, id="just before the start"),
            pytest.param(START, 0, True, id="at the start"),
            pytest.param(START, 1, True, id="just after the start"),
            pytest.param(END, -1, True, id="just before the end"),
            pytest.param(END, 0, False, id="at the end"),
            pytest.param(END, 1, False, id="just after the end"),
        ],
    )
    def test_the_window_is_half_open(self, load: Load, edge: datetime, steps: int, inside: bool) -> None:
        loaded = load([KitRow("edge", edge + steps * self.precision), KitRow("far", END + timedelta(days=1))])
        assert loaded.source.count(WINDOW) == int(inside)
        assert_rows(read_all(loaded.source, WINDOW), loaded, WINDOW)
        assert len(expected_within(loaded, WINDOW)) == int(inside)

    @pytest.mark.parametrize("steps", [0, 1, 2, 3])
    def test_a_bound_may_have_a_fraction(self, load: Load, steps: int) -> None:
        loaded = load([KitRow(f"r{i}", START + i * self.precision) for i in range(4)])
        for interval in (
            Interval(START, START + steps * self.precision),
            Interval(START + steps * self.precision, END),
        ):
            inside = expected_within(loaded, interval)
            assert loaded.source.count(interval) == sum(inside.values())
            assert_rows(read_all(loaded.source, interval), loaded, interval)

    def test_a_bound_finer_than_the_source_keeps_is_exact(self, load: Load) -> None:
        loaded = load([KitRow("start", START), KitRow("second", START + SECOND)])
        micro = timedelta(microseconds=1)
        for interval, count in [
            (Interval(START, START + micro), 1),
            (Interval(START + micro, END), 1),
            (Interval(START + micro, START + SECOND), 0),
            (Interval(START + micro, START + SECOND + micro), 1),
        ]:
            assert loaded.source.count(interval) == count
            assert sum(rows_of(read_all(loaded.source, interval)).values()) == count

    # --- every row exactly once

    @pytest.mark.parametrize("readers", [1, 2, 3, 8])
    def test_readers_share_the_rows(self, load: Load, readers: int) -> None:
        loaded = load(spread(230))
        batches = read_all(loaded.source, WINDOW, readers)
        assert_rows(batches, loaded, WINDOW)
        assert all(batch.schema.equals(ENVELOPE) for batch in batches)
        assert all(0 < batch.num_rows <= self.page_size for batch in batches)

    @pytest.mark.parametrize("count", [49, 50, 51, 100], ids=lambda n: f"{n} rows")
    def test_no_row_is_lost_or_repeated_between_pages(self, load: Load, count: int) -> None:
        loaded = load(spread(count))
        assert loaded.source.count(WINDOW) == count
        assert_rows(read_all(loaded.source, WINDOW), loaded, WINDOW)

    @pytest.mark.parametrize("readers", [1, 3])
    def test_equal_times_beyond_a_page(self, load: Load, readers: int) -> None:
        properties.pages_equal_times(load, readers)

    def test_more_readers_than_rows(self, load: Load) -> None:
        loaded = load(spread(2))
        assert_rows(read_all(loaded.source, WINDOW, 8), loaded, WINDOW)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ü é ✈ 🛫",
            'a "quoted" \\ one',
            "line\nbreak\ttab",
            "nul \x00 and \x1f",
            "1.10",
            "null",
            "x" * 200_000,
        ],
        ids=["empty", "unicode", "quotes", "white space", "control", "number", "null", "large"],
    )
    def test_a_body_is_read_byte_for_byte(self, load: Load, text: str) -> None:
        loaded = load([KitRow("one", START, text)])
        assert_rows(read_all(loaded.source, WINDOW), loaded, WINDOW)

    @pytest.mark.parametrize("key", ["ü✈🛫", "a b", 'a"b', "a'b", "a%2Fb", "A", "0"])
    def test_any_key_is_a_record_id(self, load: Load, key: str) -> None:
        loaded = load([KitRow(key, START), KitRow("other", START)])
        assert len(loaded.expected) == 2
        assert_rows(read_all(loaded.source, WINDOW), loaded, WINDOW)

    # --- ids without bodies

    @pytest.mark.parametrize("readers", [1, 3])
    def test_ids_are_those_of_the_rows(self, load: Load, readers: int) -> None:
        loaded = load([*spread(230), KitRow("ü ✈", END - self.precision, "x"), KitRow("out", END)])
        with loaded.source.open_ids(Slice(0, 1, WINDOW), readers) as iterators:
            batches = [batch for iterator in iterators for batch in iterator]
        seen = Counter(
            row
            for batch in batches
            for row in zip(
                batch.column("RECORD_ID").to_pylist(), batch.column("EVENT_TIME").to_pylist(), strict=True
            )
        )
        assert seen == Counter((key, time) for key, time, _ in expected_within(loaded, WINDOW))
        with loaded.source.open_ids(Slice(0, 1, Interval(START, START)), readers) as iterators:
            assert [batch for iterator in iterators for batch in iterator] == []

    # --- slices

    @pytest.mark.parametrize("n", [1, 2, 3, 7])
    def test_slices_tile_the_window(self, load: Load, n: int) -> None:
        loaded = load(spread(40))
        slices = loaded.source.plan_slices(WINDOW, n)
        assert 1 <= len(slices) <= n
        assert [(s.index, s.of) for s in slices] == [(i, len(slices)) for i in range(len(slices))]
        assert slices[0].interval.start == START
        assert slices[-1].interval.end == END
        for before, after in itertools.pairwise(slices):
            assert before.interval.end == after.interval.start
        assert not any(s.interval.is_empty for s in slices)
        assert sum(loaded.source.count(s.interval) for s in slices) == 40
        batches = [b for s in slices for b in read_all(loaded.source, s.interval, 1, s.index, s.of)]
        assert_rows(batches, loaded, WINDOW)

    @pytest.mark.parametrize(
        "times", [[], [START], [START] * 30, [END - SECOND] * 30], ids=["none", "one", "first", "last"]
    )
    def test_slices_of_uneven_rows_tile_too(self, load: Load, times: list[datetime]) -> None:
        loaded = load([KitRow(f"r{i}", time) for i, time in enumerate(times)])
        slices = loaded.source.plan_slices(WINDOW, 4)
        assert [slices[0].interval.start, slices[-1].interval.end] == [START, END]
        assert all(a.interval.end == b.interval.start for a, b in itertools.pairwise(slices))
        assert sum(loaded.source.count(s.interval) for s in slices) == len(times)

    # --- changes

    def test_without_a_write_no_row_is_changed(self, load: Load) -> None:
        source = load(spread(3)).source
        marker = source.change_marker()
        json = msgspec.json.encode(marker)
        assert msgspec.json.decode(json, type=ChangeMarker | None) == marker
        assert len(json) < 4096
        found = source.changes([MarkedWindow(WINDOW, marker)] * 3)
        assert [one.changed for one in found] == [0, 0, 0]
        assert all(one.rows in (3, None) for one in found)
        assert all((one.reason is not None) is (one.seen is Seen.UNKNOWN) for one in found)
        if marker is None:
            assert {one.seen for one in found} == {Seen.UNKNOWN}

    def test_an_update_in_place_is_never_unchanged(self, load: Load) -> None:
        loaded = load(spread(3))
        if loaded.update_all is None:
            assert loaded.source.change_marker() is None, "set Loaded.update_all for a source with markers"
            return
        marker = loaded.source.change_marker()
        assert marker is not None
        loaded.update_all()
        found, elsewhere = loaded.source.changes(
            [MarkedWindow(WINDOW, marker), MarkedWindow(Interval(END, END + SECOND), marker)]
        )
        assert found.seen is Seen.UNKNOWN or (found.seen, found.changed) == (Seen.COUNTED, 3)
        assert elsewhere.changed == 0
        later = loaded.source.change_marker()
        assert later is not None
        assert [one.changed for one in loaded.source.changes([MarkedWindow(WINDOW, later)])] == [0]

    def test_a_deletion_is_never_unchanged(self, load: Load) -> None:
        loaded = load(spread(3))
        marker = loaded.source.change_marker()
        if loaded.delete_all is None or marker is None:
            return
        loaded.delete_all()
        [found] = loaded.source.changes([MarkedWindow(WINDOW, marker)])
        assert found.seen is not Seen.UNCHANGED
        assert found.rows in (0, None)
        assert found.changed == 0

    # --- empty and missing

    @pytest.mark.parametrize(
        "interval",
        [
            Interval(START, START),
            Interval(END, END + SECOND),
            Interval(START - 400 * timedelta(days=365), START),
        ],
        ids=["no length", "no rows", "long ago"],
    )
    def test_an_empty_interval_has_no_rows(self, load: Load, interval: Interval) -> None:
        source = load(spread(3)).source
        assert source.count(interval) == 0
        assert read_all(source, interval, 2) == []

    def test_rows_without_a_time_are_in_no_window(self, load: Load) -> None:
        loaded = load([KitRow("timed", START), KitRow("untimed 1", None), KitRow("untimed 2", None)])
        assert loaded.source.count(Interval(START - timedelta(days=3650), END)) == 1
        assert loaded.source.count_untimed() in (2, None)
        assert_rows(read_all(loaded.source, WINDOW), loaded, WINDOW)

    def test_the_newest_event_time(self, load: Load) -> None:
        newest = load(
            [KitRow("a", START), KitRow("b", END - self.precision), KitRow("c", None)]
        ).source.newest_event_time()
        assert newest is None or timedelta(0) <= END - self.precision - newest < timedelta(milliseconds=1)
        assert load([]).source.newest_event_time() is None

    def test_an_existing_source_passes_its_check(self, load: Load) -> None:
        load([]).source.check()
        load(spread(1)).source.check()

    def test_a_missing_source_is_reported_on_one_line(self, missing: Source) -> None:
        for call in (missing.check, lambda: missing.count(WINDOW), lambda: read_all(missing, WINDOW)):
            with pytest.raises((DataError, FatalError)) as caught:
                call()
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 500
        missing.close()

    # --- the life of a view

    def test_close_may_be_called_twice(self, load: Load) -> None:
        source = load(spread(1)).source
        assert source.count(WINDOW) == 1
        source.close()
        source.close()

    def test_a_view_may_be_left_early(self, load: Load) -> None:
        loaded = load(spread(230))
        with loaded.source.open(Slice(0, 1, WINDOW), 2) as iterators:
            assert next(iter(iterators[0])).num_rows
        assert_rows(read_all(loaded.source, WINDOW), loaded, WINDOW)

    def test_an_error_of_the_reader_passes_through(self, load: Load) -> None:
        source = load(spread(230)).source

        def break_off() -> None:
            with source.open(Slice(0, 1, WINDOW), 2) as iterators:
                next(iter(iterators[0]))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            break_off()
        assert source.count(WINDOW) == 230

    def test_a_second_view_returns_the_same_rows(self, load: Load) -> None:
        loaded = load(spread(3))
        assert rows_of(read_all(loaded.source, WINDOW)) == rows_of(read_all(loaded.source, WINDOW))


class SnapshotConformance(SourceConformance):
    """Further tests for sources whose `open` is a snapshot; `load` must set `delete_all`."""

    @pytest.mark.parametrize("readers", [1, 3])
    def test_later_changes_are_not_in_the_view(self, load: Load, readers: int) -> None:
        properties.keeps_its_view(load, readers)
