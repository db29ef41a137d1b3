"""Statements of the sql state store, each built once and executed with parameters.

SQLAlchemy needs longer to build a statement, and to find its compiled form, than SQLite needs to execute it.  The
parameters of conditions begin with `of_`, since a column's name is taken in INSERT and UPDATE.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from airflow_pipeline_provider.core.coverage import COUNTED
from airflow_pipeline_provider.state.sql_tables import StateTables


class Statements:
    """Those of one set of tables; each takes `of_pipeline`, or the columns that it inserts."""

    def __init__(self, tables: StateTables, *, is_sqlite: bool) -> None:
        self.pipelines, self.entries, self.leases, self.runs = (
            tables.pipelines,
            tables.ledger,
            tables.leases,
            tables.runs,
        )
        self._insert = sqlite.insert if is_sqlite else postgresql.insert

    @staticmethod
    def _mine(table: sa.Table) -> Any:
        return table.c.pipeline_id == sa.bindparam("of_pipeline")

    # --- the pipeline's row

    @cached_property
    def pipeline(self) -> sa.Select[Any]:
        return sa.select(self.pipelines).where(self._mine(self.pipelines))

    @cached_property
    def hold_pipeline(self) -> sa.Update:
        """Compare and set the version; the row's lock lasts until the transaction ends."""
        version = self.pipelines.c.version
        return self.pipelines.update().where(self._mine(self.pipelines)).values(version=version + 1)

    @cached_property
    def first_pipeline(self) -> sa.Insert:
        """Insert the pipeline's first row unless it exists: pipeline_id, version, token, longest_us."""
        return self._insert(self.pipelines).on_conflict_do_nothing()

    @cached_property
    def longest_us(self) -> sa.Select[Any]:
        return sa.select(self.pipelines.c.longest_us).where(self._mine(self.pipelines))

    @cached_property
    def set_longest_us(self) -> sa.Update:
        return self._set("longest_us")

    @cached_property
    def set_token(self) -> sa.Update:
        return self._set("token")

    @cached_property
    def set_about(self) -> sa.Update:
        return self._set("about")

    def _set(self, column: str) -> sa.Update:
        update = self.pipelines.update().where(self._mine(self.pipelines))
        return update.values({column: sa.bindparam("to")})

    @cached_property
    def set_first_day(self) -> sa.Update:
        """Set the first day where none is set, or a later one."""
        first_day = self.pipelines.c.first_day
        return self._set("first_day").where(first_day.is_(None) | (first_day > sa.bindparam("to")))

    # --- the ledger

    @cached_property
    def all_entries(self) -> sa.Select[Any]:
        c = self.entries.c
        return sa.select(self.entries).where(self._mine(self.entries)).order_by(c.id)

    @cached_property
    def entries_within(self) -> sa.Select[Any]:
        """Select the entries from `of_start` to `of_end`; none that overlaps begins at or before `of_earliest`."""
        c = self.entries.c
        return self.all_entries.where(
            # no entry is longer than the longest, so the index serves both ends of the range
            c.window_start > sa.bindparam("of_earliest"),
            c.window_start < sa.bindparam("of_end"),
            c.window_end > sa.bindparam("of_start"),
        )

    @cached_property
    def counted_entries(self) -> sa.Select[Any]:
        """Select the entries that change coverage, from number `of_first` on."""
        c = self.entries.c
        return (
            sa.select(c.id, c.kind, c.window_start, c.window_end, c.detail)
            .where(self._mine(self.entries), c.id >= sa.bindparam("of_first"))
            .where(c.kind.in_([kind.value for kind in COUNTED]))
            .order_by(c.id)
        )

    @cached_property
    def insert_entry(self) -> sa.Insert:
        return self.entries.insert()

    # --- leases

    @cached_property
    def all_leases(self) -> sa.Select[Any]:
        c = self.leases.c
        query = sa.select(self.leases).where(self._mine(self.leases))
        return query.order_by(c.window_start, c.window_end, c.owner)

    @cached_property
    def insert_lease(self) -> sa.Insert:
        return self.leases.insert()

    @cached_property
    def delete_lease(self) -> sa.Delete:
        c = self.leases.c
        return self.leases.delete().where(
            self._mine(self.leases),
            c.window_start == sa.bindparam("of_start"),
            c.window_end == sa.bindparam("of_end"),
            c.owner == sa.bindparam("of_owner"),
        )

    # --- runs

    @cached_property
    def run(self) -> sa.Select[Any]:
        return sa.select(self.runs).where(self._mine(self.runs), self.runs.c.run == sa.bindparam("of_run"))

    @cached_property
    def insert_run(self) -> sa.Insert:
        return self.runs.insert()

    @cached_property
    def delete_run(self) -> sa.Delete:
        return self.runs.delete().where(self._mine(self.runs), self.runs.c.run == sa.bindparam("of_run"))
