"""Migrate the metadata tables of state `sql` (Alembic)."""

__all__: list[str] = []
