# ruff: noqa: S608  (names are quoted, keys are constants)
"""The typed view on Snowflake."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_pipeline_provider.connectors.snowflake import sql
from airflow_pipeline_provider.connectors.typed_rest import HeldObject
from airflow_pipeline_provider.connectors.typed_sql import LARGEST_DOUBLE, SMALLEST_DOUBLE, TypedSql
from airflow_pipeline_provider.connectors.typed_views import ViewQuery

_LARGEST = 2**63


class SnowflakeTyped(TypedSql):
    """Casts are TRY_ functions, which take texts only; formats are written, since a session may have its own.

    Keys are looked up by GET, which compares their case, and is NULL for what is not an object.
    """

    padding = "0001-01-01T00:00:00.000000000"

    def __init__(self, max_document_size: int) -> None:
        """Take the size of documents, since a text of the usual VARCHAR is too short for a large one."""
        self._length = f"({sql.MAX_BODY_BYTES})" if max_document_size > sql.OLD_MAX_BODY_BYTES else ""
        self.types = {
            "text": f"VARCHAR{self._length}",
            "integer": "NUMBER(38,0)",
            "decimal": "NUMBER({0},{1})",
            "double": "DOUBLE",
            "boolean": "BOOLEAN",
            "date": "DATE",
            "timestamp": "TIMESTAMP_TZ",
            "json": "VARIANT",
            "array": "ARRAY",
        }

    def literal(self, text: str) -> str:
        return sql.literal(text)

    def document(self, body: str) -> str:
        return body

    def field(self, document: str, path: Sequence[str]) -> str:
        for key in path:
            document = f"GET({document}, {sql.literal(key)})"
        return document

    def is_kind(self, value: str, kind: str) -> str:
        return f"IS_{kind.upper()}({value})"

    def size(self, array: str) -> str:
        return f"ARRAY_SIZE({array})"

    def first(self, array: str) -> str:
        return f"GET({array}, 0)"

    def without_null(self, value: str) -> str:
        return f"STRIP_NULL_VALUE({value})"

    def text(self, value: str) -> str:
        return f"{value}::VARCHAR{self._length}"

    def array(self, value: str) -> str:
        return f"{value}::ARRAY"

    def array_of(self, value: str) -> str:
        return f"ARRAY_CONSTRUCT({value})"

    def without(self, document: str, held: HeldObject) -> str:
        keys = [*held.keys, *(inner.path[-1] for inner in held.below)]
        deleted = ", ".join([f"AS_OBJECT({document})", *map(sql.literal, keys)])
        rest = f"OBJECT_DELETE({deleted})" if keys else f"AS_OBJECT({document})"
        for inner in held.below:
            value = self.field(document, inner.path[-1:])
            # a pair with NULL is left out
            rest = f"OBJECT_INSERT({rest}, {sql.literal(inner.path[-1])}, {self._inner(value, inner)}, TRUE)"
        other = "NULL" if held.is_masked else document
        return f"CASE WHEN IS_OBJECT({document}) THEN {rest}::VARIANT ELSE {other} END"

    def _inner(self, value: str, held: HeldObject) -> str:
        return f"NULLIF({self.without(value, held)}, PARSE_JSON('{{}}'))"

    def matches(self, text: str, pattern: str) -> str:
        return f"REGEXP_LIKE({text}, {sql.literal(pattern)})"  # the whole text

    def sha256(self, text: str) -> str:
        return f"SHA2({text}, 256)"

    def number(self, text: str) -> str:
        return text

    def integer(self, number: str) -> str:
        value = f"TRY_CAST({number} AS NUMBER(38, 18))"
        fits = f"{value} = TRUNC({value}) AND {value} >= -{_LARGEST} AND {value} < {_LARGEST}"
        return f"CASE WHEN {fits} THEN CAST({value} AS NUMBER(38, 0)) END"

    def decimal(self, number: str, precision: int, scale: int) -> str:
        return f"TRY_CAST({number} AS NUMBER({precision}, {scale}))"

    def double(self, number: str) -> str:
        value = f"TRY_CAST({number} AS DOUBLE)"
        tiny = f"ABS({value}) < {SMALLEST_DOUBLE}"
        return f"CASE WHEN {tiny} THEN 0::DOUBLE WHEN ABS({value}) <= {LARGEST_DOUBLE} THEN {value} END"

    def epoch(self, text: str, microseconds: int) -> str:
        whole = f"FLOOR(TRY_CAST({text} AS NUMBER(38, 6)) * {microseconds})"
        fits = f"{whole} >= -62135596800000000 AND {whole} < 253402300800000000"
        moment = f"TO_TIMESTAMP_NTZ({whole}, 6)"
        return f"CASE WHEN {fits} THEN TO_VARCHAR({moment}, 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6') END"

    def instant(self, local: str, offset: str) -> str:
        return f"TRY_TO_TIMESTAMP_TZ({local} || {offset}, 'YYYY-MM-DD\"T\"HH24:MI:SS.FF9TZHTZM')"

    def date(self, local: str, offset: str) -> str:
        return f"TO_DATE(CONVERT_TIMEZONE('UTC', {self.instant(local, offset)}))"

    def explode(self, source: str, array: str, element: str, ordinal: str) -> str:
        elements = f"LATERAL FLATTEN(INPUT => s.{array}) AS f"
        return f"(SELECT s.*, f.VALUE AS {element}, f.INDEX AS {ordinal} FROM {source} AS s, {elements})"


def create_view(view: ViewQuery, comment: str, *, exists: bool) -> str:
    """Return the statement that creates a view with its comment, or replaces it and keeps its grants."""
    grants = " COPY GRANTS" if exists else ""
    text = sql.literal(comment)
    return f"CREATE OR REPLACE VIEW {view.name}{grants} COMMENT = {text} AS {view.query}"
