"""Interval algebra in tables.  `"2-5 7-9"` means the hours [2, 5) and [7, 9) of one day."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pendulum
import pytest

from airflow_pipeline_provider.core.intervals import (
    Interval,
    common,
    contiguous_end,
    gaps,
    intersect,
    iso_utc,
    join_near,
    merge,
    parse_utc,
    subtract,
    to_utc,
)

START = datetime(2013, 11, 3, tzinfo=timezone.utc)
NEW_YORK = ZoneInfo("America/New_York")


def hours(text: str) -> list[Interval]:
    pairs = [pair.split("-") for pair in text.split()]
    return [Interval(START + timedelta(hours=int(a)), START + timedelta(hours=int(b))) for a, b in pairs]


def hour(text: str) -> Interval:
    (interval,) = hours(text)
    return interval


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("1-2", "1-2", id="one"),
        pytest.param("3-3", "", id="empty ones are dropped"),
        pytest.param("4-6 1-2", "1-2 4-6", id="sorted"),
        pytest.param("1-3 3-5", "1-5", id="touching are joined"),
        pytest.param("1-4 3-5", "1-5", id="overlapping are joined"),
        pytest.param("1-9 3-5 4-8", "1-9", id="inner ones vanish"),
        pytest.param("1-2 1-2", "1-2", id="the same twice"),
        pytest.param("1-2 2-2 3-4", "1-2 3-4", id="an empty one joins nothing"),
    ],
)
def test_merge(given: str, merged: str) -> None:
    assert merge(hours(given)) == hours(merged)


@pytest.mark.parametrize(
    ("given", "gap", "most", "joined"),
    [
        pytest.param("", 1, 2, "", id="nothing"),
        pytest.param("1-2 3-4 6-7", 1, 9, "1-4 6-7", id="near ones"),
        pytest.param("3-4 1-2", 0, 9, "1-2 3-4", id="no gap is near"),
        pytest.param("1-2 3-4 6-7 20-21", 0, 2, "1-7 20-21", id="the nearest of too many"),
        pytest.param("1-2 100-101", 0, 1, "1-101", id="all of too many"),
    ],
)
def test_join_near(given: str, gap: int, most: int, joined: str) -> None:
    assert join_near(hours(given), timedelta(hours=gap), most) == hours(joined)


@pytest.mark.parametrize(
    ("given", "taken", "left"),
    [
        pytest.param("", "1-2", "", id="nothing"),
        pytest.param("1-5", "", "1-5", id="nothing taken"),
        pytest.param("1-5", "1-5", "", id="all taken"),
        pytest.param("1-5", "0-9", "", id="more than all taken"),
        pytest.param("1-5", "2-3", "1-2 3-5", id="a hole"),
        pytest.param("1-5", "0-2", "2-5", id="the front"),
        pytest.param("1-5", "4-9", "1-4", id="the back"),
        pytest.param("1-5", "0-1 5-9", "1-5", id="touching takes nothing"),
        pytest.param("1-5", "3-3", "1-5", id="empty takes nothing"),
        pytest.param("1-9", "2-3 5-6 8-9", "1-2 3-5 6-8", id="holes"),
        pytest.param("1-3 5-9", "2-6", "1-2 6-9", id="one hole over two"),
        pytest.param("1-3 5-9", "0-2 6-7 8-20", "2-3 5-6 7-8", id="each its own"),
        pytest.param("1-2 3-4 5-6", "3-4", "1-2 5-6", id="the middle one"),
    ],
)
def test_subtract(given: str, taken: str, left: str) -> None:
    assert subtract(hours(given), hours(taken)) == hours(left)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        pytest.param("", "1-2", "", id="nothing"),
        pytest.param("1-2", "2-3", "", id="touching"),
        pytest.param("1-5", "2-3 4-9", "2-3 4-5", id="several in one"),
        pytest.param("1-3 5-9", "2-6", "2-3 5-6", id="one over two"),
        pytest.param("1-2 3-4", "1-2 3-4", "1-2 3-4", id="the same"),
        pytest.param("1-5", "2-2", "", id="empty"),
    ],
)
def test_common(one: str, other: str, both: str) -> None:
    assert common(hours(one), hours(other)) == common(hours(other), hours(one)) == hours(both)


@pytest.mark.parametrize(
    ("covered", "missing", "end"),
    [
        pytest.param("", "4-8", 4, id="nothing covered"),
        pytest.param("4-8", "", 8, id="all covered"),
        pytest.param("4-6", "6-8", 6, id="a prefix"),
        pytest.param("5-8", "4-5", 4, id="no prefix"),
        pytest.param("0-5 5-6 7-8", "6-7", 6, id="a gap behind the prefix"),
        pytest.param("0-20", "", 8, id="never past the end"),
    ],
)
def test_gaps_and_prefix(covered: str, missing: str, end: int) -> None:
    assert gaps(hour("4-8"), hours(covered)) == hours(missing)
    assert contiguous_end(hour("4-8"), hours(covered)) == START + timedelta(hours=end)


@pytest.mark.parametrize(
    ("one", "other", "both", "covers"),
    [
        pytest.param("1-5", "2-3", "2-3", True, id="inside"),
        pytest.param("1-5", "1-5", "1-5", True, id="the same"),
        pytest.param("1-5", "4-6", "4-5", False, id="crossing"),
        pytest.param("1-5", "5-6", "", False, id="touching"),
        pytest.param("1-5", "9-9", "", True, id="empty elsewhere"),
        pytest.param("1-5", "3-3", "", True, id="empty inside"),
    ],
)
def test_two_intervals(one: str, other: str, both: str, covers: bool) -> None:
    a, b = hour(one), hour(other)
    assert a.overlaps(b) == b.overlaps(a) == bool(both)
    assert [x for x in [intersect(a, b)] if x] == hours(both)
    assert a.covers(b) is covers


def test_an_interval_is_half_open() -> None:
    interval = hour("2-4")
    assert [interval.holds(START + timedelta(hours=n)) for n in (1, 2, 3, 4)] == [False, True, True, False]
    assert interval.seconds == 7200
    assert not interval.is_empty
    assert hour("2-2").is_empty


def test_any_zone_becomes_utc_and_folds_stay_apart() -> None:
    first = datetime(2013, 11, 3, 1, 30, tzinfo=NEW_YORK)
    interval = Interval(first, pendulum.datetime(2013, 11, 3, 6, 30))
    assert str(interval) == "[2013-11-03T05:30:00Z, 2013-11-03T06:30:00Z)"
    assert type(interval.end) is datetime
    assert Interval(first, first.replace(fold=1)) == interval


def test_json_round_trip() -> None:
    interval = Interval(START, START + timedelta(seconds=1, microseconds=5))
    assert msgspec.to_builtins(interval) == ["2013-11-03T00:00:00Z", "2013-11-03T00:00:01.000005Z"]
    assert msgspec.convert(msgspec.to_builtins(interval), Interval) == interval


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        pytest.param("2013-11-03T05:30:00Z", "2013-11-03T05:30:00Z", id="utc"),
        pytest.param("2013-11-03T01:30:00-04:00", "2013-11-03T05:30:00Z", id="an offset"),
        pytest.param(
            "2013-11-03T05:30:00.25+00:00".replace(".25", ".250000"), "2013-11-03T05:30:00.250000Z", id="µs"
        ),
    ],
)
def test_iso(text: str, iso: str) -> None:
    assert iso_utc(parse_utc(text)) == iso


@pytest.mark.parametrize("text", ["", "yesterday", "2013-11-03", "2013-11-03T05:30:00", None, 7])
def test_bad_iso_is_named(text: object) -> None:
    with pytest.raises(ValueError, match=r"timestamp: expected ISO 8601 with an offset, got") as caught:
        parse_utc(text)  # type: ignore[arg-type]
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        pytest.param("2013-11-03", TypeError, id="text"),
        pytest.param(None, TypeError, id="None"),
        pytest.param(datetime(2013, 11, 3), ValueError, id="naive"),
    ],
)
def test_bad_instants_are_named(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^since: expected an aware datetime, got ") as caught:
        to_utc(value, "since")  # type: ignore[arg-type]
    assert repr(value) in str(caught.value)


def test_an_interval_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match=r"^end: expected an instant at or after 2013-11-03T02:00:00Z, got "):
        hour("2-1")
