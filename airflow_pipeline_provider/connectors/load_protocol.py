# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` and quoted, values are bound)
"""The statements of one load transaction, and of the questions about what was loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_pipeline_provider.connectors.base import CommitRow, LoadResult, TargetCounts
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.core.intervals import Interval, parse_utc, to_utc
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import (
    DataError,
    FatalError,
    RepeatedIdsError,
    SupersededError,
    TransientError,
)
from airflow_pipeline_provider.fault_points import reach

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
Execute = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs one statement; a statement that changes rows returns their number in its first column."""


class Copied(NamedTuple):
    """The number of rows that a copy inserted, and whether they need no counting.

    `proven` is whether the target proved in the same transaction that these are the only rows of the load in the
    window, and that no two have the same record id; otherwise they are counted in the table.
    """

    rows: int
    proven: bool = False


Copy = Callable[[], int | Copied]
"""Inserts the manifest's rows inside the load's transaction; returns their number, or a `Copied`."""


class WriteConflictError(TransientError):
    """Another transaction changed the same rows; this one was rolled back and may be tried again."""


def retry_conflicts(attempt: Callable[[], T], seconds: float) -> T:
    """Run again what raises WriteConflictError, until so many seconds are over."""
    try:
        return attempt()
    except WriteConflictError:  # only then: importing and building the policy costs more than most attempts
        pass
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

    retrying = Retrying(
        retry=retry_if_exception_type(WriteConflictError),
        stop=stop_after_delay(seconds),
        wait=wait_exponential(multiplier=0.02, exp_base=1.5, max=0.5) + wait_random(0, 0.1),
        reraise=True,
    )
    return retrying(attempt)


class LoadProtocol:
    """Reads and changes the tables of a target for one pipeline, through `execute`."""

    def __init__(self, tables: TargetTables, execute: Execute, pipeline_id: str) -> None:
        self.tables, self.execute, self.pipeline_id = tables, execute, pipeline_id
        self._mark = tables.dialect.placeholder
        self._at = f"CAST({self._mark} AS {tables.dialect.instant})"

    # --- questions

    def read_commits(self, within: Interval | None) -> list[CommitRow]:
        """Return the pipeline's commit rows that overlap `within`, oldest token first."""
        c = self.tables.columns
        overlaps = f" AND {c.window_start} < {self._at} AND {c.window_end} > {self._at}" if within else ""
        bounds = [instant_text(within.end), instant_text(within.start)] if within else []
        read = self.tables.dialect.read_instant.format
        found = self.execute(
            f"SELECT {read(c.window_start)}, {read(c.window_end)}, {c.token}, {c.manifest_sha256}, "
            f"{c.row_count} FROM {self.tables.commits} WHERE {c.pipeline_id} = {self._mark}{overlaps} "
            f"ORDER BY {c.token}, {c.window_start}",
            [self.pipeline_id, *bounds],
        )
        rows = [
            CommitRow(Interval(read_instant(start), read_instant(end)), int(token), sha, int(n))
            for start, end, token, sha, n in found
        ]
        return [row for row in rows if within is None or row.interval.overlaps(within)]

    def read_newest_token(self) -> int:
        """Return the newest token of the pipeline, 0 without a commit row.

        It is asked before each load, when there may be a row for every hour of years.
        """
        c = self.tables.columns
        newest = f"SELECT MAX({c.token}) FROM {self.tables.commits} WHERE {c.pipeline_id} = {self._mark}"
        [(token,)] = self.execute(newest, [self.pipeline_id])
        return int(token or 0)

    def read_window_ends(self) -> list[str]:
        """Return the ends of all windows of which the table has rows, of all pipelines, in order of time."""
        end = self.tables.columns.window_end
        found = self.execute(
            f"SELECT DISTINCT {self.tables.dialect.read_instant.format(end)} FROM {self.tables.data}", []
        )
        return sorted(instant_text(read_instant(row[0])) for row in found)

    def read_counts(self, interval: Interval) -> TargetCounts:
        """Count the pipeline's rows and distinct record ids in the interval."""
        [(rows, ids)] = self.execute(
            f"SELECT COUNT(*), COUNT(DISTINCT {self._counted_id}) FROM {self.tables.data} {self.inside}",
            self.bounds(interval),
        )
        return TargetCounts(int(rows), int(ids))

    def read_counts_by_token(self, interval: Interval) -> dict[int, TargetCounts]:
        """Count the pipeline's rows and distinct record ids in the interval for each token."""
        token = self.tables.columns.token
        found = self.execute(
            f"SELECT {token}, COUNT(*), COUNT(DISTINCT {self._counted_id}) FROM {self.tables.data} "
            f"{self.inside} GROUP BY {token}",
            self.bounds(interval),
        )
        return {int(token): TargetCounts(int(rows), int(ids)) for token, rows, ids in found}

    def count_newest(self, interval: Interval, token: int) -> int:
        """Count the token's rows in the interval whose record has no version with a later time.

        It is an outer join with nothing on the other side, which every database plans as an anti-join.
        """
        c, mark, at = self.tables.columns, self._mark, self._at
        pipeline_id, start, end = self.bounds(interval)
        [(rows,)] = self.execute(
            f"SELECT COUNT(*) FROM {self.tables.data} AS own LEFT JOIN {self.tables.data} AS later "
            f"ON later.{c.pipeline_id} = {mark} AND later.{c.event_time} >= {at} "
            f"AND later.{c.record_id} = own.{c.record_id} AND later.{c.event_time} > own.{c.event_time} "
            f"WHERE own.{c.pipeline_id} = {mark} AND own.{c.event_time} >= {at} AND own.{c.event_time} < {at} "
            f"AND own.{c.token} = {mark} AND later.{c.record_id} IS NULL",
            [pipeline_id, start, pipeline_id, start, end, token],
        )
        return int(rows)

    def list_records(self, interval: Interval, *, content: bool) -> tuple[str, list[str]]:
        """Return the statement that reads (record id, event time[, content]) of the pipeline's rows."""
        c, dialect = self.tables.columns, self.tables.dialect
        columns = [c.record_id, dialect.read_instant.format(c.event_time)]
        if content:
            columns.append((dialect.body_json or dialect.body_hash or "{}").format(c.body))
        return f"SELECT {', '.join(columns)} FROM {self.tables.data} {self.inside}", self.bounds(interval)

    def other_pipelines(self) -> set[str]:
        """Return the other pipelines that have commit rows in these tables."""
        c = self.tables.columns
        found = self.execute(
            f"SELECT DISTINCT {c.pipeline_id} FROM {self.tables.commits} WHERE {c.pipeline_id} <> {self._mark}",
            [self.pipeline_id],
        )
        return {str(name) for (name,) in found}

    # --- changes

    def stamps(self, manifest: Manifest) -> list[object]:
        """Return the values that a load adds to each row of the envelope, without LOADED_AT."""
        interval = manifest.interval
        return [
            manifest.pipeline_id,
            instant_text(interval.start),
            instant_text(interval.end),
            manifest.token,
        ]

    def try_rights(self, more: Sequence[ObjectName] = ()) -> None:
        """Run every kind of statement of a load on no rows, also of `more` tables; the caller rolls back."""
        for table in (self.tables.data, self.tables.commits, *more):
            self.execute(f"DELETE FROM {table} WHERE 1 = 0", [])
            names = self.tables.listed(self.tables.types(table))
            self.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {table} WHERE 1 = 0", [])
        token = self.tables.columns.token
        self.execute(f"UPDATE {self.tables.fence} SET {token} = {token} WHERE 1 = 0", [])

    def check_fence(self, rows: int) -> None:
        """Raise FatalError unless the fence table has its one row."""
        if rows != 1:
            raise FatalError(
                f"fence table {self.tables.fence}: expected exactly one row, got {rows}; drop the table while "
                "nothing loads, the next load creates it again"
            )

    def take_fence(self) -> None:
        """Let no other load of the table begin until the transaction ends; it must be the first statement."""
        [(taken, *_)] = self.execute(
            f"UPDATE {self.tables.fence} SET {self.tables.columns.taken_at} = {self.tables.dialect.now}", []
        )
        self.check_fence(taken)

    def replace_window(
        self,
        manifest: Manifest,
        copy: Copy,
        replace_quarantined: Callable[[bool], None] = lambda _: None,
    ) -> LoadResult:
        """Replace a window inside the open transaction; the caller commits, or rolls back if `already` is set.

        `copy` inserts the manifest's rows.  `replace_quarantined` replaces the quarantined rows; its argument is
        whether an earlier load overlaps the window, and so may have left some.

        Raises:
            SupersededError: A newer token, or another manifest of this one, overlaps the window.
            DataError: The counts differ from the manifest's.
        """
        c, mark = self.tables.columns, self._mark
        # must be the first statement: from here on no other load of this table can commit before this one ends
        [(fenced, *_)] = self.execute(
            f"UPDATE {self.tables.fence} SET {c.pipeline_id} = {mark}, {c.token} = {mark}, "
            f"{c.taken_at} = {self.tables.dialect.now}",
            [self.pipeline_id, manifest.token],
        )
        self.check_fence(fenced)
        reach("load.fence_taken")
        overlapping = self.read_commits(manifest.interval)
        already = is_loaded(overlapping, manifest)
        copied = Copied(0) if already else self._replace_rows(manifest, copy)
        counts = TargetCounts(copied.rows, copied.rows) if copied.proven else self._loaded(manifest)
        if already:
            return LoadResult(counts.rows, counts.distinct_ids, already=True)
        check_counts(str(self.tables.data), manifest, counts)
        replace_quarantined(bool(overlapping))
        self.execute(
            f"INSERT INTO {self.tables.commits} ({self.tables.listed(self.tables.types(self.tables.commits))}) "
            f"SELECT {mark}, {self._at}, {self._at}, {mark}, {mark}, {mark}, {self.tables.dialect.now}",
            [*self.stamps(manifest), manifest.sha256, manifest.rows],
        )
        reach("load.commit_row_written")
        return LoadResult(counts.rows, counts.distinct_ids)

    def _replace_rows(self, manifest: Manifest, copy: Copy) -> Copied:
        if not self.tables.keeps_history:
            self.execute(f"DELETE FROM {self.tables.data} {self.inside}", self.bounds(manifest.interval))
            reach("load.deleted")
        answer = copy()
        copied = answer if isinstance(answer, Copied) else Copied(answer)
        reach("load.copied")
        if self.tables.keeps_history:
            self._delete_replaced_versions(manifest)
            reach("load.deleted")
        if copied.rows != manifest.rows:
            raise DataError(
                f"{self.tables.data}: expected {counted(manifest.rows, 'row')} in the parts of "
                f"{manifest.interval}, got {copied.rows:,}; nothing was changed, extract the window again"
            )
        return copied

    def _delete_replaced_versions(self, manifest: Manifest) -> None:
        """Delete the rows of older tokens that the manifest holds again: the same record at the same time."""
        c, mark, data = self.tables.columns, self._mark, self.tables.data
        bounds, token = self.bounds(manifest.interval), manifest.token
        self.execute(
            f"DELETE FROM {data} {self.inside} AND {c.token} <> {mark} AND ({c.record_id}, {c.event_time}) IN "
            f"(SELECT {c.record_id}, {c.event_time} FROM {data} {self.inside} AND {c.token} = {mark})",
            [*bounds, token, *bounds, token],
        )

    def _loaded(self, manifest: Manifest) -> TargetCounts:
        if not self.tables.keeps_history:
            return self.read_counts(manifest.interval)
        return self.read_counts_by_token(manifest.interval).get(manifest.token, TargetCounts(0, 0))

    def holds_token(self, manifest: Manifest) -> bool:
        """Return whether rows in the window already have the manifest's token: those of a lost commit row."""
        token = f"{self.tables.columns.token} = {self._mark}"
        [(found,)] = self.execute(
            f"SELECT EXISTS (SELECT 1 FROM {self.tables.data} {self.inside} AND {token})",
            [*self.bounds(manifest.interval), manifest.token],
        )
        return bool(found)

    @property
    def inside(self) -> str:
        """Return the condition of the pipeline's rows in an interval; bind its `bounds`."""
        c, at = self.tables.columns, self._at
        return f"WHERE {c.pipeline_id} = {self._mark} AND {c.event_time} >= {at} AND {c.event_time} < {at}"

    def between(self, start: str, end: str | None) -> tuple[str, list[str]]:
        """Return the condition of all pipelines' rows in a part of time, and what it binds; None: without an end."""
        time = self.tables.columns.event_time
        if end is None:
            return f"WHERE {time} >= {self._at}", [start]
        return f"WHERE {time} >= {self._at} AND {time} < {self._at}", [start, end]

    def bounds(self, interval: Interval) -> list[str]:
        """Return the values that `inside` binds."""
        return [self.pipeline_id, instant_text(interval.start), instant_text(interval.end)]

    @property
    def _counted_id(self) -> str:
        return self.tables.dialect.counted_id or self.tables.columns.record_id


def is_loaded(overlapping: Sequence[CommitRow], manifest: Manifest) -> bool:
    """Return whether the interval holds this very manifest.

    Raises:
        SupersededError: Another load owns a part of the interval.
    """
    for row in sorted(overlapping, key=lambda row: row.token, reverse=True):
        if row.token < manifest.token:
            break
        same = row.token == manifest.token
        if same and row.interval == manifest.interval and row.manifest_sha == manifest.sha256:
            return True
        raise SupersededError(
            f"{manifest.interval} with token {manifest.token} is too late: {row.interval} was loaded with "
            + (
                f"this token and another manifest, {row.manifest_sha}"
                if same
                else f"the newer token {row.token}"
            )
        )
    return False


def check_counts(table: str, manifest: Manifest, counts: TargetCounts) -> None:
    """Raise DataError unless the table has the manifest's rows, each with a record id of its own."""
    if (counts.rows, counts.distinct_ids) != (manifest.rows, manifest.rows):
        kind = RepeatedIdsError if counts.rows == manifest.rows else DataError
        raise kind(
            f"{table}: expected {counted(manifest.rows, 'row')} with as many distinct record ids in "
            f"{manifest.interval}, got {counted(counts.rows, 'row')} and "
            f"{counted(counts.distinct_ids, 'distinct id')}; nothing was changed, extract the window again; if it "
            "happens again, the source has rows that share a record id (source.key_columns of a table)"
        )


def instant_text(value: datetime) -> str:
    """Return `2013-11-03T05:30:00.000000Z`: of one length, so that a database may compare it as text."""
    return to_utc(value, "value").isoformat(timespec="microseconds").replace("+00:00", "Z")


def micros_of(value: Any) -> int:
    """Return a selected instant (`TargetDialect.read_instant`) as microseconds since 1970."""
    if isinstance(value, int):
        return value
    return (read_instant(value) - _EPOCH) // timedelta(microseconds=1)


def read_instant(value: Any) -> datetime:
    """Return an instant that was selected in the dialect's form."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return parse_utc(value)
    return _EPOCH + timedelta(microseconds=int(value))
