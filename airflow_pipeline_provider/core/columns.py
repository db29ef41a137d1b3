"""Typed columns of a target: types, paths into a document, formats of dates, and their hash.

A path is a tuple of keys.  In text, dots separate the keys; a key that holds a dot or a quote is in double quotes,
where `""` is one quote: `"a.b".c` is `("a.b", "c")`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec
from msgspec import Struct

Kind = Literal[
    "text", "integer", "decimal", "double", "boolean", "date", "timestamp", "json", "array", "rows"
]
Mask = Literal["sha256", "last4", "drop"]
Level = Literal["ignore", "warn", "fail"]

KINDS: tuple[Kind, ...] = get_args(Kind)
NAME_PATTERN = "[A-Za-z_][A-Za-z0-9_]*"
MOST_COLUMNS = 1500  # with the view's own columns below the 1,600 of PostgreSQL
VIEW_COLUMNS = ("RECORD_ID", "EVENT_TIME", "TOKEN", "_REST")
TABLE_COLUMNS = (
    "RECORD_ID",
    "EVENT_TIME",
    "SOURCE_NAME",
    "BODY",
    "PIPELINE_ID",
    "WINDOW_START",
    "WINDOW_END",
    "TOKEN",
    "LOADED_AT",
)
CHILD_COLUMNS = ("RECORD_ID", "ORDINAL", "EVENT_TIME")  # of the view of an array's elements
# Objects of a target next to the table T are T_COMMITS, ...; the view of an array's elements must be another one.
SIBLINGS = ("COMMITS", "FENCE", "LATEST", "QUARANTINE", "TYPED")
MOST_DIGITS = 38  # of a decimal, on Snowflake and DuckDB
DEFAULT_FORMATS = ("strict_date_optional_time",)
ISO, MILLISECONDS, SECONDS = "iso", "epoch_millis", "epoch_second"
# Elasticsearch's names and patterns -> ISO 8601, a number since 1970, or where year, month, ... are in the text
DATE_FORMATS = {
    "strict_date_optional_time": ISO,
    "strict_date_optional_time_nanos": ISO,
    "date_optional_time": ISO,
    "strict_date_time": ISO,
    "date_time": ISO,
    "strict_date_time_no_millis": ISO,
    "date_time_no_millis": ISO,
    "strict_date": ISO,
    "date": ISO,
    "iso8601": ISO,
    "epoch_millis": MILLISECONDS,
    "epoch_second": SECONDS,
    "basic_date": "yyyyMMdd",
    "yyyyMMdd": "yyyyMMdd",
    "yyyyMMddHHmmss": "yyyyMMddHHmmss",
    "yyyy-MM-dd": "yyyy-MM-dd",
    "yyyy/MM/dd": "yyyy/MM/dd",
    "dd/MM/yyyy": "dd/MM/yyyy",
    "MM/dd/yyyy": "MM/dd/yyyy",
    "dd.MM.yyyy": "dd.MM.yyyy",
    "yyyy-MM-dd HH:mm": "yyyy-MM-dd HH:mm",
    "yyyy-MM-dd HH:mm:ss": "yyyy-MM-dd HH:mm:ss",
    "yyyy-MM-dd HH:mm:ss.SSS": "yyyy-MM-dd HH:mm:ss.SSS",
    "yyyy-MM-dd'T'HH:mm:ss": "yyyy-MM-ddTHH:mm:ss",
    "yyyy/MM/dd HH:mm:ss": "yyyy/MM/dd HH:mm:ss",
    "dd/MM/yyyy HH:mm:ss": "dd/MM/yyyy HH:mm:ss",
    "MM/dd/yyyy HH:mm:ss": "MM/dd/yyyy HH:mm:ss",
}

_DECIMAL = re.compile(r"decimal\( ?([0-9]{1,3}) ?, ?([0-9]{1,3}) ?\)", re.ASCII)
# A bare key neither begins nor ends with a space; no key holds control characters or half a character.
_BARE_KEY = re.compile(r'(?! )[^."\x00-\x1f\x7f-\x9f\ud800-\udfff]+(?<! )')
_KEY = re.compile(rf'"((?:[^"\x00-\x1f\x7f-\x9f\ud800-\udfff]|"")+)"|({_BARE_KEY.pattern})')
_PATH = re.compile(rf"(?:{_KEY.pattern})(?:\.(?:{_KEY.pattern}))*")


class ColumnType(Struct, frozen=True, omit_defaults=True):
    """A column's type; `precision` (digits in all) and `scale` (digits after the point) are a decimal's."""

    kind: Kind
    precision: int | None = None
    scale: int | None = None

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind


class Column(Struct, frozen=True, omit_defaults=True):
    """A typed column: `path` leads to its value in a document.

    `formats` are those of a date or timestamp that are tried in order (`formats_of` adds the default).  `columns` are
    those of type rows, and their paths start at one element.
    """

    name: str
    path: tuple[str, ...]
    type: ColumnType
    formats: tuple[str, ...] = ()
    required: bool = False
    physical: bool = False
    mask: Mask | None = None
    columns: tuple[Column, ...] = ()


class Contract(Struct, frozen=True, omit_defaults=True):
    """What a change of the documents does to a load."""

    new_field: Level = "warn"
    missing_field: Level = "warn"
    type_change: Level = "warn"
    uncastable: Level = "warn"


def parse_type(text: str) -> ColumnType:
    """Parse `text`, `decimal(12,2)` and the other types.

    Raises:
        ValueError: The text is not a type; the message lists the types.
    """
    if text != "decimal" and text in KINDS:
        return ColumnType(text)
    if match := _DECIMAL.fullmatch(text):
        precision, scale = int(match[1]), int(match[2])
        if not (1 <= precision <= MOST_DIGITS and scale <= precision):
            raise ValueError(
                f"must have 1 to {MOST_DIGITS} digits, of which at most all are after the point, got {text!r}"
            )
        return ColumnType("decimal", precision, scale)
    known = ", ".join("decimal(p,s)" if kind == "decimal" else kind for kind in KINDS)
    raise ValueError(f"must be one of {known}, got {text!r}")


def parse_path(text: str) -> tuple[str, ...]:
    """Parse `dep.time` and `"a.b".c` into keys.

    Raises:
        ValueError: A key is empty or not printable, or a quote is not closed.
    """
    if not _PATH.fullmatch(text):
        raise ValueError(
            'must be keys with dots between them such as dep.time, a key with a dot in double quotes ("a.b".c), '
            f"got {text!r}"
        )
    return tuple(bare or quoted.replace('""', '"') for quoted, bare in _KEY.findall(text))


def format_path(path: Iterable[str]) -> str:
    """Return the text that `parse_path` reads as this path."""
    return ".".join(
        key if _BARE_KEY.fullmatch(key) else '"{}"'.format(key.replace('"', '""')) for key in path
    )


def indexed_path(path: Iterable[str]) -> str:
    """Return the name of the field as an index has it: `{"a": {"b": 1}}` and `{"a.b": 1}` are one field."""
    return ".".join(path)


def formats_of(column: Column) -> tuple[str, ...]:
    """Return the formats in which a date or timestamp may be written."""
    return column.formats or DEFAULT_FORMATS


def contract_hash(columns: Iterable[Column]) -> str:
    """Return 16 hex digits that change with the columns, their order and each of their properties."""
    return hashlib.sha256(msgspec.json.encode(tuple(columns))).hexdigest()[:16]
