"""The fold of a ledger, kept with how far it goes, so that planning reads only what was written since.

The numbers of one pipeline's entries grow in the order in which they are committed, since each is drawn while the
pipeline is held.  So a fold up to number n lacks nothing below n, whoever wrote it and whenever.  One whose
last entry is not in the ledger any more is of another ledger, and not used.
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

UNSAVED_ENTRIES = 50  # so many are read again and again before they are folded in


class ReadCoverage(NamedTuple):
    """`coverage` of all entries up to number `upto`; `saved_upto` is how far the row said that it goes, and
    `unsaved` how many entries that fold lacks."""

    coverage: Coverage
    upto: int | None
    saved_upto: int | None
    unsaved: int


def read_coverage(database: Database, connection: sa.Connection, pipeline: str) -> ReadCoverage:
    """The kept fold and what was written since, or all of the ledger where there is none to go on from."""
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
    """The fold that the pipeline's row keeps, after the ledger's rows from number `coverage_upto` on (all of them
    without it); None where that very row is gone, or the fold cannot be read."""
    if pipeline.coverage_upto is None:
        return _folded(Coverage(), rows)
    if rows and rows[0].id == pipeline.coverage_upto:
        try:
            kept = Coverage.parse(pipeline.coverage)
        except (ValueError, KeyError, TypeError) as error:
            # somebody edited it: it is no more than a shortcut
            logger.warning("the kept fold of the ledger cannot be read and is made anew: %s", error)
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
    """Unless somebody else did meanwhile: either is true."""
    pipelines = database.tables.pipelines
    unchanged = pipelines.c.coverage_upto.is_not_distinct_from(read.saved_upto)
    connection.execute(
        pipelines.update()
        .where(pipelines.c.pipeline_id == pipeline, unchanged)
        .values(coverage=read.coverage.dump(), coverage_upto=read.upto)
    )


def _entries(database: Database, connection: sa.Connection, pipeline: str, first: int) -> Sequence[Any]:
    """Those that count, from this number on."""
    of = {"of_pipeline": pipeline, "of_first": first}
    return connection.execute(database.statements.counted_entries, of).all()
