"""Load part files into a table of a SQLite file: target `sqlite`.

A load takes SQLite's lock for writing with BEGIN IMMEDIATE, so loads of one file run one after the other, and the
statements after the fence see what was committed before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_pipeline_provider.connectors import (
    Answer,
    LoadProtocol,
    ObjectName,
    SqlTarget,
    Stage,
    TargetLimits,
    TargetTables,
)
from airflow_pipeline_provider.core import Interval
from airflow_pipeline_provider.exceptions import FatalError
from sqlite_target.options import DIALECT, SqliteOptions
from sqlite_target.session import SqliteSession, opened

if TYPE_CHECKING:
    import pyarrow as pa  # only imported where rows are copied: DAG files are parsed often

    from airflow_pipeline_provider.envelope import Manifest

# The columns by which rows are replaced and counted, and by which `_LATEST` finds newer rows of a record.
INDEXES = {
    "_BY_TIME": ("PIPELINE_ID", "EVENT_TIME"),
    "_BY_RECORD": ("RECORD_ID", "PIPELINE_ID", "TOKEN", "EVENT_TIME"),
}


class SqliteTarget(SqlTarget[SqliteSession]):
    """A table in a SQLite file, which is opened for each operation and closed after it."""

    Options: ClassVar[type[SqliteOptions]] = SqliteOptions
    dialect = DIALECT
    limits = TargetLimits(max_body_bytes=900_000_000)  # SQLite limits a row to 1,000,000,000 bytes

    # --- the file

    @property
    def _file(self) -> Path:
        place = self.place()
        if place["dialect"] != "sqlite" or not place["database"]:
            raise FatalError(
                f"target.conn_id: connection {self.options.conn_id!r} names no SQLite file: give it the type "
                "sqlite, and the path of the file as its host"
            )
        return Path(str(place["file"]))

    @contextmanager
    def open_session(self, doing: str, interval: Interval | None = None) -> Iterator[SqliteSession]:
        file = self._file
        path = str(file) if file.exists() else ":memory:"  # reading creates no file: no file has no tables
        with opened(path, f"{file}, {doing} {interval or ''}".rstrip()) as session:
            yield session

    def prepare(self) -> None:
        try:
            self._file.touch()  # an empty file is an empty database
        except OSError as error:
            raise FatalError(f"{self._file}: {error.strerror}; check the path and its permissions") from None
        super().prepare()

    def describe_missing(self, session: SqliteSession, missing: Sequence[ObjectName]) -> Answer:  # noqa: ARG002
        place = self._file if self._file.exists() else self._file.parent
        if not os.access(place, os.W_OK):
            raise FatalError(f"{place} may not be written: create it, or change the path or its permissions")
        return Answer("ok", f"{self.options.table} is created by the first load")

    # --- tables

    def missing_tables(self, session: SqliteSession, names: Sequence[ObjectName]) -> list[ObjectName]:
        found = session.execute("SELECT lower(name) FROM sqlite_master WHERE type = 'table'")
        return [name for name in names if (name.last.lower(),) not in found]

    def column_types(self, session: SqliteSession, table: ObjectName) -> dict[str, str]:
        return dict(session.execute("SELECT upper(name), type FROM pragma_table_info(?)", [table.last]))

    def view_definition(self, session: SqliteSession, view: ObjectName) -> str | None:
        found = session.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'view' AND lower(name) = lower(?)", [view.last]
        )
        return found[0][0] if found else None

    def create_table(self, session: SqliteSession, tables: TargetTables, table: ObjectName) -> None:
        with session.transaction():
            super().create_table(session, tables, table)
            if table == tables.data:
                for suffix, columns in INDEXES.items():
                    on = f"{table} ({tables.listed(columns)})"
                    session.execute(f"CREATE INDEX IF NOT EXISTS {table.sibling(suffix)} ON {on}")
            session.execute("COMMIT")

    def create_view(self, session: SqliteSession, tables: TargetTables, *, replace: bool) -> None:
        with session.transaction():
            if replace:
                session.execute(f"DROP VIEW IF EXISTS {tables.latest}")
            super().create_view(session, tables, replace=False)
            session.execute("COMMIT")

    # --- rows

    def prepare_copy(
        self, session: SqliteSession, protocol: LoadProtocol, manifest: Manifest, stage: Stage
    ) -> Callable[[], int]:
        """Return a function that streams the parts: the rows of one batch at a time are in memory."""
        insert = protocol.tables.insert(
            '(SELECT ? AS "RECORD_ID", ? AS "EVENT_TIME", ? AS "SOURCE_NAME", ? AS "BODY")'
        )
        stamps = protocol.stamps(manifest)

        def copy() -> int:
            from airflow_pipeline_provider.envelope import iter_parts

            return sum(
                session.execute_many(insert, ((*stamps, *row) for row in _rows(batch)))
                for batch in iter_parts(manifest.parts, stage.open_read)
            )

        return copy

    def stream(
        self, session: SqliteSession, statement: str, parameters: Sequence[object], *, content: bool
    ) -> Generator[Sequence[tuple[Any, ...]], None, None]:
        return session.stream(statement, parameters, 100 if content else 10_000)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch in the order of the envelope, with times as the dialect binds them."""
    import pyarrow as pa
    from pyarrow import compute

    ids, times, sources, bodies = batch.columns
    texts = compute.strftime(times.cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%SZ")
    return zip(ids.to_pylist(), texts.to_pylist(), sources.to_pylist(), bodies.to_pylist(), strict=True)
