"""One connection to PostgreSQL, through Airflow's hook and with either driver (psycopg 3, psycopg2)."""

from __future__ import annotations

import copy
import io
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.databases import hook_of, plain_rows
from airflow_pipeline_provider.connectors.deadlines import Watch
from airflow_pipeline_provider.connectors.postgres import sql
from airflow_pipeline_provider.connectors.postgres.network import GRACE_SECONDS
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError, TransientError

log = logging.getLogger(__name__)

_READ_BYTES = 2**20


def hook(conn_id: str) -> Any:
    """Return Airflow's hook of the connection, with UTF-8 as the client encoding."""
    with database_errors(f"target.conn_id: connection {conn_id!r}"):
        connection = copy.deepcopy(get_connection(conn_id))
        if connection.conn_type not in ("postgres", "postgresql"):
            raise ConfigError(
                f"target.conn_id: expected a connection to PostgreSQL (type postgres), got {conn_id!r} of type "
                f"{connection.conn_type!r}"
            )
        connection.extra = json.dumps({**connection.extra_dejson, "client_encoding": "UTF8"}, default=str)
        return hook_of(connection)


class PostgresSession:
    """A connection for one transaction; close it after an error, and the server rolls back.

    `doing` is the beginning of each error's message.
    """

    def __init__(self, hook: Any, doing: str, statement_seconds: int) -> None:
        self._doing, self._seconds = doing, statement_seconds
        with database_errors(f"{doing}, connecting"):
            self._connection = plain_rows(hook.get_conn())
            self._connection.autocommit = True  # BEGIN is ours, with the isolation that we need
        self._watch = Watch(self._connection, statement_seconds + GRACE_SECONDS)

    def close(self) -> None:
        """Close the connection; the server rolls back what is not committed."""
        try:
            with database_errors(f"{self._doing}, closing"):
                self._connection.close()
        except PipelineError as error:  # the server ends the session by itself
            log.debug("%s", error)

    def begin(self) -> None:
        """Begin a transaction, with its settings."""
        self.execute(sql.BEGIN)
        self.execute(*sql.apply_settings(sql.settings(self._seconds)))
        self.execute(sql.DURABLE_COMMIT)
        self.execute(sql.NOTICE_LOST_CLIENT)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Use the transaction that is open since `begin`; closing the session rolls it back."""
        yield

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows; for a statement that returns none, one row with the number of rows it changed."""
        with self._answered(), self._connection.cursor() as cursor:
            cursor.execute(statement, list(parameters) or None)
            return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]

    def allow_long_statements(self) -> None:
        """Let the statements that follow in this transaction take as long as a COPY."""
        self.execute(*sql.apply_settings({"statement_timeout": f"{sql.COPY_HOURS}h"}))

    def copy(self, statement: str, chunks: Iterator[bytes]) -> int:
        """Run COPY FROM STDIN and return the number of rows; an error of `chunks` is raised unchanged."""
        self.allow_long_statements()
        feed = _Feed(chunks, self._watch)
        try:
            with self._answered(), self._connection.cursor() as cursor:
                if hasattr(cursor, "copy_expert"):  # psycopg2
                    cursor.copy_expert(statement, feed, _READ_BYTES)
                else:
                    with cursor.copy(statement) as into:
                        while chunk := feed.read(_READ_BYTES):
                            into.write(chunk)
                copied = int(cursor.rowcount)
        except BaseException:
            if feed.error is not None:
                raise feed.error from None
            raise
        self.execute(*sql.apply_settings(sql.settings(self._seconds)))
        return copied

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Raise the driver's errors as those of this package; a missing answer is a TransientError."""
        self._watch.start()
        try:
            with database_errors(self._doing):
                yield
        except PipelineError:
            if self._watch.fired:
                raise TransientError(
                    f"{self._doing}: PostgreSQL did not answer within {self._watch.seconds:.0f} s, so the "
                    "connection was cut; if it happens again, check the network, or raise target.statement_timeout"
                ) from None
            raise
        finally:
            self._watch.stop()


class _Feed(io.RawIOBase):
    """The chunks as a file that psycopg2 reads.

    The watch is stopped while the next chunk is made, which is the stage's time.  `error` keeps what the chunks
    raised, since psycopg2 replaces it with an error of its own.
    """

    def __init__(self, chunks: Iterator[bytes], watch: Watch) -> None:
        self.error: BaseException | None = None
        self._chunks, self._watch = chunks, watch

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002  (chunks are small enough: COPY's CHUNK_BYTES)
        self._watch.stop()
        try:
            return next(self._chunks, b"")
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._watch.start()
