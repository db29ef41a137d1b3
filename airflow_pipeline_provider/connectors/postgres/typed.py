# ruff: noqa: S608  (names are quoted, keys are constants)
"""The typed view on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_pipeline_provider.connectors.sql_tables import TargetTables
from airflow_pipeline_provider.connectors.typed_patches import PatchingSql
from airflow_pipeline_provider.connectors.typed_rest import HeldObject
from airflow_pipeline_provider.connectors.typed_sql import LARGEST_DOUBLE, SMALLEST_DOUBLE
from airflow_pipeline_provider.connectors.typed_target import FoundView
from airflow_pipeline_provider.connectors.typed_views import ViewQuery
from airflow_pipeline_provider.exceptions import FatalError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.postgres.session import PostgresSession

# PARALLEL UNSAFE, as by default: before PostgreSQL 17 a block with EXCEPTION is an error in a parallel query
_TRY_JSONB = """
CREATE OR REPLACE FUNCTION {}(body text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  RETURN body::jsonb;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$""".strip()
_FIND = """
SELECT c.relname::text, c.relkind = 'v', pg_catalog.obj_description(c.oid, 'pg_class')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND left(c.relname, length(%s)) = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_OWNER = """
SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(relowner)),
  relowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
FROM pg_catalog.pg_class WHERE oid = CAST(%s AS regclass)
"""
_DEPENDENTS = """
SELECT DISTINCT CAST(CAST(r.ev_class AS regclass) AS text)
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
WHERE d.classid = CAST('pg_rewrite' AS regclass) AND d.refclassid = CAST('pg_class' AS regclass)
  AND d.refobjid = CAST(%s AS regclass) AND r.ev_class <> d.refobjid ORDER BY 1
"""
_GRANTS = """
SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,
  g.privilege_type, g.is_grantable
FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) g
WHERE c.oid = CAST(%s AS regclass) AND g.grantee <> c.relowner
"""
_SECONDS = ("-62135596800", "253402300800")  # the years 1 to 9999


class PostgresTyped(PatchingSql):
    """Casts are guarded by what makes them valid, since one that fails ends the query.

    Steps are LATERAL subqueries.  OFFSET 0 keeps each a step of its own, so that a document is parsed once; a filter
    on EVENT_TIME still reaches the table, and what a query does not select is not computed.
    """

    types: Mapping[str, str] = {
        "text": "text",
        "integer": "bigint",
        "decimal": "numeric({0},{1})",
        "double": "double precision",
        "boolean": "boolean",
        "date": "date",
        "timestamp": "timestamp with time zone",
        "json": "jsonb",
        "array": "jsonb",
    }

    def __init__(self, has_valid_test: bool, function: str) -> None:
        """Use `function`, which `setup` creates, where the server cannot ask whether a text is valid."""
        self._function = None if has_valid_test else function
        self.setup = () if has_valid_test else (_TRY_JSONB.format(function),)

    def literal(self, text: str) -> str:
        return literal(text)

    def document(self, body: str) -> str:
        if self._function:
            return f"{self._function}({body})"
        return f"CASE WHEN pg_input_is_valid({body}, 'jsonb') THEN CAST({body} AS jsonb) END"

    def field(self, document: str, path: Sequence[str]) -> str:
        return f"({' -> '.join([document, *map(literal, path)])})"

    def is_kind(self, value: str, kind: str) -> str:
        return f"jsonb_typeof({value}) = '{kind}'"

    def size(self, array: str) -> str:
        return f"jsonb_array_length({array})"

    def first(self, array: str) -> str:
        return f"{array} -> 0"

    def without_null(self, value: str) -> str:
        return f"NULLIF({value}, 'null'::jsonb)"

    def text(self, value: str) -> str:
        return f"{value} #>> '{{}}'"

    def array(self, value: str) -> str:
        return value

    def array_of(self, value: str) -> str:
        return f"jsonb_build_array({value})"

    def drop_keys(self, document: str, keys: Sequence[str]) -> str:
        return f"{document} - {_array(map(literal, keys))}"

    def drop_below(self, document: str, node: HeldObject, *, is_object: str, is_removed: str) -> str:
        # a path through an array would be an error, and there is none where the object is
        for key in node.keys:
            path = _array(map(literal, [*node.path, key]))
            document = f"{document} #- CASE WHEN {is_object} THEN {path} ELSE '{{}}' END"
        return f"{document} #- CASE WHEN {is_removed} THEN {_array(map(literal, node.path))} ELSE '{{}}' END"

    def has_only(self, value: str, keys: Sequence[str]) -> str:
        return f"{value} - {_array(keys)} = '{{}}'"

    def matches(self, text: str, pattern: str) -> str:
        return f"{text} ~ {literal(f'^({pattern})$')}"

    def sha256(self, text: str) -> str:
        return f"ENCODE(SHA256(CONVERT_TO({text}, 'UTF8')), 'hex')"

    def number(self, text: str) -> str:
        return f"CAST({text} AS numeric)"

    def integer(self, number: str) -> str:
        fits = f"{number} = TRUNC({number}) AND {number} BETWEEN -9223372036854775808 AND 9223372036854775807"
        return f"CASE WHEN {fits} THEN CAST({number} AS bigint) END"

    def decimal(self, number: str, precision: int, scale: int) -> str:
        rounded = f"ROUND({number}, {scale})"
        fits = f"ABS({rounded}) < 1e{precision - scale}"
        return f"CASE WHEN {fits} THEN CAST({rounded} AS numeric({precision},{scale})) END"

    def double(self, number: str) -> str:
        return (
            f"CASE WHEN ABS({number}) < {SMALLEST_DOUBLE} THEN CAST(0 AS double precision) "
            f"WHEN ABS({number}) <= {LARGEST_DOUBLE} THEN CAST({number} AS double precision) END"
        )

    def epoch(self, text: str, microseconds: int) -> str:
        value = f"CAST({text} AS numeric)"
        whole = f"FLOOR({value} * {microseconds})"
        seconds, rest = f"FLOOR({whole} / 1000000)", f"MOD(MOD({whole}, 1000000) + 1000000, 1000000)"
        per_second = 1_000_000 // microseconds
        fits = f"{value} >= {_SECONDS[0]} * {per_second} AND {value} < {_SECONDS[1]} * {per_second}"
        moment = (
            f"TIMESTAMP '1970-01-01' + CAST({seconds} AS double precision) * INTERVAL '1 second' "
            f"+ CAST({rest} AS double precision) * INTERVAL '1 microsecond'"
        )
        return f"CASE WHEN {fits} THEN TO_CHAR({moment}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US') END"

    def instant(self, local: str, offset: str) -> str:
        return (
            f"CASE WHEN {_day_exists(local)} THEN CAST({local} || {offset} AS timestamp with time zone) END"
        )

    def date(self, local: str, offset: str) -> str:
        return f"CAST({self.instant(local, offset)} AT TIME ZONE 'UTC' AS date)"

    def extend(self, source: str, columns: Mapping[str, str]) -> str:
        computed = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
        step = source.count(" LATERAL ")
        if step == 0:
            computed += ", CAST(NULL AS json) AS z"
        # values of type json cannot be compared, so the planner does not cache the results of steps by their input
        condition = "WHERE z IS NULL " if step else ""
        return f"{source} CROSS JOIN LATERAL (SELECT {computed} {condition}OFFSET 0) AS s{step}"

    def explode(self, source: str, array: str, element: str, ordinal: str) -> str:
        elements = f"jsonb_array_elements({array}) WITH ORDINALITY AS elements(e, i)"
        return (
            f"{source} CROSS JOIN LATERAL (SELECT e AS {element}, i - 1 AS {ordinal} FROM {elements}) AS el"
        )


def literal(text: str) -> str:
    """Return a text constant, whatever standard_conforming_strings is."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def _array(texts: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(texts)}]::text[]"


def _day_exists(local: str) -> str:
    day = f"SUBSTR({local}, 9, 2)"
    first = f"MAKE_DATE(CAST(LEFT({local}, 4) AS int), CAST(SUBSTR({local}, 6, 2) AS int), 1)"
    last = f"EXTRACT(DAY FROM {first} + INTERVAL '1 month' - INTERVAL '1 day')"
    return f"CASE WHEN {day} <= '28' THEN TRUE ELSE CAST({day} AS int) <= {last} END"


def has_valid_test(session: PostgresSession) -> bool:
    """Return whether the server can test a text before it is cast, as PostgreSQL 16 and newer can."""
    [(version,)] = session.execute("SELECT current_setting('server_version_num')")
    return int(version) >= 160_000


def find_views(session: PostgresSession, tables: TargetTables) -> list[FoundView]:
    """Return the views and tables whose names begin with the data table's and `_`."""
    schema, table = tables.data.parts
    prefix = f"{table}_"
    return [
        FoundView(tables.data.sibling(name[len(table) :]), is_view, comment)
        for name, is_view, comment in session.execute(_FIND, [schema, prefix, prefix])
    ]


def view_statements(
    session: PostgresSession | None, view: ViewQuery, comment: str, *, exists: bool
) -> list[str]:
    """Return the statements that create a view, or replace it and keep its owner and grants.

    CREATE OR REPLACE would refuse another column before the last ones, and another type.

    Raises:
        FatalError: Other views depend on it.
    """
    create = [
        f"CREATE VIEW {view.name} AS {view.query}",
        f"COMMENT ON VIEW {view.name} IS {literal(comment)}",
    ]
    if not exists or session is None:
        return create
    if dependents := [str(name) for (name,) in session.execute(_DEPENDENTS, [str(view.name)])]:
        raise FatalError(
            f"{view.name} cannot be replaced while {', '.join(dependents)} depend on it: drop them, apply the "
            "columns, and create them again"
        )
    for role, privilege, may_grant in session.execute(_GRANTS, [str(view.name)]):
        more = " WITH GRANT OPTION" if may_grant else ""
        create.append(f"GRANT {privilege} ON {view.name} TO {role}{more}")
    [(owner, is_ours)] = session.execute(_OWNER, [str(view.name)])
    if not is_ours:
        create.append(f"ALTER VIEW {view.name} OWNER TO {owner}")
    return [f"DROP VIEW {view.name}", *create]
