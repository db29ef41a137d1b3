"""Read the states of many pipelines from one database in a handful of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from airflow_pipeline_provider.core.coverage import COUNTED, Coverage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.state.about import NOTHING, About, read_about
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.state.sql import SqlState, read_entry, shortly_before
from airflow_pipeline_provider.state.sql_coverage import continued, read_coverage

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_pipeline_provider.state.sql_database import Database

_CHUNK = 500  # pipelines a query; SQLite took at most 999 parameters for long
_SPANS = 200  # spans a query, of four parameters each


@dataclass
class ReadState:
    """A pipeline's state at the time when all of them were read; the methods are those of `State`, and read nothing.

    `written` are the entries that overlap what was asked for, without attempts.
    """

    first: date | None = None
    covered: Coverage = field(default_factory=Coverage)
    held: list[Lease] = field(default_factory=list)
    written: list[Entry] = field(default_factory=list)
    remembered: About = NOTHING

    def first_day(self, day: date | None) -> date | None:
        return self.first or day

    def about(self) -> About:
        return self.remembered

    def coverage(self, within: Interval) -> Coverage:  # noqa: ARG002  (all of the ledger)
        return self.covered

    def leases(self) -> list[Lease]:
        return self.held

    def entries(self, within: Interval) -> list[Entry]:
        return [entry for entry in self.written if entry.interval.overlaps(within)]


def read_states(state: SqlState, pipelines: Sequence[str], within: Interval) -> dict[str, ReadState]:
    """Read the state of these pipelines from one database; of the ledger, entries that overlap `within`."""
    database = state._database()
    read = {pipeline: ReadState() for pipeline in pipelines}
    with database.read() as connection:
        now = database.clock(connection)
        for first in range(0, len(pipelines), _CHUNK):
            _read(database, connection, {p: read[p] for p in pipelines[first : first + _CHUNK]}, within)
    for one in read.values():
        one.held = [lease for lease in one.held if lease.is_live(now)]
    return read


def read_spans(state: SqlState, spans: Mapping[str, Sequence[Interval]]) -> dict[str, list[Entry]]:
    """Return the entries of each pipeline that overlap its own disjoint spans, attempts too, each entry once."""
    import sqlalchemy as sa

    database = state._database()
    c, p = database.tables.ledger.c, database.tables.pipelines.c
    read: dict[str, list[Entry]] = {pipeline: [] for pipeline in spans}
    wanted = [(pipeline, span) for pipeline, listed in spans.items() for span in listed]
    found: dict[int, tuple[str, Entry]] = {}
    with database.read() as connection:
        for first in range(0, len(wanted), _SPANS):
            chunk = wanted[first : first + _SPANS]
            longest = sa.select(sa.func.max(p.longest_us)).where(
                p.pipeline_id.in_({name for name, _ in chunk})
            )
            longest_us = connection.execute(longest).scalar() or 0
            overlapping = [
                sa.and_(
                    c.pipeline_id == pipeline,
                    c.window_start > shortly_before(span.start, longest_us),
                    c.window_start < span.end,
                    c.window_end > span.start,
                )
                for pipeline, span in chunk
            ]
            for row in connection.execute(database.tables.ledger.select().where(sa.or_(*overlapping))):
                found[row.id] = row.pipeline_id, read_entry(row)
    for _, (pipeline, entry) in sorted(found.items()):
        read[pipeline].append(entry)
    return read


def _read(
    database: Database, connection: sa.Connection, read: dict[str, ReadState], within: Interval
) -> None:
    import sqlalchemy as sa

    p, c, held = (getattr(database.tables, name).c for name in ("pipelines", "ledger", "leases"))
    known = connection.execute(database.tables.pipelines.select().where(p.pipeline_id.in_(read))).all()
    for row in connection.execute(
        database.tables.leases.select()
        .where(held.pipeline_id.in_(read))
        .order_by(held.window_start, held.window_end, held.owner)
    ):
        lease = Lease(
            Interval(row.window_start, row.window_end), row.owner, row.since, row.until, row.seconds
        )
        read[row.pipeline_id].held.append(lease)
    longest_us = max((row.longest_us for row in known), default=0)
    shown = database.tables.ledger.select().where(
        c.pipeline_id.in_(read),
        c.kind != Kind.ATTEMPT.value,
        c.window_start > shortly_before(within.start, longest_us),
        c.window_start < within.end,
        c.window_end > within.start,
    )
    for row in connection.execute(shown.order_by(c.id)):
        read[row.pipeline_id].written.append(read_entry(row))
    unfolded = defaultdict(list)
    since = (
        sa.select(c.id, c.pipeline_id, c.kind, c.window_start, c.window_end, c.detail)
        .join(database.tables.pipelines, p.pipeline_id == c.pipeline_id)
        .where(p.pipeline_id.in_(read), c.kind.in_([kind.value for kind in COUNTED]))
        .where(c.id >= sa.func.coalesce(p.coverage_upto, 0))
    )
    for row in connection.execute(since.order_by(c.id)):
        unfolded[row.pipeline_id].append(row)
    for row in known:
        one = read[row.pipeline_id]
        one.first = row.first_day
        one.remembered = read_about(row.about, database.what)
        covered = continued(row, unfolded[row.pipeline_id])
        if covered is None:
            covered = read_coverage(database, connection, row.pipeline_id).coverage
        one.covered = covered
