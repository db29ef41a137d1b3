# ruff: noqa: S608  (the text is constant, values are bound)
"""The scratch schema of a DuckDB file; a file that did not exist is removed at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_pipeline_provider.connectors.sql_hooks import SqlSession
from airflow_pipeline_provider.connectors.sql_scratch import SchemaObject, SqlScratch

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget

_OBJECTS = (
    "SELECT 'TABLE', table_name FROM duckdb_tables() WHERE {0} UNION ALL "
    "SELECT 'VIEW', view_name FROM duckdb_views() WHERE {0} UNION ALL "
    "SELECT 'SEQUENCE', sequence_name FROM duckdb_sequences() WHERE {0}"
)
_HERE = "database_name = current_database() AND lower(schema_name) = lower(?)"


class DuckDBScratch(SqlScratch):
    """A schema of a DuckDB file."""

    is_embedded = True
    time_zone = "SET TimeZone = '{}'"
    body_length = "strlen({}) - 8"  # without {"x":""}

    def __init__(self, target: DuckDBTarget) -> None:
        super().__init__(target)
        self._path = Path(target.options.path)
        self._had_file = self._path.exists()

    def objects(self, session: SqlSession) -> list[SchemaObject]:
        name = self.schema.last
        found: list[tuple[Any, ...]] = session.execute(_OBJECTS.format(_HERE), [name] * 3)
        return [SchemaObject(kind, name) for kind, name in found]

    def has_schema(self, session: SqlSession) -> bool:
        return bool(session.execute(f"SELECT 1 FROM duckdb_schemas() WHERE {_HERE}", [self.schema.last]))

    def list_objects(self) -> list[SchemaObject]:
        if not self._path.exists():  # opening it would create it
            self._had_schema = False if self._had_schema is None else self._had_schema
            return []
        return super().list_objects()

    def remove(self) -> None:
        if self._path.exists():
            super().remove()
        self.target.close()
        if not self._had_file:
            for path in (self._path, Path(f"{self._path}.wal")):
                path.unlink(missing_ok=True)

    def cost(self) -> str:
        return "none (embedded)"
