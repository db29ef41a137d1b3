"""Convert between event times and the values of a SQL time column.

Both directions use one function, `instant_of`, so no row falls between two windows or into both.  Wall times without
an offset are read in `zone`: one that a clock change repeats means the first of the two (the column cannot
distinguish them, so the second hour's rows are in the first hour's window), one that it skipped means the instant as
far after the change as the clock was ahead.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from enum import Enum
from typing import Any

from airflow_pipeline_provider.core.days import offset_at, transitions
from airflow_pipeline_provider.core.intervals import Interval, to_utc
from airflow_pipeline_provider.exceptions import ConfigError, DataError

UTC = timezone.utc
_DAY = timedelta(days=1)
_MARGIN = 2 * _DAY  # offsets stay below 24 hours
_ISO_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T\s]+(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\s*(Z|z|[+-]\d\d:\d\d)?)?\s*",
    re.ASCII,
)


class TimeKind(str, Enum):
    """What the time column holds."""

    AWARE = "aware"  # instants
    NAIVE = "naive"  # wall times or dates
    TEXT = "text"  # ISO 8601 text with or without an offset: SQLite has no date-times of its own


@dataclass(frozen=True)
class TimeColumn:
    """The time column; without a `zone` in the pipeline file, values without an offset are a ConfigError."""

    name: str
    kind: TimeKind
    zone: tzinfo | None

    def instant_of(self, value: Any) -> datetime:
        """Return the event time of a column's value, floored to microseconds; DataError for any other value."""
        try:
            moment = _parse(value) if self.kind is TimeKind.TEXT else value
            if isinstance(moment, date) and not isinstance(moment, datetime):
                moment = datetime.combine(moment, time.min)
            if not isinstance(moment, datetime):
                raise TypeError(f"a value of type {type(value).__name__}")
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self.require_zone(), fold=0)
            return to_utc(moment, self.name)
        except ConfigError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"time column {self.name!r}: expected a date-time, got {value!r} ({error}); "
                "convert it with `query`, or correct the row"
            ) from error

    def instant_inside(self, value: Any, interval: Interval) -> datetime | None:
        """Return the event time of a column's value if it is in the interval, else None.

        A condition on texts finds a few more rows than the interval's (`Relation.within`).  An invalid text is a
        DataError only in the interval where SQLite puts it: 2013-02-30 is March 2 there.
        """
        try:
            moment = self.instant_of(value)
        except DataError:
            seen = _read_as_sqlite(value) if self.kind is TimeKind.TEXT else None
            if seen is None or interval.holds(self.instant_of(seen)):
                raise
            return None
        return moment if interval.holds(moment) else None

    def require_zone(self) -> tzinfo:
        """Return the zone of values without an offset; ConfigError if the pipeline file has none."""
        if self.zone is None:
            raise ConfigError(
                f"source.time_column_zone: column {self.name!r} holds wall times without an offset: state the zone "
                "they are in, such as UTC or Europe/Berlin"
            )
        return self.zone

    def ranges(self, interval: Interval) -> list[tuple[datetime, datetime]]:
        """Return half-open ranges of the column's values that equal the interval (for text: see `text_range`)."""
        if self.kind is TimeKind.AWARE:
            return [(interval.start, interval.end)]
        return wall_ranges(interval, self.require_zone())

    def text_range(self, interval: Interval) -> tuple[datetime, datetime]:
        """Return both ends, as naive UTC, of what SQLite's date functions may read from a text in the interval."""
        ends = [interval.start.replace(tzinfo=None), interval.end.replace(tzinfo=None)]
        if self.zone is not None:
            ends += [end for pair in wall_ranges(interval, self.zone) for end in pair]
        return min(ends), max(ends)


def wall_ranges(interval: Interval, zone: tzinfo) -> list[tuple[datetime, datetime]]:
    """Return the naive wall times of the zone (`fold=0`) that are instants of the interval.

    They are disjoint half-open ranges in order.  A clock change at T from offset a to b takes effect for wall times
    from T + max(a, b): up to there a repeated time means its first occurrence, and a skipped one is read by the old
    offset.
    """
    start, end = max(interval.start, _FIRST), min(interval.end, _LAST)
    if start >= end:
        return []
    changes = transitions(zone, start - _MARGIN, end + _MARGIN)
    offsets = [offset_at(moment, zone) for moment in (start - _MARGIN, *changes)]
    bounds = [start.replace(tzinfo=None) - _MARGIN]
    for change, before, after in zip(changes, offsets, offsets[1:], strict=False):
        bounds.append(change.replace(tzinfo=None) + max(before, after))
    bounds.append(end.replace(tzinfo=None) + _MARGIN)
    ranges = []
    for number, offset in enumerate(offsets):
        first = max(start.replace(tzinfo=None) + offset, bounds[number])
        last = min(end.replace(tzinfo=None) + offset, bounds[number + 1])
        if first < last:
            ranges.append((first, last))
    return ranges


_FIRST = datetime.min.replace(tzinfo=UTC) + 4 * _DAY
_LAST = datetime.max.replace(tzinfo=UTC) - 4 * _DAY


def _read_as_sqlite(text: str) -> str | None:
    """Return the date-time that SQLite reads from a text, None if it reads none.

    It is in UTC if the text has an offset.
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        [seconds] = connection.execute("SELECT strftime('%s', ?)", [text]).fetchone()
    if seconds is None:
        return None
    seen = (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))).replace(tzinfo=None).isoformat()
    )
    return f"{seen}Z" if re.search(r"(Z|[+-]\d\d:\d\d)\s*$", text, re.IGNORECASE) else seen


def _parse(value: Any) -> datetime:
    """Parse SQLite's ISO 8601 forms; digits beyond microseconds are cut off."""
    match = _ISO_TEXT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("no ISO 8601 text such as 2013-11-03T05:30:00Z")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    micros = int((fraction or "")[:6].ljust(6, "0"))
    moment = datetime.combine(
        date(int(year), int(month), int(day)),
        time(int(hour or 0), int(minute or 0), int(second or 0), micros),
    )
    if offset is None:
        return moment
    if offset in "Zz":
        return moment.replace(tzinfo=UTC)
    sign = -1 if offset[0] == "-" else 1
    return moment.replace(tzinfo=timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:]))))
