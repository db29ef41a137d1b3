"""A session with Snowflake, in which every wait has a time limit."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_pipeline_provider.connectors.airflow_connections import bind_hook, get_connection
from airflow_pipeline_provider.connectors.deadlines import within
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.connectors.snowflake.errors import mapped
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.observability.log_generator import log_event

log = logging.getLogger(__name__)

CLOSE_SECONDS = 20.0
GRACE_SECONDS = 30.0  # the server's own limit ends first: its error has more detail
# of snowflake-connector-python, which by default retries a request without end; the connection's extra may set
# others.  A statement may take longer: the server answers "in progress" every 45 seconds.
_LIMITS = {"login_timeout": 60, "network_timeout": 300, "socket_timeout": 60}
# Without a limit of 0 each login asks the metadata services of three clouds for what only telemetry needs, for 0.2 s.
_DETECTION = "platform_detection_timeout_seconds"


def connect(conn_id: str, statement_seconds: float) -> SnowflakeSession:
    """Open a session; it waits for a statement a little longer than the server may take."""
    with mapped(f"connecting with {conn_id!r}"):
        seconds = statement_seconds + GRACE_SECONDS
        return SnowflakeSession(within(seconds, "connecting", lambda: _open(conn_id)), seconds)


class SnowflakeSession:
    """One connection; autocommit outside of `transaction`."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection, self._seconds, self.phase = connection, seconds, "connecting"
        within(seconds, "connecting", lambda: connection.autocommit(True))

    def close(self) -> None:
        """Close the connection; the server rolls back an open transaction."""
        try:
            with mapped("closing"):
                within(min(self._seconds, CLOSE_SECONDS), "closing", self._connection.close)
        except PipelineError as error:  # the server ends the session by itself
            log.debug("%s", error)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows; for a statement that changes rows, one row that begins with their number."""
        return self._run(statement, parameters)[0]

    def execute_dicts(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows by column name."""
        rows, names = self._run(statement, ())
        return [dict(zip(names, row, strict=True)) for row in rows]

    def copy(self, statement: str) -> int:
        """Run a COPY and return the number of rows; one that finds no file succeeds in Snowflake, without a count."""
        return sum(int(row.get("rows_loaded") or 0) for row in self.execute_dicts(statement))

    def stream(
        self, statement: str, parameters: Sequence[Any], rows: int
    ) -> Generator[list[tuple[Any, ...]], None, None]:
        """Yield the rows of a query in portions; the driver downloads the result in pieces."""
        doing = f"{self.phase} ({statement.split(' (')[0][:80]})"
        what = f"Snowflake, while {doing}"
        with mapped(doing):
            cursor = self._connection.cursor()
        try:
            with mapped(doing):
                within(self._seconds, what, lambda: cursor.execute(statement, list(parameters) or None))
                self._log(statement, cursor)
            while True:
                with mapped(doing):
                    portion = within(self._seconds, what, lambda: cursor.fetchmany(rows))
                if not portion:
                    return
                yield portion
        finally:
            with mapped(doing):
                cursor.close()

    def _run(self, statement: str, parameters: Sequence[Any]) -> tuple[list[tuple[Any, ...]], list[str]]:
        doing = f"{self.phase} ({statement.split(' (')[0][:80]})"

        def run() -> tuple[list[tuple[Any, ...]], list[str]]:
            with self._connection.cursor() as cursor:
                try:
                    cursor.execute(statement, list(parameters) or None)
                    return cursor.fetchall(), [column[0] for column in cursor.description]
                finally:
                    self._log(statement, cursor)

        with mapped(doing):
            return within(self._seconds, f"Snowflake, while {doing}", run)

    def _log(self, statement: str, cursor: Any) -> None:
        """Log the query id, by which the statement is found in Snowflake's query history."""
        words = " ".join(statement.split(" (")[0].split()[:6])
        fields = {
            "event": "snowflake.query",
            "phase": self.phase,
            "query_id": cursor.sfqid,
            "statement": words,
        }
        log_event(log, fields)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction, and roll it back when the block raises."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            try:
                self.execute("ROLLBACK")
            except PipelineError as error:  # closing the session rolls back as well
                log.debug("ROLLBACK: %s", error)
            raise


def _open(conn_id: str) -> Any:
    """Open a connection with the parameters of Airflow's hook, and time limits, for which it has no extras."""
    module = require("airflow.providers.snowflake.hooks.snowflake", "snowflake", "target snowflake")
    connection = get_connection(conn_id)
    params = bind_hook(module.SnowflakeHook(snowflake_conn_id=conn_id), connection)._get_conn_params
    limits = {name: int(connection.extra_dejson.get(name) or seconds) for name, seconds in _LIMITS.items()}
    detection = float(connection.extra_dejson.get(_DETECTION) or 0.0)
    connector = require("snowflake.connector", "snowflake", "target snowflake")
    found = params() if callable(params) else params  # a property in older hooks
    return connector.connect(**{**found, **limits, _DETECTION: detection})
