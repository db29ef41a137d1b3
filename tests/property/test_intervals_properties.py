"""Interval algebra against a model that cannot be wrong: sets of hours."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from airflow_pipeline_provider.core.intervals import (
    Interval,
    common,
    contiguous_end,
    gaps,
    intersect,
    merge,
    subtract,
)
from tests.property.strategies import UTC

START = datetime(2013, 11, 3, tzinfo=UTC)
HOURS = range(24)


def hours(start: int, end: int) -> Interval:
    return Interval(START + timedelta(hours=start), START + timedelta(hours=end))


intervals = st.tuples(st.integers(0, 24), st.integers(0, 24)).map(lambda pair: hours(min(pair), max(pair)))
lists = st.lists(intervals, max_size=8)


def members(given: list[Interval]) -> set[int]:
    return {hour for hour in HOURS if any(i.holds(START + timedelta(hours=hour)) for i in given)}


def is_canonical(given: list[Interval]) -> bool:
    """Sorted, none empty, none touching the next: so equal sets are equal lists."""
    return all(not i.is_empty for i in given) and all(a.end < b.start for a, b in pairwise(given))


@given(lists)
def test_merge_keeps_the_union(a: list[Interval]) -> None:
    assert is_canonical(merge(a))
    assert members(merge(a)) == members(a)
    assert merge(merge(a)) == merge(a) == merge(a[::-1])


@given(lists, lists)
def test_subtract_is_set_difference(a: list[Interval], b: list[Interval]) -> None:
    assert is_canonical(subtract(a, b))
    assert members(subtract(a, b)) == members(a) - members(b)


@given(lists, lists)
def test_common_is_set_intersection(a: list[Interval], b: list[Interval]) -> None:
    assert is_canonical(merge(common(a, b)))
    assert members(common(a, b)) == members(a) & members(b)


@given(lists, lists)
def test_parts_make_the_whole(a: list[Interval], b: list[Interval]) -> None:
    assert merge(subtract(a, b) + common(a, b)) == merge(a)
    assert common(subtract(a, b), b) == []


@given(intervals, lists)
def test_gaps_and_prefix(within: Interval, covered: list[Interval]) -> None:
    missing = gaps(within, covered)
    assert members(missing) == members([within]) - members(covered)
    end = contiguous_end(within, covered)
    assert within.start <= end <= within.end
    assert Interval(within.start, end) in (Interval(within.start, within.start), *common([within], covered))
    assert end == within.end or end == missing[0].start


@given(intervals, intervals)
def test_two_intervals_agree_with_their_members(a: Interval, b: Interval) -> None:
    both = members([a]) & members([b])
    assert a.overlaps(b) == bool(both)
    assert members([i for i in [intersect(a, b)] if i]) == both
    assert a.covers(b) == (members([b]) <= members([a]))
