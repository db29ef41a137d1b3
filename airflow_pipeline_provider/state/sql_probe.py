"""Probe the database of the sql state store for `check --connect`; nothing is created or changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.databases import sqlite_uri_of
from airflow_pipeline_provider.connectors.probes import Answer, clock_answer, writable_path
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.state.about import NOTHING, About, read_about
from airflow_pipeline_provider.state.sql_database import HEAD, Database

if TYPE_CHECKING:
    from airflow_pipeline_provider.state.sql import SqlState

CREATED_BY_FIRST_RUN = "the tables are created by the first run"


def probe_file(conn_id: str) -> tuple[Answer, bool] | None:
    """Return whether SQLite's file may be written, and whether it exists; None for other databases."""
    connection = get_connection(conn_id)
    if connection.conn_type != "sqlite":
        return None
    path = Path(unquote(urlsplit(sqlite_uri_of(connection, mode="ro")).path))
    return writable_path(path), path.exists()


def exists(state: SqlState) -> bool:
    """Return whether the tables exist, without creating anything; TransientError if they are of another version."""
    file = probe_file(state.options.conn_id)
    if file is not None and not file[1]:  # opening the file would create it
        return False
    database = state._database()
    if database.ready:
        return True
    with database.look() as (_, version):
        if version is not None and version != HEAD:
            raise TransientError(
                f"{database.what}: its tables have version {version}, this package reads {HEAD}: the next run of a "
                "worker with this version upgrades them"
            )
        database.ready = version is not None
    return database.ready


def probe_rights(database: Database) -> Answer:
    """Run every kind of statement of a run on no rows, or ask whether the role may create the tables."""
    tables = database.tables
    with database.look() as (connection, version):
        if version is None:
            return _may_create(database, connection)
        for table in (tables.pipelines, tables.leases, tables.runs, tables.ledger):
            nothing = sa.false()
            connection.execute(
                sa.insert(table).from_select(list(table.c.keys()), sa.select(table).where(nothing))
            )
            if table is not tables.ledger:  # entries are only added
                first = next(iter(table.c))
                connection.execute(sa.update(table).where(nothing).values({first: first}))
                connection.execute(sa.delete(table).where(nothing))
    if version != HEAD:
        return Answer("ok", f"the tables exist in version {version}; the first run upgrades them to {HEAD}")
    return Answer("ok", "the tables exist and may be changed")


def _may_create(database: Database, connection: sa.Connection) -> Answer:
    if database.is_sqlite:
        return Answer("ok", CREATED_BY_FIRST_RUN)
    schema = database.tables.schema
    exists = schema is None or sa.inspect(connection).has_schema(schema)
    if exists:
        question = "SELECT has_schema_privilege(COALESCE(:schema, current_schema()), 'CREATE')"
        place = f"schema {schema}" if schema else "the connection's schema"
    else:
        question, place = "SELECT has_database_privilege(current_database(), 'CREATE')", "the database"
    parameters = {"schema": schema} if exists else {}
    if not connection.execute(sa.text(question), parameters).scalar():
        raise FatalError(
            f"{database.what}: the tables do not exist, and the role may not create them: grant CREATE on {place}, "
            "or run once as a role that may"
        )
    return Answer("ok", f"{CREATED_BY_FIRST_RUN} (the role may create in {place})")


def probe_clock(database: Database) -> Answer:
    """Compare the database's clock with this machine's."""
    with database.look() as (connection, _):
        return clock_answer(database.clock(connection))


def peek_about(database: Database, mine: dict[str, object]) -> About | None:
    """Return the record of the pipeline as a whole, None while the tables are those of another version."""
    with database.look() as (connection, version):
        if version is None:
            return NOTHING
        if version != HEAD:
            return None
        row = connection.execute(database.statements.pipeline, mine).one_or_none()
    return NOTHING if row is None else read_about(row.about, database.what)
