# ruff: noqa: S608  (names are checked by `parse_name` and quoted, values are bound)
"""What the SQL targets share: names, statements, and what one load transaction does.

Beside a data table `T` stand `T_COMMITS` (one row a load, append-only), `T_FENCE` (one row that every load changes
first, so that loads come one after the other) and the view `T_LATEST` (one row a record id).  Names are checked and
quoted; everything else, times and ids, is a bound parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_pipeline_provider.connectors.base import CommitRow, Identity, LoadResult, TargetCounts
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
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

Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs one statement; a statement that changes rows answers how many in its first column."""

_PART = re.compile(r'"([A-Za-z0-9_$-](?:[A-Za-z0-9_$ -]*[A-Za-z0-9_$-])?)"|([A-Za-z_][A-Za-z0-9_$]*)')
_NAMES = re.compile(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))*")
_LONGEST = 240  # with the suffixes below the 255 of Snowflake
ENVELOPE_COLUMNS = ("RECORD_ID", "EVENT_TIME", "SOURCE_NAME", "BODY")
STAMP_COLUMNS = ("PIPELINE_ID", "WINDOW_START", "WINDOW_END", "TOKEN", "LOADED_AT")
_ROW = (*ENVELOPE_COLUMNS, *STAMP_COLUMNS)
_FIRST_VIEW = re.compile(
    r"(?:CREATE VIEW \S+ AS )?SELECT (?:DISTINCT ON \(PIPELINE_ID, RECORD_ID\) )?"
    + ", ".join(_ROW)
    + r" FROM \S+ (?:ORDER BY PIPELINE_ID, RECORD_ID, TOKEN DESC, EVENT_TIME DESC|QUALIFY \(?row_number\(\) OVER "
    r"\(PARTITION BY PIPELINE_ID, RECORD_ID ORDER BY TOKEN DESC, EVENT_TIME DESC\) = 1\)?) ?;?",
    re.IGNORECASE,
)


# by which column a definition without quotes looks for the newest row first, today's and that of the first versions
_NEWEST_BY = re.compile(
    r"newer\.(TOKEN|EVENT_TIME) > own|ORDER BY .*?\b(TOKEN|EVENT_TIME) DESC", re.IGNORECASE | re.DOTALL
)


class WriteConflictError(TransientError):
    """Another transaction changed the same rows; the transaction is over and may be tried again."""


@dataclass(frozen=True)
class ObjectName:
    """A checked name of one to three parts; `str()` is its quoted SQL text."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(f'"{part}"' for part in self.parts)

    @property
    def last(self) -> str:
        return self.parts[-1]

    def sibling(self, suffix: str) -> ObjectName:
        return ObjectName((*self.parts[:-1], self.last + suffix))


def parse_name(text: str, *, upper: bool = False) -> ObjectName:
    """Parse `ANALYTICS.RAW.FLIGHTS` or `ANALYTICS.raw."flights-2"`; with `upper`, parts without quotes become
    upper case, as in Snowflake.

    Raise ValueError for anything else.
    """
    found = _NAMES.fullmatch(text) and _PART.findall(text)
    if not found or len(found) > 3 or any(len(quoted or bare) > _LONGEST for quoted, bare in found):
        raise ValueError(
            "must be a name of one to three parts with dots between them (ANALYTICS.RAW.FLIGHTS), each of letters, "
            "digits, _ and $ and not beginning with a digit, or in double quotes of letters, digits, _, $, - and "
            f"spaces, got {text!r}"
        )
    return ObjectName(tuple(quoted or (bare.upper() if upper else bare) for quoted, bare in found))


class Dialect(NamedTuple):
    """Column types and the mark of a bound parameter."""

    text: str
    instant: str
    body: str
    integer: str
    mark: str
    counted_id: str = '"RECORD_ID"'  # what COUNT(DISTINCT ...) is asked for
    create_view: str = "CREATE VIEW IF NOT EXISTS"
    keep_grants: str = ""  # what a view that is replaced needs so that others may still read it
    read_instant: str = "{}"  # what to select so that a client gets a datetime, or microseconds since 1970


class Statements:
    """The SQL of one target table."""

    def __init__(self, table: ObjectName, dialect: Dialect, *, keeps_history: bool = False) -> None:
        self.table, self.dialect, self.keeps_history = table, dialect, keeps_history
        self.commits = table.sibling("_COMMITS")
        self.fence = table.sibling("_FENCE")
        self.latest = table.sibling("_LATEST")
        self._at = f"CAST({dialect.mark} AS {dialect.instant})"

    @property
    def columns(self) -> dict[str, dict[str, str]]:
        """Name of each table -> its columns and their types."""
        text, instant, integer = self.dialect.text, self.dialect.instant, self.dialect.integer
        window = {"PIPELINE_ID": text, "WINDOW_START": instant, "WINDOW_END": instant, "TOKEN": integer}
        data = {"RECORD_ID": text, "EVENT_TIME": instant, "SOURCE_NAME": text, "BODY": self.dialect.body}
        return {
            str(self.table): {**data, **window, "LOADED_AT": instant},
            str(self.commits): {
                **window,
                "MANIFEST_SHA256": text,
                "ROW_COUNT": integer,
                "COMMITTED_AT": instant,
            },
            # and PIPELINES (`sql_pipelines`), which tables of older versions get with the next load
            str(self.fence): {"PIPELINE_ID": text, "TOKEN": integer, "TAKEN_AT": instant},
        }

    def create_tables(self) -> list[str]:
        """Statements that create what is missing, each atomic: the fence is born together with its one row."""
        data, commits = self.columns[str(self.table)], self.columns[str(self.commits)]
        text, instant, integer = self.dialect.text, self.dialect.instant, self.dialect.integer
        return [
            f"CREATE TABLE IF NOT EXISTS {self.table} ({_definition(data)})",
            f"CREATE TABLE IF NOT EXISTS {self.commits} ({_definition(commits)})",
            f"CREATE TABLE IF NOT EXISTS {self.fence} AS SELECT CAST('' AS {text}) AS \"PIPELINE_ID\", "
            f'CAST(0 AS {integer}) AS "TOKEN", CAST(CURRENT_TIMESTAMP AS {instant}) AS "TAKEN_AT", '
            f'CAST(NULL AS {text}) AS "PIPELINES"',
        ]

    @property
    def newest_by(self) -> tuple[str, str]:
        """Return the columns whose greatest values make a row the newest of its record.

        Of events it is what was loaded last, since a record's time may be corrected either way.  Of changes it is
        the latest time, whichever window was loaded last.
        """
        return ("EVENT_TIME", "TOKEN") if self.keeps_history else ("TOKEN", "EVENT_TIME")

    def orders_otherwise(self, execute: Execute, definition: str, identity: Identity) -> bool:
        """Return whether the view with this SQL text looks for the newest row by the other rule.

        FatalError if other pipelines load the table: one view cannot follow both rules.
        """
        found = _NEWEST_BY.search(definition.replace('"', ""))
        if found is None or (found[1] or found[2]).upper() == self.newest_by[0]:
            return False  # a view of the user's own is left alone
        others = (
            f'SELECT DISTINCT "PIPELINE_ID" FROM {self.commits} WHERE "PIPELINE_ID" <> {self.dialect.mark}'
        )
        names = execute(others, [identity.pipeline_id])
        check_sharing(str(self.latest), identity, {str(name) for (name,) in names})
        return True

    def create_view(self, *, replace: bool = False) -> str:
        """Return the statement that creates `_LATEST`: the rows of which no newer row has the same record id.

        Databases plan this join as an anti-join and apply a query's filter to `own` first. Every window function
        would read the whole table first, since a filter must not choose among the versions of a record.
        """
        first, second = self.newest_by
        head = "CREATE OR REPLACE VIEW" if replace else self.dialect.create_view
        return (
            f"{head} {self.latest}{self.dialect.keep_grants if replace else ''} AS SELECT "
            + ", ".join(f'own."{name}"' for name in _ROW)
            + f" FROM {self.table} AS own LEFT JOIN {self.table} AS newer"
            ' ON newer."RECORD_ID" = own."RECORD_ID" AND newer."PIPELINE_ID" = own."PIPELINE_ID"'
            f' AND (newer."{first}" > own."{first}"'
            f' OR (newer."{first}" = own."{first}" AND newer."{second}" > own."{second}"))'
            ' WHERE newer."RECORD_ID" IS NULL'
        )

    def insert(self, rows: str) -> str:
        """Copy the envelope columns of `rows`; parameters: `stamps`."""
        mark = self.dialect.mark
        return (
            f"INSERT INTO {self.table} ({_listed([*ENVELOPE_COLUMNS, *STAMP_COLUMNS])}) "
            f"SELECT {_listed(ENVELOPE_COLUMNS)}, "
            f"{mark}, {self._at}, {self._at}, {mark}, CURRENT_TIMESTAMP FROM {rows}"
        )

    def stamps(self, manifest: Manifest) -> list[Any]:
        return [manifest.pipeline_id, *_bounds(manifest.interval), manifest.token]

    def read_commits(self, execute: Execute, pipeline_id: str, within: Interval | None) -> list[CommitRow]:
        mark = self.dialect.mark
        overlaps = f' AND "WINDOW_START" < {self._at} AND "WINDOW_END" > {self._at}' if within else ""
        bounds = [iso_utc(within.end), iso_utc(within.start)] if within else []
        found = execute(
            f'SELECT {self._read("WINDOW_START")}, {self._read("WINDOW_END")}, "TOKEN", "MANIFEST_SHA256", '
            f'"ROW_COUNT" FROM {self.commits} WHERE "PIPELINE_ID" = {mark}{overlaps} '
            'ORDER BY "TOKEN", "WINDOW_START"',
            [pipeline_id, *bounds],
        )
        rows = [
            CommitRow(Interval(_instant(start), _instant(end)), int(token), sha, int(n))
            for start, end, token, sha, n in found
        ]
        return [row for row in rows if within is None or row.interval.overlaps(within)]

    def read_newest_token(self, execute: Execute, pipeline_id: str) -> int:
        """0 without a commit row; asked before each load, when there may be a row for every hour of years."""
        newest = f'SELECT MAX("TOKEN") FROM {self.commits} WHERE "PIPELINE_ID" = {self.dialect.mark}'
        [(token,)] = execute(newest, [pipeline_id])
        return int(token or 0)

    def _read(self, column: str) -> str:
        return self.dialect.read_instant.format(f'"{column}"')

    def read_counts(self, execute: Execute, pipeline_id: str, interval: Interval) -> TargetCounts:
        [(rows, ids)] = execute(
            f"SELECT COUNT(*), COUNT(DISTINCT {self.dialect.counted_id}) FROM {self.table} {self._inside}",
            [pipeline_id, *_bounds(interval)],
        )
        return TargetCounts(int(rows), int(ids))

    def read_counts_by_token(
        self, execute: Execute, pipeline_id: str, interval: Interval
    ) -> dict[int, TargetCounts]:
        found = execute(
            f'SELECT "TOKEN", COUNT(*), COUNT(DISTINCT {self.dialect.counted_id}) FROM {self.table} '
            f'{self._inside} GROUP BY "TOKEN"',
            [pipeline_id, *_bounds(interval)],
        )
        return {int(token): TargetCounts(int(rows), int(ids)) for token, rows, ids in found}

    def read_newest(self, execute: Execute, pipeline_id: str, interval: Interval, token: int) -> int:
        """An outer join with nothing on the other side, which every database plans as an anti-join."""
        start, end = _bounds(interval)
        mark, at = self.dialect.mark, self._at
        [(rows,)] = execute(
            f"SELECT COUNT(*) FROM {self.table} AS own LEFT JOIN {self.table} AS later "
            f'ON later."PIPELINE_ID" = {mark} AND later."EVENT_TIME" >= {at} '
            'AND later."RECORD_ID" = own."RECORD_ID" AND later."EVENT_TIME" > own."EVENT_TIME" '
            f'WHERE own."PIPELINE_ID" = {mark} AND own."EVENT_TIME" >= {at} AND own."EVENT_TIME" < {at} '
            f'AND own."TOKEN" = {mark} AND later."RECORD_ID" IS NULL',
            [pipeline_id, start, pipeline_id, start, end, token],
        )
        return int(rows)

    @property
    def _inside(self) -> str:
        at = self._at
        return f'WHERE "PIPELINE_ID" = {self.dialect.mark} AND "EVENT_TIME" >= {at} AND "EVENT_TIME" < {at}'

    def try_rights(self, execute: Execute) -> None:
        """Run every kind of statement of a load on no rows; the caller rolls back."""
        for table in (self.table, self.commits):
            execute(f"DELETE FROM {table} WHERE 1 = 0", [])
            names = _listed(self.columns[str(table)])
            execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {table} WHERE 1 = 0", [])
        execute(f'UPDATE {self.fence} SET "TOKEN" = "TOKEN" WHERE 1 = 0', [])

    def check_fence(self, rows: int) -> None:
        """Raise FatalError unless the fence table has its one row."""
        if rows != 1:
            raise FatalError(
                f"fence table {self.fence}: expected exactly one row, got {rows}; drop the table while "
                "nothing loads, it is made anew"
            )

    def replace_window(self, execute: Execute, manifest: Manifest, copy: Callable[[], int]) -> LoadResult:
        """What a load does inside of its open transaction; the caller commits, or rolls back when it is `already`.

        `copy` inserts the manifest's rows and returns how many.  SupersededError and DataError as `Target.load`
        promises them.
        """
        mark, pipeline_id, interval = self.dialect.mark, manifest.pipeline_id, manifest.interval
        # first of all: from here on no other load of this table can commit before this one ends
        [(fenced, *_)] = execute(
            f'UPDATE {self.fence} SET "PIPELINE_ID" = {mark}, "TOKEN" = {mark}, "TAKEN_AT" = CURRENT_TIMESTAMP',
            [pipeline_id, manifest.token],
        )
        self.check_fence(fenced)
        reach("load.fence_taken")
        already = is_loaded(self.read_commits(execute, pipeline_id, interval), manifest)
        if not already:
            if not self.keeps_history:
                execute(f"DELETE FROM {self.table} {self._inside}", [pipeline_id, *_bounds(interval)])
                reach("load.deleted")
            copied = copy()
            reach("load.copied")
            if self.keeps_history:
                self._delete_replaced_versions(execute, manifest)
                reach("load.deleted")
            if copied != manifest.rows:
                raise DataError(
                    f"{self.table}: expected {counted(manifest.rows, 'row')} in the parts of {manifest.interval}, "
                    f"got {copied:,}; nothing was changed, extract the window again"
                )
        counts = self._loaded(execute, manifest)
        if already:
            return LoadResult(counts.rows, counts.distinct_ids, already=True)
        check_counts(str(self.table), manifest, counts)
        execute(
            f"INSERT INTO {self.commits} ({_listed(self.columns[str(self.commits)])}) "
            f"SELECT {mark}, {self._at}, {self._at}, {mark}, {mark}, {mark}, CURRENT_TIMESTAMP",
            [*self.stamps(manifest), manifest.sha256, manifest.rows],
        )
        reach("load.commit_row_written")
        return LoadResult(counts.rows, counts.distinct_ids)

    def _delete_replaced_versions(self, execute: Execute, manifest: Manifest) -> None:
        """Delete the rows of older tokens that the manifest holds again: the same record at the same time."""
        bounds, token = [manifest.pipeline_id, *_bounds(manifest.interval)], manifest.token
        mark = self.dialect.mark
        execute(
            f'DELETE FROM {self.table} {self._inside} AND "TOKEN" <> {mark} AND ("RECORD_ID", "EVENT_TIME") IN '
            f'(SELECT "RECORD_ID", "EVENT_TIME" FROM {self.table} {self._inside} AND "TOKEN" = {mark})',
            [*bounds, token, *bounds, token],
        )

    def _loaded(self, execute: Execute, manifest: Manifest) -> TargetCounts:
        pipeline_id, interval = manifest.pipeline_id, manifest.interval
        if not self.keeps_history:
            return self.read_counts(execute, pipeline_id, interval)
        by_token = self.read_counts_by_token(execute, pipeline_id, interval)
        return by_token.get(manifest.token, TargetCounts(0, 0))


def is_first_view(definition: str) -> bool:
    """Return whether this is `_LATEST` as the first versions created it, whose queries read the whole table.

    A view of the user's own, with another column or condition, is not.
    """
    text = re.sub(rf"\w+\.(?=(?:{'|'.join(_ROW)})\b)", "", definition.replace('"', ""))
    return _FIRST_VIEW.fullmatch(" ".join(text.split())) is not None


def is_loaded(overlapping: Sequence[CommitRow], manifest: Manifest) -> bool:
    """Is this very manifest what its interval holds?  SupersededError when another load owns part of it."""
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
    if (counts.rows, counts.distinct_ids) != (manifest.rows, manifest.rows):
        kind = RepeatedIdsError if counts.rows == manifest.rows else DataError
        raise kind(
            f"{table}: expected {counted(manifest.rows, 'row')} with as many distinct record ids in "
            f"{manifest.interval}, got "
            f"{counted(counts.rows, 'row')} and {counted(counts.distinct_ids, 'distinct id')}; nothing was changed, "
            "extract the window "
            "again; if it stays so, the source has rows that share a record id (source.key_columns of a table)"
        )


def check_sharing(view: str, identity: Identity, others: Collection[str]) -> None:
    """Raise FatalError if other pipelines read the view, which must change for this one."""
    if others:
        history = "changes" if identity.keeps_history else "events"
        raise FatalError(
            f"{view} orders the versions of {', '.join(sorted(others))} by another rule than "
            f"source.history: {history} of {identity.pipeline_id}: give {identity.pipeline_id} another target.table"
        )


def check_shape(table: str, expected: Mapping[str, str], seen: Mapping[str, str]) -> None:
    """FatalError naming each missing or differently typed column; columns beyond the expected are welcome."""
    wrong = [
        f"column {name} is {seen[name]}, expected {kind}"
        if name in seen
        else f"column {name} {kind} is missing"
        for name, kind in expected.items()
        if seen.get(name) != kind
    ]
    if wrong:
        raise FatalError(
            f"{table} exists and has another shape: {'; '.join(wrong)}. Give target.table another name, "
            "or rename that table; it is created when it is missing"
        )


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=int(value))


def _bounds(interval: Interval) -> list[str]:
    return [iso_utc(interval.start), iso_utc(interval.end)]


def _listed(names: Any) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _definition(columns: Mapping[str, str]) -> str:
    return ", ".join(f'"{name}" {kind} NOT NULL' for name, kind in columns.items())
