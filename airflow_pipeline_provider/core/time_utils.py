"""Durations, timestamps and days, as the pipeline's configuration and its callers write them."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta, tzinfo
from datetime import timezone as fixed_timezone
from fractions import Fraction
from numbers import Integral, Real
from typing import TypeGuard

import pendulum

from airflow_pipeline_provider.core.days import UTC, day_interval, day_of, in_zone, shift_back, zone_of
from airflow_pipeline_provider.core.durations import (
    Duration,
    parse_duration,
    parse_time_to_seconds,
    quote,
    seconds_to_time_string,
)

__all__ = [
    "Duration",
    "calculate_day_from_timestamp",
    "convert_to_pendulum",
    "parse_duration",
    "parse_time_to_seconds",
    "seconds_to_time_string",
    "shown_in",
]

ZONE_UTC = zone_of("UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Ticks a second by the magnitude of an epoch number.  s, ms, us reach to the year 5138; ms, us and ns start
# in March 1973: a number of milliseconds nearer to 1970 than that is read as seconds.
_EPOCH_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**21, 10**9))

_ISO_8601 = re.compile(
    r"(?P<year>\d{4})"
    r"(?:(?P<dash>-?)(?:(?P<month>\d\d)(?P=dash)(?P<day>\d\d)|W(?P<week>\d\d)(?P=dash)(?P<weekday>\d))"
    r"|-(?P<ordinal>\d{3}))"
    r"(?P<time>[T ](?P<hour>\d\d)"
    r"(?:(?P<colon>:?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"(?P<offset>Z|(?P<sign>[+-])(?P<off_h>\d\d)(?::?(?P<off_m>\d\d)(?::?(?P<off_s>\d\d))?)?)?)?",
    re.ASCII,
)


def convert_to_pendulum(
    timestamp: object, timezone: str | tzinfo | None = None, *, name: str = "timestamp"
) -> pendulum.DateTime:
    """Convert `timestamp` to a pendulum DateTime in `timezone`; fractions are floored to microseconds.

    Accepted:

    - a datetime, `fold` honoured (pendulum's and pandas' are datetimes);
    - a date, or an ISO 8601 date (`2024-01-15`, `20240115`, `2024-W03-1`, `2024-015`): its first instant;
    - an ISO 8601 date-time, with or without offset;
    - a number, negative ones too: the epoch time in s, ms, us or ns by its magnitude (below 1e11, 1e14, 1e17,
      1e21).

    A naive value is wall time in `timezone`, in UTC without one; a wall time that a clock change left out
    counts on past the gap.  An aware one without `timezone` keeps its own.

    Raises TypeError for another kind of thing (None, bool, bytes, containers, times, durations, intervals),
    ValueError for what is no instant (NaT, NaN, infinity, other text, outside of the years 1 to 9999), both
    naming `name` and the value; ValueError for an unknown timezone.
    """
    zone = None if timezone is None else zone_of(timezone)
    value = timestamp
    if isinstance(value, str):
        value = _parse_iso(value, name)
    if isinstance(value, datetime):
        if value != value:  # NaT is a datetime that equals nothing
            raise ValueError(f"{name}: expected an instant, got NaT")
        instant, own_zone = _instant_of(value, zone, name)
        return shown_in(instant, own_zone if zone is None else zone, name)
    shown = ZONE_UTC if zone is None else zone
    if isinstance(value, date):
        return _first_instant(value, shown, name)
    if _is_number(value):
        return shown_in(_from_epoch(value, name), shown, name)
    raise TypeError(
        f"{name}: expected a datetime, a date, ISO 8601 text or an epoch number, got {quote(value)} "
        f"({type(value).__name__})"
    )


def shown_in(instant: datetime, timezone: str | tzinfo, name: str = "timestamp") -> pendulum.DateTime:
    """Convert the aware `instant` to a pendulum DateTime in `timezone`."""
    local = in_zone(instant, zone_of(timezone), name)
    offset = local.utcoffset() or timedelta()
    key = getattr(local.tzinfo, "key", None)
    return pendulum.DateTime(
        local.year,
        local.month,
        local.day,
        local.hour,
        local.minute,
        local.second,
        local.microsecond,
        tzinfo=pendulum.timezone(key or int(offset.total_seconds())),
        fold=local.fold,
    )


def calculate_day_from_timestamp(
    timestamp: object, time_back: str, timezone: str | tzinfo, *, name: str = "timestamp"
) -> pendulum.DateTime:
    """Return the first instant, in `timezone`, of the local day of `timestamp` minus `time_back`.

    `timestamp` is anything that `convert_to_pendulum` takes; `time_back` a duration such as `1d2h`, of which
    the calendar days are taken first, by the local clock.  Raises ValueError or TypeError naming field and
    value.
    """
    zone = zone_of(timezone)
    instant = convert_to_pendulum(timestamp, zone, name=name)
    back = parse_duration(time_back, "time_back")
    try:
        day = day_of(shift_back(instant, back, zone), zone)
    except ValueError as error:
        raise ValueError(f"time_back: {error}") from error
    return shown_in(day_interval(day, zone).start, zone)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether the value is an int, a float or a numpy scalar of them; bool and timedelta64 are not."""
    if isinstance(value, int | float):
        return not isinstance(value, bool)
    return isinstance(value, Real) and getattr(getattr(value, "dtype", None), "kind", None) in ("i", "u", "f")


def _from_epoch(value: int | float, name: str) -> datetime:
    number = int(value) if isinstance(value, Integral) else float(value)
    ticks = next((unit for limit, unit in _EPOCH_UNITS if abs(number) < limit), None)
    if ticks is None:  # NaN is below nothing
        raise ValueError(
            f"{name}: expected an epoch number in s, ms, us or ns (below 1e21), got {quote(value)}"
        )
    # as the number is written in decimals: 0.7 is 700,000 microseconds, though the binary is a little less
    microseconds = math.floor(Fraction(repr(number)) * 1_000_000 / ticks)
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise ValueError(f"{name}: {quote(value)} is outside of the years 1 to 9999") from error


def _parse_iso(text: str, name: str) -> date | datetime:
    """Parse ISO 8601: return a date for a date, a datetime for a date-time, naive without an offset."""
    match = _ISO_8601.fullmatch(text.upper())
    if match is None:
        raise ValueError(f"{name}: expected an ISO 8601 date or date-time, got {quote(text)}")
    part = match.groupdict()
    try:
        day = _date_of(part)
        if part["time"] is None:
            return day
        return datetime(
            day.year,
            day.month,
            day.day,
            int(part["hour"]),
            int(part["minute"] or 0),
            int(part["second"] or 0),
            int((part["fraction"] or "0")[:6].ljust(6, "0")),
            tzinfo=_offset_of(part),
        )
    except ValueError as error:
        raise ValueError(f"{name}: {quote(text)} is no date-time of the calendar: {error}") from error


def _date_of(part: dict[str, str | None]) -> date:
    year = int(part["year"] or 0)
    if part["week"]:
        return date.fromisocalendar(year, int(part["week"]), int(part["weekday"] or 0))
    if part["ordinal"]:
        day = date(year, 1, 1) + timedelta(days=int(part["ordinal"]) - 1)
        if day.year != year:
            raise ValueError(f"the year {year} has no day {part['ordinal']}")
        return day
    return date(year, int(part["month"] or 0), int(part["day"] or 0))


def _offset_of(part: dict[str, str | None]) -> tzinfo | None:
    if part["sign"] is None:
        return UTC if part["offset"] else None
    hours, minutes, seconds = (int(part[key] or 0) for key in ("off_h", "off_m", "off_s"))
    if minutes > 59 or seconds > 59:
        raise ValueError("minutes and seconds of an offset must be in 0..59")
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return fixed_timezone(-offset if part["sign"] == "-" else offset)


def _instant_of(value: datetime, zone: tzinfo | None, name: str) -> tuple[datetime, tzinfo]:
    """Return the instant in UTC and the value's own zone, for a datetime of any library."""
    plain = datetime(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond,
        tzinfo=value.tzinfo, fold=value.fold,
    )  # fmt: skip
    offset = plain.utcoffset()
    if offset is None:
        plain = plain.replace(tzinfo=zone or ZONE_UTC)
        offset = plain.utcoffset() or timedelta()
    try:
        # not astimezone: some tzinfo of the world forget the fold on the way
        instant = plain.replace(tzinfo=UTC) - offset
    except OverflowError as error:
        raise ValueError(f"{name}: {value!r} is outside of the years 1 to 9999 in UTC") from error
    try:
        return instant, zone_of(plain.tzinfo or UTC)
    except ValueError:  # a zone without a name in the database (dateutil): its offset there stands for it
        return instant, fixed_timezone(offset)


def _first_instant(day: date, zone: tzinfo, name: str) -> pendulum.DateTime:
    try:
        return shown_in(day_interval(day, zone).start, zone, name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
