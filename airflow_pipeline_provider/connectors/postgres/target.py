"""Target `postgres`: a table in PostgreSQL, filled by binary COPY through Airflow's PostgresHook.

A load is one READ COMMITTED transaction.  Its first statement updates the fence row, so every other load of the table
waits there; in READ COMMITTED each later statement has a snapshot of its own, taken after that wait, and so sees all
that the loads before it committed, newer tokens first of all.  REPEATABLE READ would look at the state from before
the wait, and could only fail.

The rows are streamed from the stage's parts straight into the table: a transient table in between would keep the
fence shorter and write everything twice.  Only where the table has physical columns, which COPY cannot compute, there
is one: an UPDATE of the copied rows would leave as many dead ones, and their index entries, in the table.

Reading the rows back to count them would take an eighth of the server's CPU.  So the client counts the distinct ids
as it sends them (`sent_rows`), and the server answers whether the table stored these rows and nothing else: it has no
triggers, rules, policies or children, and this transaction inserted as many rows in it, updated none, and deleted
none since the copy began.  Where any of that does not hold, rows and distinct ids are counted in the table, as in the
other databases.

When the reply to COMMIT is lost the error is transient, and the next try reads the commit row, which decides.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_pipeline_provider.connectors.base import Identity, Stage, TargetLimits
from airflow_pipeline_provider.connectors.load_protocol import Copied, Copy, LoadProtocol
from airflow_pipeline_provider.connectors.postgres import sql, typed
from airflow_pipeline_provider.connectors.postgres.options import PostgresOptions
from airflow_pipeline_provider.connectors.postgres.upgrade import (
    UPGRADE_SECONDS,
    VIEW_LOCK_MILLISECONDS,
    find_upgrade,
)
from airflow_pipeline_provider.connectors.probes import Answer, Probes, clock_answer
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_hooks import PORTION_ROWS
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.sql_target import SqlTarget
from airflow_pipeline_provider.connectors.typed_target import FoundView
from airflow_pipeline_provider.connectors.typed_views import ViewQuery
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.postgres.scratch import PostgresScratch
    from airflow_pipeline_provider.connectors.postgres.sent_rows import SentRows
    from airflow_pipeline_provider.connectors.postgres.session import PostgresSession
    from airflow_pipeline_provider.envelope.manifest import Manifest

# A value and a message are limited to 1 GB, and a text takes up to four times its size while a server or a client of
# another encoding converts it.
MAX_BODY_BYTES = 255 * 2**20


class PostgresTarget(SqlTarget["PostgresSession"]):
    """A table in PostgreSQL."""

    Options: ClassVar[type[PostgresOptions]] = PostgresOptions
    dialect = sql.DIALECT
    limits = TargetLimits(max_body_bytes=MAX_BODY_BYTES, takes_nul=False, needs_json=True, needs_jsonb=True)
    _hook: Any = None

    def __init__(self, options: PostgresOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        if not options.require_jsonb:
            self.limits = self.limits._replace(needs_json=False, needs_jsonb=False)

    def scratch(self) -> PostgresScratch:
        from airflow_pipeline_provider.connectors.postgres.scratch import PostgresScratch

        return PostgresScratch(self)

    def probes(self) -> Probes:
        yield from super().probes()
        yield "encoding", self._probe_encoding
        yield "clock", self._probe_clock

    def describe_missing(self, session: PostgresSession, missing: Sequence[ObjectName]) -> Answer:
        [(may_create, place)] = session.execute(*sql.may_create(missing[0].parts[0]))
        if not may_create:
            raise FatalError(
                f"{', '.join(map(str, missing))} do not exist, and the role may not create them: "
                f"grant CREATE on {place}, or create the tables as a role that may"
            )
        table = self.find_tables(session).data
        return Answer("ok", f"{table} is created by the first load (the role may create in {place})")

    def _probe_encoding(self) -> Answer:
        with self.open_session("read the encoding") as session:
            [(encoding,)] = session.execute("SELECT current_setting('server_encoding')")
        if encoding == "UTF8":
            return Answer("ok", "the database stores every character")
        return Answer(
            "warning",
            f"the database has the encoding {encoding}: a document with other characters fails its load, and with "
            "escapes of them (\\u20ac) its cast to jsonb; use a database with the encoding UTF8",
        )

    def _probe_clock(self) -> Answer:
        with self.open_session("read the clock") as session:
            [(now,)] = session.execute("SELECT clock_timestamp()")
        return clock_answer(now)

    # --- tables

    def prepare(self) -> None:
        with self.open_session("prepare") as session:
            tables = self.find_tables(session)
            session.execute(*sql.lock_for_creating(tables.data))
            self.create_missing(session, tables)
            missing = sql.missing_indexes(session.execute(*sql.find_indexes(tables.data)))
            upgrade = find_upgrade(session, tables, missing)
            session.execute("COMMIT")
        for step in upgrade:
            with closing(self._connect(step.doing, UPGRADE_SECONDS)) as session:
                step.run(session)
        self.refresh_columns()

    def find_tables(self, session: PostgresSession) -> TargetTables:
        """Return the tables with their schema: one further down the search_path is another table."""
        tables = self.tables
        if tables.data.schema:
            return tables
        [(schema,)] = session.execute("SELECT current_schema()::text")
        if schema is None:
            raise FatalError(
                f"target.table: {self.options.table!r} has no schema, and the search_path of connection "
                f"{self.options.conn_id!r} names none that exists: write schema.{self.options.table}"
            )
        try:
            name = self.dialect.parse_name(f"{schema}.{self.options.table}")
        except ValueError as error:
            raise FatalError(f"target.table: the search_path of {self.options.conn_id!r}: {error}") from None
        return TargetTables(name, self.dialect, keeps_history=self.identity.keeps_history)

    def create_schema(self, session: PostgresSession, tables: TargetTables) -> None:
        schema = tables.data.schema
        exists = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s"
        if schema and not session.execute(exists, [schema.last]):
            session.execute(f"CREATE SCHEMA {schema}")

    def create_table(self, session: PostgresSession, tables: TargetTables, table: ObjectName) -> None:
        super().create_table(session, tables, table)
        if table == tables.data:
            for index in sql.INDEXES:
                session.execute(index.create(table))

    def create_quarantine(self, session: PostgresSession, tables: TargetTables) -> None:
        session.execute(*sql.lock_for_creating(tables.data))
        if self.missing_tables(session, [tables.quarantine]):
            super().create_quarantine(session, tables)
            session.execute(sql.index_quarantine(tables.quarantine))
        session.execute("COMMIT")

    def missing_tables(self, session: PostgresSession, names: Sequence[ObjectName]) -> list[ObjectName]:
        return [name for name in names if not session.execute(*sql.find(name))]

    def column_types(self, session: PostgresSession, table: ObjectName) -> dict[str, str]:
        return {str(column): str(kind) for column, kind in session.execute(*sql.describe(table))}

    def view_definition(self, session: PostgresSession, view: ObjectName) -> str | None:
        found = session.execute(*sql.find(view))
        if not found:
            return None
        [(kind,)] = found
        if kind == "v":
            return str(session.execute(*sql.definition(view))[0][0])
        return "" if kind == "m" else None

    # --- typed views

    def typed_sql(self, session: PostgresSession | None) -> typed.PostgresTyped:
        if session is None:
            return typed.PostgresTyped(has_valid_test=True, function="")
        function = self.find_tables(session).data.sibling("_JSONB")
        return typed.PostgresTyped(typed.has_valid_test(session), str(function))

    def counting_sql(self, session: PostgresSession) -> typed.PostgresTyped:
        counting = typed.PostgresTyped(typed.has_valid_test(session), "pg_temp.try_jsonb")
        for statement in counting.setup:
            session.execute(statement)
        return counting

    def typed_statements(self) -> list[str]:
        """Return the statements that create the typed views, which depend on the server's version."""
        if not self.identity.columns:
            return []
        with self.open_session("read the version") as session:
            typed_views = self.typed(self.typed_sql(session), self.find_tables(session))
            return self.statements_of(None, typed_views, typed_views.views(), set())

    def find_views(self, session: PostgresSession, tables: TargetTables) -> list[FoundView]:
        return typed.find_views(session, tables)

    def view_columns(self, session: PostgresSession, view: ObjectName) -> tuple[str, ...]:
        return tuple(self.column_types(session, view))

    def view_statements(
        self, session: PostgresSession | None, view: ViewQuery, comment: str, *, exists: bool
    ) -> list[str]:
        return typed.view_statements(session, view, comment, exists=exists)

    def lock_views(self, session: PostgresSession, tables: TargetTables, *, wait: bool) -> None:
        session.execute(*sql.lock_for_creating(tables.data))
        if not wait:
            self.limit_lock_wait(session)

    def limit_lock_wait(self, session: PostgresSession) -> None:
        session.execute(*sql.apply_settings({"lock_timeout": f"{VIEW_LOCK_MILLISECONDS}ms"}))

    # --- rows

    def prepare_copy(
        self, session: PostgresSession, protocol: LoadProtocol, manifest: Manifest, stage: Stage
    ) -> Copy:
        return lambda: self._copy(session, protocol, manifest, stage)

    def _copy(
        self, session: PostgresSession, protocol: LoadProtocol, manifest: Manifest, stage: Stage
    ) -> int | Copied:
        if not manifest.parts:
            return 0
        columns = self.fill_in_load(session, protocol)
        # of rows with the load's token; without history the window is empty by now
        is_first = not protocol.tables.keeps_history or not protocol.holds_token(manifest)
        if not columns:
            copied, sent, deleted = _copy(session, protocol, protocol.tables.data, manifest, stage)
            return Copied(copied, proven=is_first and _are_proven(session, protocol, sent, copied, deleted))
        session.execute(sql.create_staged(protocol.tables))
        _, sent, deleted = _copy(session, protocol, sql.STAGED, manifest, stage)
        typed_views = self.typed(self.counting_sql(session), protocol.tables)
        source, values = typed_views.values(str(sql.STAGED), list(columns.values()))
        insert = sql.insert_staged(protocol.tables, source, dict(zip(columns, values, strict=True)))
        inserted = int(session.execute(insert)[0][0])
        return Copied(inserted, proven=is_first and _are_proven(session, protocol, sent, inserted, deleted))

    def stream(
        self,
        session: PostgresSession,
        statement: str,
        parameters: Sequence[object],
        *,
        content: bool,  # noqa: ARG002
    ) -> Generator[Sequence[tuple[object, ...]], None, None]:
        """Read through a cursor of the server, whose rows are of the moment at which it was declared."""
        session.execute(f"DECLARE records NO SCROLL CURSOR FOR {statement}", parameters)
        while rows := session.execute(f"FETCH FORWARD {PORTION_ROWS} FROM records"):
            yield rows

    # --- sessions

    @contextmanager
    def open_session(self, doing: str, interval: Interval | None = None) -> Iterator[PostgresSession]:
        """Open a session of its own, in an open transaction that the block commits, or else is rolled back."""
        what = f"{doing} {interval}" if interval else doing
        with closing(self._connect(what, self.options.statement_timeout)) as session:
            session.begin()
            yield session

    def _connect(self, doing: str, seconds: int) -> PostgresSession:
        from airflow_pipeline_provider.connectors.postgres.session import PostgresSession, hook

        if self._hook is None:
            self._hook = hook(self.options.conn_id)
        return PostgresSession(
            self._hook, f"target {self.options.table} ({self.options.conn_id}), {doing}", seconds
        )

    def allow_long_statements(self, session: PostgresSession) -> None:
        session.allow_long_statements()


def _copy(
    session: PostgresSession, protocol: LoadProtocol, table: ObjectName, manifest: Manifest, stage: Stage
) -> tuple[int, SentRows, int]:
    """Stream the manifest's parts into a table; memory is bounded by a row group of a part, and 8 bytes a row.

    Return the rows copied, what is known of them, and how many rows of the data table were deleted before.
    """
    from airflow_pipeline_provider.connectors.postgres.copy import copy_rows, copy_stream, one_ahead
    from airflow_pipeline_provider.connectors.postgres.sent_rows import SentRows
    from airflow_pipeline_provider.envelope.parts import iter_parts

    [(now, deleted)] = session.execute(*sql.before_copy(protocol.tables.data))
    interval = manifest.interval
    stamps = (manifest.pipeline_id, interval.start, interval.end, manifest.token, now)
    sent = SentRows(interval)
    batches = sent.watch(iter_parts(manifest.parts, stage.open_read))
    with one_ahead(copy_rows(batches, stamps)) as rows:  # the next rows are made while the server reads these
        copied = session.copy(sql.copy_statement(table), copy_stream(rows))
    return copied, sent, deleted


def _are_proven(
    session: PostgresSession, protocol: LoadProtocol, sent: SentRows, inserted: int, deleted: int
) -> bool:
    """Return whether the table stored the rows as they were sent and no others, and their ids are distinct.

    The table's lock, held since the first statement on it, keeps triggers and rules as they are until the commit.
    """
    if inserted != sent.rows or not sent.are_distinct_inside():
        return False
    [(is_plain, *counted)] = session.execute(*sql.stored_unchanged(protocol.tables.data))
    return bool(is_plain) and counted == [inserted, 0, deleted]
