"""The scratch tables of the sql state store: in a schema, or a SQLite file, without other tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.database_errors import database_errors
from airflow_pipeline_provider.connectors.scratch import Scratch
from airflow_pipeline_provider.exceptions import ConfigError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_pipeline_provider.state.sql import SqlState


class SqlStateScratch(Scratch):
    """The tables with this run's prefix."""

    def __init__(self, state: SqlState) -> None:
        from airflow_pipeline_provider.connectors.databases import sqlite_uri_of

        self.name = state.options.table_prefix
        self._conn_id, self._schema = state.options.conn_id, state.options.schema_name
        connection = get_connection(self._conn_id)
        self.is_embedded = connection.conn_type == "sqlite"
        self._file: Path | None = None
        if self.is_embedded:
            self._file = Path(unquote(urlsplit(sqlite_uri_of(connection, mode="ro")).path))
        elif self._schema is None:
            raise ConfigError("--schema: expected the name of a schema for the scratch tables, got none")
        self._had_file = self._file is not None and self._file.exists()
        self._had_schema: bool | None = None

    def describe(self) -> str:
        place = f"the file {self._file}" if self._file else f"the schema {self._schema}"
        return f"creates tables in {place}, whose names begin with {self.name}, and drops them at the end"

    def foreign(self) -> list[str]:
        return [f"table {name}" for name in self._tables() if not name.startswith(self.name)]

    def remaining(self) -> list[str]:
        return [f"table {name}" for name in self._tables() if name.startswith(self.name)]

    def remove(self) -> None:
        import sqlalchemy as sa

        if self._file is not None and not self._file.exists():
            return
        with self._opened() as connection:
            inspector = sa.inspect(connection)
            for name in inspector.get_table_names(schema=self._schema):
                if name.startswith(self.name):
                    sa.Table(name, sa.MetaData(), schema=self._schema).drop(connection)
            if self._had_schema is False and self._schema and inspector.has_schema(self._schema):
                connection.execute(sa.schema.DropSchema(self._schema))
        if self._file is not None and not self._had_file:
            for path in (self._file, Path(f"{self._file}-wal"), Path(f"{self._file}-shm")):
                path.unlink(missing_ok=True)

    def cost(self) -> str:
        return "not metered"

    def _tables(self) -> list[str]:
        import sqlalchemy as sa

        if self._file is not None and not self._file.exists():  # opening it would create it
            return []
        with self._opened() as connection:
            inspector = sa.inspect(connection)
            if self._schema is not None:
                exists = inspector.has_schema(self._schema)
                self._had_schema = exists if self._had_schema is None else self._had_schema
                if not exists:
                    return []
            return [*inspector.get_table_names(self._schema), *inspector.get_view_names(self._schema)]

    @contextmanager
    def _opened(self) -> Iterator[sa.Connection]:
        from airflow_pipeline_provider.state.sql_database import engine_from_connection

        engine = engine_from_connection(self._conn_id, 60)
        try:
            with (
                database_errors(f"state.conn_id: connection {self._conn_id!r}"),
                engine.begin() as connection,
            ):
                yield connection
        finally:
            engine.dispose()
