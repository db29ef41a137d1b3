"""State in a database: PostgreSQL, or SQLite for one machine.  Any number of runs may use it at once.

Each change of a pipeline begins with an update of its row in `<prefix>pipelines` (SQLite locks the file instead), so
changes of one pipeline are serialized, and a check still holds when its result is written.  Leases end by the
database's clock.  The tables are created on first use; rows of `<prefix>ledger` are never updated or deleted.  The
coverage that planning needs is cached (`sql_coverage`), so the next window costs the same in every year.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec.structs import replace
from pydantic import Field

from airflow_pipeline_provider.config.options import ConnId, DurationSeconds, StateOptions
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.probes import Probes
from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.state.about import NOTHING, About, read_about
from airflow_pipeline_provider.state.base import Lease, Snapshot, State
from airflow_pipeline_provider.state.owners import Execution, Owner
from airflow_pipeline_provider.state.rules import ONCE, admit, claim, split_expired, to_release
from airflow_pipeline_provider.state.sql_coverage import UNSAVED_ENTRIES, read_coverage, save_coverage
from airflow_pipeline_provider.state.sql_snapshot import entry_row, read_snapshot, write_snapshot

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_pipeline_provider.state.sql_database import Database
    from airflow_pipeline_provider.state.sql_scratch import SqlStateScratch

_MICROSECOND = timedelta(microseconds=1)
T = TypeVar("T")


class SqlStateOptions(StateOptions):
    """Options of `state: {type: sql, conn_id: pipeline_state}`."""

    type: Literal["sql"]
    conn_id: ConnId = Field(min_length=1, description="Airflow connection of type postgres or sqlite.")
    schema_name: str | None = Field(
        None,
        alias="schema",
        min_length=1,
        description="PostgreSQL schema of the tables, which is created if it is missing.",
    )
    table_prefix: str = Field(
        "pipeline_",
        pattern=r"^[a-z_][a-z0-9_]{0,29}$",
        description="Prefix of the table names.",
    )
    statement_timeout: DurationSeconds = Field(
        60,
        ge=3,
        le=3600,
        description="Time limit of a transaction, on PostgreSQL only, such as 1m; 3s to 1h.",
    )


class SqlState(State):
    """State of a pipeline in the tables of a database."""

    Options: ClassVar[type[SqlStateOptions]] = SqlStateOptions
    concurrent: ClassVar[bool] = True

    def __init__(self, options: SqlStateOptions, identity: Identity, *, url: str | None = None) -> None:
        super().__init__(options, identity)
        self._url = url
        self._opened: Database | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_url(
        cls,
        url: str,
        identity: Identity,
        *,
        lease: str = "2m",
        schema: str | None = None,
        table_prefix: str = "pipeline_",
    ) -> SqlState:
        """Open a store without Airflow: `postgresql://user:password@host/database` or `sqlite:///path`."""
        options = SqlStateOptions.model_validate(
            {"type": "sql", "conn_id": "-", "lease": lease, "schema": schema, "table_prefix": table_prefix}
        )
        return cls(options, identity, url=url)

    @property
    def _pipeline(self) -> str:
        return self.identity.pipeline_id

    @property
    def _mine(self) -> dict[str, object]:
        """Return the parameter of all statements, with more of them."""
        return {"of_pipeline": self._pipeline}

    def _database(self) -> Database:
        opened = self._opened  # asked for at every step
        return opened if opened is not None else self._open()

    def _open(self) -> Database:
        from airflow_pipeline_provider.state import sql_database
        from airflow_pipeline_provider.state.sql_tables import tables

        with self._lock:
            if self._opened is None:
                what = f"state of pipeline {self._pipeline}"
                if self._url is None:
                    what += f" (connection {self.options.conn_id!r})"
                with database_errors(what):
                    engine = (
                        sql_database.engine_from_url(self._url, self.options.statement_timeout)
                        if self._url is not None
                        else sql_database.engine_from_connection(
                            self.options.conn_id, self.options.statement_timeout
                        )
                    )
                names = tables(self.options.schema_name, self.options.table_prefix)
                self._opened = sql_database.Database(engine, names, what)
            return self._opened

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.engine.dispose()
                self._opened = None

    @contextmanager
    def session(self) -> Iterator[None]:
        with self._database().session():
            yield

    @contextmanager
    def local_session(self) -> Iterator[None]:
        database = self._database()
        with database.session() if database.is_sqlite else nullcontext():
            yield

    def together(self, work: Callable[[], T]) -> T:
        return self._database().together(self._pipeline, work)

    def scratch(self) -> SqlStateScratch:
        from airflow_pipeline_provider.state.sql_scratch import SqlStateScratch

        return SqlStateScratch(self)

    def probes(self) -> Probes:
        from airflow_pipeline_provider.state.sql_probe import probe_clock, probe_file, probe_rights

        if self._url is None and (file := probe_file(self.options.conn_id)) is not None:
            yield "file", lambda: file[0]
            if not file[1]:  # opening the file would create it
                return
        yield "tables and rights", lambda: probe_rights(self._database())
        yield "clock", lambda: probe_clock(self._database())

    def now(self) -> datetime:
        database = self._database()
        with database.read() as connection:
            return database.clock(connection)

    # --- ledger

    def entries(self, within: Interval | None = None) -> list[Entry]:
        with self._database().read() as connection:
            return self._entries(connection, within)

    def entries_in(self, spans: Sequence[Interval]) -> list[Entry]:
        rows: dict[int, Any] = {}
        with self._database().read() as connection:
            longest_us = self._longest_us(connection) if spans else None
            for span in spans:
                rows |= {row.id: row for row in self._rows(connection, span, longest_us)}
        return self._read(rows[number] for number in sorted(rows))

    def _entries(
        self, connection: sa.Connection, within: Interval | None, longest_us: int | None = None
    ) -> list[Entry]:
        """Read the entries that overlap `within`; `longest_us` saves a query where it is known."""
        if within is None:
            return self._read(connection.execute(self._database().statements.all_entries, self._mine))
        if longest_us is None:
            longest_us = self._longest_us(connection)
        return self._read(self._rows(connection, within, longest_us))

    def _rows(self, connection: sa.Connection, within: Interval, longest_us: int | None) -> Iterable[Any]:
        """Select the entries that overlap `within`, in the order of writing; `longest_us` is None without entries."""
        if within.is_empty or longest_us is None:
            return []
        of = {
            **self._mine,
            "of_earliest": shortly_before(within.start, longest_us),
            "of_start": within.start,
            "of_end": within.end,
        }
        return connection.execute(self._database().statements.entries_within, of)

    def _read(self, rows: Iterable[object]) -> list[Entry]:
        """Map errors of a row that this package did not write to DataError."""
        entries: list[Entry] = []
        try:
            entries.extend(read_entry(row) for row in rows)
        except (ValueError, TypeError, KeyError) as error:
            after = f", the one after {entries[-1].kind.value} of {entries[-1].interval}" if entries else ""
            raise DataError(
                f"{self._database().what}: a row of {self._database().tables.ledger.fullname}{after} cannot be read "
                f"({error}): it was edited; correct it, or restore a backup or a `state export`"
            ) from error
        return entries

    def _longest_us(self, connection: sa.Connection) -> int | None:
        return connection.execute(self._database().statements.longest_us, self._mine).scalar()

    def coverage(self, within: Interval, *, keep: bool = False) -> Coverage:
        return self.known(within, keep=keep)[0]

    def known(self, within: Interval, *, keep: bool = False) -> tuple[Coverage, list[Lease]]:  # noqa: ARG002
        database = self._database()
        with database.read() as connection:  # the fold is of all entries, whatever `within` is
            read = read_coverage(database, connection, self._pipeline)
            leases = self._standing(connection)
        if keep and read.unsaved >= UNSAVED_ENTRIES:
            database.change(lambda connection: save_coverage(database, connection, self._pipeline, read))
        return read.coverage, leases

    def append(self, entry: Entry) -> None:
        self._database().write(self._pipeline, lambda connection: self._append(connection, entry))

    def _append(self, connection: sa.Connection, entry: Entry) -> None:
        longest_us = self._longest_us(connection) or 0
        overlapping = self._entries(connection, entry.interval, longest_us) if entry.kind in ONCE else []
        if not admit(entry, overlapping):
            return
        database = self._database()
        length = (entry.interval.end - entry.interval.start) // _MICROSECOND
        if length > longest_us:
            connection.execute(database.statements.set_longest_us, {**self._mine, "to": length})
        row = entry_row(self._pipeline, replace(entry, at=database.clock(connection)))
        connection.execute(database.statements.insert_entry, row)

    # --- leases

    def acquire(self, interval: Interval, owner: Owner | str, ttl_seconds: float) -> Lease:
        def work(connection: sa.Connection) -> Lease:
            database = self._database()
            held = self._leases(connection)
            now = database.clock(connection)
            after = claim(held, interval, owner, now, ttl_seconds)
            for lease in held:
                if lease not in after[:-1]:
                    self._delete(connection, lease)
            self._insert(connection, after[-1])
            return after[-1]

        return self._database().write(self._pipeline, work)

    def _insert(self, connection: sa.Connection, lease: Lease) -> None:
        connection.execute(
            self._database().statements.insert_lease,
            {
                "pipeline_id": self._pipeline,
                "window_start": lease.interval.start,
                "window_end": lease.interval.end,
                "owner": lease.owner,
                "since": lease.since,
                "until": lease.until,
                "seconds": lease.seconds,
                "installation": lease.installation,
                "executions": json.dumps(lease.executions),
            },
        )

    def _delete(self, connection: sa.Connection, lease: Lease) -> None:
        interval = lease.interval
        of = {**self._mine, "of_start": interval.start, "of_end": interval.end, "of_owner": lease.owner}
        connection.execute(self._database().statements.delete_lease, of)

    def _leases(self, connection: sa.Connection) -> list[Lease]:
        rows = connection.execute(self._database().statements.all_leases, self._mine)
        return [read_lease(row) for row in rows]

    def release(self, interval: Interval, owner: Owner | str, *, until: datetime | None = None) -> None:
        def work(connection: sa.Connection) -> None:
            now = self._database().clock(connection)
            for lease, rest in to_release(self._leases(connection), interval, owner, now, until):
                self._delete(connection, lease)
                if rest is not None:
                    self._insert(connection, rest)

        self._database().write(self._pipeline, work)

    def leases(self, *, expired: bool = False) -> list[Lease]:
        with self._database().read() as connection:
            return self._leases(connection) if expired else self._standing(connection)

    def _standing(self, connection: sa.Connection) -> list[Lease]:
        """Read the leases that have not expired."""
        held = self._leases(connection)
        now = self._database().clock(connection) if held else None
        return [lease for lease in held if now is not None and lease.is_live(now)]

    def drop_expired(self, within: Interval | None = None) -> list[Lease]:
        def work(connection: sa.Connection) -> list[Lease]:
            database = self._database()
            _, gone = split_expired(self._leases(connection), database.clock(connection), within)
            for lease in gone:
                self._delete(connection, lease)
            return gone

        return self._database().write(self._pipeline, work)

    # --- tokens

    def mint_token(self, floor: int = 0) -> int:
        def work(connection: sa.Connection) -> int:
            statements = self._database().statements
            newest = connection.execute(statements.pipeline, self._mine).one().token
            token: int = max(newest, floor) + 1
            connection.execute(statements.set_token, {**self._mine, "to": token})
            return token

        return self._database().write(self._pipeline, work)

    def newest_token(self) -> int:
        with self._database().read() as connection:
            row = connection.execute(self._database().statements.pipeline, self._mine).one_or_none()
        return 0 if row is None else int(row.token)

    # --- runs

    def bind_run(self, run: str, interval: Interval, *, replace: bool = False) -> Interval:
        def work(connection: sa.Connection) -> Interval:
            database = self._database()
            bound = self._bound(connection, run)
            if bound is not None and (bound == interval or not replace):
                return bound
            if bound is not None:
                connection.execute(database.statements.delete_run, {**self._mine, "of_run": run})
            connection.execute(
                database.statements.insert_run,
                {
                    "pipeline_id": self._pipeline,
                    "run": run,
                    "window_start": interval.start,
                    "window_end": interval.end,
                    "bound_at": database.clock(connection),
                },
            )
            return interval

        return self._database().write(self._pipeline, work)

    def bound(self, run: str) -> Interval | None:
        with self._database().read() as connection:
            return self._bound(connection, run)

    def _bound(self, connection: sa.Connection, run: str) -> Interval | None:
        of = {**self._mine, "of_run": run}
        row = connection.execute(self._database().statements.run, of).one_or_none()
        return None if row is None else Interval(row.window_start, row.window_end)

    def first_day(self, day: date | None) -> date | None:
        statements = self._database().statements
        with self._database().read() as connection:  # planning asks often: no lock once it is known
            row = connection.execute(statements.pipeline, self._mine).one_or_none()
        known: date | None = None if row is None else row.first_day
        if day is None or (known is not None and known <= day):
            return known

        def work(connection: sa.Connection) -> date:
            connection.execute(statements.set_first_day, {**self._mine, "to": day})
            return connection.execute(statements.pipeline, self._mine).one().first_day  # type: ignore[no-any-return]

        return self._database().write(self._pipeline, work)

    # --- the pipeline as a whole

    def about(self) -> About:
        with self._database().read() as connection:
            row = connection.execute(self._database().statements.pipeline, self._mine).one_or_none()
        return NOTHING if row is None else read_about(row.about, self._database().what)

    def peek_about(self) -> About | None:
        from airflow_pipeline_provider.state.sql_probe import peek_about, probe_file

        if self._url is None and (file := probe_file(self.options.conn_id)) is not None and not file[1]:
            return NOTHING  # opening the file would create it
        return peek_about(self._database(), self._mine)

    def change_about(self, change: Callable[[About], About]) -> About:
        database = self._database()

        def work(connection: sa.Connection) -> About:
            row = connection.execute(database.statements.pipeline, self._mine).one()
            about = change(read_about(row.about, database.what))
            connection.execute(database.statements.set_about, {**self._mine, "to": about.dump()})
            return about

        return database.write(self._pipeline, work)

    # --- moving house

    def snapshot(self) -> Snapshot:
        database = self._database()
        with database.read() as connection:
            return read_snapshot(database, connection, self._pipeline, self._entries(connection, None))

    def restore(self, snapshot: Snapshot) -> None:
        def work(connection: sa.Connection) -> None:
            present = self._entries(connection, None)
            write_snapshot(self._database(), connection, self._pipeline, snapshot, present)

        self._database().write(self._pipeline, work)


def shortly_before(instant: datetime, microseconds: int) -> datetime:
    """Return the instant minus some microseconds, at least the calendar's beginning."""
    room = (instant - datetime.min.replace(tzinfo=instant.tzinfo)) // _MICROSECOND
    return instant - min(microseconds, room) * _MICROSECOND


def read_lease(row: Any) -> Lease:
    """Parse a row of the table of leases."""
    return Lease(
        Interval(row.window_start, row.window_end),
        row.owner,
        row.since,
        row.until,
        row.seconds,
        row.installation,
        tuple(Execution(*values) for values in json.loads(row.executions or "[]")),
    )


def read_entry(row: Any) -> Entry:
    """Build the entry of a row of the ledger's table, which holds its columns in their order."""
    _, _, kind, start, end, at, token, attempt, run, rows, manifest, detail = (
        row  # by name takes twice as long
    )
    return Entry(
        kind=Kind(kind),
        interval=Interval(start, end),
        at=at,
        token=token,
        attempt=attempt,
        run=run,
        rows=rows,
        manifest=manifest,
        detail=msgspec.json.decode(detail),
    )
