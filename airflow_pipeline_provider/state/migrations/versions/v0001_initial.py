"""Add pipelines, ledger, leases and run bindings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables = context.config.attributes["tables"]
    prefix, schema = tables.prefix, tables.schema
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    instant = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
    op.create_table(
        f"{prefix}pipelines",
        sa.Column("pipeline_id", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("token", big, nullable=False),
        sa.Column("longest_us", big, nullable=False),
        sa.Column("first_day", sa.Date),
        schema=schema,
    )
    op.create_table(
        f"{prefix}ledger",
        sa.Column("id", big, primary_key=True, autoincrement=True),
        sa.Column("pipeline_id", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("window_start", instant, nullable=False),
        sa.Column("window_end", instant, nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("token", big),
        sa.Column("attempt", sa.Text),
        sa.Column("run", sa.Text),
        sa.Column("rows", big),
        sa.Column("manifest", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_index(
        f"{prefix}ledger_window", f"{prefix}ledger", ["pipeline_id", "window_start"], schema=schema
    )
    keyed = sa.text("kind IN ('replacing', 'committed')")
    op.create_index(
        f"{prefix}ledger_key",
        f"{prefix}ledger",
        ["pipeline_id", "window_start", "window_end", "token", "kind"],
        unique=True,
        schema=schema,
        postgresql_where=keyed,
        sqlite_where=keyed,
    )
    op.create_table(
        f"{prefix}leases",
        sa.Column("pipeline_id", sa.Text, primary_key=True),
        sa.Column("window_start", instant, primary_key=True),
        sa.Column("window_end", instant, primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("since", instant, nullable=False),
        sa.Column("until", instant, nullable=False),
        schema=schema,
    )
    op.create_table(
        f"{prefix}runs",
        sa.Column("pipeline_id", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, primary_key=True),
        sa.Column("window_start", instant, nullable=False),
        sa.Column("window_end", instant, nullable=False),
        sa.Column("bound_at", instant, nullable=False),
        schema=schema,
    )


def downgrade() -> None:
    tables = context.config.attributes["tables"]
    for name in ("runs", "leases", "ledger", "pipelines"):
        op.drop_table(f"{tables.prefix}{name}", schema=tables.schema)
