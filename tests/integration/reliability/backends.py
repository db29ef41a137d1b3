"""Define the state stores and targets of the crash matrix, and how each is copied for a cell.

A `World` is the environment of one pipeline: everything it writes is below `folder` or has `name` in its name.  A
template is prepared once per scenario; each crash happens in a copy of its own, so no cell affects another.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from tests.connector_list import crash_matrix

from .scenario import PIPELINE

COLUMNS = (
    *("RECORD_ID", "EVENT_TIME", "BODY"),
    *("PIPELINE_ID", "WINDOW_START", "WINDOW_END", "TOKEN", "LOADED_AT"),
)
TYPED = "VERSION"  # the physical column of some scenarios


class World(NamedTuple):
    """`name` is unique, of lower-case letters, digits and `_`: a database, a schema or a prefix."""

    name: str
    folder: Path


class LoadedRow(NamedTuple):
    """A row of the target, instants aware in UTC."""

    record_id: str
    event_time: datetime
    body: str
    pipeline_id: str
    window_start: datetime
    window_end: datetime
    token: int
    loaded_at: datetime
    version: int | None = None


class Backend(ABC):
    """A state store or a target."""

    name: ClassVar[str]

    @abstractmethod
    def section(self, world: World) -> dict[str, Any]:
        """Its section of the pipeline file."""

    def environment(self, world: World) -> dict[str, str]:
        """Airflow's connection to it, for the process that runs the pipeline."""
        return {}

    def make(self, world: World) -> None:  # noqa: B027  (files need no making)
        """An empty place."""

    def copy(self, template: World, world: World) -> None:  # noqa: B027  (files are copied with the folder)
        """The place as it is in the template."""

    def drop(self, world: World) -> None:  # noqa: B027  (files go with the folder)
        """Remove it."""


class Target(Backend):
    @abstractmethod
    def rows(self, world: World) -> list[LoadedRow]:
        """Every row of the table, read without the package's own code."""

    def body(self, text: str) -> str:
        """How the target keeps a body."""
        return text


# --- in files of the world's folder


class SqliteState(Backend):
    name = "SQLite"

    def section(self, world: World) -> dict[str, Any]:
        return {"type": "sql", "conn_id": f"{world.name}_state"}

    def environment(self, world: World) -> dict[str, str]:
        connection = {"conn_type": "sqlite", "host": str(world.folder / "state.sqlite")}
        return {f"AIRFLOW_CONN_{world.name.upper()}_STATE": json.dumps(connection)}


class DuckDBTarget(Target):
    name = "DuckDB"

    def section(self, world: World) -> dict[str, Any]:
        return {"type": "duckdb", "path": str(world.folder / "lake.duckdb"), "table": "main.flights"}

    def rows(self, world: World) -> list[LoadedRow]:
        import duckdb

        path = world.folder / "lake.duckdb"
        if not path.exists():
            return []
        times = {"EVENT_TIME", "WINDOW_START", "WINDOW_END", "LOADED_AT"}
        columns = ", ".join(f"epoch_us({c})" if c in times else c for c in COLUMNS)
        with duckdb.connect(str(path)) as connection:
            if not connection.execute(
                "SELECT 1 FROM duckdb_tables() WHERE table_name = 'flights'"
            ).fetchall():
                return []
            if connection.execute(
                "SELECT 1 FROM duckdb_columns() WHERE table_name = 'flights' AND lower(column_name) = 'version'"
            ).fetchall():
                columns += f", {TYPED}"
            found = connection.execute(f"SELECT {columns} FROM main.flights").fetchall()
        return [_row(values) for values in found]


# --- PostgreSQL: a database a world, copied by TEMPLATE


class _PostgresDatabase(Backend):
    """A database of its own, on the server of POSTGRES_URL."""

    suffix: ClassVar[str]

    def _name(self, world: World) -> str:
        return f"{world.name}_{self.suffix}"

    def environment(self, world: World) -> dict[str, str]:
        server = urlsplit(os.environ["POSTGRES_URL"])
        connection = {
            "conn_type": "postgres",
            "host": server.hostname,
            "port": server.port,
            "login": server.username,
            "password": server.password,
            "schema": self._name(world),
        }
        return {f"AIRFLOW_CONN_{self._name(world).upper()}": json.dumps(connection)}

    def make(self, world: World) -> None:
        self._server(f'CREATE DATABASE "{self._name(world)}"')

    def copy(self, template: World, world: World) -> None:
        self._server(f'CREATE DATABASE "{self._name(world)}" TEMPLATE "{self._name(template)}"')

    def drop(self, world: World) -> None:
        self._server(f'DROP DATABASE IF EXISTS "{self._name(world)}" WITH (FORCE)')

    @cached_property
    def _connection(self) -> Any:
        import psycopg2

        connection = psycopg2.connect(os.environ["POSTGRES_URL"])
        connection.autocommit = True  # databases cannot be made inside a transaction
        return connection

    def _server(self, statement: str) -> None:
        import psycopg2

        for left in reversed(range(100)):
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(statement)
                return
            except psycopg2.errors.ObjectInUse:  # a session of the last child is still being ended
                if not left:
                    raise
                time.sleep(0.05)


class PostgresState(_PostgresDatabase):
    name = "PostgreSQL"
    suffix = "state"

    def section(self, world: World) -> dict[str, Any]:
        return {"type": "sql", "conn_id": self._name(world)}


class PostgresTarget(_PostgresDatabase, Target):
    name = "PostgreSQL"
    suffix = "target"

    def section(self, world: World) -> dict[str, Any]:
        return {"type": "postgres", "conn_id": self._name(world), "table": "public.flights"}

    def rows(self, world: World) -> list[LoadedRow]:
        import psycopg2

        server = urlsplit(os.environ["POSTGRES_URL"])
        connection = psycopg2.connect(server._replace(path=f"/{self._name(world)}").geturl())
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TimeZone = 'UTC'")
                cursor.execute("SELECT to_regclass('public.flights')")
                if cursor.fetchone() == (None,):
                    return []
                columns = ", ".join(f'"{column}"' for column in COLUMNS)
                cursor.execute("SELECT * FROM public.flights LIMIT 0")
                columns += "".join(f", {one.name}" for one in cursor.description if one.name == TYPED.lower())
                cursor.execute(f"SELECT {columns} FROM public.flights")
                return [_row(values) for values in cursor.fetchall()]
        finally:
            connection.close()


# --- Airflow Variables: a prefix a world, in one metadata database


class VariableState(Backend):
    """The real thing: Variables in Airflow's metadata database (SQLite, of this test process)."""

    name = "variable"

    def section(self, world: World) -> dict[str, Any]:
        return {"type": "variable", "prefix": world.name}

    def copy(self, template: World, world: World) -> None:
        with self._session() as (session, Variable):
            for variable in session.query(Variable).filter(Variable.key.startswith(f"{template.name}.")):
                key = variable.key.replace(template.name, world.name, 1)
                session.add(Variable(key=key, val=variable.val))

    def drop(self, world: World) -> None:
        with self._session() as (session, Variable):
            session.query(Variable).filter(Variable.key.startswith(f"{world.name}.")).delete(
                synchronize_session=False
            )

    @contextmanager
    def _session(self) -> Iterator[tuple[Any, Any]]:
        from airflow.models.variable import Variable
        from airflow.utils.session import create_session

        with create_session(scoped=False) as session:
            yield session, Variable


# --- Snowflake: a schema a world, copied by CLONE


class SnowflakeTarget(Target):
    """On the stand-in of tests/services; parts reach it by PUT."""

    name = "Snowflake"
    _lock = threading.Lock()

    def schema(self, world: World) -> str:
        return f"{os.environ['SNOWFLAKE_DATABASE']}.{world.name.upper()}"

    def section(self, world: World) -> dict[str, Any]:
        return {
            "type": "snowflake",
            "conn_id": "snowflake_default",
            "table": f"{self.schema(world)}.FLIGHTS",
        }

    def environment(self, world: World) -> dict[str, str]:
        return {name: os.environ[name] for name in ("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", "REQUESTS_CA_BUNDLE")}

    def make(self, world: World) -> None:
        self.run(f"CREATE SCHEMA {self.schema(world)}")

    def copy(self, template: World, world: World) -> None:
        self.make(world)
        for table in self._tables(template):  # the view is made again by `prepare`
            self.run(f"CREATE TABLE {self.schema(world)}.{table} CLONE {self.schema(template)}.{table}")

    def drop(self, world: World) -> None:
        self.run(f"DROP SCHEMA IF EXISTS {self.schema(world)} CASCADE")

    def rows(self, world: World) -> list[LoadedRow]:
        if "FLIGHTS" not in self._tables(world):
            return []
        table = f"{self.schema(world)}.FLIGHTS"
        typed = [row[2] for row in self.run(f"SHOW COLUMNS IN TABLE {table}") if row[2] == TYPED]
        return [_row(values) for values in self.run(f"SELECT {', '.join((*COLUMNS, *typed))} FROM {table}")]

    def body(self, text: str) -> str:
        return json.dumps(json.loads(text), sort_keys=True)

    def _tables(self, world: World) -> list[str]:
        return [row[1] for row in self.run(f"SHOW TABLES IN SCHEMA {self.schema(world)}")]

    def run(self, statement: str) -> list[Any]:
        with self._lock, self._connection.cursor() as cursor:  # cells run side by side, a session does not
            return list(cursor.execute(statement).fetchall())

    @cached_property
    def _connection(self) -> Any:
        import snowflake.connector

        return snowflake.connector.connect(
            host=os.environ["SNOWFLAKE_HOST"],
            port=int(os.environ["SNOWFLAKE_PORT"]),
            account=os.environ["SNOWFLAKE_ACCOUNT"],
            user=os.environ["SNOWFLAKE_USER"],
            password=os.environ["SNOWFLAKE_PASSWORD"],
            database=os.environ["SNOWFLAKE_DATABASE"],
            schema=os.environ["SNOWFLAKE_SCHEMA"],
            insecure_mode=True,  # no list of revoked certificates has the test server
        )


# --- a state store and a target together


@dataclass(frozen=True)
class Combination:
    """A column of the matrix."""

    state: Backend
    target: Target

    @property
    def name(self) -> str:
        return f"{self.state.name} × {self.target.name}"

    def config(
        self, world: World, history: str = "events", columns: tuple[dict[str, Any], ...] = (), **changes: Any
    ) -> dict[str, Any]:
        """The pipeline file: three windows a day, and parts so small that the larger windows have several.

        `changes` are of the section `state`.
        """
        from .scenario import DAY, TIMEZONE

        return {
            "pipeline_id": PIPELINE,
            "timezone": TIMEZONE,
            "granularity": "9h",
            "x_time_back": "1d",
            "start_day": DAY,
            "end_day": "2013-11-04",
            "max_backlog_days": None,
            "source": {"type": "memory", "page_size": 10, "history": history},
            "stage": {"type": "object_store", "path": str(world.folder / "stage"), "part_size": "1KB"},
            "target": self.target.section(world),
            "state": self.state.section(world) | changes,
            **({"columns": list(columns)} if columns else {}),
        }

    def environment(self, world: World) -> dict[str, str]:
        return self.state.environment(world) | self.target.environment(world)

    def make(self, world: World) -> None:
        world.folder.mkdir(parents=True)
        for backend in (self.state, self.target):
            backend.make(world)

    def copy(self, template: World, world: World) -> None:
        shutil.copytree(template.folder, world.folder)
        for backend in (self.state, self.target):
            backend.copy(template, world)

    def drop(self, world: World) -> None:
        for backend in (self.state, self.target):
            backend.drop(world)
        shutil.rmtree(world.folder)


_STATES: dict[str, Backend] = {
    state.name: state for state in (PostgresState(), SqliteState(), VariableState())
}
_TARGETS: dict[str, Target] = {
    target.name: target for target in (SnowflakeTarget(), DuckDBTarget(), PostgresTarget())
}
STATES = tuple(_STATES[name] for name in crash_matrix("state"))
TARGETS = tuple(_TARGETS[name] for name in crash_matrix("target"))
EMBEDDED = Combination(_STATES["SQLite"], _TARGETS["DuckDB"])
COMBINATIONS = {c.name: c for c in (Combination(state, target) for state in STATES for target in TARGETS)}

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _row(values: Any) -> LoadedRow:
    row = LoadedRow(*values)
    times: dict[str, Any] = {
        name: _EPOCH + timedelta(microseconds=at) if isinstance(at, int) else _aware(at)
        for name, at in row._asdict().items()
        if name in ("event_time", "window_start", "window_end", "loaded_at")
    }
    return row._replace(token=int(row.token), **times)


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
