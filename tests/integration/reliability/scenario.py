"""Define what is moved, and what the target held before.

A day of three windows: its two outer ones are moved first, so that the one in the middle has neighbours that
must not change.  Rows lie on the windows' first instants and on their last microseconds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_utc

PIPELINE = "flights"
TIMEZONE = "America/New_York"
DAY = "2013-11-03"  # 25 hours
REFERENCE_TIME = "2013-11-06T12:00:00Z"
LATER_RUN = "another/run"

_BOUNDS = [parse_utc(f"2013-11-0{text}:00:00Z") for text in ("3T04", "3T13", "3T22", "4T05", "4T14")]
BEFORE, MIDDLE, AFTER, NEXT_DAY = (Interval(start, end) for start, end in pairwise(_BOUNDS))
DAY_INTERVAL = Interval(BEFORE.start, AFTER.end)


class Row(NamedTuple):
    """A row of the source."""

    record_id: str
    event_time: str
    body: str


@dataclass(frozen=True)
class Scenario:
    """`prepared` windows are moved beforehand from `old` rows; the run that crashes moves `window` from `new`.

    With `columns` the table has the physical column VERSION, which every load fills from BODY.
    """

    name: str
    window: Interval
    prepared: tuple[Interval, ...]
    old: tuple[Row, ...]
    new: tuple[Row, ...]
    kind: str = "live"
    history: str = "events"
    columns: tuple[dict[str, Any], ...] = ()

    def expected(self, window: Interval) -> tuple[Row, ...]:
        """Return what the target holds of the window after it was loaded from `new`.

        With `history: changes` that includes the older versions that the source lost.
        """
        found = {(row.record_id, row.event_time): row for row in self.new}
        if self.history == "changes":
            found = {(row.record_id, row.event_time): row for row in self.old} | found
        return tuple(row for row in found.values() if window.holds(parse_utc(row.event_time)))

    @property
    def interval(self) -> list[str] | None:
        """Return the window that the run asks for; a live run takes the one that the planner chooses."""
        return msgspec.to_builtins(self.window) if self.kind == "window" else None

    @property
    def following(self) -> Interval:
        """Return the window that a live run gets if this window is done."""
        done = (self.window, *self.prepared)
        return next(window for window in (BEFORE, MIDDLE, AFTER, NEXT_DAY) if window not in done)


def _row(name: str, at: Any, version: int) -> Row:
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    body = {"name": name, "version": version, "text": f"é'\"\\%\u2028 {digest}"}
    return Row(name, iso_utc(at), json.dumps(body, ensure_ascii=False, separators=(",", ":")))


def _rows(window: Interval, count: int, version: int = 1) -> tuple[Row, ...]:
    step = (window.end - window.start) / count
    times = [window.start + i * step for i in range(count)] + [window.end - timedelta(microseconds=1)]
    return tuple(_row(f"{window.start:%dT%H}-{i}", at, version) for i, at in enumerate(times))


def _changed(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the rows with a new version of every third document, and with new documents."""
    updated = [
        _row(row.record_id, parse_utc(row.event_time), 2) if i % 3 == 0 else row for i, row in enumerate(rows)
    ]
    added = [_row(f"late-{i}", MIDDLE.start + timedelta(minutes=7 * i), 1) for i in range(5)]
    return (*updated, *added)


def _moved(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Leave one of three documents, move one to a later time of the window and one to a window that is not loaded."""
    places = (None, MIDDLE.end - timedelta(minutes=20), NEXT_DAY.start)
    found = []
    for i, row in enumerate(rows):
        place = places[i % 3]
        found.append(row if place is None else _row(row.record_id, place + timedelta(seconds=i), 2))
    return (*found, *(_row(f"late-{i}", MIDDLE.start + timedelta(minutes=7 * i), 1) for i in range(5)))


PHYSICAL = (
    {"name": "VERSION", "path": "version", "type": "integer", "physical": True},
    {"name": "TEXT", "path": "text", "type": "text", "required": True},
)

_OUTSIDE = (*_rows(BEFORE, 5), *_rows(AFTER, 5), *_rows(NEXT_DAY, 3))
_INSIDE = _rows(MIDDLE, 15)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first window ever", BEFORE, (), (*_OUTSIDE, *_INSIDE), (*_OUTSIDE, *_INSIDE)),
        Scenario("first load", MIDDLE, (BEFORE, AFTER), (*_OUTSIDE, *_INSIDE), (*_OUTSIDE, *_INSIDE)),
        Scenario(
            "replacement",
            MIDDLE,
            (BEFORE, AFTER, MIDDLE),
            (*_OUTSIDE, *_INSIDE),
            (*_OUTSIDE, *_changed(_INSIDE)),
            kind="window",
        ),
        Scenario(
            "replacement of changes",
            MIDDLE,
            (BEFORE, AFTER, MIDDLE),
            (*_OUTSIDE, *_INSIDE),
            (*_OUTSIDE, *_moved(_INSIDE)),
            kind="window",
            history="changes",
        ),
        Scenario(
            "replacement with physical columns",
            MIDDLE,
            (BEFORE, AFTER, MIDDLE),
            (*_OUTSIDE, *_INSIDE),
            (*_OUTSIDE, *_changed(_INSIDE)),
            kind="window",
            columns=PHYSICAL,
        ),
        Scenario("empty window", MIDDLE, (BEFORE, AFTER), _OUTSIDE, _OUTSIDE),
    )
}
