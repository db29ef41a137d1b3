"""Which commit made the day complete."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_pipeline_provider.core.completion import is_complete, made_complete
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


@pytest.mark.parametrize(
    ("entries", "who"),
    [
        ([], set()),
        (load(MORNING, 1), set()),
        (load(DAY, 1), {1}),
        (HALF_EACH, {2}),
        (load(EVENING, 1) + load(MORNING, 2), {2}),
        (SIDE_BY_SIDE, {1}),
        (HALF_EACH + load(MORNING, 3), {2, 3}),
        ([*HALF_EACH, line(Kind.REPLACING, MORNING, 3)], {2}),
        (TWO_REPLACED, {2, 3}),
        (WAIVED, set()),
        (WAIVED + load(hours(12, 18), 3), {3}),
    ],
    ids=[
        "nothing",
        "half a day",
        "the whole at once",
        "the second half",
        "the earlier half came last",
        "two runs at the same time",
        "replaced: complete anew",
        "a replacement was begun only",
        "two replacements: the later commit",
        "the rest was waived",
        "the waived part came after all",
    ],
)
def test_exactly_these_commits_made_the_day_complete(entries: list[Entry], who: set[int]) -> None:
    assert {token for token in range(1, 6) if made_complete(DAY, entries, token)} == who


@pytest.mark.parametrize(
    "later", [load(MORNING, 3), [line(Kind.REPLACING, EVENING, 4)]], ids=["commit", "begun"]
)
def test_asked_again_later_the_answer_is_the_same(later: list[Entry]) -> None:
    assert made_complete(DAY, HALF_EACH + later, 2)


def test_a_date_that_the_zone_skipped_is_complete_from_the_start() -> None:
    assert is_complete(Interval(MIDNIGHT, MIDNIGHT), [])
