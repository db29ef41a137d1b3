"""Target `snowflake`, through Airflow's SnowflakeHook.

A load copies the parts into a table of its session first (from a named external stage, or uploaded by PUT), and
only then takes the fence row: the part under lock is a DELETE and an INSERT from that table.  Credentials are never
in SQL.
"""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar
from uuid import uuid4

from pydantic import Field, field_validator

from airflow_pipeline_provider.config.options import ByteCount, ConnId, DurationSeconds, TargetOptions
from airflow_pipeline_provider.connectors import registrations as sql_pipelines
from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.base import (
    CommitRow,
    Identity,
    LoadResult,
    Stage,
    Target,
    TargetCounts,
    TargetLimits,
)
from airflow_pipeline_provider.connectors.datasets import place_of
from airflow_pipeline_provider.connectors.encryption import flag
from airflow_pipeline_provider.connectors.load_protocol import (
    ObjectName,
    Statements,
    WriteConflictError,
    check_shape,
    is_loaded,
    parse_name,
)
from airflow_pipeline_provider.connectors.probes import Answer, Probes, clock_answer
from airflow_pipeline_provider.connectors.snowflake import sql
from airflow_pipeline_provider.connectors.snowflake.session import Session, connect
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import DataError, FatalError, TransientError

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

log = logging.getLogger(__name__)

T = TypeVar("T")
CONFLICT_SECONDS = 10.0  # how long a transaction that lost against another one is tried again
_UNSAFE_FOR_PUT = set("*?[]{}'\"\\%")  # wildcards and quotes


class SnowflakeOptions(TargetOptions):
    """`target: {type: snowflake, table: ANALYTICS.RAW.FLIGHTS, external_stage: ANALYTICS.RAW.LAKE}`"""

    type: Literal["snowflake"] = "snowflake"
    conn_id: ConnId = Field(
        "snowflake_default", min_length=1, description="Airflow connection of type Snowflake."
    )
    table: str = Field(
        description="The table: DATABASE.SCHEMA.TABLE, or fewer parts where the connection names the rest; "
        '"quoted" parts keep their case.'
    )
    external_stage: str | None = Field(
        None, description="Named stage that reads stage.path; without it parts are uploaded with PUT."
    )
    external_stage_path: str | None = Field(
        None, description="Where stage.path lies below the external stage; without it found by SHOW STAGES."
    )
    max_document_size: ByteCount = Field(
        default=sql.MAX_BODY_BYTES,
        le=sql.MAX_BODY_BYTES,
        description="The largest document that is loaded: 128MiB; 16MiB for an account with that limit of a VARIANT.",
    )
    use_vectorized_scanner: bool = Field(
        default=True,
        strict=True,
        description="Read parts with Snowflake's vectorized Parquet scanner, which is faster and cheaper.",
    )
    statement_timeout: DurationSeconds = Field(
        default=3600,
        ge=3,
        le=86_400,
        description="When server and client give a statement up: 1h; 3s to 1d.",
    )

    @field_validator("table", "external_stage")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None:
            parse_name(value, upper=True)
        return value

    @field_validator("external_stage_path")
    @classmethod
    def _check_path(cls, value: str | None) -> str | None:
        if value is not None and any(
            s in ("", ".", "..") for s in value.strip("/").split("/") if value.strip("/")
        ):
            raise ValueError(f"must be a path below the external stage, such as lake/flights, got {value!r}")
        return value


class SnowflakeTarget(Target):
    Options: ClassVar[type[SnowflakeOptions]] = SnowflakeOptions
    can_keep_history = True
    # BODY goes through PARSE_JSON, which is strict about keys unless it is told to keep the last of several
    limits = TargetLimits(
        max_body_bytes=sql.MAX_BODY_BYTES, needs_json=True, unique_keys=True, max_depth=sql.MAX_DEPTH
    )

    def __init__(self, options: SnowflakeOptions, identity: Identity) -> None:
        super().__init__(options, identity)
        self.limits = self.limits._replace(max_body_bytes=options.max_document_size)

    @property
    def _statements(self) -> Statements:
        table = parse_name(self.options.table, upper=True)
        return Statements(table, sql.DIALECT, keeps_history=self.identity.keeps_history)

    def unsafe_settings(self) -> list[str]:
        conn_id = self.options.conn_id
        if not flag(conn_id, get_connection(conn_id).extra_dejson, "insecure_mode", False):
            return []
        return [
            f"connection {conn_id!r} has insecure_mode: true, so revoked certificates are accepted: remove it from "
            "the extra"
        ]

    # --- the contract

    def probes(self) -> Probes:
        yield from super().probes()
        yield "tables and rights", self._probe_rights
        yield "clock", self._probe_clock

    def _probe_rights(self) -> Answer:
        statements = self._statements
        tables = (statements.table, statements.commits, statements.fence)
        with self._session("check") as session:
            missing = [str(name) for name in tables if not self._exists(session, name)]
            if missing:
                return Answer(
                    "unknown",
                    f"{', '.join(missing)} are created by the first load; a test of the right to create "
                    "them would create them: the role needs CREATE TABLE and CREATE VIEW on the schema",
                )
            self._check_shapes(session)
            with session.transaction():
                statements.try_rights(session.execute)
                session.execute("ROLLBACK")
        return Answer("ok", f"{statements.table} exists and may be changed")

    def _probe_clock(self) -> Answer:
        with self._session("check") as session:
            [(now,)] = session.execute("SELECT CURRENT_TIMESTAMP")
        return clock_answer(now)

    def prepare(self) -> None:
        for pause in (0.1, 0.3, 1.0, None):
            try:
                with self._session("prepare") as session:
                    return self._prepare(session)
            except WriteConflictError:  # two that create at once
                if pause is None:
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
        raise AssertionError("unreachable")

    def _prepare(self, session: Session) -> None:
        statements = self._statements
        for statement in statements.create_tables():
            session.execute(statement)
        fence = str(statements.fence)
        if add := sql_pipelines.add_column(statements, _described(session, fence), fence):
            session.execute(add)
        self._check_shapes(session)
        session.execute(statements.create_view())
        views = session.execute_dicts(sql.show_view(statements.latest))
        [definition] = [row["text"] for row in views if row["name"] == statements.latest.last] or [""]
        if statements.orders_otherwise(session.execute, definition, self.identity):
            session.execute(statements.create_view(replace=True))

    def _check_shapes(self, session: Session) -> None:
        for table, columns in self._statements.columns.items():
            seen = _described(session, table)
            check_shape(f"table {table}", {name: _kind(kind) for name, kind in columns.items()}, seen)

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        with self._session("load", manifest.interval) as session:
            commits = self._statements.read_commits(session.execute, manifest.pipeline_id, manifest.interval)
            staged = ObjectName((f"STAGED_{uuid4().hex.upper()}",))
            if not is_loaded(commits, manifest):  # no need to copy what is there, or what is too late anyway
                self._copy(session, manifest, stage, staged)
            result = self._replace(session, manifest, staged)
        self.close()  # and with the session its table of copied rows and its stage of uploaded files
        return result

    def count(self, interval: Interval) -> TargetCounts:
        with self._session("count", interval) as session:
            if not self._exists(session, self._statements.table):
                return TargetCounts(0, 0)
            return self._statements.read_counts(session.execute, self.identity.pipeline_id, interval)

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:
        with self._session("count", interval) as session:
            if not self._exists(session, self._statements.table):
                return {}
            return self._statements.read_counts_by_token(session.execute, self.identity.pipeline_id, interval)

    def count_newest(self, interval: Interval, token: int) -> int:
        with self._session("count", interval) as session:
            if not self._exists(session, self._statements.table):
                return 0
            return self._statements.read_newest(session.execute, self.identity.pipeline_id, interval, token)

    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        with self._session("commits", within) as session:
            if not self._exists(session, self._statements.commits):
                return []
            return self._statements.read_commits(session.execute, self.identity.pipeline_id, within)

    def newest_token(self) -> int:
        with self._session("newest token") as session:
            if not self._exists(session, self._statements.commits):
                return 0
            return self._statements.read_newest_token(session.execute, self.identity.pipeline_id)

    def check_stage(self, stage: Stage, sample: str | None) -> None:
        """The external stage's URL holds our stage, and the role can list a file of it there."""
        if not self.options.external_stage:
            return
        external = parse_name(self.options.external_stage, upper=True)
        with self._session("doctor") as session:
            folder = self._folder(session, external, stage)
            if sample is None or session.execute(sql.list_file(external, folder + sample)):
                return
        raise FatalError(
            f"target.external_stage: {'.'.join(external.parts)} shows no file {folder}{sample}, and "
            f"{stage.url(sample)} is there: correct external_stage_path or the stage's URL"
        )

    # --- which pipelines load here

    def dataset(self) -> dict[str, Any]:
        return {**super().dataset(), "table": ".".join(self._statements.table.parts)}

    def place(self) -> dict[str, Any]:
        """Return the place of the connection, without the parts that the table's name holds."""
        found = place_of(self.options.conn_id)
        said = len(self._statements.table.parts)
        return {
            key: value
            for key, value in found.items()
            if not (key == "schema" and said > 1) and not (key == "database" and said > 2)
        }

    def pipelines(self) -> sql_pipelines.Pipelines:
        statements = self._statements
        with self._session("read the registered pipelines") as session:
            fence = str(statements.fence)
            if not self._exists(session, statements.fence):
                return {}
            if sql_pipelines.add_column(statements, _described(session, fence), fence):
                return {}
            return sql_pipelines.read_pipelines(statements, session.execute)

    def register(self, entry: dict[str, Any], check: sql_pipelines.Check) -> None:
        def once() -> None:
            with session.transaction():
                name = self.identity.pipeline_id
                sql_pipelines.register(self._statements, session.execute, name, entry, check)
                session.execute("COMMIT")

        with self._session("register the pipeline") as session:
            _patiently(once)

    def rename_pipeline(self, old: str) -> int:
        def once() -> int:
            with session.transaction():
                name = self.identity.pipeline_id
                rows = sql_pipelines.rename(self._statements, session.execute, old, name)
                session.execute("COMMIT")
            return rows

        with self._session(f"rename pipeline {old}") as session:
            return _patiently(once)

    # --- the transaction

    def _replace(self, session: Session, manifest: Manifest, staged: ObjectName) -> LoadResult:
        """Take the fence, replace, commit; against a faster one again and again, the copied rows stay."""
        statements = self._statements
        insert = statements.insert(str(staged))

        def copy() -> int:
            if not manifest.parts:
                return 0
            return int(session.execute(insert, statements.stamps(manifest))[0][0])

        def replace() -> LoadResult:
            with session.transaction():
                result = statements.replace_window(session.execute, manifest, copy)
                if result.already:
                    session.execute("ROLLBACK")
                else:
                    self._commit(session, manifest)
            return result

        return _patiently(replace)

    def _commit(self, session: Session, manifest: Manifest) -> None:
        try:
            session.execute("COMMIT")
        except TransientError as error:
            # the reply may be lost and the commit done, or not: the commit row tells
            log.warning("the reply to COMMIT is lost (%s); asking a new session for the commit row", error)
            with self._session("load", manifest.interval) as another:
                commits = self._statements.read_commits(
                    another.execute, manifest.pipeline_id, manifest.interval
                )
            if not is_loaded(commits, manifest):
                raise TransientError(
                    f"{error}; the target holds no commit row of it, so nothing was changed"
                ) from error

    # --- parts into the session's table

    def _copy(self, session: Session, manifest: Manifest, stage: Stage, staged: ObjectName) -> None:
        session.execute(sql.create_staged(staged))
        if not manifest.parts:
            return
        options = sql.CopyOptions(self.options.max_document_size, self.options.use_vectorized_scanner)
        if self.options.external_stage:
            external = parse_name(self.options.external_stage, upper=True)
            folder = self._folder(session, external, stage)
            statements = list(
                sql.copy_files(staged, external, [folder + part.path for part in manifest.parts], options)
            )
        else:
            uploaded = ObjectName((f"PARTS_{uuid4().hex.upper()}",))
            session.execute(f"CREATE TEMPORARY STAGE {uploaded}")
            self._upload(session, manifest, stage, uploaded)
            statements = [sql.copy_all(staged, uploaded, options)]
        loaded = sum(session.copy(statement) for statement in statements)
        if loaded != manifest.rows:
            raise DataError(
                f"{self._statements.table}: expected {counted(manifest.rows, 'row')} in "
                f"{counted(len(manifest.parts), 'part')}, COPY "
                f"read {loaded:,}; nothing was changed, extract the window again"
            )

    def _folder(self, session: Session, external: ObjectName, stage: Stage) -> str:
        """The path of the stage's base below the external stage, "" or with a slash at its end."""
        if self.options.external_stage_path is not None:
            path = self.options.external_stage_path.strip("/")
            return f"{path}/" if path else ""
        rows = session.execute_dicts(sql.show_stage(external))
        found = [row for row in rows if row["name"] == external.last]
        name = ".".join(external.parts)
        if not found:
            raise FatalError(
                f"target.external_stage: {name} does not exist, or the connection's role may not use it; create "
                "it with a storage integration, grant USAGE on it, or leave external_stage out to upload with PUT"
            )
        if not found[0]["url"]:
            raise FatalError(
                f"target.external_stage: {name} is an internal stage; name one with a URL, or leave it out"
            )
        return sql.path_in_stage(external, found[0]["url"], stage.base)

    def _upload(self, session: Session, manifest: Manifest, stage: Stage, uploaded: ObjectName) -> None:
        with tempfile.TemporaryDirectory(prefix="parts-") as folder:
            for part in manifest.parts:
                path = stage.url(part.path).removeprefix("file://")
                local = path.startswith("/") and not _UNSAFE_FOR_PUT & set(path)
                if not local:
                    path = str(Path(folder, Path(part.path).name))
                    with stage.open_read(part.path) as source, Path(path).open("wb") as copy:
                        shutil.copyfileobj(source, copy, 8 * 2**20)
                elif stage.size(part.path) is None:
                    raise DataError(f"part {stage.url(part.path)} is gone; extract the window again")
                for row in session.execute_dicts(sql.put_file(path, uploaded)):
                    if row["status"] != "UPLOADED":
                        raise TransientError(
                            f"PUT of {part.path}: {row['status']} {row.get('message') or ''}"
                        )
                if not local:
                    Path(path).unlink()

    def _exists(self, session: Session, table: ObjectName) -> bool:
        inside = f" IN SCHEMA {ObjectName(table.parts[:-1])}" if len(table.parts) > 1 else ""
        rows = session.execute_dicts(f"SHOW TABLES LIKE {sql.literal(table.last)}{inside}")
        return any(row["name"] == table.last for row in rows)

    # --- sessions

    _open: Session | None = None

    def close(self) -> None:
        if self._open is not None:
            session, self._open = self._open, None
            session.close()

    @contextmanager
    def _session(self, phase: str, interval: Interval | None = None) -> Iterator[Session]:
        """This target's session; after an error the next call opens a new one."""
        session = self._open or self._connect()
        self._open = None
        try:
            tag = {"app": "airflow-pipeline-provider", "pipeline": self.identity.pipeline_id, "phase": phase}
            session.phase = phase
            tag |= {"window": str(interval)} if interval else {}
            session.execute(sql.set_session(tag, self.options.statement_timeout))
            yield session
        except BaseException:
            session.close()
            raise
        if self._open is None:
            self._open = session
        else:  # one was opened inside of the block
            session.close()

    def _connect(self) -> Session:
        session = connect(self.options.conn_id, self.options.statement_timeout)
        try:
            schema = self._statements.table.parts[:-1]
            if schema:
                session.execute(f"USE SCHEMA {ObjectName(schema)}")  # where the session's own table goes
        except BaseException:
            session.close()
            raise
        return session


def _patiently(work: Callable[[], T]) -> T:
    """Run a transaction again while it loses against another one."""
    deadline = time.monotonic() + CONFLICT_SECONDS
    while True:
        try:
            return work()
        except WriteConflictError:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311


def _described(session: Session, table: str) -> dict[str, str]:
    return {row[0]: _kind(row[1]) for row in session.execute(f"DESC TABLE {table}")}


def _kind(column_type: str) -> str:
    """NUMBER(38,0) -> NUMBER."""
    return column_type.partition("(")[0]
