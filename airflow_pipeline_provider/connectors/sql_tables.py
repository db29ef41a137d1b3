# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` and quoted)
"""The tables of a SQL target: names, columns, and the statements that create them.

Next to a data table `T` are `T_COMMITS` (one row per load, append-only), `T_FENCE` (one row that every load changes
first, so that loads run one after the other) and the view `T_LATEST` (one row per record id).  The first load that
has quarantined rows creates `T_QUARANTINE` (`quarantine`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName, TargetDialect
from airflow_pipeline_provider.core.columns import TABLE_COLUMNS
from airflow_pipeline_provider.exceptions import FatalError

DATA_COLUMNS = TABLE_COLUMNS
ENVELOPE_COLUMNS, STAMP_COLUMNS = DATA_COLUMNS[:4], DATA_COLUMNS[4:]  # of the part files, and of the load

FENCE_COLUMNS = ("PIPELINES", "PHYSICAL")  # JSON in the one row: `registrations`, `physical`

# _LATEST as the first versions created it, without quotes and qualifiers
_FIRST_VIEW = re.compile(
    r"(?:CREATE VIEW \S+ AS )?SELECT (?:DISTINCT ON \(PIPELINE_ID, RECORD_ID\) )?"
    + ", ".join(DATA_COLUMNS)
    + r" FROM \S+ (?:ORDER BY PIPELINE_ID, RECORD_ID, TOKEN DESC, EVENT_TIME DESC|QUALIFY \(?row_number\(\) OVER "
    r"\(PARTITION BY PIPELINE_ID, RECORD_ID ORDER BY TOKEN DESC, EVENT_TIME DESC\) = 1\)?) ?;?",
    re.IGNORECASE,
)
# the column that a definition without quotes orders by first, of today's view and of the first versions'
_NEWEST_BY = re.compile(
    r"newer\.(TOKEN|EVENT_TIME) > own|ORDER BY .*?\b(TOKEN|EVENT_TIME) DESC", re.IGNORECASE | re.DOTALL
)


class Columns(NamedTuple):
    """The quoted names of all columns."""

    record_id: str
    event_time: str
    source_name: str
    body: str
    pipeline_id: str
    window_start: str
    window_end: str
    token: str
    loaded_at: str
    manifest_sha256: str
    row_count: str
    committed_at: str
    taken_at: str
    reason: str
    stage_file: str
    pipelines: str
    physical: str


class TargetTables:
    """Names, columns and definitions of one target table and what belongs to it."""

    def __init__(self, data: ObjectName, dialect: TargetDialect, *, keeps_history: bool = False) -> None:
        self.data, self.dialect, self.keeps_history = data, dialect, keeps_history
        self.commits = data.sibling("_COMMITS")
        self.fence = data.sibling("_FENCE")
        self.latest = data.sibling("_LATEST")
        self.quarantine = data.sibling("_QUARANTINE")
        if len(self.quarantine.last) > dialect.longest_name:
            self.quarantine = data.sibling("_QUARANT")  # as long as `_COMMITS`
        self.columns = Columns(*(dialect.quoted(name.upper()) for name in Columns._fields))

    @property
    def names(self) -> tuple[ObjectName, ObjectName, ObjectName]:
        """Return the three tables that every load needs, without the view."""
        return self.data, self.commits, self.fence

    def types(self, table: ObjectName) -> dict[str, str]:
        """Return the columns of a table and their types."""
        text, instant, integer = self.dialect.text, self.dialect.instant, self.dialect.integer
        window = {"PIPELINE_ID": text, "WINDOW_START": instant, "WINDOW_END": instant, "TOKEN": integer}
        if table == self.data:
            envelope = {"RECORD_ID": text, "EVENT_TIME": instant, "SOURCE_NAME": text}
            return {**envelope, "BODY": self.dialect.body, **window, "LOADED_AT": instant}
        if table == self.commits:
            return {**window, "MANIFEST_SHA256": text, "ROW_COUNT": integer, "COMMITTED_AT": instant}
        if table == self.quarantine:
            row = {"RECORD_ID": text, "EVENT_TIME": instant, "REASON": text, "STAGE_FILE": text}
            return {**row, **window, "LOADED_AT": instant}
        # and FENCE_COLUMNS, which tables of earlier versions get with the next load
        return {"PIPELINE_ID": text, "TOKEN": integer, "TAKEN_AT": instant}

    def create(self, table: ObjectName) -> str:
        """Return the statement that creates a table; the fence is created together with its one row."""
        if table != self.fence:
            definition = ", ".join(
                f"{self.dialect.quoted(name)} {kind} NOT NULL" for name, kind in self.types(table).items()
            )
            return f"CREATE TABLE IF NOT EXISTS {table} ({definition})"
        c, d = self.columns, self.dialect
        return (
            f"CREATE TABLE IF NOT EXISTS {self.fence} AS SELECT CAST('' AS {d.text}) AS {c.pipeline_id}, "
            f"CAST(0 AS {d.integer}) AS {c.token}, CAST({d.now} AS {d.instant}) AS {c.taken_at}, "
            f"CAST(NULL AS {d.text}) AS {c.pipelines}, CAST(NULL AS {d.text}) AS {c.physical}"
        )

    def listed(self, names: Iterable[str]) -> str:
        """Return quoted column names with commas between them."""
        return ", ".join(self.dialect.quoted(name) for name in names)

    def add_to_fence(self, column: str) -> str:
        """Return the statement that adds one of `FENCE_COLUMNS` to a fence table of an earlier version."""
        name = self.dialect.quoted(column)
        return f"ALTER TABLE {self.fence} ADD COLUMN IF NOT EXISTS {name} {self.dialect.text}"

    def insert(self, rows: str, physical: Mapping[str, str] | None = None) -> str:
        """Return the statement that copies the envelope columns of `rows`; bind `LoadProtocol.stamps`.

        `physical` are further columns with their expressions.
        """
        mark = self.dialect.placeholder
        at = f"CAST({mark} AS {self.dialect.instant})"
        more = physical or {}
        columns = self.listed([*DATA_COLUMNS, *more])
        values = "".join(f", {expression}" for expression in more.values())
        return (
            f"INSERT INTO {self.data} ({columns}) SELECT {self.listed(ENVELOPE_COLUMNS)}, "
            f"{mark}, {at}, {at}, {mark}, {self.dialect.now}{values} FROM {rows}"
        )

    # --- the view

    @property
    def newest_by(self) -> tuple[str, str]:
        """Return the columns whose greatest values make a row the newest of its record.

        Of events it is what was loaded last, since a record's time may be corrected either way.  Of changes it is
        the latest time, whichever window was loaded last.
        """
        return ("EVENT_TIME", "TOKEN") if self.keeps_history else ("TOKEN", "EVENT_TIME")

    def follows_other_rule(self, definition: str) -> bool:
        """Return whether the view with this SQL text orders versions by the rule of the other history mode.

        A view of the user's own follows neither.
        """
        found = _NEWEST_BY.search(without_quotes(definition))
        return found is not None and (found[1] or found[2]).upper() != self.newest_by[0]

    def create_view(self, *, replace: bool = False) -> str:
        """Return the statement that creates `_LATEST`."""
        head = "CREATE OR REPLACE VIEW" if replace else self.dialect.create_view
        grants = self.dialect.keep_grants if replace else ""
        return f"{head} {self.latest}{grants} AS {self.newest_rows()}"

    def newest_rows(self, more: Mapping[str, str] | None = None) -> str:
        """Return the query of `_LATEST`: the rows of which no newer row has the same record id.

        Databases plan this join as an anti-join and apply a query's filter to `own` first. Every window function
        would read the whole table first, since a filter must not choose among the versions of a record.  `more` are
        new names of further columns of the table.
        """
        c, quoted = self.columns, self.dialect.quoted
        first, second = (quoted(name) for name in self.newest_by)
        shown = [f"own.{quoted(name)}" for name in DATA_COLUMNS]
        shown += [f"own.{quoted(column)} AS {name}" for name, column in (more or {}).items()]
        return (
            f"SELECT {', '.join(shown)} FROM {self.data} AS own LEFT JOIN {self.data} AS newer"
            f" ON newer.{c.record_id} = own.{c.record_id} AND newer.{c.pipeline_id} = own.{c.pipeline_id}"
            f" AND (newer.{first} > own.{first}"
            f" OR (newer.{first} = own.{first} AND newer.{second} > own.{second}))"
            f" WHERE newer.{c.record_id} IS NULL"
        )


def without_quotes(definition: str) -> str:
    """Return a view's SQL text without quotes around its names."""
    return definition.replace('"', "").replace("`", "")


def is_first_view(definition: str) -> bool:
    """Return whether this is `_LATEST` as the first versions created it, whose queries read the whole table.

    A view of the user's own, with another column or condition, is not.
    """
    text = re.sub(rf"\w+\.(?=(?:{'|'.join(DATA_COLUMNS)})\b)", "", without_quotes(definition))
    return _FIRST_VIEW.fullmatch(" ".join(text.split())) is not None


def check_sharing(view: str, identity: Identity, others: Collection[str]) -> None:
    """Raise FatalError if other pipelines read the view, which must change for this one."""
    if others:
        history = "changes" if identity.keeps_history else "events"
        raise FatalError(
            f"{view} orders the versions of {', '.join(sorted(others))} by another rule than "
            f"source.history: {history} of {identity.pipeline_id}: give {identity.pipeline_id} another target.table"
        )


def check_shape(table: str, expected: Mapping[str, str], seen: Mapping[str, str]) -> None:
    """Raise FatalError that names each missing or differently typed column; further columns are allowed."""
    if mismatches := _mismatches(expected, seen):
        raise FatalError(
            f"{table} exists and has another shape: {'; '.join(mismatches)}. Give target.table another name, "
            "or rename that table; a missing table is created"
        )


def has_shape(expected: Mapping[str, str], seen: Mapping[str, str]) -> bool:
    """Return whether a table has all of these columns."""
    return not _mismatches(expected, seen)


def _mismatches(expected: Mapping[str, str], seen: Mapping[str, str]) -> list[str]:
    return [
        f"column {name} is {seen[name]}, expected {kind}"
        if name in seen
        else f"column {name} {kind} is missing"
        for name, kind in expected.items()
        if _base_type(seen.get(name, "")) != _base_type(kind)
    ]


def _base_type(kind: str) -> str:
    """Return NUMBER for NUMBER(38,0)."""
    return kind.partition("(")[0]
