"""Run by alembic; `sql_database` hands over the open connection and the tables, so that all is one transaction."""

from __future__ import annotations

from alembic import context

_connection = context.config.attributes["connection"]
_tables = context.config.attributes["tables"]

context.configure(
    connection=_connection,
    target_metadata=_tables.metadata,
    version_table=_tables.version_table,
    version_table_schema=_tables.schema,
    transactional_ddl=True,  # SQLite can do it too, once BEGIN is explicit
)
with context.begin_transaction():
    context.run_migrations()
