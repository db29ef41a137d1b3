"""Source `sql`: windows of rows from a table or query behind any Airflow DB-API hook.

PostgreSQL and SQLite are read in keyset pages inside one read-only transaction, so a slice is one consistent view.
On other databases a slice is one statement, whose rows are fetched in portions, since no such transaction is known.

SQLite has no date-time type: its time column holds ISO 8601 text (`2013-11-03 05:30:00`, `…T05:30:00.5Z`,
`…+01:00`); rows with any other value are in no window and are counted as untimed.  A SQLite file that others write
meanwhile should be in WAL mode: otherwise writers wait until the slice is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_pipeline_provider.connectors.base import FieldType, Identity, Slice, Source
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.databases import opener
from airflow_pipeline_provider.connectors.datasets import place_of
from airflow_pipeline_provider.connectors.sql.changed_rows import ChangedRows
from airflow_pipeline_provider.connectors.sql.changes import marker_of, maximum
from airflow_pipeline_provider.connectors.sql.field_types import field_types
from airflow_pipeline_provider.connectors.sql.options import SqlSourceOptions
from airflow_pipeline_provider.connectors.sql.reader import Reader, Shape
from airflow_pipeline_provider.connectors.sql.rows import RowWriter
from airflow_pipeline_provider.connectors.sql.statements import Statement
from airflow_pipeline_provider.connectors.sql.times import TimeColumn, TimeKind
from airflow_pipeline_provider.connectors.sql_dialect import Dialect
from airflow_pipeline_provider.core.change_markers import ChangeMarker, MarkedWindow, WindowChanges
from airflow_pipeline_provider.core.datasets import fingerprint
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class SqlSource(Source):
    """Rows of a table or query, as JSON (`sql.rows`) with instants as event times (`sql.times`)."""

    Options: ClassVar[type[SqlSourceOptions]] = SqlSourceOptions
    options: SqlSourceOptions

    def __init__(self, options: SqlSourceOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        self._opener: tuple[Dialect, Callable[[], Any]] | None = None
        what = f"table {options.table}" if options.table else "the query"
        self._what = f"{what} of connection {options.conn_id!r}"

    # --- checks and counts

    def dataset(self) -> dict[str, Any]:
        options = self.options
        return {
            **super().dataset(),
            "table": options.table,
            "query": fingerprint(options.query),
            "time_column": options.time_column,
            "time_column_zone": options.time_column_zone,
            "key_columns": list(options.key_columns),
            "name": options.source_name,
        }

    def place(self) -> dict[str, Any]:
        return place_of(self.options.conn_id)

    def check(self) -> None:
        with self._reader() as reader:
            reader.shape()

    def count(self, interval: Interval) -> int:
        if interval.is_empty:
            return 0
        with self._reader() as reader:
            shape = reader.shape()
            return self._counts(reader, shape, interval)[0]

    def _counts(
        self,
        reader: Reader,
        shape: Shape,
        interval: Interval,
        keys: Sequence[str] = (),
        before: Sequence[Any] = (),
    ) -> list[int]:
        """Return the rows of the interval, and for each key column those where it is not NULL.

        `before` are the parameters of the relation itself.
        """
        is_text = shape.time.kind is TimeKind.TEXT
        build = shape.relation.count_by_time if is_text else shape.relation.count
        sql, parameters = build(shape.time, interval, keys)
        statement = sql, [*before, *parameters]
        if not is_text:
            return [int(count) for count in reader.one(statement)]
        totals = [0] * (1 + len(keys))
        for value, *counts in reader.rows(statement):
            if shape.time.instant_inside(value, interval) is not None:
                totals = [total + count for total, count in zip(totals, counts, strict=True)]
        return totals

    def count_untimed(self) -> int | None:
        with self._reader() as reader:
            return int(reader.one(reader.shape().relation.untimed(self.options.time_column))[0])

    def newest_event_time(self) -> datetime | None:
        with self._reader() as reader:
            shape = reader.shape()
            row = reader.one(shape.relation.newest(shape.time.name))
            return None if row is None or row[0] is None else shape.time.instant_of(row[0])

    def field_types(self) -> list[FieldType] | None:
        with self._reader() as reader:
            return field_types(reader, reader.shape())

    # --- changes

    def change_marker(self) -> ChangeMarker | None:
        """Return the greatest value of `change_column`; None without one."""
        column = self.options.change_column
        if column is None:
            return None
        with self._reader() as reader:
            relation = reader.shape().relation
            return marker_of(column, reader.one(maximum(relation, column))[0])

    def changes(self, windows: Sequence[MarkedWindow]) -> list[WindowChanges]:
        return ChangedRows(self.options.change_column, self._reader, self._counts).find(windows)

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        with database_errors(self._what):
            if self._opener is None:
                name, hook, connect = opener(self.options.conn_id, sqlite_mode="rw")
                dialect = Dialect(name)
                if hook is not None:
                    dialect = Dialect(name, hook.placeholder, hook.escape_word_format)
                self._opener = dialect, connect
            dialect, connect = self._opener
            connection = connect()
        with closing(connection):
            yield Reader(connection, dialect, self.options, self._what)

    # --- rows

    def open(
        self,
        slice_: Slice,
        readers: int = 1,  # noqa: ARG002
    ) -> AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]:
        """Open one iterator: the pages of one transaction can only be read in turn (use `slices` for more)."""
        return self._open(slice_, with_columns=True)

    def open_ids(
        self,
        slice_: Slice,
        readers: int = 1,  # noqa: ARG002
    ) -> AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]:
        """Open one iterator as `open` does; only the time and the keys are selected."""
        return self._open(slice_, with_columns=False)

    @contextmanager
    def _open(self, slice_: Slice, *, with_columns: bool) -> Iterator[Sequence[Iterator[pa.RecordBatch]]]:
        if slice_.interval.is_empty:
            yield [iter(())]
            return
        with self._reader() as reader:
            reader.begin()
            shape = reader.shape()
            if not with_columns:
                shape = replace(shape, columns=(), json_columns=frozenset())
            expected = self._count_readable(reader, shape, slice_.interval)
            yield [self._batches(reader, shape, slice_.interval, expected)]

    def _count_readable(self, reader: Reader, shape: Shape, interval: Interval) -> int:
        """Count the rows that the pages must contain; rows with a NULL in a key column would be in none."""
        rows, *with_key = self._counts(reader, shape, interval, self.options.key_columns)
        for key, count in zip(self.options.key_columns, with_key, strict=True):
            if count != rows:
                raise DataError(
                    f"{self._what}: key column {key!r} is NULL in {rows - count:,} of {counted(rows, 'row')} "
                    f"of {interval}: "
                    "choose key_columns that identify every row"
                )
        return rows

    def _batches(
        self, reader: Reader, shape: Shape, interval: Interval, expected: int
    ) -> Iterator[pa.RecordBatch]:
        writer = RowWriter(self.options.source_name, shape.columns, shape.json_columns)
        width = 1 + len(self.options.key_columns)
        seen, last = 0, None
        for page in self._pages(reader, shape, interval):
            inside = self._inside(shape.time, interval, page)
            for _, row in inside:
                if row[:width] == last:
                    raise self._not_unique(f"two rows have {writer.record_id(row[1:width])}")
                last = row[:width]
            seen += len(inside)
            if inside:
                yield self._batch(writer, width, inside)
        if seen != expected:
            raise self._not_unique(f"the pages brought {seen:,} of {counted(expected, 'row')} of {interval}")

    def _not_unique(self, seen: str) -> DataError:
        keys = ", ".join(self.options.key_columns)
        return DataError(
            f"{self._what}: key_columns ({keys}) do not identify a row: {seen}; name more columns"
        )

    def _pages(self, reader: Reader, shape: Shape, interval: Interval) -> Iterator[list[tuple[Any, ...]]]:
        size, keys = self.options.page_size, self.options.key_columns

        def page(after: Sequence[Any] | None, limit: int | None) -> Statement:
            return shape.relation.page(
                shape.time, interval, keys, shape.columns, shape.json_columns, after, limit
            )

        if not reader.is_snapshot:
            yield from reader.portions(page(None, None), size)
            return
        after: tuple[Any, ...] | None = None
        while True:
            rows = reader.snapshot_rows(page(after, size))
            if rows:
                yield rows
            if len(rows) < size:
                return
            after = rows[-1][: 1 + len(keys)]

    def _inside(
        self, time: TimeColumn, interval: Interval, rows: Sequence[tuple[Any, ...]]
    ) -> list[tuple[datetime, tuple[Any, ...]]]:
        """Return the rows of the interval with their event times.

        Other rows belong to other windows and are ignored: a condition on texts may find a few of them.
        """
        timed = [(time.instant_inside(row[0], interval), row) for row in rows]
        inside = [(moment, row) for moment, row in timed if moment is not None]
        if time.kind is not TimeKind.TEXT and len(inside) != len(timed):
            raise DataError(
                f"{self._what}: the database returned rows outside of {interval}: "
                "is time_column a column of date-times?"
            )
        return inside

    def _batch(
        self, writer: RowWriter, width: int, inside: Sequence[tuple[datetime, tuple[Any, ...]]]
    ) -> pa.RecordBatch:
        import pyarrow as pa

        from airflow_pipeline_provider.envelope.part_writer import micros
        from airflow_pipeline_provider.envelope.schema import ENVELOPE, instants, text

        arrays = [
            text(writer.record_id(row[1:width]) for _, row in inside),
            instants(micros(moment) for moment, _ in inside),
            text([writer.name] * len(inside)),
            text(writer.body(row[width:]) for _, row in inside),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)
