"""Write instants, windows and counts in messages: local time with the zone's name, `1 day`, `8 days`."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo

from airflow_pipeline_provider.core.days import in_zone, zone_of
from airflow_pipeline_provider.core.intervals import Interval

_INSTANT = timedelta(microseconds=1)


def local_time(instant: datetime, timezone: str | tzinfo) -> str:
    """Return `2013-11-03 06:00 EST`; seconds and their fraction only where there are any."""
    local = in_zone(instant, zone_of(timezone))
    return f"{local.date()} {clock_text(local)} {local.tzname()}"


def local_window(interval: Interval, timezone: str | tzinfo) -> str:
    """Return `2013-11-03 [06:00, 08:00) EST`, over a clock change `2013-11-03 [01:00 EDT, 01:00 EST)`.

    The midnight that ends the start's date reads 24:00, also where the clock skips it; the end has a date of its own
    only where it lies beyond.
    """
    zone = zone_of(timezone)
    start = in_zone(interval.start, zone)
    text, end = end_clock(interval.end, start.date(), zone)
    if start.tzname() == end.tzname():
        return f"{start.date()} [{clock_text(start)}, {text}) {start.tzname()}"
    return f"{start.date()} [{clock_text(start)} {start.tzname()}, {text} {end.tzname()})"


def end_clock(instant: datetime, day: date, zone: tzinfo) -> tuple[str, datetime]:
    """Return the clock at the end of an interval that starts on this date, and the local time with its offset.

    If the instant ends the date it is `24:00`, or what the clock leads to before a change; a later date is written.
    """
    local, before = in_zone(instant, zone), in_zone(instant - _INSTANT, zone)
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time())
    if local.replace(tzinfo=None) == midnight:
        return "24:00", local
    if before.date() == day < local.date():
        wall = before.replace(tzinfo=None) + _INSTANT
        return "24:00" if wall == midnight else clock_text(wall), before
    date_text = "" if local.date() == day else f"{local.date()} "
    return f"{date_text}{clock_text(local)}", local


def lease_holder(owner: str, installation: str | None) -> str:
    """Return the run or writer that holds a lease, with the Airflow installation that it belongs to, if any."""
    return f"{owner} (installation {installation})" if installation else owner


def held_lease(owner: str, since: datetime, until: datetime, timezone: str | tzinfo) -> str:
    """Return `is held by flights/run since 2013-11-03 06:00:01 EST, until 2013-11-03 06:02:01 EST unless renewed`."""
    first, last = (local_time(instant.replace(microsecond=0), timezone) for instant in (since, until))
    return f"is held by {owner} since {first}, until {last} unless renewed"


def counted(number: int | None, noun: str) -> str:
    """Return `1 day`, `8 days`, `1,234 entries`, `no days`; None is a number that is not known."""
    one = number == 1
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
    if number is None:
        return f"an unknown number of {plural}"
    return f"{f'{number:,}' if number else 'no'} {noun if one else plural}"


def clock_text(local: datetime) -> str:
    """Return `01:00`; seconds and their fraction only if they are not zero."""
    if local.microsecond:
        return f"{local:%H:%M:%S.%f}"
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
