"""Add the record of each pipeline: its source and target, and manual changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables = context.config.attributes["tables"]
    op.add_column(f"{tables.prefix}pipelines", sa.Column("about", sa.Text), schema=tables.schema)


def downgrade() -> None:
    tables = context.config.attributes["tables"]
    op.drop_column(f"{tables.prefix}pipelines", "about", schema=tables.schema)
