"""Windows, identified by pipeline id, start and end in UTC, and the names derived from them."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone, tzinfo
from typing import NamedTuple

from msgspec import Struct

from airflow_pipeline_provider.core.days import in_zone, zone_of
from airflow_pipeline_provider.core.intervals import Interval

_ID = re.compile(r"(.+)\.([0-9]{8}T[0-9]{6}(?:\.[0-9]{6})?)Z-([0-9]{8}T[0-9]{6}(?:\.[0-9]{6})?)Z", re.ASCII)


def parse_window_id(text: str) -> tuple[str, Interval] | None:
    """Parse a `Window.window_id`; return the pipeline id and the interval, or None for any other text."""
    match = _ID.fullmatch(text)
    try:
        return (match[1], Interval(_instant(match[2]), _instant(match[3]))) if match else None
    except ValueError:  # a 31st of February, an end before its start
        return None


def _instant(text: str) -> datetime:
    form = "%Y%m%dT%H%M%S.%f" if "." in text else "%Y%m%dT%H%M%S"
    return datetime.strptime(text, form).replace(tzinfo=timezone.utc)


def _compact(value: datetime) -> str:
    """Return `20131103T040000Z`, with a fraction where there is one (`20131103T040000.500000Z`)."""
    return f"{value:%Y%m%dT%H%M%S}" + (f".{value.microsecond:06d}" if value.microsecond else "") + "Z"


def window_id_of(pipeline_id: str, interval: Interval) -> str:
    """Return the `Window.window_id` of this interval."""
    return f"{pipeline_id}.{_compact(interval.start)}-{_compact(interval.end)}"


def partition_key(start: datetime, timezone: str | tzinfo) -> str:
    """Return `2013-11-03T01:00:00-05:00`: the partition key of the window that starts then, in its local time."""
    return in_zone(start, zone_of(timezone)).isoformat()


class NamedRun(NamedTuple):
    """The id of a run that moves one named window; runs that one command starts share prefix and stamp."""

    prefix: str
    window_id: str
    stamp: str

    @property
    def run_id(self) -> str:
        """Return `reprocess__flights.20131103T040000Z-20131103T060000Z__20131106T120000Z`."""
        return f"{self.prefix}__{self.window_id}__{self.stamp}"

    @classmethod
    def parse(cls, run_id: str) -> NamedRun | None:
        """Return None for an id of another form."""
        prefix, _, rest = run_id.partition("__")
        window_id, _, stamp = rest.rpartition("__")
        return cls(prefix, window_id, stamp) if parse_window_id(window_id) else None


class Window(Struct, frozen=True):
    """Window of a pipeline; `day` is the local day that holds it."""

    pipeline_id: str
    interval: Interval
    day: date

    @property
    def start(self) -> datetime:
        """Return the first instant of the window."""
        return self.interval.start

    @property
    def end(self) -> datetime:
        """Return the first instant after the window."""
        return self.interval.end

    @property
    def window_id(self) -> str:
        """Return `flights.20131103T040000Z-20131103T060000Z`, valid in file names, run ids and map index labels."""
        return window_id_of(self.pipeline_id, self.interval)

    @property
    def stage_path(self) -> str:
        """Return the folder below the stage's base, without a slash at either end: `2013-11-03/flights.2013…`."""
        return f"{self.day.isoformat()}/{self.window_id}"
