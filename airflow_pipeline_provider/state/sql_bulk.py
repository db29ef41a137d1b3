"""Read the states of many pipelines from one database in a handful of queries."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_pipeline_provider.core.coverage import COUNTED, Coverage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.state.about import NOTHING, About, read_about
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.state.sql import SqlState, read_entry, read_lease
from airflow_pipeline_provider.state.sql_bulk_statements import overlaps, unresolved, unsettled
from airflow_pipeline_provider.state.sql_coverage import continued, read_coverage

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_pipeline_provider.state.sql_database import Database

logger = logging.getLogger(__name__)

_CHUNK = 500  # pipelines a query; SQLite took at most 999 parameters for long
_PARAMETERS = 800
_EDITED = (ValueError, TypeError, KeyError)  # what a row raises that this package did not write


@dataclass
class ReadState:
    """A pipeline's state at the time when all of them were read; the methods are those of `State`, and read nothing.

    `written` are the entries that overlap what was asked for. Attempts and replacements that a commit followed are
    left out: nothing that is computed from the entries of a day needs them. `open` are checks and replacements of
    all other time that no commit, waiver or newer check of the same window followed. `mark` changes with the state,
    `longest_us` is the length of the longest entry.
    """

    first: date | None = None
    covered: Coverage = field(default_factory=Coverage)
    held: list[Lease] = field(default_factory=list)
    written: list[Entry] = field(default_factory=list)
    open: list[Entry] = field(default_factory=list)
    remembered: About = NOTHING
    mark: str = ""
    longest_us: int | None = None

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

    def entries_in(self, spans: Sequence[Interval]) -> list[Entry]:
        return [e for e in self.written if any(e.interval.overlaps(span) for span in spans)]


def read_states(
    state: SqlState,
    pipelines: Sequence[str],
    within: Interval | None,
    known: Mapping[str, str] | None = None,
    *,
    with_open: bool = False,
    with_commits: bool = True,
) -> dict[str, ReadState | DataError]:
    """Read the state of these pipelines from one database; of the ledger, entries that overlap `within`.

    Without `with_commits`, what was committed is only in the coverage. `with_open` also reads `ReadState.open`, with
    the same query. Pipelines whose mark is still the one in `known` are left out. A record that cannot be read is
    the DataError of its own pipeline.
    """
    database = state._database()
    read = {pipeline: ReadState() for pipeline in pipelines}
    failed: dict[str, DataError] = {}
    with database.read() as connection:
        for first in range(0, len(pipelines), _CHUNK):
            chunk = pipelines[first : first + _CHUNK]
            rows = _rows(database, connection, chunk)
            for pipeline in chunk:
                row = rows.get(pipeline)
                read[pipeline].mark = _mark(row) if row is not None else "none"
                if known is not None and known.get(pipeline) == read[pipeline].mark:
                    del read[pipeline]
                    rows.pop(pipeline, None)
            if rows:
                wanted = {name: read[name] for name in rows}
                failed |= _read(database, connection, rows, wanted, within, with_open, with_commits)
    return {**read, **failed}


def read_spans(
    state: SqlState, spans: Mapping[str, Sequence[Interval]], longest_us: int | None = None
) -> dict[str, list[Entry] | DataError]:
    """Return the entries of each pipeline that overlap its own disjoint spans, all kinds, in the order of writing.

    An entry that cannot be read is the DataError of its own pipeline. `longest_us`, where it is known, saves the
    query for it.
    """
    import sqlalchemy as sa

    database = state._database()
    c, p = database.tables.ledger.c, database.tables.pipelines.c
    read: dict[str, list[Entry]] = {pipeline: [] for pipeline in spans}
    found: dict[int, Any] = {}
    with database.read() as connection:
        for chunk in _chunks(spans):
            longest = longest_us
            if longest is None:
                names = {name for _, together in chunk for name in together}
                query = sa.select(sa.func.max(p.longest_us)).where(p.pipeline_id.in_(names))
                longest = connection.execute(query).scalar() or 0
            overlapping = [
                sa.and_(c.pipeline_id.in_(together), *overlaps(c, span, longest)) for span, together in chunk
            ]
            rows = connection.execute(database.tables.ledger.select().where(sa.or_(*overlapping)))
            found |= {row[0]: row for row in rows}
    failed: dict[str, DataError] = {}
    for _, row in sorted(found.items()):
        try:
            read[row[1]].append(read_entry(row))
        except _EDITED as error:
            failed[row[1]] = _unreadable(row[1], error)
    return {**read, **failed}


def _chunks(
    spans: Mapping[str, Sequence[Interval]],
) -> Iterator[list[tuple[Interval, list[str]]]]:
    """Yield spans, each with the pipelines that ask for it, in parts of at most `_PARAMETERS` for a query."""
    asking: dict[Interval, list[str]] = defaultdict(list)
    for pipeline, listed in spans.items():
        for span in listed:
            asking[span].append(pipeline)
    chunk: list[tuple[Interval, list[str]]] = []
    size = 0
    for span, names in asking.items():
        for first in range(0, len(names), _CHUNK):
            together = names[first : first + _CHUNK]
            parameters = len(together) + 3  # of `overlaps`
            if chunk and size + parameters > _PARAMETERS:
                yield chunk
                chunk, size = [], 0
            chunk.append((span, together))
            size += parameters
    if chunk:
        yield chunk


def read_recorded(state: SqlState, but: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the facts that the loads recorded (`state.facts`) of all other pipelines in the database, by id.

    A pipeline whose record cannot be read is left out.
    """
    import sqlalchemy as sa

    database = state._database()
    p = database.tables.pipelines.c
    with database.read() as connection:
        ids = connection.execute(sa.select(p.pipeline_id).where(p.about.is_not(None))).scalars()
        others = [name for name in ids if name not in but]
        rows: list[Any] = []
        for first in range(0, len(others), _CHUNK):
            mine = p.pipeline_id.in_(others[first : first + _CHUNK])
            rows += connection.execute(sa.select(p.pipeline_id, p.about).where(mine))
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        try:
            about = read_about(row.about, _state_of(row.pipeline_id))
        except DataError as error:
            logger.warning("%s", error)
            continue
        if about.facts and about.renamed_to is None:
            found[row.pipeline_id] = about.facts
    return found


def _state_of(pipeline: str) -> str:
    """Return the beginning of an error about one of the pipelines that are read together."""
    return f"state of pipeline {pipeline}"


def _unreadable(pipeline: str, error: Exception) -> DataError:
    return DataError(
        f"{_state_of(pipeline)}: a row of its ledger or of its leases cannot be read ({error}): it was edited; "
        "correct it, or restore a backup or a `state export`"
    )


def _rows(database: Database, connection: sa.Connection, pipelines: Sequence[str]) -> dict[str, Any]:
    """Return the row of each pipeline, with the database's clock and with what its mark is made of."""
    import sqlalchemy as sa

    table, ledger, leases = (getattr(database.tables, name) for name in ("pipelines", "ledger", "leases"))
    p = table.c
    if database.is_sqlite:  # whose changes leave the version as it is
        newest = sa.select(sa.func.max(ledger.c.id)).where(ledger.c.pipeline_id == p.pipeline_id)
        lease = sa.func.coalesce(leases.c.owner, "") + leases.c.window_start.cast(sa.Text)
        lease = lease + leases.c.until.cast(sa.Text)
        held = sa.select(sa.func.group_concat(lease)).where(leases.c.pipeline_id == p.pipeline_id)
        more = [newest.scalar_subquery().label("newest"), held.scalar_subquery().label("held")]
    else:
        more = [sa.func.clock_timestamp().label("clock")]
    statement = sa.select(table, *more).where(p.pipeline_id.in_(pipelines))
    return {row.pipeline_id: row for row in connection.execute(statement)}


def _mark(row: Any) -> str:
    """Return a text that is another one after each change of the pipeline's state."""
    changing = {k: v for k, v in row._mapping.items() if k not in ("clock", "coverage", "coverage_upto")}
    return hashlib.sha256(repr(sorted(changing.items())).encode()).hexdigest()[:24]


def _read(
    database: Database,
    connection: sa.Connection,
    rows: Mapping[str, Any],
    read: Mapping[str, ReadState],
    within: Interval | None,
    with_open: bool,
    with_commits: bool,
) -> dict[str, DataError]:
    """Fill what is read of each row; return the errors of records that cannot be read, by pipeline."""
    import sqlalchemy as sa

    p, c, held = (getattr(database.tables, name).c for name in ("pipelines", "ledger", "leases"))
    clock = database.clock(connection) if database.is_sqlite else next(iter(rows.values())).clock
    leases = defaultdict(list)
    for row in connection.execute(
        database.tables.leases.select()
        .where(held.pipeline_id.in_(read))
        .order_by(held.window_start, held.window_end, held.owner)
    ):
        leases[row.pipeline_id].append(row)
    written = defaultdict(list)
    parts = []
    if within is not None:
        longest_us = max(row.longest_us for row in rows.values())
        parts += unsettled(database, read, within, longest_us, with_commits)
    if with_open:
        parts.append(unresolved(database, read, within))
    if parts:
        found = connection.execute(sa.union_all(*parts))
        for row in sorted(found, key=itemgetter(0)):  # the order of writing
            written[row[1]].append(row)
    unfolded = defaultdict(list)
    since = (
        sa.select(c.id, c.pipeline_id, c.kind, c.window_start, c.window_end, c.detail)
        .join(database.tables.pipelines, p.pipeline_id == c.pipeline_id)
        .where(p.pipeline_id.in_(read), c.kind.in_([kind.value for kind in COUNTED]))
        .where(c.id >= sa.func.coalesce(p.coverage_upto, 0))
    )
    for row in connection.execute(since.order_by(c.id)):
        unfolded[row.pipeline_id].append(row)
    failed: dict[str, DataError] = {}
    for name, row in rows.items():
        one = read[name]
        one.first, one.longest_us = row.first_day, row.longest_us
        try:
            one.held = [lease for lease in map(read_lease, leases[name]) if lease.is_live(clock)]
            entries = [read_entry(entry) for entry in written[name]]
            one.written = [e for e in entries if within is not None and e.interval.overlaps(within)]
            one.open = [e for e in entries if within is None or not e.interval.overlaps(within)]
            one.remembered = read_about(row.about, _state_of(name))
            covered = continued(row, unfolded[name])
            if covered is None:
                covered = read_coverage(database, connection, name).coverage
            one.covered = covered
        except DataError as error:
            failed[name] = error
        except _EDITED as error:
            failed[name] = _unreadable(name, error)
    return failed
