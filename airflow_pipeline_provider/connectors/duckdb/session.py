"""A DuckDB file, open for one operation at a time, and a mapping of DuckDB's errors.

An engine of its own takes many times as long to start as a file to open, so there is one, in memory, which attaches
the file for each operation and detaches it.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_pipeline_provider.connectors.load_protocol import WriteConflictError
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.exceptions import DataError, FatalError, PipelineError, TransientError

_ATTACHED = "SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> ?"
STREAM_MEMORY = "96MB"  # DuckDB caches what it reads of the file, up to its limit
_NO_PARQUET = ("magic bytes", "too small to be a Parquet", "Parquet reader")
_FATAL_IO = ("not a valid", "Cannot open", "Permission", "Is a directory", "Not a directory", "Read-only")


class DuckDBSession:
    """The open file as its default database; each statement is committed by itself outside of `transaction`."""

    def __init__(self, connection: Any, path: str) -> None:
        self.connection, self._path = connection, path

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows; for a statement that changes rows, one row with their number."""
        with mapped(self._path):
            rows: list[tuple[object, ...]] = self.connection.execute(statement, list(parameters)).fetchall()
            return rows

    def stream(
        self, statement: str, parameters: Sequence[object], rows: int, memory: str | None
    ) -> Generator[list[tuple[Any, ...]], None, None]:
        """Yield the rows of a query in portions; until its end the engine uses at most so much memory."""
        if memory is not None:
            self.execute(f"SET memory_limit = '{memory}'")
        try:
            with mapped(self._path):
                self.connection.execute(statement, list(parameters))
            while True:
                with mapped(self._path):
                    portion = self.connection.fetchmany(rows)
                if not portion:
                    return
                yield portion
        finally:
            if memory is not None:
                self.execute("RESET memory_limit")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction, and roll it back when the block raises."""
        self.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            with suppress(PipelineError):  # what failed may have ended the transaction already
                self.execute("ROLLBACK")
            raise

    @contextmanager
    def registered(self, name: str, table: object) -> Iterator[None]:
        """Make a pyarrow table readable under a name."""
        with mapped(self._path):
            self.connection.register(name, table)
        try:
            yield
        finally:
            self.connection.unregister(name)


class DuckDBFile:
    """The file at `path`, created by the first operation."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._engine: Any = None
        self._own = f"not {Path(path).stem}"  # the engine's database while no file is attached
        self._database: str | None = None  # the file's name in SQL
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def open(self) -> Iterator[DuckDBSession]:
        """Open and lock the file until the block ends."""
        with self._one_at_a_time:
            connection = self._engine or self._start_engine()
            known = self._database
            with mapped(self._path):
                connection.execute(f"ATTACH {_text(self._path)}{f' AS {known}' if known else ''}")
            try:
                with mapped(self._path):
                    if known is None:  # DuckDB names it after the file
                        known = _quoted(connection.execute(_ATTACHED, [self._own]).fetchone()[0])
                    connection.execute(f"USE {known}")
                self._database = known
                yield DuckDBSession(connection, self._path)
                with mapped(self._path):
                    connection.execute(f"USE {_quoted(self._own)}")
                    connection.execute(f"DETACH {known}")
            except BaseException:
                self._stop_engine()  # whatever state it is in: this closes the file
                raise

    def _start_engine(self) -> Any:
        duckdb = require("duckdb", "duckdb", "target duckdb")
        with mapped(self._path):
            config = {
                "python_enable_replacements": "false",  # no Python variable may pass for a dropped table
                "autoinstall_known_extensions": "false",
                "temp_directory": f"{self._path}.tmp",  # not in the process's working directory
            }
            self._engine = duckdb.connect(":memory:", config=config)
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
        """Stop the engine; the next operation starts another one."""
        with self._one_at_a_time:
            self._stop_engine()


class OneOpening:
    """The file, opened by the first operation of a block and closed at the block's end, or by an error."""

    def __init__(self, file: DuckDBFile) -> None:
        self._file = file
        self._stack = ExitStack()
        self._session: DuckDBSession | None = None

    @contextmanager
    def used(self) -> Iterator[DuckDBSession]:
        """Yield the session of an operation; after an error the next operation opens the file again."""
        if self._session is None:
            self._session = self._stack.enter_context(self._file.open())
        try:
            yield self._session
        except BaseException as error:
            self._session = None
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise

    def close(self) -> None:
        """Close the file if it is open."""
        self._session = None
        self._stack.close()


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def mapped(path: str) -> Iterator[None]:
    """Raise DuckDB's errors as those of this package."""
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
        if kind == "InvalidInputException" and any(w in text for w in _NO_PARQUET):
            raise DataError(f"a part in the stage is damaged ({text}); extract the window again") from error
        if kind in ("ConstraintException", "ConversionException", "InvalidInputException"):
            raise DataError(f"{path}: the rows do not fit the table: {text}") from error
        what = "; check target.path and its permissions" if kind == "IOException" else ""
        raise FatalError(f"{path}: {kind}: {text}{what}") from error
