"""Build the statements that only PostgreSQL has: session settings, catalog queries, indexes, COPY.

Each function returns a statement, most of them with its parameters.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from airflow_pipeline_provider.connectors.postgres.network import write_settings
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName, TargetDialect
from airflow_pipeline_provider.connectors.sql_tables import DATA_COLUMNS, TargetTables

DIALECT = TargetDialect(
    name="postgres",
    placeholder="%s",
    text="text",
    instant="timestamp with time zone",
    body="text",  # not jsonb: text stays as it is, byte for byte
    integer="bigint",
    body_hash="encode(sha256(convert_to({}, 'UTF8')), 'hex')",
    create_view="CREATE VIEW",  # two sessions cannot create it at once: see `lock_for_creating`
    longest_name=63,  # PostgreSQL cuts longer names off, and only notes it
    counted_id='"RECORD_ID" COLLATE "C"',  # by its bytes: exact, and twice as fast as by a language's rules
)
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
COPY_HOURS = 6  # the server cancels a COPY after that; the client ends one without progress earlier
_LOCK_SPACE = 78  # of our advisory locks; the state store has 77
_COLUMNS = ", ".join(f'"{name}"' for name in DATA_COLUMNS)


def settings(statement_seconds: int) -> dict[str, str]:
    """Return the settings of one transaction; they override those of server, database, role and connection."""
    return {
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        # a policy that hides rows becomes an error: hidden rows would be neither deleted nor counted
        "row_security": "off",
        **write_settings(statement_seconds),
    }


def apply_settings(values: dict[str, str]) -> tuple[str, list[Any]]:
    """Set values for this transaction only, so that a pooler's next client does not inherit them."""
    calls = ", ".join("set_config(%s, %s, true)" for _ in values)
    return f"SELECT {calls}", [word for pair in values.items() for word in pair]


# `off` would lose a commit that the ledger knows when the server crashes; other values are the user's choice
DURABLE_COMMIT = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
# a long statement ends soon after its client is gone (PostgreSQL 14 and newer, where the system notices)
NOTICE_LOST_CLIENT = (
    "SELECT set_config(name, '10s', true) FROM pg_catalog.pg_settings "
    "WHERE name = 'client_connection_check_interval' AND strpos(version(), 'linux') > 0"
)


def lock_for_creating(table: ObjectName) -> tuple[str, list[Any]]:
    """Lock the creation of a table until the transaction ends.

    IF NOT EXISTS is not enough for two sessions that create it at once: one gets a unique_violation of the catalog.
    """
    return "SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_SPACE, zlib.crc32(str(table).encode()) >> 1]


def find(name: ObjectName) -> tuple[str, list[Any]]:
    """Find an object: one row with its relkind ("r", "v", …), or none."""
    schema, relation = name.parts
    return (
        "SELECT c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        [schema, relation],
    )


def describe(table: ObjectName) -> tuple[str, list[Any]]:
    """Describe a table: rows of (column, type)."""
    return (
        "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
        "WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [str(table)],
    )


def definition(view: ObjectName) -> tuple[str, list[Any]]:
    """Read the SQL text of a view: one row."""
    return "SELECT pg_catalog.pg_get_viewdef(CAST(%s AS regclass))", [str(view)]


def may_create(schema: str) -> tuple[str, list[Any]]:
    """Ask whether the role may create tables in the schema, or the missing schema itself: one row with the place."""
    return (
        "SELECT CASE WHEN to_regnamespace(quote_ident(%s)) IS NULL "
        "THEN has_database_privilege(current_database(), 'CREATE') "
        "ELSE has_schema_privilege(quote_ident(%s)::regnamespace::oid, 'CREATE') END, "
        "CASE WHEN to_regnamespace(quote_ident(%s)) IS NULL THEN 'database ' || current_database() "
        "ELSE 'schema ' || quote_ident(%s) END",
        [schema, schema, schema, schema],
    )


class Index(NamedTuple):
    """An index of the data table.

    `columns` are the first columns of an index that serves the same queries.
    """

    suffix: str
    definition: str
    columns: tuple[tuple[str, ...], ...]

    def create(self, table: ObjectName, *, concurrently: bool = False) -> str:
        """Return the statement that creates the index."""
        how = "CONCURRENTLY " if concurrently else ""
        name = DIALECT.object_name(table.sibling(self.suffix).last)
        return f"CREATE INDEX {how}IF NOT EXISTS {name} ON {table} {self.definition}"


INDEXES = (
    Index("_TIMES", '("PIPELINE_ID", "EVENT_TIME")', (("PIPELINE_ID", "EVENT_TIME"),)),  # of DELETE and COUNT
    # of the view's join; a hash is a third of the size of a b-tree, and random ids cost a load little
    Index("_RECORDS", 'USING hash ("RECORD_ID")', (("RECORD_ID",), ("PIPELINE_ID", "RECORD_ID"))),
    # of a filter without PIPELINE_ID; a few pages, since rows arrive almost in the order of time
    Index("_EVENTS", 'USING brin ("EVENT_TIME") WITH (autosummarize = on)', (("EVENT_TIME",),)),
)


def index_quarantine(table: ObjectName) -> str:
    """Return the statement that indexes a new table of quarantined rows; PostgreSQL chooses a name."""
    return f'CREATE INDEX ON {table} ("PIPELINE_ID", "EVENT_TIME")'


def missing_indexes(found: Sequence[tuple[Any, ...]]) -> list[Index]:
    """Return the indexes that nothing in the result of `find_indexes` replaces."""
    present = [tuple(str(column).strip('"') for column in row) for row in found]
    return [
        index
        for index in INDEXES
        if not any(row[: len(columns)] == columns for row in present for columns in index.columns)
    ]


def find_indexes(table: ObjectName) -> tuple[str, list[Any]]:
    """Find the first two columns of each valid and full index, whatever its name."""
    return (
        "SELECT pg_catalog.pg_get_indexdef(indexrelid, 1, true), pg_catalog.pg_get_indexdef(indexrelid, 2, true) "
        "FROM pg_catalog.pg_index WHERE indrelid = CAST(%s AS regclass) AND indisvalid AND indpred IS NULL",
        [str(table)],
    )


def describe_for_upgrade(table: ObjectName, view: ObjectName) -> tuple[str, list[Any]]:
    """Ask what an upgrade needs: one row (owns the table, its bytes, owns the view, the view's SQL text)."""
    return (
        "SELECT pg_catalog.pg_has_role(t.relowner, 'USAGE'), pg_catalog.pg_table_size(t.oid), "
        "pg_catalog.pg_has_role(v.relowner, 'USAGE'), "
        "CASE v.relkind WHEN 'v' THEN pg_catalog.pg_get_viewdef(v.oid) END "
        "FROM pg_catalog.pg_class t, pg_catalog.pg_class v "
        "WHERE t.oid = CAST(%s AS regclass) AND v.oid = CAST(%s AS regclass)",
        [str(table), str(view)],
    )


STAGED = DIALECT.object_name("pg_temp", "staged_rows")


def create_staged(tables: TargetTables) -> str:
    """Return the statement that creates a table of this transaction for the rows of a load."""
    columns = ", ".join(
        f"{DIALECT.quoted(name)} {kind} NOT NULL" for name, kind in tables.types(tables.data).items()
    )
    return f"CREATE TEMPORARY TABLE {DIALECT.quoted(STAGED.last)} ({columns}) ON COMMIT DROP"


def insert_staged(tables: TargetTables, source: str, physical: Mapping[str, str]) -> str:
    """Return the statement that inserts the rows of `STAGED`, with these expressions over `source`.

    It binds nothing, so percent signs are written once.
    """
    names = ", ".join([_COLUMNS, *map(DIALECT.quoted, physical)])
    values = ", ".join([_COLUMNS, *physical.values()])
    statement = f"INSERT INTO {tables.data} ({names}) SELECT {values} FROM {source}"  # noqa: S608
    return statement.replace("%%", "%")


def copy_statement(table: ObjectName) -> str:
    """Return the COPY that reads rows from the client."""
    return f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"


def before_copy(table: ObjectName) -> tuple[str, list[Any]]:
    """Return the query for (the transaction's time, rows of the table that this transaction deleted)."""
    return (
        "SELECT CURRENT_TIMESTAMP, pg_catalog.pg_stat_get_xact_tuples_deleted(CAST(%s AS regclass))",
        [str(table)],
    )


def stored_unchanged(table: ObjectName) -> tuple[str, list[Any]]:
    """Return the query for (is the table plain, rows that this transaction inserted, updated, deleted).

    Only a plain table of the expected types in a database of the client's encoding keeps each row and id as they
    were sent, deletes what it is asked to delete, and shows no rows of other tables.  `prepare` has compared the
    types, but they may have changed since.  The numbers include what defaults and functions did.  They are 0 if the
    server does not count (`track_counts`).
    """
    return (
        "SELECT relkind = 'r' AND NOT (relhastriggers OR relhasrules OR relhassubclass OR relrowsecurity) "
        "AND current_setting('server_encoding') = 'UTF8' "
        "AND (SELECT COUNT(*) = 2 FROM pg_catalog.pg_attribute WHERE attrelid = oid AND atttypmod = -1 AND "
        "(attname, atttypid) IN (('RECORD_ID', 'pg_catalog.text'::regtype), "
        "('EVENT_TIME', 'pg_catalog.timestamptz'::regtype))), "
        "pg_catalog.pg_stat_get_xact_tuples_inserted(oid), pg_catalog.pg_stat_get_xact_tuples_updated(oid), "
        "pg_catalog.pg_stat_get_xact_tuples_deleted(oid) "
        "FROM pg_catalog.pg_class WHERE oid = CAST(%s AS regclass)",
        [str(table)],
    )
