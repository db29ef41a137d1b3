"""Cache the coverage of a ledger up to one entry, so that planning reads only the entries since.

The numbers of one pipeline's entries increase in the order of their commits, because each is drawn while the
pipeline's row is locked.  So a coverage up to number n lacks no entry below n.  A coverage whose last entry is no
longer in the ledger belongs to another ledger and is not used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_pipeline_provider.state.sql_database import Database

logger = logging.getLogger(__name__)

UNSAVED_ENTRIES = 50  # read each time before they are added to the stored coverage


class ReadCoverage(NamedTuple):
    """`coverage` of all entries up to number `upto`.

    `saved_upto` is the number up to which the stored coverage goes, `unsaved` how many entries it lacks.
    """

    coverage: Coverage
    upto: int | None
    saved_upto: int | None
    unsaved: int


def read_coverage(database: Database, connection: sa.Connection, pipeline: str) -> ReadCoverage:
    """Return the stored coverage with the entries since then, or compute it from the whole ledger."""
    row = connection.execute(database.statements.pipeline, {"of_pipeline": pipeline}).one_or_none()
    if row is None:
        return ReadCoverage(Coverage(), None, None, 0)
    saved = row.coverage_upto
    rows = _entries(database, connection, pipeline, saved or 0)
    coverage = continued(row, rows)
    if coverage is not None:
        unsaved = len(rows) - (saved is not None)
    else:
        rows = _entries(database, connection, pipeline, 0)
        coverage, unsaved = _folded(Coverage(), rows), len(rows)
    return ReadCoverage(coverage, rows[-1].id if rows else None, saved, unsaved)


def continued(pipeline: Any, rows: Sequence[Any]) -> Coverage | None:
    """Extend the stored coverage by the ledger's rows from number `coverage_upto` on (None: by all rows).

    Return None where that row is gone, or the stored coverage cannot be parsed.
    """
    if pipeline.coverage_upto is None:
        return _folded(Coverage(), rows)
    if rows and rows[0].id == pipeline.coverage_upto:
        try:
            kept = Coverage.parse(pipeline.coverage)
        except (ValueError, KeyError, TypeError) as error:
            # edited by hand: it is only a cache
            logger.warning("the stored coverage cannot be read and is computed again: %s", error)
            return None
        return _folded(kept, rows[1:])
    return None


def _folded(start: Coverage, rows: Sequence[Any]) -> Coverage:
    entries = (
        Entry(
            Kind(r.kind), Interval(r.window_start, r.window_end), r.window_start, detail=json.loads(r.detail)
        )
        for r in rows
    )
    return start.after(entries)


def save_coverage(database: Database, connection: sa.Connection, pipeline: str, read: ReadCoverage) -> None:
    """Store the coverage unless another process did meanwhile: both values are correct."""
    pipelines = database.tables.pipelines
    unchanged = pipelines.c.coverage_upto.is_not_distinct_from(read.saved_upto)
    connection.execute(
        pipelines.update()
        .where(pipelines.c.pipeline_id == pipeline, unchanged)
        .values(coverage=read.coverage.dump(), coverage_upto=read.upto)
    )


def _entries(database: Database, connection: sa.Connection, pipeline: str, first: int) -> Sequence[Any]:
    """Read the entries that change coverage, from this number on."""
    of = {"of_pipeline": pipeline, "of_first": first}
    return connection.execute(database.statements.counted_entries, of).all()
