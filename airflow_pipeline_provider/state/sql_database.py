"""Engine, transactions and migrations of the sql state store.

Connections are opened for one transaction and closed after it (`NullPool`), or for a few in a `session`: a task that
reads for an hour holds none, and nothing is left open when a process ends.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.databases import (
    hook_of,
    open_sqlite,
    plain_rows,
    sqlite_uri,
    sqlite_uri_of,
)
from airflow_pipeline_provider.connectors.deadlines import Watch
from airflow_pipeline_provider.connectors.postgres.network import GRACE_SECONDS, NETWORK, write_settings
from airflow_pipeline_provider.core.intervals import to_utc
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.state.sql_statements import Statements
from airflow_pipeline_provider.state.sql_tables import StateTables

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0005"
"""The newest migration: a set of tables with this version is ready."""

TRIES = 3  # how often a transaction that met another process's lock on the SQLite file is begun

# Alembic's context belongs to the process: two threads at once would create each other's tables
_ALEMBIC = threading.Lock()
_MIGRATIONS = Path(__file__).parent / "migrations"
_SUPPORTED = "PostgreSQL, or SQLite for one machine"
T = TypeVar("T")


def _make_private(uri: str) -> None:
    """Make a file that is missing for this user alone; SQLite gives its journals the same permissions."""
    parts = urlsplit(uri)
    if "mode=rwc" not in parts.query.split("&"):
        return
    with suppress(OSError):  # it exists, or SQLite reports why it cannot be created
        os.close(os.open(unquote(parts.path), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))


def _sqlite_engine(uri: str) -> sa.Engine:
    def connect() -> object:
        _make_private(uri)
        return open_sqlite(uri)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # IMMEDIATE: the write lock comes first, so nothing that was read can be stale when it is written.
        # SQLAlchemy would need longer to pass the statement on than SQLite to execute it.
        connection.connection.execute(connection.get_execution_options().get("begin", "BEGIN IMMEDIATE"))

    return engine


def _bounded(engine: sa.Engine, seconds: int) -> sa.Engine:
    """Add PostgreSQL's time limits: for locks and idle clients on the server, for answers in this process.

    Instants come in UTC: converting each from the server's zone takes as long as reading the row.
    """
    settings = {**write_settings(seconds), "TimeZone": "UTC"}.items()
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings)
    watches: dict[int, Watch] = {}

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        watches[id(connection)] = Watch(connection, seconds + GRACE_SECONDS)

    @sa.event.listens_for(engine, "close")
    def close(connection: object, _record: object) -> None:
        watch = watches.pop(id(connection), None)
        if watch is not None:
            watch.stop()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        watch = watch_of(connection)
        if watch is not None:  # each transaction has its time
            watch.stop()
            watch.start()
        connection.exec_driver_sql(f"SELECT {calls}")

    def watch_of(connection: sa.Connection) -> Watch | None:
        return watches.get(id(connection.connection.dbapi_connection))

    @sa.event.listens_for(engine, "handle_error")
    def explain(context: sa.engine.ExceptionContext) -> BaseException | None:
        watch = watch_of(context.connection) if context.connection is not None else None
        if watch is None or not watch.fired:
            return None
        return TransientError(
            f"state: expected an answer of PostgreSQL within {watch.seconds:.0f} s, got none and cut the connection; "
            "if it stays so, look at the network, or raise state.statement_timeout"
        )

    return engine


def engine_from_url(url: str, seconds: int = 60) -> sa.Engine:
    """Build an engine without Airflow: `postgresql://…` (with the installed driver) or `sqlite:///path`."""
    parsed = sa.make_url(url)
    dialect = parsed.get_backend_name()
    if dialect == "sqlite":
        return _sqlite_engine(sqlite_uri(parsed.database or "", mode="rwc"))
    if dialect in ("postgresql", "postgres"):
        if "+" not in parsed.drivername:
            driver = "psycopg" if find_spec("psycopg") else "psycopg2"
            parsed = parsed.set(drivername=f"postgresql+{driver}")
        engine = sa.create_engine(
            parsed,
            poolclass=NullPool,
            isolation_level="READ COMMITTED",
            connect_args={name: value for name, value in NETWORK.items() if name not in parsed.query},
        )
        return _bounded(engine, seconds)
    raise ConfigError(f"state: expected {_SUPPORTED}, got the database {dialect!r}")


def engine_from_connection(conn_id: str, seconds: int) -> sa.Engine:
    """Build an engine whose connections the Airflow hook opens, so that its TLS and token settings apply."""
    connection = get_connection(conn_id)
    if connection.conn_type == "sqlite":
        return _sqlite_engine(sqlite_uri_of(connection, mode="rwc"))
    if connection.conn_type not in ("postgres", "postgresql"):
        raise ConfigError(
            f"state.conn_id: expected a connection to {_SUPPORTED}, "
            f"got {conn_id!r} of type {connection.conn_type!r}"
        )
    hook = hook_of(connection)
    import airflow.providers.postgres.hooks.postgres as hooks

    newer = getattr(hooks, "USE_PSYCOPG3", False)
    driver = "psycopg" if newer else "psycopg2"
    engine = sa.create_engine(
        f"postgresql+{driver}://",
        creator=lambda: plain_rows(hook.get_conn()),
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
    )
    return _bounded(engine, seconds)


def migration_config(**attributes: object) -> Config:
    """Build Alembic's configuration; `migrations/env.py` reads its attributes."""
    from alembic.config import Config

    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


class Database:
    """One set of tables behind an engine.  `what` begins every error's sentence.

    `ready`: the tables are known to exist in the newest version.
    """

    def __init__(self, engine: sa.Engine, tables: StateTables, what: str) -> None:
        self.engine, self.tables, self.what = engine, tables, what
        self.is_sqlite = engine.dialect.name == "sqlite"
        if self.is_sqlite and tables.schema:
            raise ConfigError(f"state.schema: SQLite has no schemas, got {tables.schema!r}: leave it out")
        self.statements = Statements(tables, is_sqlite=self.is_sqlite)
        self.ready = False
        self._lock = threading.Lock()
        self._session = threading.local()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let transactions of this thread in the block use one connection in turn."""
        if getattr(self._session, "connection", None) is not None:  # inside of another one
            yield
            return
        with database_errors(self.what):
            connection = self.engine.connect()
        self._session.connection = connection
        try:
            self._prepare()
            yield
        finally:
            self._session.connection = None
            with database_errors(self.what):
                connection.close()

    @property
    def _outer(self) -> sa.Connection | None:
        """Return the transaction of `together` in which this thread is, None outside of one."""
        outer: sa.Connection | None = getattr(self._session, "transaction", None)
        return outer

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        """Open a transaction, or join that of `together`; `begin` is the statement that begins it on SQLite."""
        if self._outer is not None:
            yield self._outer
            return
        held = getattr(self._session, "connection", None)
        with database_errors(self.what), nullcontext(held) if held else self.engine.connect() as connection:
            connection.execution_options(begin=begin)
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a consistent read; its result may be outdated when it is used."""
        self._prepare()
        with self._transaction("BEGIN") as connection:
            yield connection

    def write(self, pipeline_id: str, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction that holds the pipeline: reads in it are true until it commits.

        A SQLite file that stays locked is a TransientError after `TRIES` rounds of waiting.
        """
        if self._outer is not None:
            return work(self._outer)

        def transaction(connection: sa.Connection) -> T:
            self._hold(connection, pipeline_id)
            return work(connection)

        return self.change(transaction)

    def together(self, pipeline_id: str, work: Callable[[], T]) -> T:
        """Run `work` so that what this thread reads and writes in it is one transaction that holds the pipeline."""

        def transaction(connection: sa.Connection) -> T:
            self._session.transaction = connection
            try:
                return work()
            finally:
                self._session.transaction = None

        if self._outer is not None:
            return work()
        return self.write(pipeline_id, transaction)

    def change(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction that holds nothing: for what is true whenever it is written."""
        self._prepare()
        return self._in_transaction(work)

    def _in_transaction(self, work: Callable[[sa.Connection], T]) -> T:
        for tries_left in reversed(range(TRIES if self.is_sqlite else 1)):
            try:
                with self._transaction("BEGIN IMMEDIATE") as connection:
                    result = work(connection)
                    reach("state.before_commit")
                reach("state.after_commit")
                return result
            except TransientError as error:
                if not tries_left or "locked" not in error.message:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _hold(self, connection: sa.Connection, pipeline_id: str) -> None:
        """Create the pipeline's row if it is missing, and lock it until the transaction ends."""
        statements, mine = self.statements, {"of_pipeline": pipeline_id}
        if self.is_sqlite:  # whose transactions hold the whole file: what changes nothing writes nothing
            if connection.execute(statements.longest_us, mine).first() is not None:
                return
        elif connection.execute(statements.hold_pipeline, mine).rowcount:
            return
        first = {"pipeline_id": pipeline_id, "version": 0, "token": 0, "longest_us": 0}
        connection.execute(statements.first_pipeline, first)
        connection.execute(statements.hold_pipeline, mine)

    def clock(self, connection: sa.Connection) -> datetime:
        """Return the database's clock, aware UTC, in microseconds; SQLite has this machine's clock."""
        if self.is_sqlite:
            return datetime.now(timezone.utc)
        return to_utc(
            connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one(), "clock_timestamp()"
        )

    @contextmanager
    def look(self) -> Iterator[tuple[sa.Connection, str | None]]:
        """Yield a transaction that is rolled back, and the version of the tables (None: there are none yet)."""
        with database_errors(self.what), self.engine.connect() as connection:
            connection.execution_options(begin="BEGIN")
            transaction = connection.begin()
            try:
                yield connection, self._version(connection)
            finally:
                transaction.rollback()

    # --- migrations

    def _prepare(self) -> None:
        """Create or upgrade the tables on first use."""
        with self._lock:
            if self.ready:
                return
            with self._transaction("BEGIN") as connection:
                version = self._version(connection)
            if version != HEAD:
                self._in_transaction(self._upgrade)
            self.ready = True

    def _version(self, connection: sa.Connection) -> str | None:
        name, schema = self.tables.version_table, self.tables.schema
        if not sa.inspect(connection).has_table(name, schema=schema):
            return None
        table = sa.table(name, sa.column("version_num"), schema=schema)
        return connection.execute(sa.select(table.c.version_num)).scalar()

    def _upgrade(self, connection: sa.Connection) -> None:
        """Migrate in one transaction under a lock; workers that waited for it find nothing left to do."""
        from alembic import command

        schema = self.tables.schema
        if not self.is_sqlite:
            key = zlib.crc32(f"{schema}.{self.tables.version_table}".encode())
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(:space, :key)"), {"space": 77, "key": key >> 1}
            )
            if schema and not sa.inspect(connection).has_schema(schema):
                connection.execute(sa.schema.CreateSchema(schema))
        version = self._version(connection)
        if version == HEAD:
            return
        known = {path.name[1:5] for path in (_MIGRATIONS / "versions").glob("v*.py")}
        if version is not None and version not in known:
            raise FatalError(
                f"{self.what}: its tables have version {version}, this package knows up to {HEAD}: "
                "install the newer airflow-pipeline-provider here too"
            )
        with _ALEMBIC:
            command.upgrade(migration_config(connection=connection, tables=self.tables), "head")
