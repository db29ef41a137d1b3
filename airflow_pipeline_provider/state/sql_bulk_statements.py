"""Select the ledger's entries of many pipelines: those of an interval, and those that may be unresolved elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.state.sql import shortly_before
from airflow_pipeline_provider.state.sql_database import Database


def overlaps(c: Any, span: Interval, longest_us: int) -> tuple[Any, ...]:
    """Return the conditions of entries that overlap the span; none is longer than the longest."""
    return (
        c.window_start > shortly_before(span.start, longest_us),
        c.window_start < span.end,
        c.window_end > span.start,
    )


def unsettled(
    database: Database, pipelines: Iterable[str], within: Interval, longest_us: int, with_commits: bool
) -> list[sa.Select[Any]]:
    """Select, in any order, the entries that overlap the interval, without those before a commit of the same load."""
    ledger = database.tables.ledger
    c, later = ledger.c, ledger.alias().c
    attempt, replacing = Kind.ATTEMPT.value, Kind.REPLACING.value
    touching = sa.select(ledger).where(c.pipeline_id.in_(list(pipelines)), *overlaps(c, within, longest_us))
    commit = sa.select(sa.literal(1)).where(
        later.kind == Kind.COMMITTED.value,
        later.pipeline_id == c.pipeline_id,
        later.window_start == c.window_start,
        later.window_end == c.window_end,
        sa.or_(
            sa.and_(c.kind == attempt, later.attempt == c.attempt),
            sa.and_(c.kind == replacing, later.token == c.token),
        ),
    )
    begun = c.kind.in_([attempt, replacing])
    left_out = begun if with_commits else c.kind.in_([attempt, replacing, Kind.COMMITTED.value])
    return [
        touching.where(sa.not_(left_out)),
        touching.where(begun, ~commit.correlate(ledger).exists()),
    ]


def unresolved(database: Database, pipelines: Iterable[str], within: Interval | None) -> sa.Select[Any]:
    """Select, in any order, the checks and replacements outside of the interval that may be unresolved.

    The ledger refuses an older token, so a later commit of the window is the newer one.
    """
    ledger = database.tables.ledger
    c, later = ledger.c, ledger.alias().c
    found = sa.select(ledger).where(
        c.pipeline_id.in_(list(pipelines)), c.kind.in_([Kind.CHECKED.value, Kind.REPLACING.value])
    )
    if within is not None:
        before = sa.and_(c.window_start < within.start, c.window_end <= within.start)  # each by the index
        found = found.where(sa.or_(before, c.window_start >= within.end))
    checked, done = Kind.CHECKED.value, [Kind.COMMITTED.value, Kind.WAIVED.value]
    resolved = sa.select(sa.literal(1)).where(
        sa.or_(later.kind.in_(done), sa.and_(c.kind == checked, later.kind == checked)),
        later.pipeline_id == c.pipeline_id,
        later.window_start == c.window_start,
        later.window_end == c.window_end,
        later.id > c.id,
    )
    return found.where(~resolved.correlate(ledger).exists())
