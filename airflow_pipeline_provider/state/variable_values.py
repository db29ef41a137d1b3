"""Values that the variable state store writes, as readable JSON that is validated when it is read.

The token is called `fence` there: Airflow's pages hide whatever has "token" in its name.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import asdict

from airflow_pipeline_provider.core.intervals import Instant, Interval, to_utc
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.state.about import NOTHING, About
from airflow_pipeline_provider.state.base import Lease

VERSION = 1
T = TypeVar("T", bound=Struct)


class PipelineState(Struct):
    """`days` have a ledger, sorted; no interval in it is longer than `longest_seconds`; `runs` oldest first."""

    token: int = 0
    first_day: date | None = None
    longest_seconds: int = 0
    days: list[date] = []
    leases: list[Lease] = []
    runs: dict[str, Interval] = {}
    about: About = NOTHING

    def dump(self) -> str:
        """Return the variable's text."""
        return _dump(_StoredState(days=_ranges(self.days), **_fields(self, "days")))


class DayLedger(Struct):
    """The entries of one day, in the order in which they were written."""

    entries: list[Entry] = []

    def dump(self) -> str:
        """Return the variable's text."""
        return _dump(_StoredDay([_StoredEntry(**_fields(entry)) for entry in self.entries]))


class _StoredState(Struct, rename={"token": "fence"}, tag_field="version", tag=VERSION, kw_only=True):
    """`days` are ranges of [first, last]: five years of daily work stay one line."""

    token: int
    first_day: date | None
    longest_seconds: int
    days: list[tuple[date, date]]
    leases: list[Lease]
    runs: dict[str, Interval]
    about: About | UnsetType = UNSET


class _StoredEntry(Entry, frozen=True, omit_defaults=True):
    token: int | None = field(default=None, name="fence")


class _StoredDay(Struct, tag_field="version", tag=VERSION):
    entries: list[_StoredEntry]


class _StoredWaiting(Struct, tag_field="version", tag=VERSION):
    reference_time: Instant


def read_state(key: str, text: str | None) -> PipelineState:
    """Parse the variable of a pipeline; None is an empty state.  Raise DataError for anything else."""
    if text is None:
        return PipelineState()
    stored = _load(key, text, _StoredState)
    fields = _fields(stored, "days")
    if fields["about"] is UNSET:
        fields["about"] = NOTHING
    return PipelineState(days=_days(stored.days), **fields)


def read_day(key: str, text: str | None) -> DayLedger:
    """Parse the variable of a day's ledger; None is an empty one.  Raise DataError for anything else."""
    if text is None:
        return DayLedger()
    return DayLedger([Entry(**_fields(entry)) for entry in _load(key, text, _StoredDay).entries])


def dump_waiting(reference_time: datetime) -> str:
    """Return the note of a run that leaves its window to the run that follows the holder of the lease."""
    return _dump(_StoredWaiting(to_utc(reference_time, "reference_time")))


def read_waiting(key: str, text: str | None) -> datetime | None:
    """Return the reference time of the newest such note."""
    return None if text is None else _load(key, text, _StoredWaiting).reference_time


def day_named(name: str) -> date | None:
    """Return the day whose ledger is in the variable of this last name, or None."""
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def excerpt(text: str | None, other: str | None) -> str:
    """Return the part of `text` where it begins to differ from `other`."""
    if text is None:
        return "nothing"
    other = other or ""
    pairs = enumerate(zip(text, other, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(text), len(other)))
    start = max(0, at - 20)
    return ("…" if start else "") + repr(text[start : start + 60]) + ("…" if len(text) > start + 60 else "")


def _fields(value: Struct, *without: str) -> dict[str, Any]:
    """Return the attributes by name, not copied."""
    return {name: each for name, each in asdict(value).items() if name not in without}


def _dump(value: Struct) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _load(key: str, text: str, kind: type[T]) -> T:
    """Parse the text of a variable; raise DataError, with the variable's name, if this package did not write it."""
    try:
        value = msgspec.json.decode(text, type=kind)
    except ValueError as error:
        raise DataError(
            f"variable {key!r} does not hold what this package writes ({error}), it begins with {text[:60]!r}: "
            "correct it or restore it; it was not changed"
        ) from error
    return value


def _ranges(days: list[date]) -> list[tuple[date, date]]:
    ranges: list[tuple[date, date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][1] <= timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def _days(ranges: list[tuple[date, date]]) -> list[date]:
    return [first + timedelta(days=i) for first, last in ranges for i in range((last - first).days + 1)]
