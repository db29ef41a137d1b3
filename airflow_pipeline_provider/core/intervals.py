"""Half-open intervals of time and the algebra on them: pure functions on sorted, plain values.

An `Interval` holds two aware UTC datetimes, `start <= end`, and means every instant `t` with `start <= t <
end`.  All comparisons are between instants: nothing here knows a timezone.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice
from operator import attrgetter
from typing import Annotated, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from airflow_pipeline_provider.core.durations import quote
from airflow_pipeline_provider.exceptions import ConfigError

T = TypeVar("T")
Instant = Annotated[datetime, Meta(tz=True)]
"""A datetime that is refused without an offset when it is read from JSON."""


def to_utc(value: datetime, name: str) -> datetime:
    """Convert an aware datetime to a plain `datetime` in UTC.

    Raises TypeError or ValueError, with `name`, for anything else.
    """
    if type(value) is datetime and value.tzinfo is timezone.utc and not value.fold:
        return value
    if not isinstance(value, datetime):
        raise TypeError(f"{name}: expected an aware datetime, got {value!r}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"{name}: expected an aware datetime, got the naive {value!r}")
    utc = value.astimezone(timezone.utc)
    if type(utc) is datetime:
        return utc
    # pendulum's subclass has arithmetic of its own: keep the standard class only
    return datetime(
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=timezone.utc
    )


def iso_utc(value: datetime) -> str:
    """Return `2013-11-03T05:30:00Z`, with microseconds only where there are any."""
    return to_utc(value, "value").isoformat().replace("+00:00", "Z")


def parse_utc(text: str) -> datetime:
    """Parse an ISO 8601 date-time with an offset, such as `iso_utc` writes; raise ValueError for anything else."""
    try:
        return to_utc(datetime.fromisoformat(text.replace("Z", "+00:00")), "timestamp")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"timestamp: expected ISO 8601 with an offset, got {text!r}") from error


FIRST_YEAR, LAST_YEAR = 1000, 9000  # days added to or subtracted from these stay inside the calendar
_DATE_TIME = re.compile(
    r"(?P<whole>\d{4}-\d\d-\d\d(?:[T ](?!24)\d\d:\d\d(?::\d\d)?)?)(?:\.(?P<fraction>\d{1,9}))?"  # 3.14 reads 24:00
    r"(?P<offset>Z|[+-]\d\d:\d\d(?::\d\d)?)?",
    re.ASCII,
)


def parse_instant(value: object, name: str) -> datetime:
    """Parse an instant that a person wrote: an aware datetime, or ISO 8601 with an offset, floored to microseconds.

    Without an offset an hour that a clock change repeats is ambiguous. Raises ConfigError, which begins with `name`.
    """
    expected = (
        f"{name}: expected ISO 8601 with an offset such as 2013-11-03T01:00:00-04:00, got {quote(value)}"
    )
    instant = _read_instant(value.strip(" ").upper()) if isinstance(value, str) else value
    if not isinstance(instant, datetime):
        raise ConfigError(expected)
    if instant.utcoffset() is None:
        date_only = isinstance(value, str) and ":" not in value
        raise ConfigError(
            expected
            if date_only
            else f"{expected} without an offset: add Z for UTC, or the offset of the zone"
        )
    try:
        utc = to_utc(instant, name)
    except (ValueError, OverflowError):
        raise ConfigError(expected) from None
    if not FIRST_YEAR <= utc.year <= LAST_YEAR:
        raise ConfigError(f"{name}: expected a year from {FIRST_YEAR} to {LAST_YEAR}, got {quote(value)}")
    return utc


def _read_instant(text: str) -> datetime | None:
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    # as Python 3.10 reads it: a fraction of six digits, and no Z
    fraction = f".{match['fraction']:0<6.6}" if match["fraction"] else ""
    offset = "+00:00" if match["offset"] == "Z" else match["offset"] or ""
    try:
        return datetime.fromisoformat(f"{match['whole']}{fraction}{offset}")
    except ValueError:
        return None


class Interval(Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """Half-open interval `[start, end)` of instants in UTC; aware datetimes of any zone are converted.

    In JSON: `["2013-11-03T05:30:00Z", "2013-11-03T06:30:00Z"]`.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        force_setattr(self, "start", to_utc(self.start, "start"))
        force_setattr(self, "end", to_utc(self.end, "end"))
        if self.end < self.start:
            raise ValueError(
                f"end: expected an instant at or after {iso_utc(self.start)}, got {iso_utc(self.end)}"
            )

    @property
    def is_empty(self) -> bool:
        """Return whether the interval holds no instant."""
        return self.start == self.end

    @property
    def seconds(self) -> float:
        """Return the elapsed seconds."""
        return (self.end - self.start).total_seconds()

    def holds(self, instant: datetime) -> bool:
        """Return whether the instant is inside."""
        return self.start <= instant < self.end

    def covers(self, other: Interval) -> bool:
        """Return whether every instant of `other` is inside; an empty interval is covered by any."""
        return other.is_empty or (self.start <= other.start and other.end <= self.end)

    def overlaps(self, other: Interval) -> bool:
        """Return whether they share an instant; touching intervals do not overlap."""
        a, b, c, d = self.start, self.end, other.start, other.end
        return a < d and c < b and a < b and c < d

    def __str__(self) -> str:
        return f"[{iso_utc(self.start)}, {iso_utc(self.end)})"


def intersect(a: Interval, b: Interval) -> Interval | None:
    """Return the common part of both intervals, or None."""
    return Interval(max(a.start, b.start), min(a.end, b.end)) if a.overlaps(b) else None


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same union sorted and disjoint: touching intervals are joined, empty ones dropped."""
    found = [interval for interval in intervals if interval.start < interval.end]
    if len(found) < 2:
        return found
    found.sort()
    merged: list[Interval] = []
    first, end = found[0], found[0].end
    for interval in found:
        if interval.start > end:
            merged.append(first if end == first.end else Interval(first.start, end))
            first, end = interval, interval.end
        elif interval.end > end:
            end = interval.end
    merged.append(first if end == first.end else Interval(first.start, end))
    return merged


def split(
    items: Iterable[T], wholes: Sequence[Interval], key: Callable[[T], Interval] = attrgetter("interval")
) -> list[list[T]]:
    """Return for each of the disjoint intervals, which are in order, the items that overlap it, in their order."""
    starts, ends = [whole.start for whole in wholes], [whole.end for whole in wholes]
    found: list[list[T]] = [[] for _ in wholes]
    for item in items:
        interval = key(item)
        for number in range(bisect_right(ends, interval.start), bisect_left(starts, interval.end)):
            found[number].append(item)
    return [[] if whole.is_empty else touching for whole, touching in zip(wholes, found, strict=True)]


def join_near(intervals: Iterable[Interval], gap: timedelta, most: int) -> list[Interval]:
    """Return disjoint intervals that hold these, with those joined that are up to `gap` apart; at most `most`.

    Where that leaves more, those further apart are joined too.
    """
    joined: list[Interval] = []
    for piece in merge(intervals):
        if joined and piece.start - joined[-1].end <= gap:
            piece = Interval(joined.pop().start, piece.end)
        joined.append(piece)
    return joined if len(joined) <= most else join_near(joined, max(2 * gap, timedelta(hours=1)), most)


def subtract(intervals: Iterable[Interval], taken: Iterable[Interval]) -> list[Interval]:
    """Return the parts of `intervals` that none of `taken` holds: sorted, disjoint."""
    left: list[Interval] = []
    holes = merge(taken)
    first = 0  # the holes before it end before the current interval, and so before all later ones
    for interval in merge(intervals):
        while first < len(holes) and holes[first].end <= interval.start:
            first += 1
        start = interval.start
        for hole in islice(holes, first, None):
            if hole.start >= interval.end:
                break
            if hole.start > start:
                left.append(Interval(start, hole.start))
            start = hole.end
        if start < interval.end:
            left.append(Interval(start, interval.end))
    return left


def common(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Return what both `intervals` and `others` hold: sorted, disjoint."""
    left = merge(intervals)
    right = merge(others) if left else []
    shared: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        both = intersect(left[i], right[j])
        if both is not None:
            shared.append(both)
        if left[i].end < right[j].end:
            i += 1
        else:
            j += 1
    return shared


def gaps(within: Interval, covered: Iterable[Interval]) -> list[Interval]:
    """Return the parts of `within` that nothing covers, earliest first."""
    return subtract([within], covered)


def contiguous_end(within: Interval, covered: Iterable[Interval]) -> datetime:
    """Return the end of the covered prefix of `within`: its start when the prefix is empty, at most its end."""
    missing = gaps(within, covered)
    return missing[0].start if missing else within.end
