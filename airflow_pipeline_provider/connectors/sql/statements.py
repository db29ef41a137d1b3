"""Build the statements of source `sql`, as (text, parameters), for one table or query.

Names are quoted and values bound; table and query are those of the pipeline's author.
"""

# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from typing import Any

from airflow_pipeline_provider.connectors.sql.times import TimeColumn, TimeKind
from airflow_pipeline_provider.connectors.sql_dialect import Dialect
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.suggestions import did_you_mean

Statement = tuple[str, list[Any]]

# What SQLite's date functions read, and so what counts as a time there (and `sql_times` reads all of it).
_SQLITE_TIMED = (
    "(typeof({t}) = 'text' AND {t} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'"
    " AND julianday({t}) IS NOT NULL)"
)


@dataclass(frozen=True)
class Relation:
    """A table, or a query in brackets, with its columns.

    `types` are the driver's type codes by column name, `digits` precision and scale where the driver has them.
    """

    dialect: Dialect
    source: str
    what: str
    types: dict[str, Any] = field(default_factory=dict)
    digits: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)

    def describe(self) -> Statement:
        """Return the statement that selects no row, for the columns."""
        return f"SELECT * FROM {self.source} WHERE 1 = 0", []

    def require(self, columns: Sequence[str], option: str) -> None:
        """Raise FatalError for a column that does not exist, with the most similar one."""
        for column in columns:
            if column not in self.types:
                hint = did_you_mean(column, self.types, cutoff=0.5) or f"it has {', '.join(self.types)}"
                raise FatalError(
                    f"source.{option}: {self.what} has no column {column!r} (names are matched exactly); {hint}"
                )

    def any_time(self, time: str) -> Statement:
        """Return the statement that reads one valid time in SQLite."""
        t = self.dialect.quoted(time)
        return f"SELECT {t} FROM {self.source} WHERE {self._timed(t)} LIMIT 1", []

    def any_value(self, column: str) -> Statement:
        """Return the statement that reads one value that is not NULL, the smallest where LIMIT may be unknown."""
        name = self.dialect.quoted(column)
        if self.dialect.name == "sqlite":
            return f"SELECT {name} FROM {self.source} WHERE {name} IS NOT NULL LIMIT 1", []
        return f"SELECT MIN({name}) FROM {self.source}", []

    def untimed(self, time: str) -> Statement:
        """Return the statement that counts the rows that are in no window."""
        t = self.dialect.quoted(time)
        if self.dialect.name == "sqlite":
            condition = f"{t} IS NULL OR NOT {self._timed(t)}"
        elif self.dialect.name == "postgres":
            condition = f"{t} IS NULL OR NOT isfinite({t})"
        else:
            condition = f"{t} IS NULL"
        return f"SELECT COUNT(*) FROM {self.source} WHERE {condition}", []

    def newest(self, time: str) -> Statement:
        """Return the statement that reads the newest time."""
        t = self.dialect.quoted(time)
        if self.dialect.name == "sqlite":
            return (
                f"SELECT {t} FROM {self.source} WHERE {self._timed(t)} ORDER BY julianday({t}) DESC LIMIT 1",
                [],
            )
        return f"SELECT MAX({t}) FROM {self.source} WHERE {self._timed(t)}", []

    def _timed(self, t: str) -> str:
        if self.dialect.name == "sqlite":
            return _SQLITE_TIMED.format(t=t)
        return (
            f"({t} IS NOT NULL AND isfinite({t}))" if self.dialect.name == "postgres" else f"{t} IS NOT NULL"
        )

    # --- rows of an interval

    def within(self, time: TimeColumn, interval: Interval) -> Statement:
        """Return the condition for rows of the interval: exact, except for text, where it may include a few more."""
        t, mark = self.dialect.quoted(time.name), self.dialect.placeholder
        if time.kind is TimeKind.TEXT:
            low, high = time.text_range(interval)
            # an offset moves a text by a day; 2013-02-31 is March 3 in SQLite
            first, last = low - timedelta(days=4), high + timedelta(days=2)
            second = timedelta(seconds=1)
            seconds = [
                int(end.replace(tzinfo=timezone.utc).timestamp())
                for end in (low - 2 * second, high + 2 * second)
            ]
            # the first pair serves an index, the last one narrows; texts may have offsets, so neither alone is exact
            return (
                f"({t} >= {mark} AND {t} < {mark} AND {self._timed(t)}"
                f" AND CAST(strftime('%s', {t}) AS INTEGER) BETWEEN {mark} AND {mark})",
                [first.date().isoformat(), last.date().isoformat(), *seconds],
            )
        ranges = time.ranges(interval)
        condition = " OR ".join(f"({t} >= {mark} AND {t} < {mark})" for _ in ranges)
        return f"({condition or '1 = 0'})", [bound for pair in ranges for bound in pair]

    def count(self, time: TimeColumn, interval: Interval, keys: Sequence[str] = ()) -> Statement:
        """Return the statement that counts rows, and for each key column those where it is not NULL."""
        condition, parameters = self.within(time, interval)
        counts = ", ".join(["COUNT(*)", *(f"COUNT({self.dialect.quoted(key)})" for key in keys)])
        return f"SELECT {counts} FROM {self.source} WHERE {condition}", parameters

    def count_by_time(self, time: TimeColumn, interval: Interval, keys: Sequence[str] = ()) -> Statement:
        """Return the statement that counts the same by time: rows of (time, rows, rows with the first key, …)."""
        t = self.dialect.quoted(time.name)
        condition, parameters = self.within(time, interval)
        counts = ", ".join([t, "COUNT(*)", *(f"COUNT({self.dialect.quoted(key)})" for key in keys)])
        return f"SELECT {counts} FROM {self.source} WHERE {condition} GROUP BY {t}", parameters

    def page(
        self,
        time: TimeColumn,
        interval: Interval,
        keys: Sequence[str],
        columns: Sequence[str],
        json_columns: frozenset[str],
        after: Sequence[Any] | None,
        limit: int | None,
    ) -> Statement:
        """Return the statement that reads (time, keys…, columns…) in order, after the time and keys `after`."""
        quoted = self.dialect.quoted
        order = [quoted(name) for name in (time.name, *keys)]
        body = [f"CAST({quoted(name)} AS TEXT)" if name in json_columns else quoted(name) for name in columns]
        condition, parameters = self.within(time, interval)
        if after is not None:
            following, values = self._following(order, after)
            condition, parameters = f"{condition} AND {following}", parameters + values
        sql = f"SELECT {', '.join(order + body)} FROM {self.source} WHERE {condition} ORDER BY {', '.join(order)}"
        return (sql if limit is None else f"{sql} LIMIT {limit}"), parameters

    def _following(self, order: Sequence[str], after: Sequence[Any]) -> Statement:
        """Return `(a, b, c) > (?, ?, ?)` as every database understands it, with a first term that uses an index."""
        mark = self.dialect.placeholder
        sql, parameters = f"{order[-1]} > {mark}", [after[-1]]
        for name, value in zip(reversed(order[:-1]), reversed(after[:-1]), strict=True):
            sql, parameters = f"({name} > {mark} OR ({name} = {mark} AND {sql}))", [value, value, *parameters]
        return f"({order[0]} >= {mark} AND {sql})", [after[0], *parameters]
