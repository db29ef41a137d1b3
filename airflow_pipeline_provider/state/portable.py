"""Snapshots as JSON Lines, readable by hand and by any program.

::

    {"airflow_pipelines_state": 1, "pipeline_id": "flights", "token": 41, "first_day": day, "entries": 2, "runs": 1}
    {"entry": {"kind": "replacing", "interval": [start, end], "at": t, "token": 41, ...}}
    {"entry": {"kind": "committed", "interval": [start, end], "at": t, "token": 41, "rows": 7, ...}}
    {"run": "flights/scheduled__2013-11-03T04:00:00+00:00", "interval": [start, end]}

The first line counts the others, so a file that was cut off is seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import msgspec

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.state.about import NOTHING, About
from airflow_pipeline_provider.state.base import Snapshot
from airflow_pipeline_provider.state.rules import KEYED

VERSION = 1
LONGEST_LINE = 1_000_000  # characters
_MOST = 2**62  # every store keeps twice as much: tokens keep growing after an import
_DEEPEST = 20  # objects and lists inside of each other
_LONGEST_TEXT = 2_000
_LONGEST_INTERVAL = timedelta(days=3)  # no local day is longer
_YEARS = range(1000, 9001)
_AHEAD = timedelta(days=1)  # how far instants may lie in the future: zones and clocks
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')  # texts, and what opens or closes an object or a list


def to_lines(pipeline_id: str, snapshot: Snapshot) -> Iterator[str]:
    """Yield the lines, without line ends."""
    header = {
        "airflow_pipelines_state": VERSION,
        "pipeline_id": pipeline_id,
        "token": snapshot.token,
        "first_day": snapshot.first_day.isoformat() if snapshot.first_day else None,
        "entries": len(snapshot.entries),
        "runs": len(snapshot.runs),
    }
    if snapshot.about != NOTHING:
        header["about"] = snapshot.about
    yield _dump(header)
    for entry in snapshot.entries:
        yield _dump({"entry": entry})
    for run, interval in snapshot.runs.items():
        yield _dump({"run": run, "interval": interval})


def from_lines(lines: Iterable[str], pipeline_id: str, now: datetime | None = None) -> Snapshot:
    """Parse what `to_lines` wrote; ConfigError names the line that is not of it, or the other pipeline.

    Values that no run writes are refused (`now` is the clock for those in the future): a token near the largest
    would stop the pipeline for good, and an interval of years would slow down every look at the ledger.
    """
    latest = (now or datetime.now(timezone.utc)) + _AHEAD
    entries: list[Entry] = []
    numbers: list[int] = []
    runs: dict[str, Interval] = {}
    header: dict[str, Any] | None = None
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = _loaded(line)
            if header is None:
                header = _header(value, latest)
            elif "entry" in value:
                entries.append(_entry(_object(value["entry"]), latest))
                numbers.append(number)
            else:
                runs[_text(value["run"])] = _check_interval(msgspec.convert(value["interval"], Interval))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)[:300]
            raise ConfigError(f"line {number}: expected what `state export` writes, but {reason}") from error
    if header is None:
        raise ConfigError("expected what `state export` writes, got nothing")
    if header["pipeline_id"] != pipeline_id:
        raise ConfigError(
            f"expected the state of pipeline {pipeline_id!r}, got that of {header['pipeline_id']!r}: its rows in "
            "the target carry that id"
        )
    if (len(entries), len(runs)) != (header["entries"], header["runs"]):
        raise ConfigError(
            f"expected {counted(header['entries'], 'entry')} and {counted(header['runs'], 'run')} as the first "
            "line says, got "
            f"{len(entries)} and {len(runs)} in {counted(number, 'line')}: the file was cut off or edited; "
            "export it again"
        )
    _check_keys(entries, numbers)
    newest = max((entry.token or 0 for entry in entries), default=0)
    if header["token"] < newest:
        raise ConfigError(
            f"line 1: the newest token is {header['token']}, and an entry has {newest}: the file was edited; "
            "export it again"
        )
    first_day = None if header["first_day"] is None else date.fromisoformat(header["first_day"])
    return Snapshot(header["token"], first_day, tuple(entries), runs, header.get("about", NOTHING))


def _loaded(line: str) -> dict[str, object]:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it is longer than {LONGEST_LINE:,} characters")
    depth = deepest = 0
    for mark in _MARKS.findall(line):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark, 0)
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        raise ValueError(f"its objects are more than {_DEEPEST} deep")
    return _object(json.loads(line))


def _header(value: dict[str, object], latest: datetime) -> dict[str, object]:
    version = value["airflow_pipelines_state"]
    if version != VERSION:
        raise ValueError(f"its version is {version!r}, this package reads {VERSION}")
    for name in ("token", "entries", "runs"):
        _whole(value[name], name, least=0)
    if value["first_day"] is not None:
        first_day = date.fromisoformat(_text(value["first_day"]))
        if first_day > latest.date() or first_day.year not in _YEARS:
            raise ValueError(
                f"first_day is {first_day}, which is in the future or outside of the accepted years"
            )
    _text(value["pipeline_id"])
    if "about" in value:
        _texts(_object(value["about"]))
        value["about"] = msgspec.convert(value["about"], About)
    return value


def _check_keys(entries: list[Entry], numbers: list[int]) -> None:
    """Raise ConfigError for entries that a store would have refused."""
    seen: dict[tuple[object, ...], int] = {}
    for number, entry in zip(numbers, entries, strict=True):
        if entry.kind not in KEYED:
            continue
        key = (entry.kind, entry.interval, entry.token)
        if entry.token is None or key in seen:
            wrong = "has no token" if entry.token is None else f"repeats line {seen[key]}"
            raise ConfigError(f"line {number}: {entry.kind.value} {entry.interval} {wrong}")
        seen[key] = number


def _entry(value: dict[str, object], latest: datetime) -> Entry:
    """Build an entry, with every limit on its values checked."""
    _texts(value)
    entry = msgspec.convert(value, Entry)
    _check_interval(entry.interval)
    if entry.at > latest or entry.at.year not in _YEARS:
        raise ValueError(f"at is {value['at']}, which is in the future or outside of the accepted years")
    if entry.token is not None:
        _whole(entry.token, "token", least=1)
    if entry.rows is not None:
        _whole(entry.rows, "rows", least=0)
    return entry


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{repr(value)[:100]} is not a JSON object")
    return value


def _texts(value: object) -> None:
    """Check each text, also in nested objects and lists."""
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, dict):
        for key, child in value.items():
            _text(key)
            _texts(child)
    elif isinstance(value, list):
        for child in value:
            _texts(child)


def _check_interval(interval: Interval) -> Interval:
    if interval.is_empty or interval.end - interval.start > _LONGEST_INTERVAL:
        raise ValueError(f"the interval {interval} is empty or longer than {_LONGEST_INTERVAL.days} days")
    if not {interval.start.year, interval.end.year} <= set(_YEARS):
        raise ValueError(f"the interval {interval} is outside of the accepted years")
    return interval


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{repr(value)[:100]} is not text")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(
            f"a text of {len(value):,} characters is longer than {_LONGEST_TEXT:,}: {value[:60]!r}..."
        )
    value.encode()  # half a surrogate pair: UnicodeEncodeError, which is a ValueError
    return value


def _whole(value: object, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise TypeError(f"{name} is {repr(value)[:100]}, not a whole number from {least} to {_MOST}")
    return value


def _dump(value: dict[str, object]) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
