"""Lay out a day's windows on a lane, with their states and with the commits that follow no window of the plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_interval, in_zone, zone_of
from airflow_pipeline_provider.core.expectations import Miss, Unmet, open_misses
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.views.times import LocalInterval, local_interval
from airflow_pipeline_provider.views.window_states import Planned, WindowRow, WindowState, judge_all

MOST_CELLS = 100  # of one day; a finer plan is shown in stretches of one state


class Cell(Struct, frozen=True):
    """A window of the plan, or a stretch of `windows` of them in one state (`views.window_states`).

    `unexpected`: how its rows are not as expected, as the maintenance DAG recorded it.  `repeated_hour`: the clock
    reads a time of this day for the second time.
    """

    window: LocalInterval
    state: WindowState | None
    reason: str
    windows: int
    replaced: int
    rows: int | None
    failures: int
    max_attempts: int
    drift: str | None
    goes: int | None
    unexpected: str | None
    repeated_hour: bool


class OddCommit(Struct, frozen=True):
    """A commit that follows no window of the plan; `effective` is what no newer commit has replaced of it."""

    window: LocalInterval
    token: int | None
    rows: int | None
    at: datetime
    run: str | None
    effective: tuple[LocalInterval, ...]


class Lane(Struct, frozen=True):
    """The windows of one day."""

    day: date
    hours: float
    start: datetime
    end: datetime
    windows: tuple[Cell, ...]
    commits: tuple[OddCommit, ...]


def lane_of(planned: Planned, day: date, entries: Sequence[Entry], leases: Sequence[Lease]) -> Lane:
    """Return the windows of the day with their states; `entries` are those that overlap the day."""
    zone = planned.rules.timezone
    whole, plan = day_interval(day, zone), day_plan(planned.rules, day)
    misses = [miss for miss in open_misses(entries, [whole]) if miss.what is not Unmet.LATE]
    cells = [
        cell_of(row, planned.max_attempts, zone, misses) for row in judge_all(planned, plan, entries, leases)
    ]
    if len(cells) > MOST_CELLS:
        cells = _stretches(cells, zone)
    hours = round(whole.seconds / 3600, 4)
    return Lane(day, hours, whole.start, whole.end, tuple(cells), tuple(_odd_commits(plan, entries, zone)))


def cell_of(row: WindowRow, max_attempts: int, zone: str, misses: Sequence[Miss] = ()) -> Cell:
    """Return the window as a cell; `misses` are those of the day's windows."""
    unexpected = next((miss for miss in misses if miss.interval.overlaps(row.interval)), None)
    return Cell(
        local_interval(row.interval, zone),
        row.state,
        row.reason,
        1,
        row.replaced,
        row.rows,
        row.failures,
        max_attempts,
        row.drift,
        row.goes,
        None if unexpected is None else unexpected.sentence(zone),
        in_zone(row.interval.start, zone_of(zone)).fold == 1,
    )


def _odd_commits(plan: Sequence[Interval], entries: Sequence[Entry], zone: str) -> Iterable[OddCommit]:
    """Yield the commits whose interval is no window of the plan, oldest first."""
    pieces: dict[tuple[Interval, int | None], list[Interval]] = {}
    for piece, entry, _ in ledger.effective(entries):
        pieces.setdefault((entry.interval, entry.token), []).append(piece)
    planned = set(plan)
    for entry in entries:
        if entry.kind is Kind.COMMITTED and entry.interval not in planned:
            yield OddCommit(
                local_interval(entry.interval, zone),
                entry.token,
                entry.rows,
                entry.at,
                entry.run,
                tuple(local_interval(piece, zone) for piece in pieces.get((entry.interval, entry.token), [])),
            )


def _stretches(cells: list[Cell], zone: str) -> list[Cell]:
    """Join neighbours in one state; a stretch has the reason of its first window."""
    joined = []
    for _, group in groupby(
        cells, key=lambda cell: (cell.state, cell.drift, cell.unexpected, cell.repeated_hour)
    ):
        listed = list(group)
        span = Interval(listed[0].window.start, listed[-1].window.end)
        rows = [cell.rows for cell in listed]
        known = [n for n in rows if n is not None]
        joined.append(
            replace(
                listed[0],
                window=local_interval(span, zone),
                windows=len(listed),
                replaced=max(cell.replaced for cell in listed),
                failures=max(cell.failures for cell in listed),
                rows=sum(known) if len(known) == len(rows) else None,
            )
        )
    return joined
