# ruff: noqa: S608  (names are quoted, keys are constants)
"""The typed view on DuckDB."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_pipeline_provider.connectors.sql_dialect import ObjectName
from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.typed_patches import PatchingSql
from airflow_pipeline_provider.connectors.typed_rest import HeldObject, spellings
from airflow_pipeline_provider.connectors.typed_sql import SMALLEST_DOUBLE
from airflow_pipeline_provider.connectors.typed_target import FoundView
from airflow_pipeline_provider.connectors.typed_views import ViewQuery
from airflow_pipeline_provider.core.columns import Column

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.duckdb.session import DuckDBSession

_LARGEST = 2**63
# views and tables of the file that is in use
_FIND = """
SELECT view_name, TRUE, comment FROM duckdb_views()
WHERE database_name = current_database() AND lower(schema_name) = lower(?)
  AND starts_with(lower(view_name), lower(?))
UNION ALL
SELECT table_name, FALSE, comment FROM duckdb_tables()
WHERE database_name = current_database() AND lower(schema_name) = lower(?)
  AND starts_with(lower(table_name), lower(?))
"""


class DuckDBTyped(PatchingSql):
    """Casts are TRY_CAST; steps are subqueries, which DuckDB merges, and computes common expressions once."""

    types: Mapping[str, str] = {
        "text": "VARCHAR",
        "integer": "BIGINT",
        "decimal": "DECIMAL({0},{1})",
        "double": "DOUBLE",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "json": "JSON",
        "array": "JSON",
    }

    def literal(self, text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def document(self, body: str) -> str:
        return f"TRY_CAST({body} AS JSON)"

    def field(self, document: str, path: Sequence[str]) -> str:
        value, pointer = document, ""
        for key in path:
            if key.isdigit():  # a pointer would also lead to an element of an array
                value = self._at(value, pointer)
                value = f"CASE WHEN {self.is_kind(value, 'object')} THEN {self._at(value, f'/{key}')} END"
                pointer = ""
            else:
                pointer += _pointer([key])
        return self._at(value, pointer)

    def find_all(self, document: str, columns: Sequence[Column]) -> tuple[dict[str, str], list[str]]:
        # one function for each path would parse each document as often, and keep 2,048 parsed ones in memory
        pointers: dict[str, int] = {}
        values = []
        for column in columns:
            found = []
            for path in spellings(column.path):
                if any(key.isdigit() for key in path):
                    found.append(self.field(document, path))
                else:
                    found.append(f"x[{pointers.setdefault(_pointer(path), len(pointers) + 1)}]")
            values.append(f"COALESCE({', '.join(found)})")
        if not pointers:
            return {}, values
        return {"x": f"json_extract({document}, [{', '.join(map(self.literal, pointers))}])"}, values

    def _at(self, value: str, pointer: str) -> str:
        return f"json_extract({value}, {self.literal(pointer)})" if pointer else value

    def is_kind(self, value: str, kind: str) -> str:
        return f"json_type({value}) = '{kind.upper()}'"

    def size(self, array: str) -> str:
        return f"json_array_length({array})"

    def first(self, array: str) -> str:
        return f"json_extract({array}, '/0')"

    def without_null(self, value: str) -> str:
        return f"NULLIF({value}, CAST('null' AS JSON))"

    def text(self, value: str) -> str:
        return f"json_extract_string({value}, '$')"

    def array(self, value: str) -> str:
        return value

    def array_of(self, value: str) -> str:
        return f"json_array({value})"

    def drop_keys(self, document: str, keys: Sequence[str]) -> str:
        return f"json_merge_patch({document}, {self._patch((), keys)})" if keys else document

    def drop_below(self, document: str, node: HeldObject, *, is_object: str, is_removed: str) -> str:
        whole, keys = self._patch(node.path[:-1], node.path[-1:]), self._patch(node.path, node.keys)
        nothing = "CAST('{}' AS JSON)"
        keys = f" WHEN {is_object} THEN {keys}" if node.keys else ""
        return f"json_merge_patch({document}, CASE WHEN {is_removed} THEN {whole}{keys} ELSE {nothing} END)"

    def has_only(self, value: str, keys: Sequence[str]) -> str:
        return f"list_has_all([{', '.join(keys)}], json_keys({value}))"

    def _patch(self, path: Sequence[str], keys: Sequence[str]) -> str:
        patch: dict[str, object] = dict.fromkeys(keys)
        for key in reversed(path):
            patch = {key: patch}
        return f"CAST({self.literal(json.dumps(patch, ensure_ascii=False))} AS JSON)"

    def matches(self, text: str, pattern: str) -> str:
        return f"regexp_full_match({text}, {self.literal(pattern)})"

    def sha256(self, text: str) -> str:
        return f"SHA256({text})"

    def number(self, text: str) -> str:
        return text

    def integer(self, number: str) -> str:
        whole = f"regexp_full_match({number}, '[+-]?[0-9]+([.]0*)?')"
        exact = f"TRY_CAST(SPLIT_PART({number}, '.', 1) AS BIGINT)"
        double = f"TRY_CAST({number} AS DOUBLE)"
        fits = f"{double} = TRUNC({double}) AND ABS({double}) < {_LARGEST}"
        return f"CASE WHEN {whole} THEN {exact} WHEN {fits} THEN TRY_CAST({double} AS BIGINT) END"

    def decimal(self, number: str, precision: int, scale: int) -> str:
        return f"TRY_CAST({number} AS DECIMAL({precision}, {scale}))"

    def double(self, number: str) -> str:
        value = f"TRY_CAST({number} AS DOUBLE)"
        tiny = f"ABS({value}) < {SMALLEST_DOUBLE}"
        return f"CASE WHEN {tiny} THEN CAST(0 AS DOUBLE) WHEN isfinite({value}) THEN {value} END"

    def epoch(self, text: str, microseconds: int) -> str:
        whole = f"TRY_CAST(FLOOR(TRY_CAST({text} AS DECIMAL(38, 6)) * {microseconds}) AS BIGINT)"
        fits = f"{whole} >= -62135596800000000 AND {whole} < 253402300800000000"
        return f"CASE WHEN {fits} THEN STRFTIME(MAKE_TIMESTAMP({whole}), '%Y-%m-%dT%H:%M:%S.%f') END"

    def instant(self, local: str, offset: str) -> str:
        return f"TRY_CAST({local} || {offset} AS TIMESTAMP WITH TIME ZONE)"

    def date(self, local: str, offset: str) -> str:
        return f"CAST(MAKE_TIMESTAMP(EPOCH_US({self.instant(local, offset)})) AS DATE)"

    def explode(self, source: str, array: str, element: str, ordinal: str) -> str:
        elements = f"""unnest(from_json({array}, '["JSON"]'))"""
        ordinals = f"unnest(range(CAST(json_array_length({array}) AS BIGINT)))"
        return f"(SELECT *, {elements} AS {element}, {ordinals} AS {ordinal} FROM {source})"


def _pointer(path: Iterable[str]) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def find_views(session: DuckDBSession, tables: TargetTables) -> list[FoundView]:
    """Return the views and tables whose names begin with the data table's and `_`."""
    data = tables.data
    schema = data.parts[-2] if len(data.parts) > 1 else "main"
    found = session.execute(_FIND, [schema, f"{data.last}_"] * 2)
    return [FoundView(_named(data, str(name)), is_view, comment) for name, is_view, comment in found]


def _named(data: ObjectName, name: str) -> ObjectName:
    return data.sibling(name[len(data.last) :])


def create_view(view: ViewQuery, comment: str) -> list[str]:
    """Return the statements that create or replace a view with its comment."""
    text = DuckDBTyped().literal(comment)
    return [f"CREATE OR REPLACE VIEW {view.name} AS {view.query}", f"COMMENT ON VIEW {view.name} IS {text}"]
