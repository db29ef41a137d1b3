"""When a day is complete, and which commits may make it so."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_pipeline_provider.core.day_status import has_committed, is_complete, may_complete, was_complete
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind

MIDNIGHT = datetime(2013, 11, 2, tzinfo=timezone.utc)


def hours(start: int, end: int) -> Interval:
    return Interval(MIDNIGHT + timedelta(hours=start), MIDNIGHT + timedelta(hours=end))


DAY = hours(0, 24)
MORNING, EVENING = hours(0, 12), hours(12, 24)


def line(kind: Kind, interval: Interval, token: int | None = None) -> Entry:
    return Entry(kind, interval, MIDNIGHT, token=token)


def load(interval: Interval, token: int) -> list[Entry]:
    return [line(Kind.REPLACING, interval, token), line(Kind.COMMITTED, interval, token)]


HALF_EACH = load(MORNING, 1) + load(EVENING, 2)
SIDE_BY_SIDE = [  # two runs: both began before either committed
    line(Kind.REPLACING, MORNING, 1),
    line(Kind.REPLACING, EVENING, 2),
    line(Kind.COMMITTED, EVENING, 2),
    line(Kind.COMMITTED, MORNING, 1),
]
TWO_REPLACED = [
    *HALF_EACH,
    line(Kind.REPLACING, MORNING, 3),
    line(Kind.REPLACING, EVENING, 4),
    line(Kind.COMMITTED, EVENING, 4),
    line(Kind.COMMITTED, MORNING, 3),
]
WAIVED = [*load(MORNING, 1), line(Kind.WAIVED, hours(12, 18)), *load(hours(18, 24), 2)]


BEGUN = [*load(MORNING, 1), line(Kind.REPLACING, EVENING, 2)]
REPLACED = [*HALF_EACH, line(Kind.REPLACING, MORNING, 3)]


@pytest.mark.parametrize(
    ("entries", "now", "ever"),
    [
        pytest.param([], False, False, id="nothing"),
        pytest.param(load(MORNING, 1), False, False, id="half a day"),
        pytest.param(load(DAY, 1), True, True, id="the whole at once"),
        pytest.param(HALF_EACH, True, True, id="two halves"),
        pytest.param(load(EVENING, 1) + load(MORNING, 2), True, True, id="the earlier half came last"),
        pytest.param(SIDE_BY_SIDE, True, True, id="two runs at the same time"),
        pytest.param(SIDE_BY_SIDE[:3], False, False, id="two runs at the same time, one committed"),
        pytest.param(REPLACED, False, True, id="a replacement was begun only"),
        pytest.param(HALF_EACH + load(MORNING, 3), True, True, id="replaced"),
        pytest.param(TWO_REPLACED[:-1], False, True, id="two replacements, one committed"),
        pytest.param(TWO_REPLACED, True, True, id="two replacements"),
        pytest.param(WAIVED, False, False, id="the rest was waived"),
        pytest.param(WAIVED + load(hours(12, 18), 3), True, True, id="the waived part came after all"),
    ],
)
def test_a_day_is_complete_when_all_of_it_is_committed(entries: list[Entry], now: bool, ever: bool) -> None:
    assert (is_complete(DAY, entries), was_complete(DAY, entries)) == (now, ever)


@pytest.mark.parametrize(
    ("entries", "interval", "expected"),
    [
        pytest.param([], MORNING, False, id="half a day"),
        pytest.param([], DAY, True, id="the whole at once"),
        pytest.param(load(MORNING, 1), EVENING, True, id="the second half"),
        pytest.param(BEGUN, MORNING, True, id="the other half is loaded and not committed yet"),
        pytest.param([line(Kind.ATTEMPT, EVENING)], MORNING, False, id="the other half is not loaded"),
        pytest.param(HALF_EACH, MORNING, True, id="a replacement"),
        pytest.param(WAIVED, EVENING, True, id="the waived part comes after all"),
        pytest.param(WAIVED, MORNING, False, id="a replacement beside waived time"),
    ],
)
def test_a_commit_may_complete_the_day(entries: list[Entry], interval: Interval, expected: bool) -> None:
    assert may_complete(DAY, entries, interval) is expected


def by(run: str, *kinds: Kind) -> list[Entry]:
    return [Entry(kind, MORNING, MIDNIGHT, token=1, run=run) for kind in kinds]


ONCE = by("dag/a", Kind.ATTEMPT, Kind.REPLACING, Kind.COMMITTED)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(ONCE, True, id="a commit"),
        pytest.param(ONCE[:2], False, id="a load"),
        pytest.param(ONCE + by("dag/a", Kind.ATTEMPT), False, id="the same run once more"),
        pytest.param(ONCE + by("dag/a", Kind.CHECKED, Kind.FAILED), True, id="what is not part of a load"),
        pytest.param(ONCE + by("dag/b", Kind.ATTEMPT), True, id="another run"),
        pytest.param(by("dag/b", Kind.COMMITTED), False, id="only another run"),
    ],
)
def test_a_run_has_committed_when_it_began_nothing_since(entries: list[Entry], expected: bool) -> None:
    assert has_committed(entries, "dag/a") is expected


def test_a_date_that_the_zone_skipped_is_complete_from_the_start() -> None:
    assert is_complete(Interval(MIDNIGHT, MIDNIGHT), [])
