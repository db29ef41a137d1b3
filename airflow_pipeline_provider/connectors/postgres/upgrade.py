"""Bring the tables of earlier versions up to date: indexes and the `_LATEST` view.

No load needs these changes, so they must neither stop nor long delay one. An index is built CONCURRENTLY, which
blocks no reader and no writer; for a large table the statement is only logged. The view is replaced only if no query
holds it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from airflow_pipeline_provider.connectors.postgres import sql
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_tables import TargetTables, is_first_view
from airflow_pipeline_provider.exceptions import PipelineError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.postgres.session import PostgresSession

log = logging.getLogger(__name__)

LARGEST_TABLE = 4 * 2**30  # bytes; an index of a larger one takes more than a minute or two
UPGRADE_SECONDS = 60  # the client then stops waiting, and the server finishes the index by itself
VIEW_LOCK_MILLISECONDS = 2_000


class Step(NamedTuple):
    """One change, applied in a session of its own; a failure is logged, and the next prepare tries again."""

    doing: str
    change: Callable[[PostgresSession], None]
    by_hand: str

    def run(self, session: PostgresSession) -> None:
        """Apply the change; log a failure."""
        try:
            self.change(session)
            log.info("%s: done", self.doing)
        except PipelineError as error:
            log.warning("%s failed, and is not needed for the load: %s; %s", self.doing, error, self.by_hand)


def find_upgrade(session: PostgresSession, tables: TargetTables, missing: Sequence[sql.Index]) -> list[Step]:
    """Return what prepare changes after its transaction; log what the table's owner must change."""
    described = session.execute(*sql.describe_for_upgrade(tables.data, tables.latest))
    [(owns_table, size, owns_view, definition)] = described
    steps = []
    for index in missing:
        name = tables.data.sibling(index.suffix)
        if session.execute(*sql.find(name)):
            by_hand = f"run REINDEX INDEX CONCURRENTLY {name} unless it is being built"
            log.warning("%s is an index that is not valid: %s", name, by_hand)
            continue
        by_hand = f"run {index.create(tables.data, concurrently=True)}"
        if owns_table and size <= LARGEST_TABLE:
            steps.append(Step(f"create index {name}", _creating(index, tables.data), by_hand))
        else:
            why = "the table is large" if owns_table else "the connection's role does not own the table"
            log.warning("%s has no index %s, and %s: %s", tables.data, name.last, why, by_hand)
    if is_first_view(str(definition or "")):
        replace = tables.create_view(replace=True)
        if owns_view:
            steps.append(Step(f"replace view {tables.latest}", _replacing(replace), f"run {replace}"))
        else:
            log.warning(
                "%s reads the whole table for every query, and the connection's role does not own it: run %s",
                tables.latest,
                replace,
            )
    return steps


def _creating(index: sql.Index, table: ObjectName) -> Callable[[PostgresSession], None]:
    def change(session: PostgresSession) -> None:
        session.execute(index.create(table, concurrently=True))  # not in a transaction

    return change


def _replacing(statement: str) -> Callable[[PostgresSession], None]:
    def change(session: PostgresSession) -> None:
        session.begin()
        session.execute(*sql.apply_settings({"lock_timeout": str(VIEW_LOCK_MILLISECONDS)}))
        session.execute(statement)
        session.execute("COMMIT")

    return change
