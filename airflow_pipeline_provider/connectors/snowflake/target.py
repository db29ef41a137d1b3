"""Target `snowflake`, through Airflow's SnowflakeHook.

A load copies the parts into a table of its session first (from a named external stage, or uploaded by PUT), and
only then takes the fence row: the part under lock is a DELETE and an INSERT from that table.  Credentials are never
in SQL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.base import Identity, LoadResult, Stage, TargetLimits
from airflow_pipeline_provider.connectors.datasets import place_of
from airflow_pipeline_provider.connectors.encryption import flag
from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol, is_loaded, retry_conflicts
from airflow_pipeline_provider.connectors.probes import Answer, Probes, clock_answer
from airflow_pipeline_provider.connectors.snowflake import sql
from airflow_pipeline_provider.connectors.snowflake.options import SnowflakeOptions
from airflow_pipeline_provider.connectors.snowflake.session import SnowflakeSession, connect
from airflow_pipeline_provider.connectors.snowflake.staging import copy_parts, folder_in_stage
from airflow_pipeline_provider.connectors.snowflake.typed import SnowflakeTyped, create_view
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_hooks import LARGE_PORTION_ROWS, PORTION_ROWS
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.sql_target import SqlTarget
from airflow_pipeline_provider.connectors.typed_target import FoundView
from airflow_pipeline_provider.connectors.typed_views import ViewQuery
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError, TransientError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.snowflake.scratch import SnowflakeScratch
    from airflow_pipeline_provider.envelope.manifest import Manifest

log = logging.getLogger(__name__)

T = TypeVar("T")
CONFLICT_SECONDS = 10.0  # how long a transaction that lost against another one is tried again


class SnowflakeTarget(SqlTarget[SnowflakeSession]):
    """A table in Snowflake."""

    Options: ClassVar[type[SnowflakeOptions]] = SnowflakeOptions
    dialect = sql.DIALECT
    # BODY goes through PARSE_JSON, which refuses a repeated key unless an option keeps the last one
    limits = TargetLimits(
        max_body_bytes=sql.MAX_BODY_BYTES, needs_json=True, unique_keys=True, max_depth=sql.MAX_DEPTH
    )
    _open: SnowflakeSession | None = None

    def __init__(self, options: SnowflakeOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        self.limits = self.limits._replace(max_body_bytes=options.max_document_size)

    def place(self) -> dict[str, Any]:
        """Return the place of the connection, without the parts that the table's name holds."""
        place = place_of(self.options.conn_id)
        parts = len(self.tables.data.parts)
        return {
            key: value
            for key, value in place.items()
            if not (key == "schema" and parts > 1) and not (key == "database" and parts > 2)
        }

    def unsafe_settings(self) -> list[str]:
        conn_id = self.options.conn_id
        if not flag(conn_id, get_connection(conn_id).extra_dejson, "insecure_mode", False):
            return []
        return [
            f"connection {conn_id!r} has insecure_mode: true, so revoked certificates are accepted: remove it from "
            "the extra"
        ]

    def scratch(self) -> SnowflakeScratch:
        from airflow_pipeline_provider.connectors.snowflake.scratch import SnowflakeScratch

        return SnowflakeScratch(self)

    def probes(self) -> Probes:
        yield from super().probes()
        yield "clock", self._probe_clock

    def _probe_clock(self) -> Answer:
        with self.open_session("check") as session:
            [(now,)] = session.execute("SELECT CURRENT_TIMESTAMP")
        return clock_answer(now)

    def describe_missing(self, session: SnowflakeSession, missing: Sequence[ObjectName]) -> Answer:  # noqa: ARG002
        return Answer(
            "unknown",
            f"{', '.join(map(str, missing))} are created by the first load; a test of the right to create "
            "them would create them: the role needs CREATE TABLE and CREATE VIEW on the schema",
        )

    def prepare(self) -> None:
        retry_conflicts(super().prepare, CONFLICT_SECONDS)  # two that create at once

    def check_stage(self, stage: Stage, sample: str | None) -> None:
        """Check that the external stage's URL holds our stage, and that the role can list a file of it there."""
        if not self.options.external_stage:
            return
        external = self.dialect.parse_name(self.options.external_stage)
        with self.open_session("doctor") as session:
            folder = folder_in_stage(session, self.options, external, stage)
            if sample is None or session.execute(sql.list_file(external, folder + sample)):
                return
        raise FatalError(
            f"target.external_stage: {'.'.join(external.parts)} shows no file {folder}{sample}, and "
            f"{stage.url(sample)} is there: correct external_stage_path or the stage's URL"
        )

    # --- the load

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        result = super().load(manifest, stage)
        if manifest.parts:
            self.close()  # ends the session, and with it its table of copied rows and its stage of uploaded files
        return result

    def require_tables(self, session: SnowflakeSession, tables: TargetTables) -> None:
        """Leave the check to the server, whose error names the missing table: it would be three more requests."""

    def prepare_copy(
        self, session: SnowflakeSession, protocol: LoadProtocol, manifest: Manifest, stage: Stage
    ) -> Callable[[], int]:
        if not manifest.parts:
            return lambda: 0
        if is_loaded(protocol.read_commits(manifest.interval), manifest):  # checked again under the fence
            return lambda: 0
        staged = str(copy_parts(session, self.options, manifest, stage))

        def copy() -> int:
            insert = self.insert(session, protocol, staged)
            return int(session.execute(insert, protocol.stamps(manifest))[0][0])

        return copy

    def retry_transaction(self, attempt: Callable[[], T]) -> T:
        """Try again while another transaction is faster; the copied rows stay in the session."""
        return retry_conflicts(attempt, CONFLICT_SECONDS)

    def commit_load(self, session: SnowflakeSession, manifest: Manifest) -> None:
        try:
            session.execute("COMMIT")
        except TransientError as error:  # the commit may be done, and its reply lost
            log.warning("the reply to COMMIT is lost (%s); reading the commit row in a new session", error)
            with self.open_session("load", manifest.interval) as another:
                commits = self.protocol(another, self.tables).read_commits(manifest.interval)
            if not is_loaded(commits, manifest):
                raise TransientError(
                    f"{error}; the target holds no commit row of it, so nothing was changed"
                ) from error

    def stream(
        self, session: SnowflakeSession, statement: str, parameters: Sequence[object], *, content: bool
    ) -> Generator[Sequence[tuple[object, ...]], None, None]:
        return session.stream(statement, parameters, LARGE_PORTION_ROWS if content else PORTION_ROWS)

    # --- tables

    def missing_tables(self, session: SnowflakeSession, names: Sequence[ObjectName]) -> list[ObjectName]:
        return [name for name in names if not self._shown(session, "TABLES", name)]

    def column_types(self, session: SnowflakeSession, table: ObjectName) -> dict[str, str]:
        return {row[0]: row[1] for row in session.execute(f"DESC TABLE {table}")}

    def view_definition(self, session: SnowflakeSession, view: ObjectName) -> str | None:
        found = self._shown(session, "VIEWS", view)
        return found[0]["text"] or "" if found else None

    @staticmethod
    def _shown(session: SnowflakeSession, kind: str, name: ObjectName) -> list[dict[str, Any]]:
        return [row for row in session.execute_dicts(sql.show(kind, name)) if row["name"] == name.last]

    # --- typed views

    def typed_sql(self, session: SnowflakeSession | None) -> SnowflakeTyped:  # noqa: ARG002
        return SnowflakeTyped(self.options.max_document_size)

    def find_views(self, session: SnowflakeSession, tables: TargetTables) -> list[FoundView]:
        data = tables.data
        return [
            FoundView(data.sibling(row["name"][len(data.last) :]), kind == "VIEWS", row["comment"])
            for kind in ("TABLES", "VIEWS")
            for row in session.execute_dicts(sql.show_below(kind, data))
            if row["name"].startswith(f"{data.last}_")
        ]

    def view_columns(self, session: SnowflakeSession, view: ObjectName) -> tuple[str, ...]:
        return tuple(row[0] for row in session.execute(f"DESC VIEW {view}"))

    def view_statements(
        self,
        session: SnowflakeSession | None,  # noqa: ARG002
        view: ViewQuery,
        comment: str,
        *,
        exists: bool,
    ) -> list[str]:
        return [create_view(view, comment, exists=exists)]

    # --- sessions

    def close(self) -> None:
        if self._open is not None:
            session, self._open = self._open, None
            session.close()

    @contextmanager
    def open_session(self, doing: str, interval: Interval | None = None) -> Iterator[SnowflakeSession]:
        """Open this target's session, or use the open one; an error closes it."""
        session = self._open or self._connect()
        self._open = None
        try:
            tag = {"app": "airflow-pipeline-provider", "pipeline": self.identity.pipeline_id, "phase": doing}
            session.phase = doing
            tag |= {"window": str(interval)} if interval else {}
            session.execute(sql.set_session(tag, self.options.statement_timeout))
            yield session
        except BaseException:
            session.close()
            raise
        if self._open is None:
            self._open = session
        else:  # one was opened inside the block
            session.close()

    def _connect(self) -> SnowflakeSession:
        session = connect(self.options.conn_id, self.options.statement_timeout)
        try:
            if schema := self.tables.data.schema:
                session.execute(f"USE SCHEMA {schema}")  # for the session's own table
        except BaseException:
            session.close()
            raise
        return session
