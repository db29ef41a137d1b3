"""Add the length of each lease: one that ends later than that from now was written by a clock that was ahead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables = context.config.attributes["tables"]
    op.add_column(f"{tables.prefix}leases", sa.Column("seconds", sa.Float), schema=tables.schema)


def downgrade() -> None:
    tables = context.config.attributes["tables"]
    op.drop_column(f"{tables.prefix}leases", "seconds", schema=tables.schema)
