"""Change markers of a SQL source: the greatest value of `change_column`, and the rows beyond it.

A marker holds each value as a text that names its type, since a parameter of another type may compare differently.
"""

# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from airflow_pipeline_provider.connectors.sql.statements import Relation, Statement
from airflow_pipeline_provider.core.change_markers import ChangeMarker, MarkedWindow, Place

CHANGED, UNKNOWN = "pipeline_changed", "pipeline_unknown"
"""Columns that `with_changes` adds, 1 or NULL."""

_READ: dict[str, Callable[[str], Any]] = {
    "int": int,
    "text": str,
    "decimal": Decimal,
    "float": float,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
}


def write_value(value: object) -> str | None:
    """Return the value as a text that `read_value` reads; None for a type that cannot be kept."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | str | Decimal | float):
        kind = {int: "int", str: "text", Decimal: "decimal"}.get(type(value), "float")
        return f"{kind} {value!r}" if kind == "float" else f"{kind} {value}"
    if isinstance(value, datetime):
        return f"datetime {value.isoformat()}"
    return f"date {value.isoformat()}" if isinstance(value, date) else None


def read_value(text: str) -> Any:
    """Return the value that `write_value` wrote."""
    kind, _, value = text.partition(" ")
    return _READ[kind](value)


def marker_of(column: str, maximum: object) -> ChangeMarker:
    """Return the marker of a table whose `column` has this maximum."""
    if maximum is None:
        return ChangeMarker(unknown=f"change_column {column!r} had no value when the window was read")
    text = write_value(maximum)
    if text is None:
        return ChangeMarker(
            unknown=f"change_column {column!r} holds a {type(maximum).__name__}, which has no order"
        )
    return ChangeMarker((Place(column, "", ()),), (text,))


def why_unknown(window: MarkedWindow, column: str | None) -> str | None:
    """Return why the window's marker cannot be compared by this `change_column`; None if it can."""
    if window.marker is None or window.marker.unknown is not None:
        return window.marker.unknown if window.marker else "the window has no marker"
    of = ", ".join(place.name for place in window.marker.places)
    if of != column:
        return f"change_column was {of} when the window was read, and is {column or 'not set'} now"
    return None


def types_of(window: MarkedWindow) -> tuple[str, ...]:
    """Return the types of the maxima of the window's marker."""
    maxima = window.marker.maxima if window.marker else ()
    return tuple(dict.fromkeys(text.partition(" ")[0] for text in maxima))


def with_changes(relation: Relation, column: str, marker: ChangeMarker) -> tuple[Relation, list[Any]]:
    """Return the relation with two more columns for `Relation.count`, and the parameters that come before its own."""
    quoted, mark = relation.dialect.quoted, relation.dialect.placeholder
    values = [read_value(text) for text in marker.maxima]
    beyond = " OR ".join(f"{quoted(column)} > {mark}" for _ in values)
    changed = f"CASE WHEN {beyond} THEN 1 END AS {quoted(CHANGED)}"
    unknown = f"CASE WHEN {quoted(column)} IS NULL THEN 1 END AS {quoted(UNKNOWN)}"
    source = f"(SELECT *, {changed}, {unknown} FROM {relation.source}) AS changes"
    return replace(relation, source=source), values


def are_below(relation: Relation, column: str, texts: Sequence[str]) -> Statement:
    """Return the statement that reads for each maximum 1 if the column's greatest value is lower now, or gone."""
    greatest, mark = f"MAX({relation.dialect.quoted(column)})", relation.dialect.placeholder
    answers = ", ".join([f"CASE WHEN {greatest} >= {mark} THEN 0 ELSE 1 END"] * len(texts))
    return f"SELECT {answers} FROM {relation.source}", [read_value(text) for text in texts]


def maximum(relation: Relation, column: str) -> Statement:
    """Return the statement that reads the greatest value of the column."""
    return f"SELECT MAX({relation.dialect.quoted(column)}) FROM {relation.source}", []
