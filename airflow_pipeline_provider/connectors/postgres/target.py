"""Target `postgres`: a table in PostgreSQL, filled by binary COPY through Airflow's PostgresHook.

A load is one READ COMMITTED transaction.  Its first statement updates the fence row, so every other load of the table
waits there; in READ COMMITTED each later statement has a snapshot of its own, taken after that wait, and so sees all
that the loads before it committed, newer tokens first of all.  REPEATABLE READ would look at the state from before
the wait, and could only fail.

The rows are streamed from the stage's parts straight into the table: a transient table in between would keep the
fence shorter and write everything twice.  When the reply to COMMIT is lost the error is transient, and the next try
finds the commit row, or does not; the row decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from airflow_pipeline_provider.config.options import ConnId, DurationSeconds, TargetOptions
from airflow_pipeline_provider.connectors import registrations as sql_pipelines
from airflow_pipeline_provider.connectors.base import (
    CommitRow,
    Identity,
    LoadResult,
    Stage,
    Target,
    TargetCounts,
    TargetLimits,
)
from airflow_pipeline_provider.connectors.datasets import place_of
from airflow_pipeline_provider.connectors.load_protocol import (
    ObjectName,
    Statements,
    check_shape,
    parse_name,
)
from airflow_pipeline_provider.connectors.postgres import sql
from airflow_pipeline_provider.connectors.postgres.upgrade import UPGRADE_SECONDS, find_upgrade
from airflow_pipeline_provider.connectors.probes import Answer, Probes, clock_answer
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.postgres.session import Session
    from airflow_pipeline_provider.envelope.manifest import Manifest

# A value and a message are limited to 1 GB, and a text takes up to four times its size while a server or a client of
# another encoding converts it.
MAX_BODY_BYTES = 255 * 2**20
_LONGEST = 63  # PostgreSQL cuts longer names off, and only notes it


class PostgresOptions(TargetOptions):
    """`target: {type: postgres, conn_id: warehouse, table: raw.flights}`"""

    type: Literal["postgres"] = "postgres"
    conn_id: ConnId = Field(
        default="postgres_default", min_length=1, description="Airflow connection of type Postgres."
    )
    table: str = Field(
        description="The table: raw.flights, or less where the connection's search_path says the schema."
    )
    statement_timeout: DurationSeconds = Field(
        default=900,
        ge=3,
        le=86_400,
        description="When server and client give a statement up, and a COPY that stands still: 15m; 3s to 1d.",
    )

    require_jsonb: bool = Field(
        default=True,
        strict=True,
        description="Accept only documents that cast to jsonb (audit.on_reject); false stores any text.",
    )

    @field_validator("table")
    @classmethod
    def _check_table(cls, value: str) -> str:
        parts = parse_name(value).parts
        longest = max((len(part) for part in parts[:-1]), default=0)
        if len(parts) > 2 or longest > _LONGEST or len(f"{parts[-1]}_COMMITS") > _LONGEST:
            raise ValueError(
                f"must be table or schema.table, the table of at most {_LONGEST - len('_COMMITS')} characters and "
                f"the schema of at most {_LONGEST} (longer names are cut off by PostgreSQL), got {value!r}"
            )
        return value


class PostgresTarget(Target):
    Options: ClassVar[type[PostgresOptions]] = PostgresOptions
    limits = TargetLimits(max_body_bytes=MAX_BODY_BYTES, takes_nul=False, needs_json=True, needs_jsonb=True)
    can_keep_history = True

    _hook: Any = None

    def __init__(self, options: PostgresOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        if not options.require_jsonb:
            self.limits = self.limits._replace(needs_json=False, needs_jsonb=False)

    # --- the contract

    def probes(self) -> Probes:
        yield from super().probes()
        yield "tables and rights", self._probe_rights
        yield "encoding", self._probe_encoding
        yield "clock", self._probe_clock

    def _probe_rights(self) -> Answer:
        with self._transaction("check the rights") as (session, statements):
            missing = [name for name in _tables(statements) if not session.execute(*sql.find(name))]
            if not missing:
                for name in _tables(statements):
                    check_shape(f"table {name}", statements.columns[str(name)], _described(session, name))
                statements.try_rights(session.execute)  # rolled back with the session
                return Answer("ok", f"{statements.table} exists and may be changed")
            schema = statements.table.parts[0]
            [(may_create, place)] = session.execute(*sql.may_create(schema))
            if not may_create:
                raise FatalError(
                    f"{', '.join(map(str, missing))} do not exist, and the role may not create them: "
                    f"grant CREATE on {place}, or create the tables as a role that may"
                )
            return Answer(
                "ok", f"{statements.table} is created by the first load (the role may create in {place})"
            )

    def _probe_encoding(self) -> Answer:
        with self._transaction("read the encoding") as (session, _):
            [(encoding,)] = session.execute("SELECT current_setting('server_encoding')")
        if encoding == "UTF8":
            return Answer("ok", "the database stores every character")
        return Answer(
            "warning",
            f"the database has the encoding {encoding}: a document with other characters fails its load, and with "
            "escapes of them (\\u20ac) its cast to jsonb; use a database with the encoding UTF8",
        )

    def _probe_clock(self) -> Answer:
        with self._transaction("read the clock") as (session, _):
            [(now,)] = session.execute("SELECT clock_timestamp()")
        return clock_answer(now)

    def prepare(self) -> None:
        with self._transaction("prepare") as (session, statements):
            session.execute(*sql.lock_for_creating(statements.table))
            self._create_missing(session, statements)
            missing = sql.missing_indexes(session.execute(*sql.find_indexes(statements.table)))
            upgrade = find_upgrade(session, statements, missing)
            session.execute("COMMIT")
        for step in upgrade:
            with closing(self._connect(step.doing, UPGRADE_SECONDS)) as session:
                step.run(session)

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        with self._transaction(f"load {manifest.interval}") as (session, statements):
            missing = [str(name) for name in _tables(statements) if not session.execute(*sql.find(name))]
            if missing:
                raise FatalError(f"there is no table {', '.join(missing)}: call prepare() before load()")
            result = statements.replace_window(
                session.execute, manifest, lambda: _copy(session, statements, manifest, stage)
            )
            session.execute("ROLLBACK" if result.already else "COMMIT")
        return result

    def count(self, interval: Interval) -> TargetCounts:
        with self._transaction(f"count {interval}") as (session, statements):
            if not session.execute(*sql.find(statements.table)):
                return TargetCounts(0, 0)
            return statements.read_counts(session.execute, self.identity.pipeline_id, interval)

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:
        with self._transaction(f"count {interval} by token") as (session, statements):
            if not session.execute(*sql.find(statements.table)):
                return {}
            return statements.read_counts_by_token(session.execute, self.identity.pipeline_id, interval)

    def count_newest(self, interval: Interval, token: int) -> int:
        with self._transaction(f"count the newest rows of {interval}") as (session, statements):
            if not session.execute(*sql.find(statements.table)):
                return 0
            return statements.read_newest(session.execute, self.identity.pipeline_id, interval, token)

    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        with self._transaction("read the commit rows") as (session, statements):
            if not session.execute(*sql.find(statements.commits)):
                return []
            return statements.read_commits(session.execute, self.identity.pipeline_id, within)

    def newest_token(self) -> int:
        with self._transaction("read the newest token") as (session, statements):
            if not session.execute(*sql.find(statements.commits)):
                return 0
            return statements.read_newest_token(session.execute, self.identity.pipeline_id)

    # --- which pipelines load here

    def dataset(self) -> dict[str, Any]:
        return {**super().dataset(), "table": self.options.table}

    def place(self) -> dict[str, Any]:
        return place_of(self.options.conn_id)

    def pipelines(self) -> sql_pipelines.Pipelines:
        with self._transaction("read the registered pipelines") as (session, statements):
            if not session.execute(*sql.find(statements.fence)):
                return {}
            seen = _described(session, statements.fence)
            if sql_pipelines.add_column(statements, seen, str(statements.fence)):
                return {}
            return sql_pipelines.read_pipelines(statements, session.execute)

    def register(self, entry: dict[str, Any], check: sql_pipelines.Check) -> None:
        with self._transaction("register the pipeline") as (session, statements):
            sql_pipelines.register(statements, session.execute, self.identity.pipeline_id, entry, check)
            session.execute("COMMIT")

    def rename_pipeline(self, old: str) -> int:
        with self._transaction(f"rename pipeline {old}") as (session, statements):
            session.let_run_long()
            rows = sql_pipelines.rename(statements, session.execute, old, self.identity.pipeline_id)
            session.execute("COMMIT")
        return rows

    # --- tables

    def _create_missing(self, session: Session, statements: Statements) -> None:
        """Nothing is created that is there, so that a role without CREATE can load into prepared tables."""
        schema = statements.table.parts[0]
        if not session.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", [schema]):
            session.execute(f"CREATE SCHEMA {ObjectName((schema,))}")
        for name, create in zip(_tables(statements), statements.create_tables(), strict=True):
            if not session.execute(*sql.find(name)):
                session.execute(create)
                if name == statements.table:
                    for index in sql.INDEXES:
                        session.execute(index.create(name))
            seen = _described(session, name)
            if add := sql_pipelines.add_column(statements, seen, str(name)):
                session.execute(add)
            check_shape(f"table {name}", statements.columns[str(name)], seen)
        view = session.execute(*sql.find(statements.latest))
        if not view:
            session.execute(statements.create_view())
        elif view[0][0] not in ("v", "m"):
            raise FatalError(
                f"{statements.latest} exists and is not the view that belongs to {statements.table}"
            )
        elif view[0][0] == "v":
            [(definition,)] = session.execute(*sql.definition(statements.latest))
            if statements.orders_otherwise(session.execute, definition, self.identity):
                session.execute(statements.create_view(replace=True))

    # --- sessions

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[tuple[Session, Statements]]:
        """A session of its own, in an open transaction that the block commits, or else is rolled back."""
        with closing(self._connect(doing, self.options.statement_timeout)) as session:
            session.begin()
            table, history = self._table(session), self.identity.keeps_history
            yield session, Statements(table, sql.DIALECT, keeps_history=history)

    def _connect(self, doing: str, seconds: int) -> Session:
        from airflow_pipeline_provider.connectors.postgres.session import Session, hook

        if self._hook is None:
            self._hook = hook(self.options.conn_id)
        return Session(self._hook, f"target {self.options.table} ({self.options.conn_id}), {doing}", seconds)

    def _table(self, session: Session) -> ObjectName:
        """With its schema: a table of that name further down the search_path is another one."""
        table = parse_name(self.options.table)
        if len(table.parts) == 2:
            return table
        [(schema,)] = session.execute("SELECT current_schema()::text")
        if schema is None:
            raise FatalError(
                f"target.table: {self.options.table!r} has no schema, and the search_path of connection "
                f"{self.options.conn_id!r} names none that exists: write schema.{self.options.table}"
            )
        try:
            return parse_name(f"{schema}.{self.options.table}")
        except ValueError as error:
            raise FatalError(f"target.table: the search_path of {self.options.conn_id!r}: {error}") from None


def _described(session: Session, name: ObjectName) -> dict[str, str]:
    return {str(column): str(kind) for column, kind in session.execute(*sql.describe(name))}


def _tables(statements: Statements) -> tuple[ObjectName, ObjectName, ObjectName]:
    return statements.table, statements.commits, statements.fence


def _copy(session: Session, statements: Statements, manifest: Manifest, stage: Stage) -> int:
    """Stream the manifest's parts into the table; memory is bounded by a row group of a part."""
    if not manifest.parts:
        return 0
    from airflow_pipeline_provider.connectors.postgres.copy import copy_rows, copy_stream
    from airflow_pipeline_provider.connectors.prefetch import one_ahead
    from airflow_pipeline_provider.envelope.parts import iter_part

    def batches() -> Iterator[Any]:
        for part in manifest.parts:
            with stage.open_read(part.path) as file:
                yield from iter_part(file)

    [(now,)] = session.execute("SELECT CURRENT_TIMESTAMP")
    interval = manifest.interval
    stamps = (manifest.pipeline_id, interval.start, interval.end, manifest.token, now)
    with one_ahead(copy_rows(batches(), stamps)) as rows:  # while the server takes them, the next are made
        return session.copy(sql.copy_rows(statements.table), copy_stream(rows))
