"""The days of a timezone, and the windows that tile them.

The day D of a zone is `[first instant whose local date >= D, first instant whose local date >= D + 1)`.  So
every instant belongs to exactly one day, whatever the clocks do: a day may have 23 or 47 hours, a date that
the zone skipped is an empty interval, and an hour that repeats after midnight belongs to the new day.

All arithmetic is on plain `datetime` in UTC: two aware datetimes of one zone compare and subtract by their
wall clocks, and so are wrong near a clock change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from datetime import timezone as fixed_timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from airflow_pipeline_provider.core.durations import Duration, quote
from airflow_pipeline_provider.core.intervals import Interval, intersect, to_utc
from airflow_pipeline_provider.exceptions import ConfigError

UTC = fixed_timezone.utc
_SECOND, _INSTANT = timedelta(seconds=1), timedelta(microseconds=1)
_DAY = timedelta(days=1)
_DAY_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# Offsets stay below 24 hours, and shifting by them must stay inside what a datetime can hold.
FIRST_DAY, LAST_DAY = date.min + 4 * _DAY, date.max - 4 * _DAY


def zone_of(timezone: str | tzinfo) -> tzinfo:
    """Return the zone of a name of the tz database, or of a tzinfo that has such a name or a fixed offset.

    Raises ValueError that names the timezone.
    """
    name = timezone
    if isinstance(timezone, ZoneInfo) and timezone.key:
        return timezone
    if isinstance(timezone, tzinfo):
        name = getattr(timezone, "key", None) or getattr(timezone, "zone", None) or timezone
    if isinstance(name, str):
        try:
            return ZoneInfo(name)
        except (
            KeyError,
            ValueError,
            OSError,
        ) as error:  # unknown, not a relative path, a folder
            raise ValueError(
                f"timezone: expected a name of the tz database such as 'America/New_York', got {name[:60]!r}"
            ) from error
    offset = timezone.utcoffset(None) if isinstance(timezone, tzinfo) else None
    if offset is None:
        raise ValueError(f"timezone: expected a name of the tz database or a fixed offset, got {timezone!r}")
    return fixed_timezone(offset) if offset else ZoneInfo("UTC")


def in_zone(instant: datetime, zone: tzinfo, name: str = "instant") -> datetime:
    """Convert an instant to a plain `datetime` in `zone`; raise ValueError outside of the years 1 to 9999."""
    try:
        return to_utc(instant, name).astimezone(zone)
    except OverflowError as error:
        raise ValueError(f"{name}: {instant!r} is outside of the years 1 to 9999 in {zone}") from error


def offset_at(instant: datetime, zone: tzinfo) -> timedelta:
    """Return the zone's offset from UTC at the instant."""
    local = instant.astimezone(zone)
    return local.replace(tzinfo=UTC) - instant


def _changes(start: datetime, end: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the UTC instants in `(start, end]` at which the zone's offset changes.

    Looks once a day and bisects to the second: no zone of the tz database has two changes within a day (the
    closest two are 3 days 23 hours apart), and all of them are on whole seconds.
    """
    known = offset_at(start, zone)
    while start < end:
        stop = min(start + _DAY, end)
        if (after := offset_at(stop, zone)) != known:
            low, high = 0, int((stop - start) / _SECOND)
            while high - low > 1:
                middle = (low + high) // 2
                if offset_at(start + middle * _SECOND, zone) == known:
                    low = middle
                else:
                    high = middle
            yield start + high * _SECOND
            known = after
        start = stop


def transitions(timezone: str | tzinfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the UTC instants in `(start, end]` at which the offset changes, earliest first, to the second.

    `start` is floored and `end` raised to a whole second.  Raises ValueError for an unknown timezone and in the
    first or last days of the calendar.
    """
    zone = zone_of(timezone)
    first, last = to_utc(start, "start"), to_utc(end, "end")
    for name, instant in (("start", first), ("end", last)):
        if not FIRST_DAY <= instant.date() <= LAST_DAY:
            raise ValueError(f"{name}: expected an instant from {FIRST_DAY} to {LAST_DAY}, got {instant}")
    if last.microsecond:
        last += _SECOND
    return list(_changes(first.replace(microsecond=0), last.replace(microsecond=0), zone))


def _check_day(day: date) -> date:
    if isinstance(day, datetime) or not isinstance(day, date):
        raise TypeError(f"day: expected a date, got {day!r}")
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(f"day: expected a date from {FIRST_DAY} to {LAST_DAY}, got {day}")
    return date(day.year, day.month, day.day)


@lru_cache(maxsize=8192)
def _first_instant(day: date, zone: tzinfo) -> datetime:
    """Return the first instant whose local date is `day` or later."""
    return _reached(datetime(day.year, day.month, day.day, tzinfo=UTC), zone)


def _reached(wall: datetime, zone: tzinfo) -> datetime:
    """Return the first instant at which the local clock shows `wall` or later; `wall` is written with UTC."""
    start = wall - _DAY  # offsets are shorter than a day
    for change in _changes(start, wall + _DAY, zone):
        if wall - offset_at(start, zone) < change:  # up to the change one offset holds
            break
        start = change
    return max(start, wall - offset_at(start, zone))


def clock_reaches(day: date, minutes: int, timezone: str | tzinfo) -> datetime:
    """Return the first instant at which the local clock shows `minutes` after midnight of `day`, or later.

    So a time that exists twice is the first of the two, and one that a clock change skips is the end of the gap.
    Raises ValueError for an unknown timezone and for a date in the first or last days of the calendar.
    """
    midnight = datetime.combine(_check_day(day), datetime.min.time(), UTC)
    return _reached(midnight + timedelta(minutes=minutes), zone_of(timezone))


def day_interval(day: date, timezone: str | tzinfo) -> Interval:
    """Return the interval of the day; empty for a date that the zone skipped (Pacific/Apia, 2011-12-30).

    Raises ValueError for an unknown timezone and for a date in the first or last days of the calendar.
    """
    zone = zone_of(timezone)
    return _day_interval(_check_day(day), zone)


@lru_cache(maxsize=8192)
def _day_interval(day: date, zone: tzinfo) -> Interval:
    return Interval(_first_instant(day, zone), _first_instant(day + _DAY, zone))


def parse_day(text: str, name: str) -> date:
    """Parse a calendar day such as 2013-11-03; raise ConfigError, which begins with `name`, for anything else."""
    try:
        if _DAY_TEXT.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:  # no such day
        pass
    raise ConfigError(f"{name}: expected a calendar day such as 2013-11-03, got {quote(text)}")


def day_of(instant: datetime, timezone: str | tzinfo) -> date:
    """Return the day whose interval holds the aware `instant`: the latest local date reached by then.

    It is never a skipped date, and a clock set back over midnight does not return to the day before.
    """
    zone = zone_of(timezone)
    local = in_zone(instant, zone)
    utc = to_utc(instant, "instant")
    day = _check_day(local.date())
    while _first_instant(day + _DAY, zone) <= utc:
        day += _DAY
    return day


def days_in(span: Interval, timezone: str | tzinfo) -> Iterator[tuple[date, Interval]]:
    """Yield each local day that the span touches, with what of the day lies in it."""
    day, last = day_of(span.start, timezone), day_of(span.end - _INSTANT, timezone)
    while day <= last:
        part = intersect(day_interval(day, timezone), span)
        if part is not None:
            yield day, part
        day += _DAY


def tile_day(day: date, timezone: str | tzinfo, granularity: Duration) -> list[Interval]:
    """Return the windows that tile the day from its first instant, in order; none for a skipped date.

    A granularity with calendar days is one window for the whole day.  The last window ends with the day.  Raises
    ValueError for a granularity of zero or less.
    """
    whole = day_interval(day, timezone)
    windows = []
    start = whole.start
    while start < whole.end:
        end = window_end(start, whole, granularity)
        windows.append(Interval(start, end))
        start = end
    return windows


def window_end(start: datetime, day: Interval, granularity: Duration) -> datetime:
    """Return the end of the window from `start`: `granularity` later (elapsed time), at most the day's end."""
    if granularity.days < 0 or granularity.seconds < 0 or granularity == (0, 0):
        raise ValueError(f"granularity: expected more than 0s, got {granularity}")
    # compared as numbers: a granularity of a million years must not overflow
    if granularity.days or granularity.seconds >= (day.end - start).total_seconds():
        return day.end
    return start + granularity.seconds * _SECOND


def shift_back(instant: datetime, back: Duration, timezone: str | tzinfo) -> datetime:
    """Return the aware `instant` minus `back`, in UTC: calendar days by the local clock, then elapsed seconds.

    A wall time that exists twice means the first of the two.  One that a clock change skipped moves forward
    past the gap; where that would leave its date (a skipped date, a gap up to midnight) it moves back.
    Raises ValueError when the result is outside of the calendar.
    """
    zone = zone_of(timezone)
    utc = to_utc(instant, "instant")
    try:
        if back.days:
            utc = _resolve(in_zone(utc, zone).replace(tzinfo=None) - back.days * _DAY, zone)
        return utc - back.seconds * _SECOND
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{back} before {instant!r} is outside of the calendar") from error


def _resolve(wall: datetime, zone: tzinfo) -> datetime:
    """Convert a naive wall time of `zone` to the UTC instant that it means."""
    forward = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if forward.astimezone(zone).replace(tzinfo=None, fold=0) == wall.replace(fold=0):
        return forward
    if day_of(forward, zone) == wall.date():
        return forward
    return wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
