"""Propose types of typed columns from the types that PostgreSQL and SQLite have for a source's columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_pipeline_provider.connectors.values import FieldType
from airflow_pipeline_provider.core.columns import MOST_DIGITS, ColumnType, Kind
from airflow_pipeline_provider.core.datasets import table_parts

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.sql.reader import Reader, Shape

_ANY_DECIMAL = ColumnType("decimal", MOST_DIGITS, 9)
_BASE64 = "bytes are a Base64 text"
_NUMERIC = 1700
_POSTGRES: dict[int, tuple[Kind, str | None]] = {  # by oid
    16: ("boolean", None),
    17: ("text", _BASE64),
    18: ("text", None),  # "char"
    19: ("text", None),  # name
    20: ("integer", None),
    21: ("integer", None),
    23: ("integer", None),
    25: ("text", None),
    26: ("integer", None),  # oid
    114: ("json", None),
    650: ("text", None),  # cidr
    700: ("double", None),
    701: ("double", None),
    790: ("text", None),  # money, in the format of the server's locale
    829: ("text", None),  # macaddr
    869: ("text", None),  # inet
    1042: ("text", None),
    1043: ("text", None),
    1082: ("date", None),
    1083: ("text", None),  # time
    1114: ("timestamp", None),
    1184: ("timestamp", None),
    1186: ("text", "an interval is an ISO 8601 text"),
    1266: ("text", None),  # time with time zone
    2950: ("text", None),  # uuid
    3802: ("json", None),
}
_SQLITE_TIMES = (
    "strict_date_optional_time",
    "yyyy-MM-dd HH:mm:ss",
    "yyyy-MM-dd HH:mm:ss.SSS",
    "yyyy-MM-dd HH:mm",
)
_DIGITS = re.compile(r"\( *([0-9]+) *(?:, *([0-9]+) *)?\)")


def field_types(reader: Reader, shape: Shape) -> list[FieldType] | None:
    """Return the columns with the types that the database knows; None for other databases.

    SQLite knows no types of a query's columns, so they are left out.
    """
    if reader.dialect.name == "postgres":
        found = _postgres_types(reader, shape)
    elif reader.dialect.name == "sqlite":
        found = _sqlite_types(reader, shape)
    else:
        return None
    zone = reader.options.time_column_zone
    if zone not in (None, "UTC"):
        note = f"wall time of {zone}: the view reads it as UTC; use EVENT_TIME"
        found = [
            field._replace(note=note)
            if field.path == (shape.time.name,) and field.type.kind == "timestamp"
            else field
            for field in found
        ]
    return found


def _postgres_types(reader: Reader, shape: Shape) -> list[FieldType]:
    oids = {name: int(shape.relation.types[name]) for name in shape.columns}
    others = sorted({oid for oid in oids.values() if oid not in _POSTGRES and oid != _NUMERIC})
    names: dict[int, tuple[str, str]] = {}
    if others:
        statement = (
            "SELECT oid::bigint, typcategory::text, typname::text FROM pg_catalog.pg_type "
            "WHERE oid::bigint = ANY(%s)"
        )
        names = {int(oid): (category, name) for oid, category, name in reader.rows((statement, [others]))}
    return [
        _postgres_type(name, oid, shape.relation.digits.get(name, (None, None)), names)
        for name, oid in oids.items()
    ]


def _postgres_type(
    name: str, oid: int, digits: tuple[int | None, int | None], others: Mapping[int, tuple[str, str]]
) -> FieldType:
    if oid == _NUMERIC:
        return _decimal(name, *digits)
    if oid in _POSTGRES:
        kind, note = _POSTGRES[oid]
        return FieldType((name,), ColumnType(kind), note=note)
    category, type_name = others.get(oid, ("", f"oid {oid}"))
    if category == "A":
        return FieldType((name,), ColumnType("array"))
    known = category in ("E", "S", "I", "D", "T")  # enumerations, texts, network addresses, times, intervals
    return FieldType((name,), ColumnType("text"), note=None if known else f"type {type_name}: check it")


def _decimal(name: str, precision: int | None, scale: int | None) -> FieldType:
    if precision is None or scale is None or precision > 1000:  # psycopg2 has 65535 for none
        return FieldType(
            (name,), _ANY_DECIMAL, note="numeric without digits: more than 9 after the point are rounded"
        )
    if not 1 <= precision <= MOST_DIGITS or not 0 <= scale <= precision:
        return FieldType(
            (name,),
            ColumnType("text"),
            note=f"numeric({precision},{scale}) has no decimal type on all targets",
        )
    return FieldType((name,), ColumnType("decimal", precision, scale))


def _sqlite_types(reader: Reader, shape: Shape) -> list[FieldType]:
    if reader.options.table is None:
        return []
    schema, name = (["main", *table_parts(reader.options.table)])[-2:]
    declared = dict(reader.rows(("SELECT name, type FROM pragma_table_xinfo(?, ?)", [name, schema])))
    return [sqlite_type(column, str(declared[column])) for column in shape.columns if column in declared]


def sqlite_type(name: str, declared: str) -> FieldType:
    """Propose a type from a declared one, by SQLite's rules; values may be of any other type."""
    text = declared.upper()
    digits = _DIGITS.search(text)

    def proposed(kind: Kind, formats: Sequence[str] = (), note: str | None = None) -> FieldType:
        return FieldType((name,), ColumnType(kind), tuple(formats), note)

    if "BOOL" in text:
        return proposed("integer", note="SQLite stores a boolean as 0 or 1")
    if "DATETIME" in text or "TIMESTAMP" in text:
        return proposed("timestamp", _SQLITE_TIMES)
    if "DATE" in text:
        return proposed("date", _SQLITE_TIMES)
    if "INT" in text:
        return proposed("integer")
    if any(word in text for word in ("CHAR", "CLOB", "TEXT", "JSON", "UUID", "TIME")):
        return proposed("text")
    if "BLOB" in text:
        return proposed("text", note=_BASE64)
    if any(word in text for word in ("REAL", "FLOA", "DOUB")):
        return proposed("double")
    if digits and any(word in text for word in ("DECIMAL", "NUMERIC")):
        return _decimal(name, int(digits[1]), int(digits[2] or 0))
    if any(word in text for word in ("DECIMAL", "NUMERIC")):
        return proposed("double", note="SQLite computes with floats here")
    return proposed("text", note=f"declared type {declared or 'missing'}: check it")
