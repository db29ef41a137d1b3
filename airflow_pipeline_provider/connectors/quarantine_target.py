"""A SQL target's table of quarantined rows: when it is created, and what each load changes in it.

The first load with quarantined rows creates it, so other loads neither need the right nor pay for it: a load whose
interval no load wrote before has nothing to delete.  A role that may not create tables loads without it, with a
warning: the files of the stage hold the same rows, and `quarantine rebuild` writes them when the table exists.
"""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from airflow_pipeline_provider.connectors.base import Stage
from airflow_pipeline_provider.connectors.load_protocol import LoadProtocol, instant_text
from airflow_pipeline_provider.connectors.quarantine import KeptRow, QuarantineTable
from airflow_pipeline_provider.connectors.sql_hooks import S, SqlHooks
from airflow_pipeline_provider.connectors.sql_tables import TargetTables, check_shape, has_shape
from airflow_pipeline_provider.connectors.values import QuarantinedCount, QuarantinedRow
from airflow_pipeline_provider.core.command_line import name_of, rebuild_quarantine, shell_line
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

log = logging.getLogger(__name__)

T = TypeVar("T")


class QuarantineTarget(SqlHooks[S], ABC):
    """The table of quarantined rows of a SQL target."""

    def quarantine_table(self) -> str | None:
        return ".".join(self.tables.quarantine.parts)

    def quarantined(self, within: Interval | None = None) -> list[QuarantinedCount] | None:
        return self._ask("read quarantined rows", lambda table: table.count(within), None, within)

    def quarantined_rows(self, token: int, most: int) -> list[QuarantinedRow]:
        return self._ask("read quarantined rows", lambda table: table.rows(token, most), [])

    def restore_quarantine(self, manifest: Manifest, stage: Stage) -> int:
        self._create_quarantine()

        def restore(session: S, protocol: LoadProtocol) -> int:
            protocol.take_fence()
            if not self.has_quarantine(session, protocol.tables):
                raise FatalError(
                    f"{protocol.tables.quarantine} is missing: create it as a role that may, and run this again"
                )
            table = QuarantineTable(protocol)
            pieces = table.effective(manifest)
            for piece in pieces:
                table.delete(piece)
            rows = table.insert(manifest, _kept(manifest, pieces, stage))
            if pieces == [manifest.interval]:
                table.check_rows(manifest, rows)
            return rows

        return self.transact("restore quarantined rows", restore)

    # --- in a load

    def replace_quarantined(
        self, session: S, protocol: LoadProtocol, manifest: Manifest, stage: Stage, is_replacement: bool
    ) -> None:
        """Replace the quarantined rows of the interval inside the load's transaction."""
        if not manifest.quarantined and not is_replacement:
            return
        if self.has_quarantine(session, protocol.tables):
            rows = _kept(manifest, [manifest.interval], stage)
            QuarantineTable(protocol).replace(manifest, rows, is_replacement=is_replacement)

    def create_quarantine(self, session: S, tables: TargetTables) -> None:
        """Create the table outside of any load; another worker may have created it meanwhile."""
        self.create_table(session, tables, tables.quarantine)

    def prepare_quarantine(self, manifest: Manifest) -> None:
        """Create the table if the manifest has rows for it and it is missing.

        Raises:
            FatalError: The name is in use.
        """
        if manifest.quarantined:
            self._create_quarantine()

    def _create_quarantine(self) -> None:
        def attempt() -> None:
            with self.open_session("create the table of quarantined rows") as session:
                tables = self.find_tables(session)
                table = tables.quarantine
                if not self.missing_tables(session, [table]):
                    seen = self.column_types(session, table)
                    check_shape(f"table {table}", tables.types(table), seen)
                    return
                if self.view_definition(session, table) is not None:
                    raise FatalError(
                        f"{table} exists and is not a table: drop it, or give target.table another name"
                    )
                try:
                    self.create_quarantine(session, tables)
                except FatalError as error:
                    refused.append((tables.create(table), error))

        refused: list[tuple[str, FatalError]] = []
        self.retry(attempt)
        if refused:
            statement, error = refused[-1]
            again = shell_line(rebuild_quarantine(name_of(self.identity.pipeline_id)))
            log.warning(
                "%s is missing and cannot be created (%s); the quarantined rows are in files of the stage only. "
                "Create it as a role that may, grant SELECT, INSERT, UPDATE and DELETE on it, and run %s: %s",
                self.quarantine_table(),
                error.message,
                again,
                statement,
            )

    def has_quarantine(self, session: S, tables: TargetTables) -> bool:
        """Return whether the table exists; a table of the user's own with its name is not it."""
        table = tables.quarantine
        if self.missing_tables(session, [table]):
            return False
        return has_shape(tables.types(table), self.column_types(session, table))

    def _ask(
        self,
        doing: str,
        question: Callable[[QuarantineTable], T],
        nothing: T,
        interval: Interval | None = None,
    ) -> T:
        def ask(session: S, protocol: LoadProtocol) -> T:
            if not self.has_quarantine(session, protocol.tables):
                return nothing
            return question(QuarantineTable(protocol))

        return self.read(doing, ask, nothing, lambda tables: tables.data, interval)


def _kept(manifest: Manifest, pieces: Sequence[Interval], stage: Stage) -> Iterator[KeptRow]:
    if not manifest.quarantined:
        return
    from airflow_pipeline_provider.envelope.quarantine import iter_rejected

    for part, row in iter_rejected(manifest.quarantined, pieces, stage.open_read):
        time = instant_text(row.event_time)
        yield KeptRow(row.record_id, time, row.reason, stage.url(part.path))
