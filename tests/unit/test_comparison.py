"""Records of source and target are compared by id and event time, and by what they hold."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_pipeline_provider.core.comparison import DifferenceKind, RecordDifference, Row, Tally, compare

A, B = (b"a", True), (b"b", True)


def row(record_id: str, time: int = 1, content: tuple[bytes | None, bool] = (None, False)) -> Row:
    return (record_id, time, *content)


CASES = {
    "equal": ([row("x")], [row("x")], [], {}),
    "missing": ([row("x")], [], [], {"missing": 1}),
    "missing twice": ([row("x"), row("x")], [], [], {"missing": 1}),
    "extra": ([], [row("x")], [], {"extra": 1}),
    "extra twice": ([], [row("x"), row("x")], [], {"extra": 1}),
    "another event time": ([row("x", 1)], [row("x", 2)], [], {"different": 1}),
    "another content": ([row("x", 1, A)], [row("x", 1, B)], [], {"different": 1}),
    "the same content": ([row("x", 1, A)], [row("x", 1, A)], [], {}),
    "a source whose digest proves nothing": (
        [row("x", 1, (b"a", False))],
        [row("x", 1, B)],
        [],
        {"unproven": 1},
    ),
    "a target whose digest proves nothing": (
        [row("x", 1, A)],
        [row("x", 1, (b"b", False))],
        [],
        {"unproven": 1},
    ),
    "equal digests prove equality": ([row("x", 1, (b"a", False))], [row("x", 1, A)], [], {}),
    "no digest of the source": ([row("x")], [row("x", 1, A)], [], {"unproven": 1}),
    "no digest of either": ([row("x")], [row("x")], [], {"unproven": 1}),
    "an event time differs and a content is unproven": ([row("x", 1)], [row("x", 2)], [], {"different": 1}),
    "twice in the target": ([row("x")], [row("x"), row("x")], [], {"repeated": 1}),
    "twice in the source": ([row("x"), row("x")], [row("x")], [], {"repeated": 1}),
    "twice in both": ([row("x"), row("x")], [row("x"), row("x")], [], {"repeated": 1}),
    "quarantined": ([row("x")], [], [row("x")], {"quarantined": 1}),
    "quarantined, and gone from the source": ([], [], [row("x")], {}),
    "quarantined, and corrected since": ([row("x", 1, A)], [], [row("x", 1, B)], {"missing": 1}),
    "quarantined, and moved since": ([row("x", 2)], [], [row("x", 1)], {"missing": 1}),
    "quarantined, and unchanged": ([row("x", 1, A)], [], [row("x", 1, A)], {"quarantined": 1}),
    "one of two is quarantined": ([row("x", 1, A), row("x", 1, B)], [row("x", 1, A)], [row("x", 1, B)], {}),
    "one of two is quarantined, the other is missing": (
        [row("x"), row("x")],
        [],
        [row("x")],
        {"missing": 1},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_how_a_record_differs(case: tuple[list[Row], list[Row], list[Row], dict[str, int]]) -> None:
    source, target, quarantined, expected = case
    content = "unproven" in expected or any(one[2] for one in source)
    tally, found = compare(source, target, quarantined, content=content)
    assert tally == Tally(len(source), len(target), **expected)
    assert [one.kind.value for one in found] == [
        kind for kind in expected if kind not in ("quarantined", "unproven")
    ]
    assert tally.differences == len(found)


def test_contents_that_are_not_compared_are_not_unproven() -> None:
    assert compare([row("x")], [row("x")]) == (Tally(1, 1), [])


def test_the_numbers_of_all_buckets_are_added() -> None:
    tally = Tally(1, 2, 3, 4, 5, 6, 7, 8)
    tally.add(Tally(10, 20, 30, 40, 50, 60, 70, 80))
    assert tally == Tally(11, 22, 33, 44, 55, 66, 77, 88)


def test_a_difference_names_both_sides() -> None:
    _, found = compare([row("x", 1, A), row("m", 5)], [row("x", 2, B), row("e", 7)], content=True)
    assert found == [
        RecordDifference(DifferenceKind.DIFFERENT, "x", 1, 1, 1, 2, True),
        RecordDifference(DifferenceKind.MISSING, "m", 1, 0, 5, None),
        RecordDifference(DifferenceKind.EXTRA, "e", 0, 1, None, 7),
    ]


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        pytest.param([row("x", 2, A)], [row("x", 1), row("x", 2, A)], {}, id="an older version stays"),
        pytest.param([row("x", 2)], [row("x", 1)], {"missing": 1}, id="the newest version is missing"),
        pytest.param([], [row("x", 1)], {}, id="a record moved on"),
        pytest.param([], [row("x", 1), row("x", 1)], {"repeated": 1}, id="an older version is repeated"),
        pytest.param([row("x", 1, A)], [row("x", 1, B)], {"different": 1}, id="another content"),
    ],
)
def test_with_history_a_record_is_one_version(
    source: list[Row], target: list[Row], expected: dict[str, int]
) -> None:
    tally, found = compare(source, target, keeps_history=True, content=True)
    assert tally == Tally(len(source), len(target), **expected)
    assert len(found) == sum(expected.values())


ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 2), st.just(None), st.just(False)))


@given(ROWS, ROWS)
def test_nothing_differs_exactly_if_both_sides_hold_the_same_single_rows(
    source: list[Row], target: list[Row]
) -> None:
    offered, held = Counter(one[:2] for one in source), Counter(one[:2] for one in target)
    ids = Counter(one[0] for one in source)
    tally, found = compare(source, target)
    assert (not found) == (offered == held and all(count == 1 for count in ids.values()))
    assert (tally.source, tally.target) == (len(source), len(target))
    assert len({one.record_id for one in found}) == len(found)
    by_kind = {kind: {one.record_id for one in found if one.kind is kind} for kind in DifferenceKind}
    targets = {one[0] for one in target}
    assert by_kind[DifferenceKind.MISSING] == set(ids) - targets
    assert by_kind[DifferenceKind.EXTRA] == targets - set(ids)
