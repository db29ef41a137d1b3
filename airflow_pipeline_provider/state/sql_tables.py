"""Tables of the sql state store for SQLAlchemy; `migrations` creates them.

Instants are readable and keep their microseconds: `timestamptz` in PostgreSQL, and in SQLite, which has
no such type, the text `2013-11-03T05:30:00.000000Z` whose fixed width makes text order the order of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from airflow_pipeline_provider.core.intervals import parse_utc, to_utc

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits; SQLite numbers rows by itself only in a column declared INTEGER."""


def stored_utc(value: datetime) -> str:
    """Format an instant as `2013-11-03T05:30:00.000000Z`."""
    return to_utc(value, "value").replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class Instant(sa.types.TypeDecorator[datetime]):
    """Aware UTC datetimes on both databases."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(
            sa.String(27) if dialect.name == "sqlite" else sa.DateTime(timezone=True)
        )

    def process_bind_param(self, value: Any, dialect: Any) -> object:
        if value is None:
            return None
        return stored_utc(value) if dialect.name == "sqlite" else to_utc(value, "value")

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return parse_utc(value) if dialect.name == "sqlite" else to_utc(value, "value")


@dataclass(frozen=True)
class StateTables:
    """One set of tables: the prefix keeps several sets in one schema apart."""

    metadata: sa.MetaData
    schema: str | None
    prefix: str
    pipelines: sa.Table
    ledger: sa.Table
    leases: sa.Table
    runs: sa.Table

    @property
    def version_table(self) -> str:
        return f"{self.prefix}alembic_version"


def tables(schema: str | None, prefix: str) -> StateTables:
    """Build the tables in a schema (None: the connection's own), their names starting with `prefix`."""
    metadata = sa.MetaData(schema=schema)
    pipelines = sa.Table(
        f"{prefix}pipelines",
        metadata,
        sa.Column("pipeline_id", sa.Text, primary_key=True),
        sa.Column(
            "version", BIG, nullable=False
        ),  # PostgreSQL: increases with each change; an update locks the pipeline
        sa.Column("token", BIG, nullable=False),  # the newest fencing token
        sa.Column(
            "longest_us", BIG, nullable=False
        ),  # longest interval in the ledger: bounds the range query
        sa.Column("first_day", sa.Date),
        sa.Column("coverage", sa.Text),  # JSON: `core.coverage` of the entries up to ...
        sa.Column("coverage_upto", BIG),  # ... this one; dropping both costs one long look at the ledger
        sa.Column("about", sa.Text),  # JSON: `state.about`
    )
    ledger = sa.Table(
        f"{prefix}ledger",
        metadata,
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("pipeline_id", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("window_start", Instant, nullable=False),
        sa.Column("window_end", Instant, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("token", BIG),
        sa.Column("attempt", sa.Text),
        sa.Column("run", sa.Text),
        sa.Column("rows", BIG),
        sa.Column("manifest", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),  # JSON
        sa.Index(f"{prefix}ledger_window", "pipeline_id", "window_start"),
        sa.Index(f"{prefix}ledger_order", "pipeline_id", "id"),
        sqlite_autoincrement=True,
    )
    keyed = sa.text("kind IN ('replacing', 'committed')")
    sa.Index(
        f"{prefix}ledger_key",
        ledger.c.pipeline_id,
        ledger.c.window_start,
        ledger.c.window_end,
        ledger.c.token,
        ledger.c.kind,
        unique=True,
        postgresql_where=keyed,
        sqlite_where=keyed,
    )
    leases = sa.Table(
        f"{prefix}leases",
        metadata,
        sa.Column("pipeline_id", sa.Text, primary_key=True),
        sa.Column("window_start", Instant, primary_key=True),
        sa.Column("window_end", Instant, primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("since", Instant, nullable=False),
        sa.Column("until", Instant, nullable=False),
        sa.Column("seconds", sa.Float),  # its length; NULL in a lease of an earlier version
        sa.Column("installation", sa.Text),  # the Airflow that the owner's run belongs to, if any
        sa.Column("executions", sa.Text),  # JSON: `state.owners.Execution` of each task that shares the lease
    )
    runs = sa.Table(
        f"{prefix}runs",
        metadata,
        sa.Column("pipeline_id", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("window_start", Instant, nullable=False),
        sa.Column("window_end", Instant, nullable=False),
        sa.Column("bound_at", Instant, nullable=False),
    )
    return StateTables(metadata, schema, prefix, pipelines, ledger, leases, runs)
