# ruff: noqa: S608  (names are checked by `parse_name` and quoted, values are bound)
"""The SQL text that only PostgreSQL has: session settings, its catalog, the index, the view, COPY."""

from __future__ import annotations

import zlib
from typing import Any

from airflow_pipeline_provider.connectors.postgres_network import patience_to_write
from airflow_pipeline_provider.connectors.targets.sql_text import (
    ENVELOPE_COLUMNS,
    STAMP_COLUMNS,
    Dialect,
    ObjectName,
    Statements,
)

DIALECT = Dialect(
    text="text",
    instant="timestamp with time zone",
    body="text",  # not jsonb: text stays as it is, byte for byte
    integer="bigint",
    mark="%s",
    counted_id='"RECORD_ID" COLLATE "C"',  # by its bytes: exact, and twice as fast as by a language's rules
)
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
COPY_HOURS = 6  # the server gives a COPY up after that; one that stands still, the client does before
_LOCK_SPACE = 78  # of our advisory locks; the state store has 77
_COLUMNS = ", ".join(f'"{name}"' for name in (*ENVELOPE_COLUMNS, *STAMP_COLUMNS))


def settings(statement_seconds: int) -> dict[str, str]:
    """Settings of one transaction, whatever server, database, role or connection say."""
    return {
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        # a policy that hides rows becomes an error: hidden rows would be neither deleted nor counted
        "row_security": "off",
        **patience_to_write(statement_seconds),
    }


def apply_settings(values: dict[str, str]) -> tuple[str, list[Any]]:
    """One SELECT, for this transaction only (so that a pooler's next client has none of it)."""
    calls = ", ".join("set_config(%s, %s, true)" for _ in values)
    return f"SELECT {calls}", [word for pair in values.items() for word in pair]


# `off` would lose a commit that the ledger knows when the server crashes; other values are somebody's choice
DURABLE_COMMIT = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
# a long statement ends soon after its client is gone (PostgreSQL 14 and newer, where the system can tell)
NOTICE_LOST_CLIENT = (
    "SELECT set_config(name, '10s', true) FROM pg_catalog.pg_settings "
    "WHERE name = 'client_connection_check_interval' AND strpos(version(), 'linux') > 0"
)


def lock_for_creating(table: ObjectName) -> tuple[str, list[Any]]:
    """Until the transaction ends.  IF NOT EXISTS alone does not help two who create at once: one gets a
    unique_violation from the catalog."""
    return "SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_SPACE, zlib.crc32(str(table).encode()) >> 1]


def find(name: ObjectName) -> tuple[str, list[Any]]:
    """One row with its relkind ("r", "v", ...), or none."""
    schema, relation = name.parts
    return (
        "SELECT c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        [schema, relation],
    )


def describe(table: ObjectName) -> tuple[str, list[Any]]:
    """Rows of (column, type)."""
    return (
        "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
        "WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 AND NOT attisdropped",
        [str(table)],
    )


def may_create(schema: str) -> tuple[str, list[Any]]:
    """One row: may the role create tables in the schema (or the missing schema itself), and where."""
    return (
        "SELECT CASE WHEN to_regnamespace(quote_ident(%s)) IS NULL "
        "THEN has_database_privilege(current_database(), 'CREATE') "
        "ELSE has_schema_privilege(quote_ident(%s)::regnamespace::oid, 'CREATE') END, "
        "CASE WHEN to_regnamespace(quote_ident(%s)) IS NULL THEN 'database ' || current_database() "
        "ELSE 'schema ' || quote_ident(%s) END",
        [schema, schema, schema, schema],
    )


def find_index(table: ObjectName) -> tuple[str, list[Any]]:
    """One row for each index, by whatever name, that begins with the two columns of every DELETE and COUNT."""
    return (
        "SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = CAST(%s AS regclass) AND indisvalid "
        "AND indpred IS NULL AND pg_catalog.pg_get_indexdef(indexrelid, 1, true) = '\"PIPELINE_ID\"' "
        "AND pg_catalog.pg_get_indexdef(indexrelid, 2, true) = '\"EVENT_TIME\"'",
        [str(table)],
    )


def create_index(table: ObjectName) -> str:
    index = ObjectName((table.sibling("_TIMES").last,))
    return f'CREATE INDEX IF NOT EXISTS {index} ON {table} ("PIPELINE_ID", "EVENT_TIME")'


def create_view(statements: Statements) -> str:
    """`Statements.create_view` without QUALIFY: the same row of each record."""
    return (
        f'CREATE VIEW {statements.latest} AS SELECT DISTINCT ON ("PIPELINE_ID", "RECORD_ID") {_COLUMNS} '
        f'FROM {statements.table} ORDER BY "PIPELINE_ID", "RECORD_ID", "TOKEN" DESC, "EVENT_TIME" DESC'
    )


def copy_rows(table: ObjectName) -> str:
    return f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
