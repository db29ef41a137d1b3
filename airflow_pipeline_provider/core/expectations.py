"""Judge days and windows by what a pipeline file expects: days complete in time, windows with the usual rows.

Pure functions of instants, the ledger's entries and `Expectations`.  A day is late from its time on while a part of
it is neither committed nor waived, and was late if it was complete only after that.  `core.usual_rows` judges
windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.core.days import (
    FIRST_DAY,
    LAST_DAY,
    clock_reaches,
    day_interval,
    day_of,
)
from airflow_pipeline_provider.core.intervals import Instant, Interval, gaps
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.readiness import PlanRules, day_plan, ready_at
from airflow_pipeline_provider.core.wording import counted, local_time, local_window

_TIME = re.compile(r"(?:([0-9]{1,2})d )?([0-9]{2}):([0-9]{2})", re.ASCII)
_DAY = timedelta(days=1)


class CompleteBy(NamedTuple):
    """When a day must be complete: local time of the day that is `days` after it."""

    days: int
    minutes: int

    def __str__(self) -> str:
        clock = f"{self.minutes // 60:02}:{self.minutes % 60:02}"
        return clock if self.days == 1 else f"{self.days}d {clock}"


class RowsExpected(NamedTuple):
    """The rows that a window must have: at least `least`, and as many as usual, give or take `band` percent.

    Usual is the median of the same weekday and local hour of the last `weeks` weeks; without `weeks` it is not looked
    at.
    """

    least: int = 0
    weeks: int | None = None
    band: int = 50


class Expectations(NamedTuple):
    """What a pipeline file expects."""

    complete_by: CompleteBy | None = None
    rows: RowsExpected | None = None


class Unmet(str, Enum):
    """What is not as expected."""

    LATE = "late"  # the day is not complete in time
    EMPTY = "empty"  # no rows, where some are expected
    FEW = "few"
    MANY = "many"


MissKey = tuple[Interval, int | None]


class Miss(Struct, frozen=True, omit_defaults=True):
    """A day or a window that is not as expected.

    `due` is set for a late day, and `completed` if it was complete when it was judged; `rows`, and `token` of the
    judged commit, for a window.  `usual` is the median of `weeks` weeks, None where the rows are fewer than the
    minimum `least`.
    """

    what: Unmet
    interval: Interval
    token: int | None = None
    due: Instant | None = None
    rows: int | None = None
    least: int | None = None
    usual: float | None = None
    weeks: int | None = None
    completed: Instant | None = None

    @property
    def detail(self) -> dict[str, Any]:
        """Return the detail for the ledger, without what the entry has itself."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return {key: value for key, value in found.items() if key not in ("interval", "token")}

    @property
    def key(self) -> MissKey:
        """Return what makes it the same miss when it is judged again."""
        return self.interval, self.token

    def sentence(self, timezone: str) -> str:
        """Return what is not as expected, without a full stop."""
        if self.what is Unmet.LATE:
            day = day_of(self.interval.start, timezone)
            due = local_time(self.due or self.interval.end, timezone)
            if self.completed is None:
                return f"{day} is late: it was due to be complete by {due}"
            completed = local_time(self.completed, timezone)
            return f"{day} was late: it was due to be complete by {due}, and was complete at {completed}"
        where = f"{local_window(self.interval, timezone)} has {counted(self.rows, 'row')}"
        if self.usual is None:
            return f"{where}, expected {self.least:,} or more"
        usual = f"{self.usual:,.1f}".removesuffix(".0")
        weeks = counted(self.weeks, "week")
        return f"{where}, usual are {usual}: the median of the same weekday and hour of the last {weeks}"


def parse_complete_by(text: str) -> CompleteBy:
    """Parse `09:00`, on the day after, or `2d 09:00`, on the second day after; raise ValueError for anything else."""
    match = _TIME.fullmatch(text)
    days, hours, minutes = (int(part) for part in match.groups(default="1")) if match else (0, 0, 0)
    if match is None or days < 1 or hours > 23 or minutes > 59:
        raise ValueError("expected a local time such as 09:00, or 2d 09:00 for the second day after")
    return CompleteBy(days, hours * 60 + minutes)


# --- days


def due_at(day: date, complete_by: CompleteBy, timezone: str) -> datetime:
    """Return when the day must be complete, at its end at the earliest.

    A local time that exists twice is the first of the two, one that the clock skips is the end of the gap.
    """
    due = clock_reaches(day + complete_by.days * _DAY, complete_by.minutes, timezone)
    return max(due, day_interval(day, timezone).end)


class Deadline(NamedTuple):
    """The time at which each day of a zone is due."""

    timezone: str
    complete_by: CompleteBy

    def first_after(self, at: datetime) -> datetime:
        """Return the first instant after `at` at which a day is due."""
        day = day_of(at, self.timezone) - (self.complete_by.days + 1) * _DAY
        while (due := due_at(day, self.complete_by, self.timezone)) <= at:
            day += _DAY
        return due

    def last_until(self, at: datetime) -> datetime:
        """Return the last instant up to `at` at which a day is due."""
        day = day_of(at, self.timezone)
        while (due := due_at(day, self.complete_by, self.timezone)) > at:
            day -= _DAY
        return due


def days_due(
    rules: PlanRules, complete_by: CompleteBy, at: datetime, first: date | None, most: int
) -> list[date]:
    """Return the last `most` days of the pipeline that are due, oldest first; none if no day is known yet."""
    begin = max((day for day in (first, rules.start_day) if day is not None), default=None)
    if begin is None:
        return []
    last = min(day_of(at, rules.timezone), rules.end_day or LAST_DAY)
    days: list[date] = []
    while last >= max(begin, FIRST_DAY) and len(days) < most:
        if at >= due_at(last, complete_by, rules.timezone):
            days.append(last)
        last -= _DAY
    return days[::-1]


def late_days(
    days: Iterable[date], complete_by: CompleteBy, at: datetime, done: Sequence[Interval], timezone: str
) -> Iterator[Miss]:
    """Yield the days that are due and of which a part is not `done`: neither committed nor waived."""
    for day in days:
        whole, due = day_interval(day, timezone), due_at(day, complete_by, timezone)
        if at >= due and gaps(whole, done):
            yield Miss(Unmet.LATE, whole, due=due)


def days_completed_late(
    days: Iterable[date], complete_by: CompleteBy, entries: Sequence[Entry], timezone: str
) -> Iterator[Miss]:
    """Yield the days that were complete only after they were due, by the times of these entries.

    A day that was due before the oldest entry is not judged, since the pipeline may not have begun then.  A commit
    that was rebuilt from the target counts as in time, since its own time is lost.
    """
    written = [entry for entry in entries if entry.kind in (Kind.COMMITTED, Kind.WAIVED)]
    begun = min((entry.at for entry in entries), default=None)
    for day in days:
        whole, due = day_interval(day, timezone), due_at(day, complete_by, timezone)
        if begun is None or begun > due:
            continue
        late: list[Entry] = []
        complete: list[Interval] = []
        for entry in written:
            if not entry.interval.overlaps(whole):
                continue
            if entry.at <= due or entry.detail.get("rebuilt"):
                complete.append(entry.interval)
            else:
                late.append(entry)
        if not gaps(whole, complete):
            continue
        for entry in sorted(late, key=lambda entry: entry.at):
            complete.append(entry.interval)
            if not gaps(whole, complete):
                yield Miss(Unmet.LATE, whole, due=due, completed=entry.at)
                break


def always_late(rules: PlanRules, complete_by: CompleteBy) -> tuple[datetime, datetime] | None:
    """Return when an ordinary day is due and when its last window is ready, if that is not before; else None."""
    day = date(2023, 1, 18)  # without a clock change nearby in any zone
    due = due_at(day, complete_by, rules.timezone)
    ready = max(ready_at(rules, window) for window in day_plan(rules, day))
    return (due, ready) if ready >= due else None


# --- the ledger


class Recorded(Protocol):
    """The attributes of an entry that records a miss."""

    @property
    def interval(self) -> Interval:
        """Return the day or window."""

    @property
    def token(self) -> int | None:
        """Return the token of the commit that was judged."""

    @property
    def detail(self) -> dict[str, Any]:
        """Return the detail of the miss."""


def entry_of(miss: Miss, at: datetime, run: str | None) -> Entry:
    """Return the ledger's entry of the miss, which this run ("dag_id/run_id") found."""
    return Entry(Kind.MISSED, miss.interval, at, token=miss.token, run=run, detail=miss.detail)


def miss_of(entry: Recorded) -> Miss:
    """Return the miss that an entry records."""
    return msgspec.convert({**entry.detail, "interval": entry.interval, "token": entry.token}, Miss)


def recorded(entries: Iterable[Entry]) -> dict[MissKey, Entry]:
    """Return the entries of all misses that the ledger has, open or not."""
    return {(entry.interval, entry.token): entry for entry in entries if entry.kind is Kind.MISSED}


def open_misses(entries: Sequence[Entry], done: Sequence[Interval]) -> list[Miss]:
    """Return the recorded misses that are not resolved, in order of time.

    A late day is resolved when it is `done`, a window when a newer commit or a waiver overlaps it.
    """
    found = []
    for number, entry in enumerate(entries):
        if entry.kind is not Kind.MISSED:
            continue
        miss = miss_of(entry)
        if miss.what is Unmet.LATE:
            is_open = bool(gaps(miss.interval, done))
        else:
            is_open = not any(
                later.kind in (Kind.COMMITTED, Kind.WAIVED) and later.interval.overlaps(miss.interval)
                for later in entries[number + 1 :]
            )
        if is_open:
            found.append(miss)
    return sorted(found, key=lambda miss: miss.interval)
