"""SQL rows as envelope rows.

``BODY`` is a JSON object of the columns in the order of the table (or of `columns`).  JSON has no words for some
values; they are written so that nothing is lost:

===================== ====================================================================================
NULL, text, boolean   as in JSON
integer               a JSON number with all its digits
float                 the shortest JSON number that reads back as the same float; ``"NaN"``, ``"Infinity"``
decimal               a string, ``"1.10"``: most readers would make a float of a number
date, time            ISO 8601, ``"2013-11-03"``, ``"05:30:00"``
date-time             ISO 8601; with an offset it is shown in UTC, ``"2013-11-03T05:30:00Z"``
interval              ISO 8601, ``"P1DT3600.000000S"``
bytes                 a Base64 string
UUID, network address a string
array                 a JSON array
json, jsonb           the document itself, as the database writes it
===================== ====================================================================================
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.exceptions import DataError

_AS_TEXT = (Decimal, UUID, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)


def json_text(value: object) -> str:
    """Return the value as JSON; TypeError for a type that is not in the table above."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return json_text(value.value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else json.dumps(_not_finite(value))
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(str(key))}:{json_text(item)}" for key, item in value.items()) + "}"
    return _quoted(_text(value))


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat() if value.tzinfo is None else iso_utc(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"P{value.days}DT{value.seconds}.{value.microseconds:06d}S"
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise TypeError(type(value).__name__)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class RowWriter:
    """Build record ids and bodies of rows; `json_columns` hold JSON text already."""

    def __init__(self, name: str, columns: Sequence[str], json_columns: frozenset[str]) -> None:
        self.name = name
        self._parts: list[tuple[str, str, Callable[[Any], str]]] = [
            (column, f"{_quoted(column)}:", _document if column in json_columns else json_text)
            for column in columns
        ]

    def record_id(self, keys: Sequence[object]) -> str:
        """Return `flights/["UA",1545]`: a JSON array keeps any two keys apart."""
        try:
            return f"{self.name}/{json_text(list(keys))}"
        except TypeError as error:
            raise DataError(
                f"{self.name}: a key column holds a value of type {error}: choose other key_columns, "
                "or cast it with `query`"
            ) from error

    def body(self, values: Sequence[object]) -> str:
        parts = []
        for (column, prefix, write), value in zip(self._parts, values, strict=True):
            try:
                parts.append(prefix + write(value))
            except TypeError as error:
                raise DataError(
                    f"{self.name}: column {column!r} holds a value of type {error}, which has no JSON form: leave "
                    "it out with `columns`, or cast it with `query`"
                ) from error
        return "{" + ",".join(parts) + "}"


def _document(text: str | None) -> str:
    return "null" if text is None else text
