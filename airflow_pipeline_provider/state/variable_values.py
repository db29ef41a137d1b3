"""What the variable state store writes, as values and as JSON: readable by hand, checked when it is read.

The token is called `fence` there: Airflow's pages hide whatever has "token" in its name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.state.about import NOTHING, About
from airflow_pipeline_provider.state.base import Lease

VERSION = 1
_OPTIONAL = ("attempt", "run", "rows", "manifest")


@dataclass
class PipelineState:
    """`days` have a ledger, sorted; no interval in it is longer than `longest_seconds`; `runs` oldest first."""

    token: int = 0
    first_day: date | None = None
    longest_seconds: int = 0
    days: list[date] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    runs: dict[str, Interval] = field(default_factory=dict)
    about: About = NOTHING

    def dump(self) -> str:
        return _dump(
            {
                "version": VERSION,
                "fence": self.token,
                "first_day": self.first_day and self.first_day.isoformat(),
                "longest_seconds": self.longest_seconds,
                "days": _ranges(self.days),
                "leases": [_lease_json(lease) for lease in self.leases],
                "runs": {run: msgspec.to_builtins(interval) for run, interval in self.runs.items()},
                **({} if self.about == NOTHING else {"about": self.about.to_json()}),
            }
        )


@dataclass
class DayLedger:
    """The entries of one day, in the order in which they were written."""

    entries: list[Entry] = field(default_factory=list)

    def dump(self) -> str:
        return _dump({"version": VERSION, "entries": [_entry_json(entry) for entry in self.entries]})


def read_state(key: str, text: str | None) -> PipelineState:
    """The variable's value; None is an empty state, anything but ours a DataError naming the variable."""
    if text is None:
        return PipelineState()
    try:
        value = _load(text)
        return PipelineState(
            token=_int(value["fence"]),
            first_day=None if value["first_day"] is None else date.fromisoformat(value["first_day"]),
            longest_seconds=_int(value["longest_seconds"]),
            days=_days(value["days"]),
            leases=[_lease(lease) for lease in value["leases"]],
            runs={str(run): msgspec.convert(interval, Interval) for run, interval in value["runs"].items()},
            about=About.from_json(value["about"]) if "about" in value else NOTHING,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(key, text, error) from error


def read_day(key: str, text: str | None) -> DayLedger:
    """The same for a day's ledger."""
    if text is None:
        return DayLedger()
    try:
        return DayLedger([_entry(entry) for entry in _load(text)["entries"]])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(key, text, error) from error


def dump_waiting(reference_time: datetime) -> str:
    """The note of a run that leaves its window to the run that follows the holder of the lease."""
    return _dump({"version": VERSION, "reference_time": iso_utc(reference_time)})


def read_waiting(key: str, text: str | None) -> datetime | None:
    """The newest such note."""
    if text is None:
        return None
    try:
        return parse_utc(_load(text)["reference_time"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(key, text, error) from error


def day_named(name: str) -> date | None:
    """The day whose ledger the variable of this last name is, if it is one."""
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def excerpt(text: str | None, other: str | None) -> str:
    """The part of `text` where it begins to differ from `other`."""
    if text is None:
        return "nothing"
    other = other or ""
    pairs = enumerate(zip(text, other, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(text), len(other)))
    start = max(0, at - 20)
    return ("…" if start else "") + repr(text[start : start + 60]) + ("…" if len(text) > start + 60 else "")


def _unreadable(key: str, text: str, error: Exception) -> DataError:
    reason = f"missing key {error}" if isinstance(error, KeyError) else str(error)
    return DataError(
        f"variable {key!r} does not hold what this package writes ({reason}), it begins with "
        f"{text[:60]!r}: correct it or restore it; it was left as it is"
    )


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _load(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"expected a JSON object, got {type(value).__name__}")
    if value["version"] != VERSION:
        raise ValueError(f"expected version {VERSION}, got {value['version']!r}")
    return value


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {value!r}")
    return value


def _ranges(days: list[date]) -> list[list[str]]:
    """Runs of days as [first, last]: five years of daily work stay one line."""
    ranges: list[list[date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][1] <= timedelta(days=1):
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    return [[first.isoformat(), last.isoformat()] for first, last in ranges]


def _days(ranges: list[list[str]]) -> list[date]:
    days = []
    for first_text, last_text in ranges:
        first, last = date.fromisoformat(first_text), date.fromisoformat(last_text)
        days += [first + timedelta(days=i) for i in range((last - first).days + 1)]
    return days


def _lease_json(lease: Lease) -> dict[str, Any]:
    return {
        "interval": msgspec.to_builtins(lease.interval),
        "owner": lease.owner,
        "since": iso_utc(lease.since),
        "until": iso_utc(lease.until),
    }


def _lease(value: dict[str, Any]) -> Lease:
    interval = msgspec.convert(value["interval"], Interval)
    return Lease(interval, str(value["owner"]), parse_utc(value["since"]), parse_utc(value["until"]))


def _entry_json(entry: Entry) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": entry.kind.value,
        "interval": msgspec.to_builtins(entry.interval),
        "at": iso_utc(entry.at),
    }
    if entry.token is not None:
        value["fence"] = entry.token
    value.update({name: getattr(entry, name) for name in _OPTIONAL if getattr(entry, name) is not None})
    if entry.detail:
        value["detail"] = entry.detail
    return value


def _entry(value: dict[str, Any]) -> Entry:
    return Entry(
        kind=Kind(value["kind"]),
        interval=msgspec.convert(value["interval"], Interval),
        at=parse_utc(value["at"]),
        token=None if value.get("fence") is None else _int(value["fence"]),
        detail=dict(value.get("detail") or {}),
        **{name: value.get(name) for name in _OPTIONAL},
    )
