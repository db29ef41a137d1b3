# ruff: noqa: S608  (names are checked by `TargetDialect.parse_name` and quoted)
"""The typed views of a table: `<table>_TYPED`, and a child view of each column of type rows.

A view's comment holds the hash of the columns that it was made from, so `prepare` notices other columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from airflow_pipeline_provider.config.options import Naming
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.typed_rest import held_keys
from airflow_pipeline_provider.connectors.typed_sql import Typed, TypedSql
from airflow_pipeline_provider.core.columns import Column, contract_hash

MADE_BY = "airflow-pipeline-provider"
VERSION = 1  # of these statements; another one replaces the views
COUNTED_AT_ONCE = 400  # columns; PostgreSQL selects at most 1,664 expressions


class Comment(NamedTuple):
    """What the comment of a typed view holds.

    `contract` is the hash of the columns, `physical` the columns of the table that the view reads, and `table` the
    last part of the table's name in lower case: `flights_eu_typed` may be of the table `flights_eu`.
    """

    pipeline_id: str
    contract: str
    version: int = VERSION
    physical: tuple[str, ...] = ()
    table: str | None = None

    def text(self) -> str:
        """Return the comment."""
        fields: dict[str, object] = {
            "pipeline_id": self.pipeline_id,
            "contract": self.contract,
            "version": self.version,
        }
        if self.physical:
            fields["physical"] = self.physical
        if self.table is not None:
            fields["table"] = self.table
        return json.dumps({**fields, "made_by": MADE_BY}, ensure_ascii=False, separators=(",", ":"))


def read_comment(text: str | None) -> Comment | None:
    """Return what a comment holds, None for one that this package did not write."""
    try:
        found = json.loads(text or "")
        if found["made_by"] != MADE_BY:
            return None
        return Comment(
            str(found["pipeline_id"]),
            str(found["contract"]),
            int(found.get("version", 0)),
            tuple(map(str, found.get("physical", ()))),
            found.get("table"),
        )
    except (ValueError, TypeError, KeyError):
        return None


class ViewQuery(NamedTuple):
    """A typed view: its columns, the query that it shows, and the columns of the table that it reads."""

    name: ObjectName
    columns: tuple[str, ...]
    query: str
    physical: tuple[str, ...] = ()


class TypedViews:
    """Build the typed views of a table from the columns of a pipeline."""

    CONDITION = ":condition:"

    def __init__(
        self,
        tables: TargetTables,
        identity: Identity,
        sql: TypedSql,
        naming: Naming,
        physical: Mapping[str, str] | None = None,
    ) -> None:
        """Take the table's columns that views read in place of an expression, by their declared names."""
        self.tables, self.sql, self._naming = tables, sql, naming
        self._all = identity.columns
        self._physical = dict(physical or {})
        self._columns = tuple(column for column in identity.columns if column.mask != "drop")
        self._held = held_keys(identity.columns)
        self.comment = Comment(
            identity.pipeline_id, contract_hash(identity.columns), table=tables.data.last.lower()
        )

    def spell(self, name: str) -> str:
        """Return a name in the case of `target.naming`."""
        cases = {"upper": name.upper(), "lower": name.lower()}
        return cases.get(self._naming, name)

    def views(self) -> list[ViewQuery]:
        """Return the views, the main one first."""
        return [
            self._main(),
            *(self._child(column) for column in self._columns if column.type.kind == "rows"),
        ]

    def retired(self) -> list[ObjectName]:
        """Return the names of child views that columns had when they were of type rows and not masked."""
        rows = {column.name for column in self._columns if column.type.kind == "rows"}
        kept = {self.spell("_TYPED"), *(self.spell(f"_{name}") for name in rows)}
        suffixes = [self.spell(f"_{column.name}") for column in self._all]
        return [self.tables.data.sibling(suffix) for suffix in suffixes if suffix not in kept]

    def _main(self) -> ViewQuery:
        c = self.tables.columns
        # names of their own, since theirs may be those of steps
        read = {name: f"p{n}" for n, name in enumerate(self._physical)}
        rows = str(self.tables.latest)
        if read:
            more = {read[name]: column for name, column in self._physical.items()}
            rows = f"({self.tables.newest_rows(more)}) AS latest"
        computed = [column for column in self._columns if column.name not in read]
        source, typed = self._typed(rows, computed)
        values = read | {column.name: made.result for column, made in zip(computed, typed, strict=True)}
        shown = {"RECORD_ID": c.record_id, "EVENT_TIME": c.event_time}
        for column in self._columns:
            if not any(part.mask for part in column.columns):
                shown[column.name] = values[column.name]
        shown |= {"_REST": self.sql.without("d", self._held), "TOKEN": c.token}
        return self._view("_TYPED", shown, source)._replace(physical=tuple(self._physical.values()))

    def comment_of(self, view: ViewQuery) -> Comment:
        """Return the comment of a view."""
        return self.comment._replace(physical=view.physical)

    def _child(self, rows: Column) -> ViewQuery:
        c = self.tables.columns
        parts = [part for part in rows.columns if part.mask != "drop"]
        source, typed = self._elements(str(self.tables.latest), rows, parts)
        shown = {"RECORD_ID": c.record_id, "ORDINAL": "o", "EVENT_TIME": c.event_time}
        shown |= {part.name: made.result for part, made in zip(parts, typed, strict=True)}
        return self._view(f"_{rows.name}", shown, source)

    def _view(self, suffix: str, shown: Mapping[str, str], source: str) -> ViewQuery:
        columns = {self.spell(name): expression for name, expression in shown.items()}
        selected = ", ".join(
            f"{expression} AS {self.tables.dialect.quoted(name)}" for name, expression in columns.items()
        )
        name = self.tables.data.sibling(self.spell(suffix))
        return ViewQuery(name, tuple(columns), f"SELECT {selected} FROM {source}")

    # --- sources of rows with the steps of columns

    def _typed(
        self, rows: str, columns: Sequence[Column], *, all_read: bool = False
    ) -> tuple[str, list[Typed]]:
        """Return the rows with the steps of the columns; `all_read`: the query reads every one of them."""
        source = self.sql.extend(rows, {"d": self.sql.document(self.tables.columns.body)})
        source, typed = self._columns_of(source, "d", columns, 0, all_read=all_read)
        return self._with_steps(source, typed), typed

    def _elements(
        self, table: str, rows: Column, parts: Sequence[Column], *, all_read: bool = False
    ) -> tuple[str, list[Typed]]:
        source, [array] = self._typed(table, [rows])
        source = self.sql.extend(source, {"a": array.result})
        source = self.sql.explode(source, "a", "e", "o")
        source, typed = self._columns_of(source, "e", parts, 1, all_read=all_read)
        return self._with_steps(source, typed), typed

    def _columns_of(
        self, source: str, document: str, columns: Sequence[Column], first: int, *, all_read: bool
    ) -> tuple[str, list[Typed]]:
        found, values = self.sql.find_all(document, columns) if all_read else ({}, None)
        if found:
            source = self.sql.extend(source, found)
        if values is None:
            values = [self.sql.find(document, column.path) for column in columns]
        made = enumerate(zip(columns, values, strict=True), start=first)
        return source, [self.sql.column(column, n, value) for n, (column, value) in made]

    def _with_steps(self, source: str, typed: Sequence[Typed]) -> str:
        for step in range(max((len(made.steps) for made in typed), default=0)):
            added: dict[str, str] = {}
            for made in typed:
                added |= made.steps[step] if step < len(made.steps) else {}
            source = self.sql.extend(source, added)
        return source

    # --- columns of the table

    def values(self, rows: str, columns: Sequence[Column]) -> tuple[str, list[str]]:
        """Return what follows FROM, and the expression of each column, for rows with a BODY.

        Percent signs are escaped, since values are bound in these statements.
        """
        source, typed = self._typed(rows, columns, all_read=True)
        escape = self.tables.dialect.escape_percent
        return escape(source), [escape(made.result) for made in typed]

    def fill(self, columns: Mapping[str, Column]) -> str:
        """Return the statement that fills columns of the table from BODY; bind what `CONDITION` binds, twice."""
        tables, names = self.tables, ("PIPELINE_ID", "TOKEN", "RECORD_ID", "EVENT_TIME")
        keys = {f"k{n}": tables.dialect.quoted(name) for n, name in enumerate(names)}
        given = ", ".join(f"{column} AS {key}" for key, column in keys.items())
        rows = f"(SELECT {given}, {tables.columns.body} FROM {tables.data} {self.CONDITION}) AS r"
        source, values = self.values(rows, list(columns.values()))
        results = {f"r{n}": value for n, value in enumerate(values)}
        selected = ", ".join([*keys, *(f"{value} AS {result}" for result, value in results.items())])
        filled = ", ".join(
            f"{tables.dialect.quoted(name)} = f.{result}"
            for name, result in zip(columns, results, strict=True)
        )
        same = " AND ".join(f"{column} = f.{key}" for key, column in keys.items())
        return (
            f"UPDATE {tables.data} SET {filled} FROM (SELECT {selected} FROM {source}) AS f "
            f"{self.CONDITION} AND {same}"
        )

    # --- values that do not cast

    def counts(self) -> Iterator[tuple[list[str], str]]:
        """Yield names of columns, and a query that counts for each its values and those that do not cast.

        The caller replaces `CONDITION` in the query by the condition of the rows.
        """
        body = self.tables.columns.body
        rows = f"(SELECT {body} FROM {self.tables.data} {self.CONDITION}) AS r"
        for some in _chunks(self._columns):
            source, typed = self._typed(rows, some, all_read=True)
            yield [column.name for column in some], _counting(typed, source)
        for column in self._columns:
            for some in _chunks(column.columns):
                source, typed = self._elements(rows, column, some, all_read=True)
                yield [f"{column.name}.{part.name}" for part in some], _counting(typed, source)


def _chunks(columns: Sequence[Column]) -> Iterable[Sequence[Column]]:
    return (columns[i : i + COUNTED_AT_ONCE] for i in range(0, len(columns), COUNTED_AT_ONCE))


def _counting(typed: Sequence[Typed], source: str) -> str:
    counted = ", ".join(
        f"COUNT({made.given}), COUNT(CASE WHEN {made.given} IS NOT NULL AND {made.result} IS NULL THEN 1 END)"
        for made in typed
    )
    return f"SELECT {counted} FROM {source}"
