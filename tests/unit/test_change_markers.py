"""Change markers: which comparison proves what, and which one is only doubt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.core.change_markers import (
    ChangeMarker,
    Comparison,
    Place,
    Shard,
    compare,
    earliest,
    from_detail,
    joined,
    to_detail,
    why_not_seen,
)


def place(name: str = "i", identity: str = "u", checkpoints: tuple[int, ...] = (5, 9), **more: Any) -> Place:
    return Place(name, identity, checkpoints, **{"terms": (1, 1), "view": "v", **more})


BEFORE = ChangeMarker((place(),))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param([place()], Comparison(), id="nothing written"),
        pytest.param(
            [place(checkpoints=(5, 11))], Comparison((Shard("i", 1, 9),)), id="one shard was written to"
        ),
        pytest.param([place(), place("j")], Comparison(new=("j",)), id="another index"),
        pytest.param([], Comparison(gone=("i",)), id="the index is gone"),
        pytest.param([place("j")], Comparison(new=("j",), gone=("i",)), id="renamed, shrunk or split"),
    ],
)
def test_what_was_written_is_named(now: list[Place], expected: Comparison) -> None:
    found = compare(BEFORE, ChangeMarker(tuple(now)))
    assert found == expected
    assert found.proves_unchanged is (expected == Comparison())


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        pytest.param(place(identity="w"), "i was created again or restored since", id="created again"),
        pytest.param(place(checkpoints=(5,)), "i did not report all of its shards", id="a shard is missing"),
        pytest.param(place(checkpoints=(5, 8)), "shard 1 of i lost operations since", id="numbers went back"),
    ],
)
def test_what_cannot_be_compared_is_unknown(now: Place, reason: str) -> None:
    assert compare(BEFORE, ChangeMarker((now,))) == Comparison(unknown=reason)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(
            place(terms=(1, 2)), "shard 1 of i has another primary since (term 1, now 2)", id="failover"
        ),
        pytest.param(place(terms=None, view=None), "the primary terms of i are not known", id="no right now"),
        pytest.param(place(view="w"), "an alias or a runtime field of i has changed", id="another alias"),
    ],
)
def test_equal_checkpoints_with_a_doubt_prove_nothing(now: Place, words: str) -> None:
    found = compare(BEFORE, ChangeMarker((now,)))
    assert words in (found.doubt or "")
    assert (found.written, found.proves_unchanged) == ((), False)


def test_doubt_and_unknown_of_either_marker_count() -> None:
    same = (place(),)
    assert compare(ChangeMarker(same, doubt="a"), ChangeMarker(same, doubt="b")).doubt == "a; b"
    assert compare(ChangeMarker(unknown="a"), BEFORE).unknown == "a"
    assert compare(BEFORE, ChangeMarker(unknown="b")).unknown == "b"


def test_a_source_without_terms_has_no_doubt_for_lack_of_them() -> None:
    rows = ChangeMarker((Place("rows", "u", (3,)),))
    assert compare(rows, rows).proves_unchanged


@pytest.mark.parametrize(
    ("markers", "expected"),
    [
        pytest.param([], None, id="no slice"),
        pytest.param([BEFORE, None], None, id="a slice without one"),
        pytest.param([BEFORE], BEFORE, id="one slice"),
        pytest.param(
            [ChangeMarker((place(checkpoints=(5, 9)),)), ChangeMarker((place(checkpoints=(7, 8)),))],
            ChangeMarker((place(checkpoints=(5, 8)),)),
            id="the lower number of each shard",
        ),
        pytest.param(
            [ChangeMarker((place(), place("j"))), BEFORE], BEFORE, id="an index that one of them lacks is new"
        ),
        pytest.param([BEFORE, ChangeMarker(unknown="why")], ChangeMarker(unknown="why"), id="unknown"),
        pytest.param(
            [BEFORE, ChangeMarker((place(identity="w"),))],
            ChangeMarker(unknown="i was created again while the window was read"),
            id="created again in between",
        ),
        pytest.param(
            [ChangeMarker((place(),), doubt="a"), ChangeMarker((place(terms=(1, 2)),))],
            ChangeMarker((place(),), doubt="a; i got another primary or alias while the window was read"),
            id="failover in between",
        ),
        pytest.param(
            [ChangeMarker(maxima=("9",)), ChangeMarker(maxima=("10",)), ChangeMarker(maxima=("9",))],
            ChangeMarker(maxima=("9", "10")),
            id="maxima are kept, since only the source orders them",
        ),
    ],
)
def test_slices_share_what_is_in_every_view(
    markers: list[ChangeMarker | None], expected: ChangeMarker | None
) -> None:
    assert earliest(markers) == expected


def test_a_commit_keeps_the_marker_and_reads_it_again() -> None:
    detail = to_detail(BEFORE)
    assert msgspec.json.decode(msgspec.json.encode(detail)) == {
        "marker": {
            "version": 1,
            "places": [{"name": "i", "identity": "u", "checkpoints": [5, 9], "terms": [1, 1], "view": "v"}],
        }
    }
    assert from_detail(msgspec.json.decode(msgspec.json.encode(detail))) == BEFORE
    assert to_detail(None) == {}


def test_a_commit_of_another_version_has_no_marker_to_compare() -> None:
    assert from_detail({"source": 3, "target": 3}) is None
    newer = from_detail({"marker": {"version": 2, "places": "?"}})
    assert newer == ChangeMarker(unknown="the commit's change marker is of a newer version")


@pytest.mark.parametrize(
    ("detail", "why"),
    [
        ({}, "no change marker: the source has none, or an earlier version loaded the window"),
        (to_detail(ChangeMarker(unknown="a")), "a"),
        (to_detail(ChangeMarker((place(),), doubt="b")), "b"),
        (to_detail(BEFORE), None),
    ],
    ids=["no marker", "unknown", "doubt", "known"],
)
def test_a_commit_states_why_updates_in_place_are_not_seen(detail: dict[str, Any], why: str | None) -> None:
    assert why_not_seen(detail) == why


def test_reasons_are_joined_once() -> None:
    assert joined([None, "a", "b", "a"]) == "a; b"
    assert joined([None]) is None
