"""Target `duckdb`: a table in a DuckDB file, the embedded default.

Only one process at a time may have the file open, so every operation opens it, does its work and closes it.  A file
that another process has open is tried again, then it is a TransientError.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from airflow_pipeline_provider.connectors.base import Identity, LoadResult, Stage
from airflow_pipeline_provider.connectors.datasets import DatasetName, with_parents
from airflow_pipeline_provider.connectors.duckdb.options import DIALECT, DuckDBOptions
from airflow_pipeline_provider.connectors.duckdb.session import (
    STREAM_MEMORY,
    DuckDBFile,
    DuckDBSession,
    OneOpening,
    mapped,
)
from airflow_pipeline_provider.connectors.duckdb.typed import DuckDBTyped, create_view, find_views
from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol, retry_conflicts
from airflow_pipeline_provider.connectors.probes import Answer, Probes, writable_path
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_hooks import PORTION_ROWS
from airflow_pipeline_provider.connectors.sql_tables import TargetTables, is_first_view
from airflow_pipeline_provider.connectors.sql_target import SqlTarget
from airflow_pipeline_provider.connectors.typed_target import FoundView
from airflow_pipeline_provider.connectors.typed_views import ViewQuery
from airflow_pipeline_provider.core.comparison import Row
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.duckdb.scratch import DuckDBScratch
    from airflow_pipeline_provider.envelope.manifest import Manifest

BUSY_SECONDS = 10.0  # how long a file that is open elsewhere is tried again
_GLOB = set("*?[]{}")

T = TypeVar("T")


class DuckDBTarget(SqlTarget[DuckDBSession]):
    """A table in a DuckDB file."""

    Options: ClassVar[type[DuckDBOptions]] = DuckDBOptions
    dialect = DIALECT
    ignores_case = True

    def __init__(self, options: DuckDBOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        self._file = DuckDBFile(options.path)
        self._complete = False  # all tables were seen, and no error spoke against it since
        self._shared = threading.local()

    def dataset(self) -> dict[str, object]:
        table = ".".join(part.lower() for part in self.tables.data.parts)
        return {**super().dataset(), "path": self.options.path, "table": table}

    def place(self) -> dict[str, object]:
        return {"file": os.path.realpath(self.options.path)}

    def lineage_dataset(self) -> DatasetName:
        return DatasetName(f"duckdb:{self.options.path}", with_parents(self.options.table, ["main"], 2))

    def scratch(self) -> DuckDBScratch:
        from airflow_pipeline_provider.connectors.duckdb.scratch import DuckDBScratch

        return DuckDBScratch(self)

    def probes(self) -> Probes:
        yield "file", lambda: writable_path(Path(self.options.path))
        yield from super().probes()

    def _probe_rights(self) -> Answer:
        if not Path(self.options.path).exists():
            return self.describe_missing(None, ())
        return super()._probe_rights()

    def describe_missing(self, session: DuckDBSession | None, missing: Sequence[ObjectName]) -> Answer:  # noqa: ARG002
        return Answer("ok", f"{self.options.table} is created by the first load")

    def prepare(self) -> None:
        if not self._complete:
            with mapped(self.options.path):
                Path(self.options.path).parent.mkdir(parents=True, exist_ok=True)
            super().prepare()
            self._complete = True

    def create_schema(self, session: DuckDBSession, tables: TargetTables) -> None:
        if tables.data.schema:
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {tables.data.schema}")

    def is_outdated_view(self, definition: str) -> bool:
        return is_first_view(definition)

    def read(
        self,
        doing: str,
        question: Callable[[DuckDBSession, LoadProtocol], T],
        nothing: T,
        table: Callable[[TargetTables], ObjectName],
        interval: Interval | None = None,
    ) -> T:
        if not Path(self.options.path).exists():  # opening it would create it
            self._complete = False
            return nothing
        return super().read(doing, question, nothing, table, interval)

    @contextmanager
    def records(self, interval: Interval, *, content: bool = False) -> Iterator[Iterator[Sequence[Row]]]:
        if not Path(self.options.path).exists():  # opening it would create it
            yield iter(())
            return
        with super().records(interval, content=content) as portions:
            yield portions

    def stream(
        self, session: DuckDBSession, statement: str, parameters: Sequence[object], *, content: bool
    ) -> Generator[Sequence[tuple[object, ...]], None, None]:
        memory = None if content else STREAM_MEMORY  # 2,048 documents at a time may need more than any limit
        return session.stream(statement, parameters, PORTION_ROWS, memory)

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        if not Path(self.options.path).exists():
            self._complete = False
            raise FatalError(f"{self.options.path} does not exist: call prepare() before load()")
        return super().load(manifest, stage)

    # --- rows

    def prepare_copy(
        self, session: DuckDBSession, protocol: LoadProtocol, manifest: Manifest, stage: Stage
    ) -> Callable[[], int]:
        return lambda: self._copy(session, protocol, manifest, stage)

    def _copy(self, session: DuckDBSession, protocol: LoadProtocol, manifest: Manifest, stage: Stage) -> int:
        if not manifest.parts:
            return 0
        stamps = protocol.stamps(manifest)
        urls = [stage.url(part.path) for part in manifest.parts]
        local = [url.removeprefix("file://") for url in urls if url.startswith("file:///")]
        if len(local) == len(urls) and not any(_GLOB & set(path) for path in local):
            insert = self.insert(session, protocol, "read_parquet(?, hive_partitioning = false)")
            return int(session.execute(insert, [*stamps, local])[0][0])
        insert = self.insert(session, protocol, '"staged_part"')
        return _copy_stream(session, insert, stamps, manifest, stage)

    # --- the file

    def missing_tables(self, session: DuckDBSession, names: Sequence[ObjectName]) -> list[ObjectName]:
        if self._complete and all(name in self.tables.names for name in names):
            return []
        found = session.execute(
            "SELECT lower(database_name), lower(schema_name), lower(table_name) FROM duckdb_tables()"
        )
        return [name for name in names if not any(_is(name, row) for row in found)]

    def column_types(self, session: DuckDBSession, table: ObjectName) -> dict[str, str]:
        return {str(row[0]).upper(): row[1] for row in session.execute(f"DESCRIBE {table}")}

    def view_definition(self, session: DuckDBSession, view: ObjectName) -> str | None:
        schema = view.parts[-2] if len(view.parts) > 1 else "main"
        found = session.execute(
            "SELECT sql FROM duckdb_views() WHERE lower(view_name) = lower(?) AND lower(schema_name) = lower(?)",
            [view.last, schema],
        )
        return str(found[0][0]) if found else None

    # --- typed views

    def typed_sql(self, session: DuckDBSession | None) -> DuckDBTyped:  # noqa: ARG002
        return DuckDBTyped()

    def find_views(self, session: DuckDBSession, tables: TargetTables) -> list[FoundView]:
        return find_views(session, tables)

    def view_columns(self, session: DuckDBSession, view: ObjectName) -> tuple[str, ...]:
        schema = view.parts[-2] if len(view.parts) > 1 else "main"
        found = session.execute(  # DESCRIBE would write a name as the table does
            "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() "
            "AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) ORDER BY column_index",
            [schema, view.last],
        )
        return tuple(str(row[0]) for row in found)

    def view_statements(
        self,
        session: DuckDBSession | None,  # noqa: ARG002
        view: ViewQuery,
        comment: str,
        *,
        exists: bool,  # noqa: ARG002
    ) -> list[str]:
        return create_view(view, comment)

    @contextmanager
    def session(self) -> Iterator[None]:
        if getattr(self._shared, "opening", None) is not None:  # inside of another one
            yield
            return
        try:
            with closing(OneOpening(self._file)) as self._shared.opening:
                yield
        finally:
            self._shared.opening = None

    @contextmanager
    def open_session(self, doing: str, interval: Interval | None = None) -> Iterator[DuckDBSession]:  # noqa: ARG002
        """Open the file; after an error the tables are looked up again."""
        opening: OneOpening | None = getattr(self._shared, "opening", None)
        try:
            with self._file.open() if opening is None else opening.used() as session:
                yield session
        except BaseException:
            self._complete = False  # a table may have been dropped, or the file replaced
            raise

    def retry(self, attempt: Callable[[], T]) -> T:
        """Try again while another process has the file open or another thread loads.

        An error is also tried again, once, where the tables that were seen before may be gone.
        """

        def with_known_tables() -> T:
            assumed = self._complete
            try:
                return attempt()
            except FatalError:
                if not assumed:
                    raise
            return attempt()

        return retry_conflicts(with_known_tables, BUSY_SECONDS)

    def close(self) -> None:
        self._file.close()


def _copy_stream(
    session: DuckDBSession, insert: str, stamps: list[object], manifest: Manifest, stage: Stage
) -> int:
    import pyarrow as pa

    from airflow_pipeline_provider.envelope.parts import iter_parts
    from airflow_pipeline_provider.envelope.schema import ENVELOPE

    copied = 0
    # batch by batch, so that the stage's errors are not mapped as DuckDB's
    for batch in iter_parts(manifest.parts, stage.open_read):
        with session.registered("staged_part", pa.Table.from_batches([batch], ENVELOPE)):
            copied += session.execute(insert, stamps)[0][0]
    return copied


def _is(name: ObjectName, row: tuple[object, ...]) -> bool:
    parts = [part.lower() for part in name.parts]
    return list(row[-len(parts) :]) == parts if len(parts) > 1 else list(row[1:]) == ["main", *parts]
