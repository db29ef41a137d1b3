"""Guess a column's type from sampled values, and count the values that do not cast to a type.

A guess prefers the type that loses nothing: text, json or array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from airflow_pipeline_provider.core.columns import DEFAULT_FORMATS, MOST_DIGITS, ColumnType
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.phases.columns_fields import (
    ARRAY,
    BOOLEAN,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    Field,
)
from airflow_pipeline_provider.phases.columns_texts import (
    ISO_DATE,
    ISO_TIME,
    Texts,
    has_time,
    reads_numbers,
)

SAFE_DIGITS = 18  # of an integer in 64 bits

TEXT, INTEGER_TYPE, DOUBLE, BOOLEAN_TYPE = map(ColumnType, ("text", "integer", "double", "boolean"))  # type: ignore[arg-type]
JSON, ARRAY_TYPE, ROWS = map(ColumnType, ("json", "array", "rows"))  # type: ignore[arg-type]


class Guess(NamedTuple):
    """A guessed type, the formats of a date, and why, "" where it is plain."""

    type: ColumnType
    why: str = ""
    formats: tuple[str, ...] = ()


def guess_type(seen: Field) -> Guess:
    """Guess the type of a field that the source does not declare."""
    kinds = {kind for kind in seen.kinds if kind != NULL and seen.kinds[kind]}
    if not kinds:
        return Guess(TEXT, "every sampled value is null")
    if ARRAY in kinds:
        return _guess_array(seen, kinds)
    if OBJECT in kinds:
        return _guess_object(seen, kinds)
    if kinds == {STRING}:
        return _guess_text(seen.texts)
    if STRING in kinds:
        return _guess_mixed(seen, kinds)
    if BOOLEAN in kinds:
        return Guess(BOOLEAN_TYPE) if kinds == {BOOLEAN} else Guess(TEXT, _mixture(kinds))
    return _guess_integer(seen.digits) if kinds == {INTEGER} else Guess(DOUBLE)


def _guess_integer(digits: int) -> Guess:
    if digits <= SAFE_DIGITS:
        return Guess(INTEGER_TYPE)
    why = f"whole numbers of up to {digits} digits"
    if digits <= MOST_DIGITS:
        return Guess(ColumnType("decimal", MOST_DIGITS, 0), why)
    return Guess(TEXT, f"{why}, more than a decimal holds")


def _guess_object(seen: Field, kinds: set[str]) -> Guess:
    if kinds != {OBJECT}:
        return Guess(JSON, _mixture(kinds))
    if seen.empty_objects == seen.values:
        return Guess(JSON, "only empty objects")
    return Guess(JSON, "its keys look like data, or lie deep")


def _guess_array(seen: Field, kinds: set[str]) -> Guess:
    elements = {kind for kind in seen.elements if kind != NULL and seen.elements[kind]}
    if OBJECT in elements:
        if elements == {OBJECT} and kinds <= {ARRAY, OBJECT}:
            return Guess(ROWS, "arrays of objects")
        return Guess(JSON, _mixture(kinds | elements))
    if OBJECT in kinds:
        return Guess(JSON, _mixture(kinds))
    if not elements:
        return Guess(ARRAY_TYPE, "only empty arrays")
    why = f"arrays of up to {counted(seen.longest, 'value')}"
    if kinds != {ARRAY}:
        why += f", and {counted(seen.values - seen.kinds[ARRAY], 'single value')}"
    return Guess(ARRAY_TYPE, why)


def _guess_mixed(seen: Field, kinds: set[str]) -> Guess:
    """Guess a type for texts next to numbers or booleans."""
    texts, others = seen.texts, kinds - {STRING}
    if others == {BOOLEAN} and texts.booleans == texts.total:
        return Guess(BOOLEAN_TYPE, "booleans, some of them as text")
    if others <= {INTEGER, NUMBER} and texts.integers + texts.numbers == texts.total:
        if NUMBER in kinds or texts.numbers:
            return Guess(DOUBLE, "numbers, some of them as text")
        whole = _guess_integer(max(seen.digits, texts.longest_number))
        return Guess(whole.type, "whole numbers, some of them as text")
    return Guess(TEXT, _mixture(kinds))


def _guess_text(texts: Texts) -> Guess:
    number = counted(texts.total, "sampled text")
    every = f"every one of {number}"
    if texts.all_dates():
        return _guess_date(texts, every)
    if texts.booleans == texts.total:
        return Guess(BOOLEAN_TYPE, f"{every} is true or false")
    if texts.integers == texts.total:
        return Guess(TEXT, f"{every} is a whole number; integer if it is not an id")
    if texts.integers + texts.numbers == texts.total:
        return Guess(TEXT, f"{every} is a number; double or decimal(p,s) to compute with it")
    dates = sum(texts.dates.values())
    return Guess(TEXT, f"{dates:,} of {number} are dates" if dates else "")


def _guess_date(texts: Texts, every: str) -> Guess:
    formats = texts.date_formats()
    if not formats:
        return Guess(TEXT, f"{every} is a date, but day and month cannot be told apart")
    kind = ColumnType("timestamp" if any(map(has_time, formats)) else "date")
    iso = DEFAULT_FORMATS[0]
    named = tuple(dict.fromkeys(iso if one in (ISO_DATE, ISO_TIME) else one for one in formats))
    return Guess(kind, f"{every} is a date", () if named == DEFAULT_FORMATS else named)


def _mixture(kinds: Iterable[str]) -> str:
    *others, last = (f"{kind}s" for kind in sorted(kinds))
    return f"documents hold {', '.join(others)} and {last} here"


def count_misfits(type_: ColumnType, formats: Sequence[str], seen: Field) -> int:
    """Return how many sampled values do not cast to the type; arrays are not counted."""
    kinds, texts = seen.kinds, seen.texts
    if type_.kind == "text":
        return kinds[OBJECT]
    if type_.kind in ("integer", "decimal", "double"):
        readable = texts.integers + texts.padded + texts.numbers + texts.cast_numbers
        fractions = texts.fractions + seen.fractions if type_.kind == "integer" else 0
        return texts.total - readable + fractions + kinds[BOOLEAN] + kinds[OBJECT]
    if type_.kind == "boolean":
        return texts.total - texts.booleans + kinds[INTEGER] + kinds[NUMBER] + kinds[OBJECT]
    numbers = 0 if reads_numbers(formats) else kinds[INTEGER] + kinds[NUMBER]
    return texts.total - texts.dates_in(formats) + numbers + kinds[BOOLEAN] + kinds[OBJECT]
