"""The scratch schema of a PostgreSQL database."""

from __future__ import annotations

from typing import Any

from airflow_pipeline_provider.connectors.sql_hooks import SqlSession
from airflow_pipeline_provider.connectors.sql_scratch import SchemaObject, SqlScratch

_KINDS = {
    "r": "TABLE",
    "p": "TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
    "f": "FOREIGN TABLE",
}


class PostgresScratch(SqlScratch):
    """A schema of a PostgreSQL database."""

    time_zone = "SET TIME ZONE '{}'"
    slow_statement = "SELECT pg_sleep(30)"
    body_length = "octet_length({}) - 8"  # without {"x":""}

    def objects(self, session: SqlSession) -> list[SchemaObject]:
        found: list[tuple[Any, ...]] = session.execute(
            "SELECT c.relkind::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
            "ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = ANY (%s)",
            [self.schema.last, list(_KINDS)],
        )
        return [SchemaObject(_KINDS[kind], name) for kind, name in found]

    def has_schema(self, session: SqlSession) -> bool:
        return bool(
            session.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", [self.schema.last])
        )

    def grant(self, right: str) -> str:  # noqa: ARG002
        return f"GRANT USAGE, CREATE ON SCHEMA {self.schema} TO the connection's role"

    def cost(self) -> str:
        return "not metered by PostgreSQL"
