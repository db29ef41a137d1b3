"""Add the installation of each lease's run, and which executions of its tasks share the lease."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = ("installation", "executions")


def upgrade() -> None:
    tables = context.config.attributes["tables"]
    for name in COLUMNS:
        op.add_column(f"{tables.prefix}leases", sa.Column(name, sa.Text), schema=tables.schema)


def downgrade() -> None:
    tables = context.config.attributes["tables"]
    for name in reversed(COLUMNS):
        op.drop_column(f"{tables.prefix}leases", name, schema=tables.schema)
