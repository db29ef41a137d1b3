"""A snapshot as JSON Lines, readable by hand and by any program.

::

    {"airflow_pipelines_state": 1, "pipeline_id": "flights", "token": 41, "first_day": day, "entries": 2, "runs": 1}
    {"entry": {"kind": "replacing", "interval": [start, end], "at": t, "token": 41, ...}}
    {"entry": {"kind": "committed", "interval": [start, end], "at": t, "token": 41, "rows": 7, ...}}
    {"run": "flights/scheduled__2013-11-03T04:00:00+00:00", "interval": [start, end]}

The first line counts the others, so a file that was cut off is seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.state.about import NOTHING, About
from airflow_pipeline_provider.state.base import Snapshot
from airflow_pipeline_provider.state.rules import KEYED

VERSION = 1
_MOST = 2**63 - 1  # what every store can keep
_TEXTS, _NUMBERS = ("attempt", "run", "manifest"), ("token", "rows")


def to_lines(pipeline_id: str, snapshot: Snapshot) -> Iterator[str]:
    """The lines, without line ends."""
    header = {
        "airflow_pipelines_state": VERSION,
        "pipeline_id": pipeline_id,
        "token": snapshot.token,
        "first_day": snapshot.first_day.isoformat() if snapshot.first_day else None,
        "entries": len(snapshot.entries),
        "runs": len(snapshot.runs),
    }
    if snapshot.about != NOTHING:
        header["about"] = snapshot.about.to_json()
    yield _dump(header)
    for entry in snapshot.entries:
        yield _dump({"entry": _entry_json(entry)})
    for run, interval in snapshot.runs.items():
        yield _dump({"run": run, "interval": interval.to_json()})


def from_lines(lines: Iterable[str], pipeline_id: str) -> Snapshot:
    """Reads what `to_lines` wrote; ConfigError names the line that is not of it, or the other pipeline."""
    entries: list[Entry] = []
    runs: dict[str, Interval] = {}
    header: dict[str, Any] | None = None
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = _object(json.loads(line))
            if header is None:
                header = _header(value)
            elif "entry" in value:
                entries.append(_entry(_object(value["entry"])))
            else:
                runs[_text(value["run"])] = Interval.from_json(value["interval"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
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
            f"expected {header['entries']} entries and {header['runs']} runs as the first line says, got "
            f"{len(entries)} and {len(runs)} in {number} lines: the file was cut off or edited; export it again"
        )
    _check_keys(entries)
    newest = max((entry.token or 0 for entry in entries), default=0)
    if header["token"] < newest:
        raise ConfigError(
            f"line 1: the newest token is {header['token']}, and an entry has {newest}: the file was edited; "
            "export it again"
        )
    first_day = None if header["first_day"] is None else date.fromisoformat(header["first_day"])
    return Snapshot(header["token"], first_day, tuple(entries), runs, header.get("about", NOTHING))


def _header(value: dict[str, Any]) -> dict[str, Any]:
    version = value["airflow_pipelines_state"]
    if version != VERSION:
        raise ValueError(f"its version is {version!r}, this package reads {VERSION}")
    for name in ("token", "entries", "runs"):
        _whole(value[name], name, least=0)
    if value["first_day"] is not None:
        date.fromisoformat(_text(value["first_day"]))
    _text(value["pipeline_id"])
    if "about" in value:
        _text(_dump(_object(value["about"])))
        value["about"] = About.from_json(value["about"])
    return value


def _check_keys(entries: list[Entry]) -> None:
    """What a store would not have taken, it does not take now either."""
    seen: dict[tuple[Any, ...], int] = {}
    for number, entry in enumerate(entries, 2):
        if entry.kind not in KEYED:
            continue
        key = (entry.kind, entry.interval, entry.token)
        if entry.token is None or key in seen:
            wrong = "has no token" if entry.token is None else f"stands in line {seen[key]} already"
            raise ConfigError(f"line {number}: {entry.kind.value} {entry.interval} {wrong}")
        seen[key] = number


def _entry_json(entry: Entry) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": entry.kind.value,
        "interval": entry.interval.to_json(),
        "at": iso_utc(entry.at),
    }
    for name in (*_NUMBERS, *_TEXTS):
        if getattr(entry, name) is not None:
            value[name] = getattr(entry, name)
    if entry.detail:
        value["detail"] = entry.detail
    return value


def _entry(value: dict[str, Any]) -> Entry:
    interval = Interval.from_json(value["interval"])
    if interval.is_empty:
        raise ValueError(f"the interval {interval} is empty")
    texts = {name: _text(value[name]) for name in _TEXTS if value.get(name) is not None}
    token, rows = value.get("token"), value.get("rows")
    return Entry(
        Kind(value["kind"]),
        interval,
        parse_utc(value["at"]),
        token=None if token is None else _whole(token, "token", least=1),
        rows=None if rows is None else _whole(rows, "rows", least=0),
        detail=_detail(value.get("detail", {})),
        **texts,
    )


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no JSON object")
    return value


def _detail(value: Any) -> dict[str, Any]:
    detail = _object(value)
    _text(_dump(detail))  # texts inside of it too
    return detail


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()  # half a surrogate pair: UnicodeEncodeError, which is a ValueError
    return value


def _whole(value: Any, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise TypeError(f"{name} is {value!r}, not a whole number from {least} to {_MOST}")
    return value


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
