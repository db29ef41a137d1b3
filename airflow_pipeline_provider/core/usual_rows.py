"""Judge the rows of windows: at least a minimum, and about as many as usual.

Usual is the median of the same weekday and local hour of the weeks before.  A window is judged only if each of these
weeks has a committed window of these hours: without evidence nothing is usual.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo
from math import ceil, floor
from statistics import median
from typing import NamedTuple

from airflow_pipeline_provider.core.days import FIRST_DAY, day_interval, day_of, in_zone, zone_of
from airflow_pipeline_provider.core.expectations import Miss, RowsExpected, Unmet
from airflow_pipeline_provider.core.intervals import Interval, to_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind, effective
from airflow_pipeline_provider.core.wording import counted

_WEEK = timedelta(days=7)
ACCEPTED = "accepted_rows"
"""Key of a commit's detail: the miss that was accepted with it."""


class NotJudged(NamedTuple):
    """A window without a usual number of rows to compare with: only `known` weeks have it, or `usual` is 0."""

    interval: Interval
    weeks: int
    known: int

    @property
    def sentence(self) -> str:
        """Return why it is not judged, without a full stop."""
        if self.known < self.weeks:
            return f"{self.known} of the last {counted(self.weeks, 'week')} have a committed window to compare with"
        return f"windows of the last {counted(self.weeks, 'week')} are usually empty"


def comparable(window: Interval, weeks: int, timezone: str) -> list[Interval | None]:
    """Return the window's local hours `1..weeks` weeks before; None for a week whose day does not have them.

    A window that begins or ends its day does so in each week; others are as long as the window.  So a day of 23 or 25
    hours is compared as a whole with days of 24.
    """
    zone = zone_of(timezone)
    day = day_of(window.start, zone)
    whole = day_interval(day, zone)
    since_midnight = in_zone(window.start, zone).replace(tzinfo=None) - _midnight(day)
    found: list[Interval | None] = []
    for week in range(1, weeks + 1):
        if day - FIRST_DAY < week * _WEEK:
            found.append(None)
            continue
        other = day - week * _WEEK
        before = day_interval(other, zone)
        start: datetime | None = before.start
        if window.start != whole.start:
            start = _instant_of(_midnight(other) + since_midnight, before, zone)
        if start is None:
            found.append(None)
            continue
        end = before.end if window.end == whole.end else start + (window.end - window.start)
        found.append(Interval(start, end) if start < end <= before.end else None)
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time())


def _instant_of(wall: datetime, day: Interval, zone: tzinfo) -> datetime | None:
    """Return the first instant of the day at which the clock shows `wall`; None if it never does."""
    for fold in (0, 1):
        instant = to_utc(wall.replace(tzinfo=zone, fold=fold), "wall")
        if day.holds(instant) and in_zone(instant, zone).replace(tzinfo=None, fold=0) == wall:
            return instant
    return None


def evidence_spans(window: Interval, weeks: int, timezone: str) -> list[Interval]:
    """Return the disjoint intervals, in order, whose entries `CommittedRows` needs to judge the window."""
    return sorted({piece for piece in comparable(window, weeks, timezone) if piece is not None})


class CommittedRows:
    """The rows of effective commits that no waiver touched since, by interval."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        written = list(entries)
        waivers = [(n, entry.interval) for n, entry in enumerate(written) if entry.kind is Kind.WAIVED]
        self._commits = [
            (piece, entry)
            for piece, entry, number in effective(written)
            if piece == entry.interval
            and entry.rows is not None
            and not any(n > number and waiver.overlaps(piece) for n, waiver in waivers)
        ]
        self._starts = [piece.start for piece, _ in self._commits]

    def __iter__(self) -> Iterator[tuple[Interval, Entry]]:
        """Yield each interval with its commit, in order."""
        return iter(self._commits)

    def within(self, interval: Interval) -> int | None:
        """Return the rows of the interval; None unless whole commits fill it."""
        rows, at, number = 0, interval.start, bisect_left(self._starts, interval.start)
        while at < interval.end and number < len(self._commits) and self._starts[number] == at:
            piece, entry = self._commits[number]
            rows, at, number = rows + (entry.rows or 0), piece.end, number + 1
        return rows if at == interval.end else None


def judge_window(
    window: Interval,
    rows: int,
    token: int | None,
    expected: RowsExpected,
    known: CommittedRows,
    timezone: str,
) -> Miss | NotJudged | None:
    """Return how the window's rows are not as expected, why that cannot be judged, or None if they are."""
    if rows < expected.least:
        what = Unmet.FEW if rows else Unmet.EMPTY
        return Miss(what, window, token, rows=rows, least=expected.least)
    if expected.weeks is None:
        return None
    asked = comparable(window, expected.weeks, timezone)
    found = [known.within(piece) for piece in asked if piece is not None]
    history = [count for count in found if count is not None]
    if len(history) < expected.weeks:
        return NotJudged(window, expected.weeks, len(history))
    usual = median(history)
    if not usual:
        return NotJudged(window, expected.weeks, len(history))
    low, high = ceil(usual * (100 - expected.band) / 100), floor(usual * (100 + expected.band) / 100)
    if low <= rows <= high:
        return None
    what = Unmet.MANY if rows > high else Unmet.FEW if rows else Unmet.EMPTY
    return Miss(what, window, token, rows=rows, usual=float(usual), weeks=expected.weeks)


def judge_windows(
    within: Sequence[Interval], expected: RowsExpected, known: CommittedRows, timezone: str
) -> Iterator[Miss | NotJudged]:
    """Yield how commits inside of these intervals are not as expected, or not judged; accepted ones are left out."""
    for piece, entry in known:
        if ACCEPTED in entry.detail or not any(whole.covers(piece) for whole in within):
            continue
        verdict = judge_window(piece, entry.rows or 0, entry.token, expected, known, timezone)
        if verdict is not None:
            yield verdict
