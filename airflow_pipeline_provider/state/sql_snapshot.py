"""Read and write the rows of one pipeline for `SqlState.snapshot` and `restore`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.state.about import NOTHING, merged, read_about
from airflow_pipeline_provider.state.base import Snapshot
from airflow_pipeline_provider.state.rules import earlier_day, merged_runs, newest_token, rest_of

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_pipeline_provider.state.sql_database import Database

_MICROSECOND = timedelta(microseconds=1)


def read_snapshot(
    database: Database, connection: sa.Connection, pipeline: str, entries: list[Entry]
) -> Snapshot:
    """Read a snapshot; `entries` were read before, so a token created meanwhile is newer than all of them."""
    pipelines = database.tables.pipelines
    row = connection.execute(pipelines.select().where(pipelines.c.pipeline_id == pipeline)).one_or_none()
    if row is None:
        return Snapshot()
    about = read_about(row.about, database.what)
    return Snapshot(row.token, row.first_day, tuple(entries), _runs(database, connection, pipeline), about)


def write_snapshot(
    database: Database, connection: sa.Connection, pipeline: str, snapshot: Snapshot, present: list[Entry]
) -> None:
    """Write a snapshot in one transaction that locks the pipeline's row."""
    rest = rest_of(snapshot.entries, present)
    bound = _runs(database, connection, pipeline)
    unbound = [run for run in merged_runs(snapshot.runs, bound) if run not in bound]
    pipelines, ledger, runs = (getattr(database.tables, name) for name in ("pipelines", "ledger", "runs"))
    mine = pipelines.c.pipeline_id == pipeline
    row = connection.execute(pipelines.select().where(mine)).one()
    about = merged(snapshot.about, read_about(row.about, database.what))
    lengths = [(entry.interval.end - entry.interval.start) // _MICROSECOND for entry in snapshot.entries]
    connection.execute(
        pipelines.update()
        .where(mine)
        .values(
            token=newest_token(snapshot, row.token),
            longest_us=max([row.longest_us, *lengths]),
            first_day=earlier_day(row.first_day, snapshot.first_day),
            about=None if about == NOTHING else about.dump(),
        )
    )
    if rest:
        connection.execute(ledger.insert(), [entry_row(pipeline, entry) for entry in rest])
    now = database.clock(connection)
    rows = [
        {
            "pipeline_id": pipeline,
            "run": run,
            "window_start": snapshot.runs[run].start,
            "window_end": snapshot.runs[run].end,
            "bound_at": now - (len(unbound) - number) * _MICROSECOND,  # keeps their order
        }
        for number, run in enumerate(unbound)
    ]
    if rows:
        connection.execute(runs.insert(), rows)


def entry_row(pipeline: str, entry: Entry) -> dict[str, object]:
    """Return the columns of an entry."""
    return {
        "pipeline_id": pipeline,
        "kind": entry.kind.value,
        "window_start": entry.interval.start,
        "window_end": entry.interval.end,
        "at": entry.at,
        "token": entry.token,
        "attempt": entry.attempt,
        "run": entry.run,
        "rows": entry.rows,
        "manifest": entry.manifest,
        "detail": json.dumps(entry.detail, default=str),
    }


def _runs(database: Database, connection: sa.Connection, pipeline: str) -> dict[str, Interval]:
    runs = database.tables.runs
    query = runs.select().where(runs.c.pipeline_id == pipeline).order_by(runs.c.bound_at, runs.c.run)
    return {row.run: Interval(row.window_start, row.window_end) for row in connection.execute(query)}
