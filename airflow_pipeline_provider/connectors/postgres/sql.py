"""The SQL text that only PostgreSQL has: session settings, its catalog, the index, the view, COPY."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from airflow_pipeline_provider.connectors.load_protocol import (
    ENVELOPE_COLUMNS,
    STAMP_COLUMNS,
    Dialect,
    ObjectName,
)
from airflow_pipeline_provider.connectors.postgres.network import patience_to_write

DIALECT = Dialect(
    text="text",
    instant="timestamp with time zone",
    body="text",  # not jsonb: text stays as it is, byte for byte
    integer="bigint",
    mark="%s",
    create_view="CREATE VIEW",  # `find` looks for it first
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


def definition(view: ObjectName) -> tuple[str, list[Any]]:
    """Return the query of one row with the view's SQL text."""
    return "SELECT pg_catalog.pg_get_viewdef(CAST(%s AS regclass))", [str(view)]


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


class Index(NamedTuple):
    """An index of the data table: the name's suffix, its definition, and the first columns that make another do."""

    suffix: str
    definition: str
    columns: tuple[tuple[str, ...], ...]

    def create(self, table: ObjectName, *, concurrently: bool = False) -> str:
        how = "CONCURRENTLY " if concurrently else ""
        name = ObjectName((table.sibling(self.suffix).last,))
        return f"CREATE INDEX {how}IF NOT EXISTS {name} ON {table} {self.definition}"


INDEXES = (
    Index("_TIMES", '("PIPELINE_ID", "EVENT_TIME")', (("PIPELINE_ID", "EVENT_TIME"),)),  # of DELETE and COUNT
    # of the view's join; a hash is a third of the size of a b-tree, and random ids cost a load little
    Index("_RECORDS", 'USING hash ("RECORD_ID")', (("RECORD_ID",), ("PIPELINE_ID", "RECORD_ID"))),
    # of a filter without PIPELINE_ID; a few pages, since rows arrive almost in the order of time
    Index("_EVENTS", 'USING brin ("EVENT_TIME") WITH (autosummarize = on)', (("EVENT_TIME",),)),
)


def missing_indexes(found: Sequence[tuple[Any, ...]]) -> list[Index]:
    """Return the indexes whose work no index in the answer of `find_indexes` does."""
    present = [tuple(str(column).strip('"') for column in row) for row in found]
    return [
        index
        for index in INDEXES
        if not any(row[: len(columns)] == columns for row in present for columns in index.columns)
    ]


def find_indexes(table: ObjectName) -> tuple[str, list[Any]]:
    """Return the query of the first two columns of each valid and full index, whatever its name."""
    return (
        "SELECT pg_catalog.pg_get_indexdef(indexrelid, 1, true), pg_catalog.pg_get_indexdef(indexrelid, 2, true) "
        "FROM pg_catalog.pg_index WHERE indrelid = CAST(%s AS regclass) AND indisvalid AND indpred IS NULL",
        [str(table)],
    )


def describe_for_upgrade(table: ObjectName, view: ObjectName) -> tuple[str, list[Any]]:
    """Return the query of one row: (may the role change the table, its bytes, may it change the view, the view)."""
    return (
        "SELECT pg_catalog.pg_has_role(t.relowner, 'USAGE'), pg_catalog.pg_table_size(t.oid), "
        "pg_catalog.pg_has_role(v.relowner, 'USAGE'), "
        "CASE v.relkind WHEN 'v' THEN pg_catalog.pg_get_viewdef(v.oid) END "
        "FROM pg_catalog.pg_class t, pg_catalog.pg_class v "
        "WHERE t.oid = CAST(%s AS regclass) AND v.oid = CAST(%s AS regclass)",
        [str(table), str(view)],
    )


def copy_rows(table: ObjectName) -> str:
    return f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
