"""Read a SQL database through one connection: its transaction, its statements, its columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.deadlines import Watch
from airflow_pipeline_provider.connectors.postgres.network import GRACE_SECONDS, read_settings
from airflow_pipeline_provider.connectors.sql.options import SqlSourceOptions
from airflow_pipeline_provider.connectors.sql.statements import Relation, Statement
from airflow_pipeline_provider.connectors.sql.times import TimeColumn, TimeKind
from airflow_pipeline_provider.connectors.sql_dialect import Dialect
from airflow_pipeline_provider.core.days import zone_of
from airflow_pipeline_provider.core.field_patterns import glob_matches
from airflow_pipeline_provider.exceptions import (
    DataError,
    FatalError,
    PipelineError,
    SnapshotLostError,
    TransientError,
)

# First statement of each connection: what the query does beside reading (by a function, say) must fail. Other
# databases rely on the rights of the connection's role.
_READ_ONLY = {
    "postgres": "SET TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
}
# First statement of a transaction that sees one state of the data; where there is none, one statement must do.
_SNAPSHOT = {"postgres": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "sqlite": "BEGIN"}
_POSTGRES_TIMES = {
    1184: TimeKind.AWARE,
    1114: TimeKind.NAIVE,
    1082: TimeKind.NAIVE,
}  # timestamptz, timestamp, date
_POSTGRES_JSON = (114, 3802)


@dataclass(frozen=True)
class Shape:
    """The relation with its columns, and the time column, as a connection found them."""

    relation: Relation
    time: TimeColumn
    columns: tuple[str, ...]
    json_columns: frozenset[str]


class Reader:
    """One connection to the database."""

    def __init__(self, connection: Any, dialect: Dialect, options: SqlSourceOptions, what: str) -> None:
        self.connection, self.dialect, self.options, self.what = connection, dialect, options, what
        self.is_snapshot = dialect.name in _SNAPSHOT
        self._watch: Watch | None = (
            None  # of other databases only the connection's own extra bounds the waiting
        )
        if dialect.name == "postgres":
            self._watch = Watch(connection, options.statement_timeout + GRACE_SECONDS)
        if read_only := _READ_ONLY.get(dialect.name):
            with self._cursor() as cursor:
                cursor.execute(read_only)
        if dialect.name == "postgres":
            with self._cursor() as cursor:  # SET takes no snapshot, so `begin` may still follow
                for name, value in read_settings(options.statement_timeout).items():
                    cursor.execute(f"SET LOCAL {name} = '{value}'")

    def begin(self) -> None:
        """Begin a transaction in which every statement sees the same data."""
        if self.is_snapshot:
            with self._cursor() as cursor:
                cursor.execute(_SNAPSHOT[self.dialect.name])

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """Yield a cursor, and raise the driver's errors as those of this package; a missing answer is one of them."""
        if self._watch is not None:
            self._watch.start()
        try:
            with database_errors(self.what), closing(self.connection.cursor()) as cursor:
                yield cursor
        except PipelineError:
            if self._watch is not None and self._watch.fired:
                raise TransientError(
                    f"{self.what}: expected an answer of PostgreSQL within {self._watch.seconds:.0f} s, got none and "
                    "cut the connection; if it stays so, look at the network, or raise source.statement_timeout"
                ) from None
            raise
        finally:
            if self._watch is not None:
                self._watch.stop()

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(*statement)
            return [tuple(row) for row in cursor.fetchall()]

    def one(self, statement: Statement) -> Any:
        rows = self.rows(statement)
        return rows[0] if rows else None

    def snapshot_rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        try:
            return self.rows(statement)
        except TransientError as error:
            raise SnapshotLostError(f"the view is lost: {error.message}") from error

    def portions(self, statement: Statement, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in lists of at most `size`; a cursor that is left early ends with its connection."""
        with database_errors(self.what):
            cursor = self.connection.cursor()
            cursor.execute(*statement)
        while True:
            with database_errors(self.what):
                rows = [tuple(row) for row in cursor.fetchmany(size)]
            if not rows:
                break
            yield rows
        with database_errors(self.what):
            cursor.close()

    # --- shape

    def shape(self) -> Shape:
        """Return columns and time column, checked against the options."""
        options = self.options
        relation = self._relation()
        relation.require([options.time_column], "time_column")
        relation.require(options.key_columns, "key_columns")
        relation.require(options.columns or (), "columns")
        relation.require([options.change_column] if options.change_column else (), "change_column")
        zone = None if options.time_column_zone is None else zone_of(options.time_column_zone)
        time = TimeColumn(options.time_column, self._kind(relation), zone)
        self._check_zone(relation, time)
        columns = self._kept(relation, options.columns or tuple(relation.types))
        is_postgres = self.dialect.name == "postgres"
        documents = {name for name in columns if is_postgres and relation.types[name] in _POSTGRES_JSON}
        return Shape(relation, time, columns, frozenset(documents))

    def _kept(self, relation: Relation, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns that `source.fields` leaves in BODY."""
        fields = self.options.fields
        if fields is None:
            return columns
        relation.require([name for name in (*fields.include, *fields.exclude) if "*" not in name], "fields")

        def matches(column: str, patterns: tuple[str, ...]) -> bool:
            return any(glob_matches(pattern, column) for pattern in patterns)

        kept = tuple(
            column
            for column in columns
            if (not fields.include or matches(column, fields.include)) and not matches(column, fields.exclude)
        )
        if not kept:
            raise FatalError(
                f"source.fields: {self.what} has no column left for BODY, of {', '.join(columns)}"
            )
        return kept

    def _relation(self) -> Relation:
        options = self.options
        if options.table is not None:
            source = self.dialect.table(options.table)
        else:
            query = (options.query or "").strip().rstrip(";")
            source = (
                f"({self.dialect.escape_percent(query)}\n) AS q"  # the line ends a comment at the query's end
            )
        relation = Relation(self.dialect, source, self.what)
        with self._cursor() as cursor:
            cursor.execute(*relation.describe())
            described = [tuple(column[:6]) for column in cursor.description or ()]
            cursor.fetchall()  # MySQL's driver refuses to close a cursor with an unread result, even an empty one
        names = [column[0] for column in described]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FatalError(f"{self.what} has two columns named {', '.join(twice)}: give them aliases")
        return replace(
            relation,
            types={name: code for name, code, *_ in described},
            digits={name: (precision, scale) for name, *_, precision, scale in described},
        )

    def _kind(self, relation: Relation) -> TimeKind:
        column = self.options.time_column
        if self.dialect.name == "sqlite":
            return TimeKind.TEXT
        if self.dialect.name == "postgres":
            kind = _POSTGRES_TIMES.get(relation.types[column])
            if kind is None:
                raise DataError(
                    f"{self.what}: expected time_column {column!r} to be timestamptz, timestamp or date, got another "
                    f"type (oid {relation.types[column]}): cast it with `query`"
                )
            return kind
        value = self.one(relation.any_value(column))[0]
        if value is None:
            return TimeKind.AWARE  # empty: nothing to read yet
        if not isinstance(value, date):
            raise DataError(
                f"{self.what}: expected date-times in time_column {column!r}, got {value!r}: convert it with `query`"
            )
        return TimeKind.AWARE if isinstance(value, datetime) and value.tzinfo else TimeKind.NAIVE

    def _check_zone(self, relation: Relation, time: TimeColumn) -> None:
        """Raise an error for values of the time column that cannot be read, before the first window has them."""
        if time.kind is TimeKind.NAIVE:
            time.require_zone()
        elif time.kind is TimeKind.TEXT:
            row = self.one(relation.any_time(time.name)) or self.one(relation.any_value(time.name))
            if row is not None:
                time.instant_of(row[0])
