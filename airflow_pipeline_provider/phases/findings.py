"""Define what `doctor` reads, its findings, and their repairs: which of them `doctor --fix` may make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import Words
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval, subtract
from airflow_pipeline_provider.core.ledger import Entry, Kind, blocked, committed, effective, waived
from airflow_pipeline_provider.core.missing import Missing, find_missing
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.commit_rows import effective_rows
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.base import Lease

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Finding:
    """A difference, or something else worth knowing; `sentence` has no full stop.

    `action` repairs it; None if no command does. `harmless`: nothing needs to be repaired.
    """

    kind: str
    interval: Interval | None
    sentence: str
    action: Action | None = None
    harmless: bool = False

    @property
    def command(self) -> Words:
        """Return the arguments of the command that repairs it, without the program; empty if there is no command."""
        return self.action.words if self.action is not None else ()

    @property
    def safe(self) -> bool:
        """Return whether `doctor --fix` runs the command (`repairs.Repair`)."""
        return self.action is not None and self.action.repair.lossless


@dataclass(frozen=True)
class View:
    """State and target as they were read.

    `before`, `rows`, `leases` and `entries` are read in this order, so that a live run is not reported as a
    difference: what the ledger had committed before must be in the target; what the target had is in the ledger
    afterwards, or its run still holds a lease.

    `span` is what is compared in detail, `name` how the pipeline was named on the command line.
    """

    runtime: Runtime
    name: str
    at: datetime
    span: Interval
    before: tuple[Entry, ...]
    rows: tuple[CommitRow, ...]
    leases: tuple[Lease, ...]
    entries: tuple[Entry, ...]

    @property
    def keeps_history(self) -> bool:
        """Return whether the target keeps older versions of a row."""
        return self.runtime.target.identity.keeps_history

    @cached_property
    def state_is_lost(self) -> bool:
        """Return whether the target has commit rows and the ledger no commit."""
        return bool(self.rows) and not any(entry.kind is Kind.COMMITTED for entry in self.entries)

    @cached_property
    def commits(self) -> list[tuple[Interval, Entry]]:
        """Return the effective committed intervals in the span, each with its ledger entry."""
        return [(piece, e) for piece, e, _ in effective(self.before) if piece.overlaps(self.span)]

    @cached_property
    def effective_loads(self) -> list[tuple[CommitRow, list[Interval]]]:
        """Return the target's commit rows that are effective in the span, with all their effective intervals."""
        pieces: dict[int, list[Interval]] = {}
        rows: dict[int, CommitRow] = {}
        for piece, row in effective_rows(self.rows):
            pieces.setdefault(id(row), []).append(piece)
            rows[id(row)] = row
        return [
            (rows[key], found)
            for key, found in pieces.items()
            if any(piece.overlaps(self.span) for piece in found)
        ]

    @cached_property
    def missing(self) -> list[Missing]:
        """Return what is missing in all days; `target_beyond_ledger` finds what was loaded and not committed."""
        config = self.runtime.config
        first_day = self.runtime.state.first_day(None) if config.start_day is None else None
        loaded = [row.interval for row, _ in self.effective_loads]
        return find_missing(
            config.rules,
            self.at,
            [*committed(self.entries), *waived(self.entries), *loaded],
            first_day=first_day,
            blocked=blocked(self.entries, config.max_attempts),
            leases=self.leases,
        )

    def idle(self, pieces: list[Interval]) -> list[Interval]:
        """Return the intervals without those under a live lease."""
        return subtract(pieces, [lease.interval for lease in self.leases])

    def source_holds(self, interval: Interval, rows: int) -> bool:
        """Return whether loading the interval again loses no row; False if the source cannot be queried.

        Where the target keeps history, a load deletes no version that the source does not hold.
        """
        try:
            return self.runtime.source.count(interval) >= rows or self.keeps_history
        except PipelineError:
            return False

    def rebuild(self) -> Action:
        """Return the repair that writes missing ledger entries from the target's commit rows."""
        return Action(Repair.REBUILD_LEDGER, command_line.rebuild_state(self.name))

    def load(self, repair: Repair, loading: Loading) -> Action:
        """Return the repair that loads this."""
        return Action(repair, loading.words(self.name), loading)

    def load_again(self, interval: Interval, rows: int | None, loading: Loading | None = None) -> Action:
        """Return the repair that loads the interval again.

        `rows` is how many rows the source must hold for it to lose none; None needs a review in any case.
        """
        lossless = rows is not None and self.source_holds(interval, rows)
        repair = Repair.LOAD_AGAIN if lossless else Repair.LOAD_AFTER_REVIEW
        return self.load(repair, loading or self.window(interval))

    def delete_rows(self, interval: Interval) -> Action:
        """Return the repair that loads the interval again and deletes target rows that the source lacks."""
        return self.load(Repair.DELETE_ROWS, Loading(interval, accept_shrink=True))

    def inspect(self, interval: Interval) -> Action:
        """Return the command that shows the history of the window."""
        return Action(
            Repair.INSPECT, command_line.history(self.name, self.runtime.window(interval).window_id)
        )

    def window(self, interval: Interval) -> Loading:
        """Return the load of exactly this interval.

        If it crosses a midnight, because the time zone was changed, the windows in it are loaded.
        """
        zone = self.runtime.config.timezone
        exact = day_of(interval.start, zone) == day_of(interval.end - _INSTANT, zone)
        return Loading(interval, exact=exact)


class Repair(Enum):
    """The table of repairs: a description, and whether the repair is lossless.

    A lossless repair needs no review: it waives nothing, and loads a window again only if the source holds at least
    as many rows.  Ids are not compared.
    """

    REBUILD_LEDGER = "write missing ledger entries from the target's commit rows", True
    MOVE_MISSING = "move windows that are neither committed nor waived", True
    LOAD_AGAIN = "load a window again if the source holds at least as many rows", True
    FILL_QUARANTINE = "write rows that the table of quarantined rows lacks from the files of the stage", True
    REMOVE_LEASES = "remove expired leases", True
    REMOVE_FILES = "remove files of abandoned attempts and unfinished uploads", True
    LOAD_AFTER_REVIEW = "load a window again, which may lose rows or fail again", False
    DELETE_ROWS = "load a window again, and delete target rows that the source lacks", False
    ADOPT = "accept a changed source or target, or a shared table", False
    RENAME = "transfer state and target rows of a renamed pipeline", False
    INSPECT = "show everything that is recorded about a window", False

    def __init__(self, description: str, lossless: bool) -> None:
        self.description = description
        self.lossless = lossless


@dataclass(frozen=True)
class Loading:
    """What a repair loads: all that is ready, or an interval: as one window if `exact`, else by the day plan."""

    interval: Interval | None = None
    exact: bool = False
    accept_shrink: bool = False

    def words(self, name: str) -> Words:
        """Return the command that does it."""
        if self.interval is None:
            return command_line.run_until_done(name)
        if self.exact:
            return command_line.run_window(name, self.interval)
        return command_line.reprocess(name, self.interval, accept_shrink=self.accept_shrink)


class Action(NamedTuple):
    """A repair of one finding; `words` is its command without the name of the program, `loading` what it loads."""

    repair: Repair
    words: Words
    loading: Loading | None = None
