# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` or read from the catalogue, and quoted)
"""The scratch schema of a SQL target: its objects, the statements that need rights, and how to drop what was created.

A target of another database overrides `objects`, and the attributes that describe what its SQL calls differently.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from airflow_pipeline_provider.connectors.scratch import LoadWay, Right, Scratch
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_hooks import SqlHooks, SqlSession
from airflow_pipeline_provider.connectors.sql_tables import FENCE_COLUMNS
from airflow_pipeline_provider.exceptions import ConfigError


class SchemaObject(NamedTuple):
    """An object of a schema; `kind` as `DROP` names it."""

    kind: str
    name: str


class SqlScratch(Scratch):
    """A schema in which a target's table is `<schema>.<name>`.

    Attributes:
        is_embedded: The database runs in this process, so there is no connection to cut.
        time_zone: Statement that sets a session's time zone; "" if it has none.
        slow_statement: Statement that takes 30 seconds, to test the time limit of statements; "" if there is none.
        body_length: Expression for the length of the text of key `x` of the column BODY; "" to count rows only.
    """

    is_embedded: ClassVar[bool] = False
    time_zone: ClassVar[str] = ""
    slow_statement: ClassVar[str] = ""
    body_length: ClassVar[str] = ""

    def __init__(self, target: SqlHooks[Any]) -> None:
        self.target = target
        self.table: ObjectName = target.tables.data
        self.name = self.table.last
        if self.table.schema is None:
            raise ConfigError("--schema: expected the name of a schema for the scratch tables, got none")
        self.schema: ObjectName = self.table.schema
        self._had_schema: bool | None = None

    # --- what a database implements

    def objects(self, session: SqlSession) -> list[SchemaObject]:  # noqa: ARG002
        """Return every table, view and sequence of the schema by the catalogue."""
        raise ConfigError(
            f"target {self.target.options.type!r} cannot be certified: its `scratch` must list the objects of a "
            "schema (SqlScratch.objects)"
        )

    def has_schema(self, session: SqlSession) -> bool:  # noqa: ARG002
        """Return whether the schema exists; one that `prepare` creates is dropped at the end."""
        return True

    def grant(self, right: str) -> str:
        """Return what gives the right ("CREATE TABLE") to the role of the connection."""
        return f"{right} on schema {self.schema}"

    def load_ways(self) -> list[LoadWay]:
        """Return the ways in which the target can read part files."""
        return [LoadWay("a load of part files", {})]

    # --- the place

    def describe(self) -> str:
        return (
            f"creates tables and views in the schema {self.schema}, whose names begin with {self.name}, and drops "
            "them at the end"
        )

    def list_objects(self) -> list[SchemaObject]:
        """Return every object of the schema."""
        with self.target.open_session("certify") as session:
            exists = self.has_schema(session)
            if self._had_schema is None:
                self._had_schema = exists
            return self.objects(session) if exists else []

    def foreign(self) -> list[str]:
        return [f"{kind} {name}" for kind, name in self.list_objects() if not self._is_ours(name)]

    def remaining(self) -> list[str]:
        return [f"{kind} {name}" for kind, name in self.list_objects() if self._is_ours(name)]

    def remove(self) -> None:
        found = [one for one in self.list_objects() if self._is_ours(one.name)]
        for kind, name in sorted(found, key=lambda one: "VIEW" not in one.kind):
            quoted = self.target.dialect.object_name(*self.schema.parts, name)
            self.run(f"DROP {kind} IF EXISTS {quoted}")
        if self._had_schema is False:
            self.run(f"DROP SCHEMA IF EXISTS {self.schema}")

    def create_schema(self) -> None:
        """Create the schema if it is missing, where the target does so too."""
        with self.target.open_session("certify") as session, session.transaction():
            self.target.create_schema(session, self.target.tables)
            session.execute("COMMIT")

    def run(self, *statements: str) -> None:
        """Run statements in a transaction of their own."""
        with self.target.open_session("certify") as session, session.transaction():
            for statement in statements:
                session.execute(statement)
            session.execute("COMMIT")

    def _is_ours(self, name: str) -> bool:
        return name.lower().startswith(self.name.lower())

    # --- rights

    def rights(self) -> list[Right]:
        """Return the statements of preparing and loading, on tables of their own, in an order that works."""
        tables = type(self.target.tables)(self.table.sibling("_RIGHTS"), self.target.dialect)
        token = tables.columns.token
        create = [
            Right("CREATE TABLE", tables.create(table), self.grant("CREATE TABLE")) for table in tables.names
        ]
        more = [Right("ALTER TABLE", tables.add_to_fence(name), "ownership of it") for name in FENCE_COLUMNS]
        names = tables.listed(tables.types(tables.commits))
        return [
            *create,
            *more,
            Right("CREATE VIEW", tables.create_view(), self.grant("CREATE VIEW")),
            Right("SELECT", f"SELECT COUNT(*) FROM {tables.latest}", f"SELECT on {tables.latest}"),
            Right(
                "INSERT",
                f"INSERT INTO {tables.commits} ({names}) SELECT {names} FROM {tables.commits}",
                f"INSERT on {tables.commits}",
            ),
            Right("UPDATE", f"UPDATE {tables.fence} SET {token} = {token}", f"UPDATE on {tables.fence}"),
            Right("DELETE", f"DELETE FROM {tables.data} WHERE 1 = 0", f"DELETE on {tables.data}"),
        ]
