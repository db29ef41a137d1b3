"""Target `duckdb`: a table in a DuckDB file, the embedded default.

One process at a time may have the file open, so every operation opens it, does its work and closes it; a file that
another process has open is waited for, then it is a TransientError.  An engine of its own takes many times as long to
start as a file to open, so a target keeps one, in memory, which attaches the file for each operation and detaches it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from airflow_pipeline_provider.config.options import TargetOptions
from airflow_pipeline_provider.connectors.base import (
    CommitRow,
    Identity,
    LoadResult,
    Stage,
    Target,
    TargetCounts,
)
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.connectors.targets.sql_text import (
    Dialect,
    Execute,
    ObjectName,
    Statements,
    WriteConflictError,
    check_shape,
    parse_name,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError

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
_ATTACHED = "SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> ?"

T = TypeVar("T")

_FATAL_IO = ("not a valid", "Cannot open", "Permission", "Is a directory", "Not a directory", "Read-only")


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
        return value

    @field_validator("table")
    @classmethod
    def _check_table(cls, value: str) -> str:
        parse_name(value)
        return value


class DuckDBTarget(Target):
    Options: ClassVar[type[DuckDBOptions]] = DuckDBOptions

    def __init__(self, options: DuckDBOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        self._engine: Any = None
        self._own = f"not {Path(options.path).stem}"  # the engine's database while no file is attached
        self._database: str | None = None  # the file's name in SQL
        self._complete = False  # were all of our tables seen, and did nothing speak against it since?
        self._one_at_a_time = threading.Lock()

    @cached_property
    def _statements(self) -> Statements:
        return Statements(parse_name(self.options.table), _DIALECT)

    def prepare(self) -> None:
        if not self._complete:
            self._patiently(self._prepare)
            self._complete = True

    def _prepare(self) -> None:
        statements = self._statements
        with _mapped(self.options.path):
            Path(self.options.path).parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            execute = _executor(connection, self.options.path)
            if len(statements.table.parts) > 1:
                schema = ObjectName(statements.table.parts[:-1])
                execute(f"CREATE SCHEMA IF NOT EXISTS {schema}", [])
            for statement in statements.create_tables():
                execute(statement, [])
            for table, columns in statements.columns.items():
                seen = {str(row[0]).upper(): row[1] for row in execute(f"DESCRIBE {table}", [])}
                check_shape(f"table {table}", columns, seen)
            execute(statements.create_view(), [])
            if not execute(
                "SELECT 1 FROM duckdb_views() WHERE lower(view_name) = lower(?)", [statements.latest.last]
            ):
                raise FatalError(
                    f"{statements.latest} exists and is not the view that belongs to {statements.table}"
                )

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        def once() -> LoadResult:
            if not Path(self.options.path).exists():
                self._complete = False
                raise FatalError(f"{self.options.path} does not exist: call prepare() before load()")
            with self._open() as connection:
                execute = _executor(connection, self.options.path)
                self._require_tables(execute)
                execute("BEGIN TRANSACTION", [])
                try:
                    result = self._statements.replace_window(
                        execute, manifest, lambda: self._copy(connection, manifest, stage)
                    )
                    execute("ROLLBACK" if result.already else "COMMIT", [])
                except BaseException:
                    with suppress(PipelineError):  # what failed may have ended the transaction already
                        execute("ROLLBACK", [])
                    raise
                return result

        return self._patiently(once)

    def _copy(self, connection: Any, manifest: Manifest, stage: Stage) -> int:
        if not manifest.parts:
            return 0
        statements = self._statements
        urls = [stage.url(part.path) for part in manifest.parts]
        local = [url.removeprefix("file://") for url in urls if url.startswith("file:///")]
        stamps = statements.stamps(manifest)
        if len(local) == len(urls) and not any(_GLOB & set(path) for path in local):
            insert = statements.insert("read_parquet(?, hive_partitioning = false)")
            with _mapped(self.options.path):
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
            with _mapped(self.options.path):
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

    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        def once(execute: Execute) -> list[CommitRow]:
            return self._statements.read_commits(execute, self.identity.pipeline_id, within)

        return self._read(once, str(self._statements.commits), [])

    def newest_token(self) -> int:
        def once(execute: Execute) -> int:
            return self._statements.read_newest_token(execute, self.identity.pipeline_id)

        return self._read(once, str(self._statements.commits), 0)

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
        """A connection that has the file open, as its default database, and its lock; to the end of the block."""
        with self._one_at_a_time:
            connection = self._engine or self._start_engine()
            known = self._database
            with _mapped(self.options.path):
                connection.execute(f"ATTACH {_text(self.options.path)}{f' AS {known}' if known else ''}")
            try:
                with _mapped(self.options.path):
                    if known is None:  # DuckDB names it after the file
                        known = _quoted(connection.execute(_ATTACHED, [self._own]).fetchone()[0])
                    connection.execute(f"USE {known}")
                self._database = known
                yield connection
                with _mapped(self.options.path):
                    connection.execute(f"USE {_quoted(self._own)}")
                    connection.execute(f"DETACH {known}")
            except BaseException:
                self._stop_engine()  # whatever state it is in: this closes the file
                self._complete = False  # perhaps somebody dropped a table, or replaced the file
                raise

    def _start_engine(self) -> Any:
        duckdb = require("duckdb", "duckdb", "target duckdb")
        with _mapped(self.options.path):
            # no variable of this process may pass for a table that somebody dropped
            self._engine = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
            # its first database is called memory, as a file may be: another one takes its place
            self._engine.execute(f"ATTACH ':memory:' AS {_quoted(self._own)}")
            self._engine.execute(f"USE {_quoted(self._own)}")
            self._engine.execute("DETACH memory")
        return self._engine

    def _stop_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def close(self) -> None:
        with self._one_at_a_time:
            self._stop_engine()

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


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _executor(connection: Any, path: str) -> Execute:
    def execute(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        with _mapped(path):
            rows: list[tuple[Any, ...]] = connection.execute(sql, list(parameters)).fetchall()
            return rows

    return execute


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


@contextmanager
def _mapped(path: str) -> Iterator[None]:
    """DuckDB's errors by what to do about them."""
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        raise FatalError(
            f"{path}: {error.strerror or error}; check target.path and its permissions"
        ) from error
    except Exception as error:
        kind = type(error).__name__
        text = str(error).strip().splitlines()[0] if str(error).strip() else kind
        if not type(error).__module__.lstrip("_").startswith("duckdb"):
            raise
        if (kind == "IOException" and "lock" in text) or "already attached" in text:
            raise WriteConflictError(
                f"{path} is open in another process ({text}); try again when it is closed"
            ) from error
        if kind in ("TransactionException", "ConnectionException", "ResourceInUseException"):
            raise WriteConflictError(f"{path}: another connection was faster ({text}); try again") from error
        if kind == "IOException" and "No files found" in text:
            raise DataError(f"a part is gone from the stage ({text}); extract the window again") from error
        if kind == "IOException" and not any(w in text for w in _FATAL_IO):
            raise TransientError(f"{path}: {text}; if it stays so, check target.path and its disk") from error
        if kind in ("ConstraintException", "ConversionException", "InvalidInputException"):
            raise DataError(f"{path}: the rows do not fit the table: {text}") from error
        what = "; check target.path and its permissions" if kind == "IOException" else ""
        raise FatalError(f"{path}: {kind}: {text}{what}") from error
