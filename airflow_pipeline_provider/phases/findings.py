"""What the doctor looks at, and the form of what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from airflow_pipeline_provider.connectors.base import CommitRow
from airflow_pipeline_provider.core import command_line
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
    """One thing that is not as it should be; `sentence` has no full stop.

    `command` are the words after `airflow-pipelines` that mend it, none where only a person can.  `safe`: it needs
    nobody's word, since it deletes no row that the source lost, and gives up on nothing.  `harmless`: worth knowing,
    nothing to mend.
    """

    kind: str
    interval: Interval | None
    sentence: str
    command: tuple[str, ...] = ()
    safe: bool = False
    harmless: bool = False


@dataclass(frozen=True)
class View:
    """State and target as they were read: `before`, `rows`, `leases`, `entries`, in this order, so that a run at work
    is no disagreement.  What the ledger had committed before must be in the target; what the target had is in the
    ledger afterwards, or its run still holds a lease.

    `span` is what is looked at in detail, `name` how people call the pipeline on the command line.
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
        return self.runtime.target.identity.keeps_history

    @cached_property
    def state_is_lost(self) -> bool:
        return bool(self.rows) and not any(entry.kind is Kind.COMMITTED for entry in self.entries)

    @cached_property
    def commits(self) -> list[tuple[Interval, Entry]]:
        """What the ledger has committed in the span: disjoint pieces with the entry that rules there."""
        return [(piece, e) for piece, e, _ in effective(self.before) if piece.overlaps(self.span)]

    @cached_property
    def standing(self) -> list[tuple[CommitRow, list[Interval]]]:
        """The target's commit rows that still rule somewhere in the span, with all the pieces where they do."""
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
        loaded = [row.interval for row, _ in self.standing]
        return find_missing(
            config.rules,
            self.at,
            [*committed(self.entries), *waived(self.entries), *loaded],
            first_day=first_day,
            blocked=blocked(self.entries, config.max_attempts),
            leases=self.leases,
        )

    def idle(self, pieces: list[Interval]) -> list[Interval]:
        """Without what a run works on right now."""
        return subtract(pieces, [lease.interval for lease in self.leases])

    def source_holds(self, interval: Interval, rows: int) -> bool:
        """Would loading it again lose nothing?  No, too, when the source cannot be asked.

        Where the target keeps history, a load deletes no version that the source does not hold.
        """
        try:
            return self.runtime.source.count(interval) >= rows or self.keeps_history
        except PipelineError:
            return False

    def run(self, interval: Interval) -> tuple[str, ...]:
        """The command that moves exactly this again; the windows in it where it crosses a midnight, since the time
        zone was changed."""
        zone = self.runtime.config.timezone
        if day_of(interval.start, zone) != day_of(interval.end - _INSTANT, zone):
            return self.reprocess(interval)
        return command_line.run_window(self.name, interval)

    def until_done(self) -> tuple[str, ...]:
        """Return the command that moves all that is ready."""
        return command_line.run_until_done(self.name)

    def reprocess(self, interval: Interval, *, accept_shrink: bool = False) -> tuple[str, ...]:
        """The command that moves the windows in it again."""
        return command_line.reprocess(self.name, interval, accept_shrink=accept_shrink)
