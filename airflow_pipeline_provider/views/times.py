"""Instants, intervals and leases as commands and pages show them: in UTC, and in local time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from airflow_pipeline_provider.core.days import day_of, in_zone, transitions, zone_of
from airflow_pipeline_provider.core.durations import seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import (
    clock_text,
    end_clock,
    lease_holder,
    local_time,
    local_window,
)
from airflow_pipeline_provider.state.base import Lease

_SECOND = timedelta(seconds=1)
_INSTANT = timedelta(microseconds=1)


def local_iso(instant: datetime, timezone: str) -> str:
    """Return `2013-11-03T01:00:00-04:00`."""
    return in_zone(instant, zone_of(timezone)).isoformat()


def offset_text(instant: datetime, timezone: str) -> str:
    """Return `-04:00`, with seconds only for historical offsets that have them."""
    offset = in_zone(instant, zone_of(timezone)).utcoffset() or timedelta()
    sign, rest = ("-", -offset) if offset < timedelta() else ("+", offset)
    minutes, seconds = divmod(int(rest.total_seconds()), 60)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


def abbreviation(instant: datetime, timezone: str) -> str:
    """Return `EDT`, or the offset for a zone without abbreviations."""
    name = in_zone(instant, zone_of(timezone)).tzname() or ""
    return name if name[:1].isalpha() else offset_text(instant, timezone)


def local_text(instant: datetime, timezone: str, day: date | None = None) -> str:
    """Return `2013-11-03 01:00 EDT -04:00`.

    The date is left out when it is `day`; the end of `day` reads 24:00, also where the clock skips midnight.
    """
    zone = zone_of(timezone)
    shown = in_zone(instant, zone)
    if day is None:
        clock = f"{shown.date()} {clock_text(shown)}"
    else:
        clock, shown = end_clock(instant, day, zone)
    name, offset = abbreviation(shown, timezone), offset_text(shown, timezone)
    return f"{clock} {name}" + ("" if name == offset else f" {offset}")


def local_second_text(instant: datetime, timezone: str) -> str:
    """Return `2013-11-03 01:00:07 EDT`, without fractions of a second."""
    return local_time(instant.replace(microsecond=0), timezone)


def utc_text(instant: datetime) -> str:
    """Return `2013-11-03 05:00Z`."""
    return f"{instant.date()} {clock_text(instant)}Z"


def clock_changes_in(interval: Interval, timezone: str) -> list[datetime]:
    """Return the instants in the interval at which the zone's offset changes; a change at its start counts."""
    if interval.is_empty:
        return []
    return transitions(timezone, interval.start - _SECOND, interval.end - _SECOND)


def change_text(change: datetime, timezone: str) -> str:
    """Return `clock goes back 1h: 02:00 EDT -> 01:00 EST`."""
    zone = zone_of(timezone)
    before = in_zone(change - _INSTANT, zone).replace(tzinfo=None) + _INSTANT
    after = in_zone(change, zone).replace(tzinfo=None)
    seconds = int((after - before).total_seconds())
    old = f"{clock_text(before)} {abbreviation(change - _INSTANT, timezone)}"
    day = "" if after.date() == before.date() else f"{after.date()} "
    new = f"{day}{clock_text(after)} {abbreviation(change, timezone)}"
    if not seconds:
        return f"zone changes its name: {old} -> {new}"
    direction = "back" if seconds < 0 else "forward"
    return f"clock goes {direction} {length_text(abs(seconds))}: {old} -> {new}"


def length_text(seconds: float) -> str:
    """Return elapsed seconds as `25h` or `24h30m`, in hours even when longer than a day."""
    hours, rest = divmod(int(seconds), 3600)
    if not rest:
        return f"{hours}h" if hours else "0s"
    return (f"{hours}h" if hours else "") + seconds_to_time_string(rest)


def ranges_text(pieces: Sequence[Interval], timezone: str, most: int = 3) -> str:
    """Return `[06:00, 08:00) EST` for each interval, without the date of its start; at most `most`, then a count."""
    shown = [local_window(piece, timezone).partition(" ")[2] for piece in pieces[:most]]
    more = f" and {len(pieces) - most} more" if len(pieces) > most else ""
    return ", ".join(shown) + more


class Bounds(Struct, frozen=True):
    """Interval, in UTC and in the pipeline's local time."""

    start: datetime
    end: datetime
    local_start: str
    local_end: str

    @property
    def interval(self) -> Interval:
        """Return the interval."""
        return Interval(self.start, self.end)


class LocalInterval(Bounds, frozen=True):
    """Interval, in UTC and in the pipeline's local time, with the local day in which it starts."""

    day: date


class HeldLease(Struct, frozen=True):
    """Lease of a run or of another writer."""

    start: datetime
    end: datetime
    owner: str
    installation: str | None
    since: datetime
    until: datetime

    @property
    def interval(self) -> Interval:
        """Return the interval that is leased."""
        return Interval(self.start, self.end)

    @property
    def holder(self) -> str:
        """Return the owner as messages name it."""
        return lease_holder(self.owner, self.installation)


def bounds(interval: Interval, timezone: str) -> Bounds:
    """Return the interval with its local times."""
    start, end = interval.start, interval.end
    return Bounds(start, end, local_iso(start, timezone), local_iso(end, timezone))


def local_interval(interval: Interval, timezone: str) -> LocalInterval:
    """Return the interval with its day and local times."""
    return LocalInterval(**local_fields(interval, timezone))


def local_fields(interval: Interval, timezone: str) -> dict[str, Any]:
    """Return the fields of `LocalInterval`, for Structs that have more."""
    return {**asdict(bounds(interval, timezone)), "day": day_of(interval.start, timezone)}


def lease_row(lease: Lease) -> HeldLease:
    """Return the lease as commands and pages show it."""
    interval = lease.interval
    return HeldLease(interval.start, interval.end, lease.owner, lease.installation, lease.since, lease.until)
