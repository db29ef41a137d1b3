"""Add the fold of each pipeline's ledger, and an index to read the entries after it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables = context.config.attributes["tables"]
    prefix, schema = tables.prefix, tables.schema
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column(f"{prefix}pipelines", sa.Column("coverage", sa.Text), schema=schema)
    op.add_column(f"{prefix}pipelines", sa.Column("coverage_upto", big), schema=schema)
    op.create_index(f"{prefix}ledger_order", f"{prefix}ledger", ["pipeline_id", "id"], schema=schema)


def downgrade() -> None:
    tables = context.config.attributes["tables"]
    op.drop_index(f"{tables.prefix}ledger_order", table_name=f"{tables.prefix}ledger", schema=tables.schema)
    for name in ("coverage_upto", "coverage"):
        op.drop_column(f"{tables.prefix}pipelines", name, schema=tables.schema)
