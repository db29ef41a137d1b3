"""A SQLite file, open for one operation, and a mapping of SQLite's errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError

BUSY_SECONDS = 10.0  # how long SQLite waits for a file that another connection changes
_TEMPORARY = ("locked", "disk I/O error", "disk is full")


class SqliteSession:
    """An open file; outside of `transaction` each statement is committed by itself."""

    def __init__(self, connection: sqlite3.Connection, doing: str) -> None:
        self._connection, self._doing = connection, doing

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with mapped(self._doing):
            cursor = self._connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]

    def stream(
        self, statement: str, parameters: Sequence[Any], rows: int
    ) -> Generator[list[tuple[Any, ...]], None, None]:
        """Yield the rows of a query in portions."""
        with mapped(self._doing):
            cursor = self._connection.execute(statement, parameters)
            while portion := cursor.fetchmany(rows):
                yield portion

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run a statement that inserts for each row, and return the number of rows."""
        with mapped(self._doing):
            return self._connection.executemany(statement, rows).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Take the file's lock for writing first: what others committed before is visible from then on."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise


@contextmanager
def opened(path: str, doing: str) -> Iterator[SqliteSession]:
    """Open the file; closing it rolls back what is not committed."""
    with mapped(doing):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)  # BEGIN is ours
    try:
        yield SqliteSession(connection, doing)
    finally:
        connection.close()


@contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Raise SQLite's errors by what to do about them; `doing` is the beginning of each message."""
    try:
        yield
    except (sqlite3.DataError, sqlite3.IntegrityError) as error:
        raise DataError(f"{doing}: the rows do not fit the table: {error}") from error
    except sqlite3.Error as error:
        if any(text in str(error) for text in _TEMPORARY):
            raise TransientError(f"{doing}: {error}; try again, or free the file or its disk") from error
        raise FatalError(f"{doing}: {error}; check the file and its permissions") from error
