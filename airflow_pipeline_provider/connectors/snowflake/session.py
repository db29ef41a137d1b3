"""A session with Snowflake: no wait without an end, errors by what to do about them, transactions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_pipeline_provider.connectors.deadlines import within
from airflow_pipeline_provider.connectors.registry import require
from airflow_pipeline_provider.connectors.snowflake.errors import mapped
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.observability.log_generator import log_event

log = logging.getLogger(__name__)

CLOSE_SECONDS = 20.0
GRACE_SECONDS = 30.0  # the server is asked to give up first: its error says more
# snowflake-connector-python's, which by default tries a request again without end; the connection's extra may say
# otherwise.  A statement that takes longer is no silence: the server answers "in progress" every 45 seconds.
_NETWORK = {"login_timeout": 60, "network_timeout": 300, "socket_timeout": 60}


def connect(conn_id: str, statement_seconds: float) -> Session:
    """By Airflow's hook; every statement is waited for a little longer than the server may take for it."""
    with mapped(f"connecting with {conn_id!r}"):
        seconds = statement_seconds + GRACE_SECONDS
        return Session(within(seconds, "connecting", _hook(conn_id).get_conn), seconds)


class Session:
    """One connection; autocommit outside of `transaction`."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection, self._seconds, self.phase = connection, seconds, "connecting"
        within(seconds, "connecting", lambda: connection.autocommit(True))

    def close(self) -> None:
        """Rolls an open transaction back."""
        try:
            with mapped("closing"):
                within(min(self._seconds, CLOSE_SECONDS), "closing", self._connection.close)
        except PipelineError as error:  # the server ends the session by itself
            log.debug("%s", error)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._run(statement, parameters)[0]

    def execute_dicts(self, statement: str) -> list[dict[str, Any]]:
        rows, names = self._run(statement, ())
        return [dict(zip(names, row, strict=True)) for row in rows]

    def copy(self, statement: str) -> int:
        """Rows that a COPY loaded; a COPY that found no file has no such column, and is a success to Snowflake."""
        return sum(int(row.get("rows_loaded") or 0) for row in self.execute_dicts(statement))

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
        """BEGIN, and ROLLBACK when the block raises; the block commits."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            try:
                self.execute("ROLLBACK")
            except PipelineError as error:  # closing the session rolls back as well
                log.debug("ROLLBACK: %s", error)
            raise


def _hook(conn_id: str) -> Any:
    module = require("airflow.providers.snowflake.hooks.snowflake", "snowflake", "target snowflake")

    from airflow_pipeline_provider.connectors.airflow_connections import get_connection

    class Hook(module.SnowflakeHook):  # type: ignore[misc, name-defined]
        """Finds connections where this package finds them: also on the command line."""

        @classmethod
        def get_connection(cls, conn_id: str) -> Any:
            return get_connection(conn_id)

        def get_conn(self) -> Any:
            """With time-outs, for which the hook has no extras."""
            from snowflake.connector import connect

            params = self._get_conn_params  # a property in older versions of the hook
            extra = get_connection(conn_id).extra_dejson
            network = {name: int(extra.get(name) or seconds) for name, seconds in _NETWORK.items()}
            return connect(**{**(params() if callable(params) else params), **network})

    return Hook(snowflake_conn_id=conn_id)
