"""Target `duckdb`: a table in a DuckDB file, the embedded default.

One process at a time may have the file open, so every operation opens it, does its work and closes it; a file that
another process has open is waited for, then it is a TransientError.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from airflow_pipeline_provider.config.options import TargetOptions
from airflow_pipeline_provider.config.policy import folder_problem
from airflow_pipeline_provider.connectors import registrations as sql_pipelines
from airflow_pipeline_provider.connectors.base import (
    CommitRow,
    Identity,
    LoadResult,
    Stage,
    Target,
    TargetCounts,
)
from airflow_pipeline_provider.connectors.duckdb.session import DuckDBFile, mapped
from airflow_pipeline_provider.connectors.load_protocol import (
    Dialect,
    Execute,
    ObjectName,
    Statements,
    WriteConflictError,
    check_shape,
    is_first_view,
    parse_name,
)
from airflow_pipeline_provider.connectors.probes import Answer, Probes, writable_path
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError, PipelineError

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

BUSY_SECONDS = 10.0  # how long a file that is open elsewhere is waited for
_DIALECT = Dialect(
    text="VARCHAR",
    instant="TIMESTAMP WITH TIME ZONE",
    body="VARCHAR",  # not JSON: text stays as it is, byte for byte
    integer="BIGINT",
    mark="?",
    read_instant="epoch_us({})",  # a datetime would need pytz
)
_GLOB = set("*?[]{}")

T = TypeVar("T")


class DuckDBOptions(TargetOptions):
    """`target: {type: duckdb, path: /data/warehouse.duckdb, table: main.flights}`"""

    type: Literal["duckdb"] = "duckdb"
    path: str = Field(description="The DuckDB file, an absolute path; it is created when it is missing.")
    table: str = Field(description="The table, with its schema where it is not main: raw.flights.")

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if not Path(value).is_absolute() or value.endswith("/") or "\x00" in value:
            raise ValueError(
                f"must be the absolute path of a file, such as /data/warehouse.duckdb, got {value!r}"
            )
        if problem := folder_problem("target_roots", value):
            raise ValueError(problem)
        return value

    @field_validator("table")
    @classmethod
    def _check_table(cls, value: str, info: ValidationInfo) -> str:
        """`x.y` may be a schema's table or a database's: DuckDB refuses a name that is both."""
        parts = [part.lower() for part in parse_name(value).parts]
        file = Path(info.data.get("path", "")).name.partition(".")[0].lower()
        databases = {"temp", "system", *({file} - {"main"})}  # a file called main is the database main_db
        if len(parts) == 2 and parts[0] in databases:
            raise ValueError(
                f"must have another schema than {parts[0]}, which is the name of a database here (DuckDB names "
                f"it after the file), got {value!r}"
            )
        return value


class DuckDBTarget(Target):
    Options: ClassVar[type[DuckDBOptions]] = DuckDBOptions
    can_keep_history = True

    def __init__(self, options: DuckDBOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        self._file = DuckDBFile(options.path)
        self._complete = False  # were all of our tables seen, and did nothing speak against it since?

    @cached_property
    def _statements(self) -> Statements:
        table = parse_name(self.options.table)
        return Statements(table, _DIALECT, keeps_history=self.identity.keeps_history)

    def probes(self) -> Probes:
        yield "file", lambda: writable_path(Path(self.options.path))
        yield from super().probes()
        yield "tables and rights", self._probe_rights

    def _probe_rights(self) -> Answer:
        if not Path(self.options.path).exists():
            return Answer("ok", f"{self.options.table} is created by the first load")

        def once() -> Answer:
            with self._open() as connection:
                execute = _executor(connection, self.options.path)
                if set(self._statements.columns) - _existing(execute, self._statements):
                    return Answer("ok", f"{self.options.table} is created by the first load")
                for table, columns in self._statements.columns.items():
                    check_shape(f"table {table}", columns, _described(execute, table))
                execute("BEGIN TRANSACTION", [])
                self._statements.try_rights(execute)
                execute("ROLLBACK", [])
                return Answer("ok", f"{self.options.table} exists and may be changed")

        return self._patiently(once)

    def prepare(self) -> None:
        if not self._complete:
            self._patiently(self._prepare)
            self._complete = True

    def _prepare(self) -> None:
        statements = self._statements
        with mapped(self.options.path):
            Path(self.options.path).parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            execute = _executor(connection, self.options.path)
            if len(statements.table.parts) > 1:
                schema = ObjectName(statements.table.parts[:-1])
                execute(f"CREATE SCHEMA IF NOT EXISTS {schema}", [])
            for statement in statements.create_tables():
                execute(statement, [])
            for table, columns in statements.columns.items():
                seen = _described(execute, table)
                if add := sql_pipelines.add_column(statements, seen, table):
                    execute(add, [])
                check_shape(f"table {table}", columns, seen)
            execute(statements.create_view(), [])
            place = statements.latest.parts[-2] if len(statements.latest.parts) > 1 else "main"
            views = execute(
                "SELECT sql FROM duckdb_views() WHERE lower(view_name) = lower(?) AND lower(schema_name) = lower(?)",
                [statements.latest.last, place],
            )
            if not views:
                raise FatalError(
                    f"{statements.latest} exists and is not the view that belongs to {statements.table}"
                )
            definition = views[0][0]
            if statements.orders_otherwise(execute, definition, self.identity) or is_first_view(definition):
                execute(statements.create_view(replace=True), [])

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        def once() -> LoadResult:
            if not Path(self.options.path).exists():
                self._complete = False
                raise FatalError(f"{self.options.path} does not exist: call prepare() before load()")
            with self._transaction() as (connection, execute):
                result = self._statements.replace_window(
                    execute, manifest, lambda: self._copy(connection, manifest, stage)
                )
                execute("ROLLBACK" if result.already else "COMMIT", [])
            return result

        return self._patiently(once)

    @contextmanager
    def _transaction(self) -> Iterator[tuple[Any, Execute]]:
        """The file open, our tables there, in a transaction that the block commits, or else is rolled back."""
        with self._open() as connection:
            execute = _executor(connection, self.options.path)
            self._require_tables(execute)
            execute("BEGIN TRANSACTION", [])
            try:
                yield connection, execute
            except BaseException:
                with suppress(PipelineError):  # what failed may have ended the transaction already
                    execute("ROLLBACK", [])
                raise

    def _copy(self, connection: Any, manifest: Manifest, stage: Stage) -> int:
        if not manifest.parts:
            return 0
        statements = self._statements
        urls = [stage.url(part.path) for part in manifest.parts]
        local = [url.removeprefix("file://") for url in urls if url.startswith("file:///")]
        stamps = statements.stamps(manifest)
        if len(local) == len(urls) and not any(_GLOB & set(path) for path in local):
            insert = statements.insert("read_parquet(?, hive_partitioning = false)")
            with mapped(self.options.path):
                return int(connection.execute(insert, [*stamps, local]).fetchall()[0][0])
        copied = 0
        for part in manifest.parts:
            with stage.open_read(part.path) as file:
                copied += self._copy_stream(connection, statements.insert('"staged_part"'), stamps, file)
        return copied

    def _copy_stream(self, connection: Any, insert: str, stamps: list[Any], file: Any) -> int:
        import pyarrow as pa

        from airflow_pipeline_provider.envelope.parts import iter_part
        from airflow_pipeline_provider.envelope.schema import ENVELOPE

        copied = 0
        for batch in iter_part(file):  # batch by batch, so that the stage's errors come through as they are
            with mapped(self.options.path):
                connection.register("staged_part", pa.Table.from_batches([batch], ENVELOPE))
                try:
                    copied += connection.execute(insert, stamps).fetchall()[0][0]
                finally:
                    connection.unregister("staged_part")
        return copied

    def count(self, interval: Interval) -> TargetCounts:
        def once(execute: Execute) -> TargetCounts:
            return self._statements.read_counts(execute, self.identity.pipeline_id, interval)

        return self._read(once, str(self._statements.table), TargetCounts(0, 0))

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:
        def once(execute: Execute) -> dict[int, TargetCounts]:
            return self._statements.read_counts_by_token(execute, self.identity.pipeline_id, interval)

        return self._read(once, str(self._statements.table), {})

    def count_newest(self, interval: Interval, token: int) -> int:
        def once(execute: Execute) -> int:
            return self._statements.read_newest(execute, self.identity.pipeline_id, interval, token)

        return self._read(once, str(self._statements.table), 0)

    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        def once(execute: Execute) -> list[CommitRow]:
            return self._statements.read_commits(execute, self.identity.pipeline_id, within)

        return self._read(once, str(self._statements.commits), [])

    def newest_token(self) -> int:
        def once(execute: Execute) -> int:
            return self._statements.read_newest_token(execute, self.identity.pipeline_id)

        return self._read(once, str(self._statements.commits), 0)

    # --- which pipelines load here

    def dataset(self) -> dict[str, Any]:
        return {
            **super().dataset(),
            "path": self.options.path,
            "table": ".".join(part.lower() for part in self._statements.table.parts),
        }

    def place(self) -> dict[str, Any]:
        return {"file": os.path.realpath(self.options.path)}

    def pipelines(self) -> sql_pipelines.Pipelines:
        def once(execute: Execute) -> sql_pipelines.Pipelines:
            fence = str(self._statements.fence)
            old = sql_pipelines.add_column(self._statements, _described(execute, fence), fence)
            return {} if old else sql_pipelines.read_pipelines(self._statements, execute)

        return self._read(once, str(self._statements.fence), {})

    def register(self, entry: dict[str, Any], check: sql_pipelines.Check) -> None:
        def once() -> None:
            with self._transaction() as (_, execute):
                sql_pipelines.register(self._statements, execute, self.identity.pipeline_id, entry, check)
                execute("COMMIT", [])

        self._patiently(once)

    def rename_pipeline(self, old: str) -> int:
        def once() -> int:
            with self._transaction() as (_, execute):
                rows = sql_pipelines.rename(self._statements, execute, old, self.identity.pipeline_id)
                execute("COMMIT", [])
            return rows

        return self._patiently(once)

    def _read(self, once: Callable[[Execute], T], table: str, nothing: T) -> T:
        def attempt() -> T:
            if not Path(self.options.path).exists():
                self._complete = False
                return nothing
            with self._open() as connection:
                execute = _executor(connection, self.options.path)
                known = self._complete or table in _existing(execute, self._statements)
                return once(execute) if known else nothing

        return self._patiently(attempt)

    def _require_tables(self, execute: Execute) -> None:
        if self._complete:
            return
        missing = set(self._statements.columns) - _existing(execute, self._statements)
        if missing:
            raise FatalError(
                f"{self.options.path} has no table {', '.join(sorted(missing))}: call prepare() before load()"
            )

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """A connection that has the file open; after an error nothing that was seen in it is believed any more."""
        try:
            with self._file.open() as connection:
                yield connection
        except BaseException:
            self._complete = False  # perhaps somebody dropped a table, or replaced the file
            raise

    def close(self) -> None:
        self._file.close()

    def _patiently(self, once: Callable[[], T]) -> T:
        """Try again while another process has the file open, or another thread loads; and once where the tables that
        were seen before may be gone."""
        deadline = time.monotonic() + BUSY_SECONDS
        pause = 0.02
        while True:
            assumed = self._complete
            try:
                return once()
            except FatalError:
                if not assumed:
                    raise
                continue
            except WriteConflictError:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 1.5, 0.5)


def _executor(connection: Any, path: str) -> Execute:
    def execute(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        with mapped(path):
            rows: list[tuple[Any, ...]] = connection.execute(sql, list(parameters)).fetchall()
            return rows

    return execute


def _described(execute: Execute, table: str) -> dict[str, str]:
    return {str(row[0]).upper(): row[1] for row in execute(f"DESCRIBE {table}", [])}


def _existing(execute: Execute, statements: Statements) -> set[str]:
    """Which of our tables there are; asked by name, since DuckDB would take a Python variable for a missing table."""
    found = execute(
        "SELECT lower(database_name), lower(schema_name), lower(table_name) FROM duckdb_tables()", []
    )
    names = (statements.table, statements.commits, statements.fence)
    return {str(name) for name in names if any(_is(name, row) for row in found)}


def _is(name: ObjectName, row: tuple[Any, ...]) -> bool:
    parts = [part.lower() for part in name.parts]
    return list(row[-len(parts) :]) == parts if len(parts) > 1 else list(row[1:]) == ["main", *parts]
