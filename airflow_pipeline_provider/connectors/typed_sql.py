"""Expressions that read typed values from a JSON document; a value that does not cast is NULL, never an error.

A value is computed in steps, since a database without common subexpressions would compute them many times:
document, value at a path, single value, text, number or ISO 8601 text, result.  A database adds what it calls
differently (`TypedSql`); what a value means is here, so that it means the same everywhere.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from airflow_pipeline_provider.connectors.typed_rest import HeldObject, spellings
from airflow_pipeline_provider.core.columns import (
    DATE_FORMATS,
    ISO,
    MILLISECONDS,
    SECONDS,
    Column,
    ColumnType,
    formats_of,
)

LONGEST_NUMBER = 400  # characters; a double has at most 309 digits before its point
LARGEST_DOUBLE = "1.7976931348623157e308"
SMALLEST_DOUBLE = "2.2250738585072014e-308"  # with all digits; what is smaller is 0

NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?"
_EPOCH = "-?[0-9]{1,15}([.][0-9]*)?"
_YEAR, _MONTH, _DAY = "[0-9]{4}", "(0[1-9]|1[0-2])", "(0[1-9]|[12][0-9]|3[01])"
_HOUR, _MINUTE = "([01][0-9]|2[0-3])", "[0-5][0-9]"
_OFFSET = "(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"  # the largest in use is +14:00
_ISO = f"{_YEAR}(-{_MONTH}(-{_DAY}([T ]({_HOUR}(:{_MINUTE}(:{_MINUTE}([.,][0-9]+)?)?)?{_OFFSET}?)?)?)?)?"
# the parts of a layout: how they are written, and where they are in ISO 8601
_PARTS = {
    "yyyy": (_YEAR, 0),
    "MM": (_MONTH, 1),
    "dd": (_DAY, 2),
    "HH": (_HOUR, 3),
    "mm": (_MINUTE, 4),
    "ss": (_MINUTE, 5),
    "SSS": ("[0-9]{3}", 6),
}
_BETWEEN = ("", "-", "-", "T", ":", ":", ".")
_PART = re.compile("|".join(sorted(_PARTS, key=len, reverse=True)))


class Typed(NamedTuple):
    """The steps of a column, names with their expressions; `given` is its JSON value, and `result` its typed one."""

    steps: tuple[dict[str, str], ...]
    given: str
    result: str


class TypedSql(ABC):
    """What databases call differently; `setup` are statements that run before a view is created."""

    setup: Sequence[str] = ()
    types: Mapping[str, str]  # of a table's columns, by kind; {0} and {1} are precision and scale
    # completes ISO 8601 text that ends earlier, to all digits of the type
    padding: ClassVar[str] = "0001-01-01T00:00:00.000000"

    # --- to be defined: JSON

    @abstractmethod
    def literal(self, text: str) -> str:
        """Return a text constant."""

    @abstractmethod
    def document(self, body: str) -> str:
        """Return BODY as JSON, NULL if it is not JSON."""

    @abstractmethod
    def field(self, document: str, path: Sequence[str]) -> str:
        """Return the JSON value at a path of keys, NULL without one."""

    @abstractmethod
    def is_kind(self, value: str, kind: str) -> str:
        """Return whether a JSON value is an "object" or an "array"."""

    @abstractmethod
    def size(self, array: str) -> str:
        """Return the number of elements."""

    @abstractmethod
    def first(self, array: str) -> str:
        """Return the first element."""

    @abstractmethod
    def without_null(self, value: str) -> str:
        """Return a JSON value, NULL for JSON's null."""

    @abstractmethod
    def text(self, value: str) -> str:
        """Return a JSON scalar as text."""

    @abstractmethod
    def array(self, value: str) -> str:
        """Return a JSON array as the type of array columns."""

    @abstractmethod
    def array_of(self, value: str) -> str:
        """Return an array of one JSON value that is not NULL."""

    @abstractmethod
    def without(self, document: str, held: HeldObject) -> str:
        """Return a JSON object without what columns hold, and without objects of which nothing is left.

        Where a masked value would be below a key, a value that is not an object is left out as well.
        """

    # --- to be defined: text

    @abstractmethod
    def matches(self, text: str, pattern: str) -> str:
        """Return whether the whole text matches."""

    @abstractmethod
    def sha256(self, text: str) -> str:
        """Return the SHA-256 of a text in UTF-8, in lower-case hex digits."""

    # --- to be defined: types, of texts that match NUMBER, or `padding` with an offset such as +0000

    @abstractmethod
    def number(self, text: str) -> str:
        """Return what `integer`, `decimal` and `double` read."""

    @abstractmethod
    def integer(self, number: str) -> str:
        """Return an integer of 64 bits, NULL for a fraction."""

    @abstractmethod
    def decimal(self, number: str, precision: int, scale: int) -> str:
        """Return a decimal, rounded half away from zero, NULL if it has too many digits before the point."""

    @abstractmethod
    def double(self, number: str) -> str:
        """Return a double, NULL if it is too large, and 0 if it is too small."""

    @abstractmethod
    def epoch(self, text: str, microseconds: int) -> str:
        """Return ISO 8601 text, in UTC, of so many times `microseconds` since 1970, with the part below cut off."""

    @abstractmethod
    def instant(self, local: str, offset: str) -> str:
        """Return an instant, NULL if the day does not exist."""

    @abstractmethod
    def date(self, local: str, offset: str) -> str:
        """Return the date of an instant in UTC."""

    # --- to be defined: queries

    @abstractmethod
    def explode(self, source: str, array: str, element: str, ordinal: str) -> str:
        """Return what follows FROM: a row for each element of an array column, numbered from 0."""

    # --- what a database may change

    def rewrite(self, text: str, pattern: str, template: str) -> str:
        r"""Replace the match of a pattern; `\1` is its first group."""
        return f"REGEXP_REPLACE({text}, {self.literal(pattern)}, {self.literal(template)})"

    def extend(self, source: str, columns: Mapping[str, str]) -> str:
        """Return what follows FROM: the rows of the source with computed columns; a filter must reach the source."""
        computed = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
        return f"(SELECT *, {computed} FROM {source})"  # noqa: S608  (names are constants)

    # --- what a value means

    def sql_type(self, kind: ColumnType) -> str:
        """Return the type of a table's column, as the database calls it."""
        return self.types[kind.kind].format(kind.precision, kind.scale)

    def column(self, column: Column, n: int, value: str) -> Typed:
        """Return the steps of a column, given its JSON value; `n` makes their names unique."""
        kind = column.type.kind
        if kind in ("json", "array", "rows"):
            return Typed((), self.without_null(value), self._structure(kind, value))
        text = {f"t{n}": self._text(value)}
        steps, result = self._scalar(column, n)
        return Typed((text, *steps), self._given(value), result)

    def find_all(self, document: str, columns: Sequence[Column]) -> tuple[dict[str, str], list[str]]:
        """Return a step that finds the values of many columns at once, if that is cheaper, and each JSON value."""
        return {}, [self.find(document, column.path) for column in columns]

    def find(self, document: str, path: tuple[str, ...]) -> str:
        """Return the JSON value at a path, in any spelling."""
        found = [self.field(document, keys) for keys in spellings(path)]
        return found[0] if len(found) == 1 else f"COALESCE({', '.join(found)})"

    def _given(self, value: str) -> str:
        """Return a JSON value, NULL for null, [] and [null]."""
        only = (
            f"CASE WHEN {self.size(value)} <= 1 THEN {self.without_null(self.first(value))} ELSE {value} END"
        )
        return f"CASE WHEN {self.is_kind(value, 'array')} THEN {only} ELSE {self.without_null(value)} END"

    def _text(self, value: str) -> str:
        """Return the text of a scalar, and of the only element of an array."""
        first = self.first(value)
        return (
            f"CASE WHEN {self.is_kind(value, 'array')} THEN "
            f"CASE WHEN {self.size(value)} = 1 AND NOT {self.is_nested(first)} THEN {self.text(first)} END "
            f"WHEN NOT {self.is_kind(value, 'object')} THEN {self.text(value)} END"
        )

    def is_nested(self, value: str) -> str:
        """Return whether a JSON value is an object or an array."""
        return f"({self.is_kind(value, 'object')} OR {self.is_kind(value, 'array')})"

    def _structure(self, kind: str, value: str) -> str:
        given = self.without_null(value)
        if kind == "json":
            return given
        single = self.is_kind(value, "object") if kind == "rows" else f"{given} IS NOT NULL"
        wrapped = f"WHEN {single} THEN {self.array_of(value)}"
        return f"CASE WHEN {self.is_kind(value, 'array')} THEN {self.array(value)} {wrapped} END"

    def _scalar(self, column: Column, n: int) -> tuple[tuple[dict[str, str], ...], str]:
        kind, text = column.type.kind, f"t{n}"
        if kind == "text":
            return (), self._masked(column, text)
        if kind == "boolean":
            return (), f"CASE LOWER({text}) WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
        if kind in ("date", "timestamp"):
            return self._moment(column, n)
        fits = f"{self.matches(text, NUMBER)} AND LENGTH({text}) <= {LONGEST_NUMBER}"
        number = {f"n{n}": f"CASE WHEN {fits} THEN {self.number(text)} END"}
        return (number,), self._number(column.type, f"n{n}")

    def _masked(self, column: Column, text: str) -> str:
        if column.mask == "sha256":
            return self.sha256(text)
        if column.mask == "last4":
            shown = f"WHEN LENGTH({text}) > 4 THEN '****' || RIGHT({text}, 4)"
            return f"CASE {shown} WHEN {text} IS NOT NULL THEN '****' END"
        return text

    def _number(self, kind: ColumnType, number: str) -> str:
        if kind.kind == "integer":
            return self.integer(number)
        if kind.kind == "double":
            return self.double(number)
        return self.decimal(number, kind.precision or 38, kind.scale or 0)

    def _moment(self, column: Column, n: int) -> tuple[tuple[dict[str, str], ...], str]:
        text, iso, local = f"t{n}", f"i{n}", f"l{n}"
        branches = " ".join(self._formats(column, text))
        isos = {iso: f"CASE {branches} END"}
        # up to the offset, which only a text with a time has
        locals_ = {local: self.rewrite(iso, "^(.{10}T[0-9:.]*).*$", r"\1")}
        padded = (
            f"LEFT({local} || SUBSTR({self.literal(self.padding)}, LENGTH({local}) + 1), {len(self.padding)})"
        )
        offset = f"SUBSTR({iso}, LENGTH({local}) + 1)"
        digits = f"LEFT(REPLACE({offset}, ':', '') || '00', 5)"
        offset = f"CASE WHEN LENGTH({offset}) > 1 THEN {digits} ELSE '+0000' END"
        cast = self.date if column.type.kind == "date" else self.instant
        return (isos, locals_), f"CASE WHEN {local} >= '0001' THEN {cast(padded, offset)} END"

    def _formats(self, column: Column, text: str) -> Iterator[str]:
        layouts = dict.fromkeys(DATE_FORMATS[name] for name in formats_of(column))
        for layout in layouts:
            if layout == ISO:
                plain = f"REPLACE(REPLACE({text}, ' ', 'T'), ',', '.')"
                yield f"WHEN {self.matches(text, _ISO)} THEN {plain}"
            elif layout in (MILLISECONDS, SECONDS):
                factor = 1_000 if layout == MILLISECONDS else 1_000_000
                yield f"WHEN {self.matches(text, _EPOCH)} THEN {self.epoch(text, factor)}"
            else:
                pattern, template = layout_pattern(layout)
                yield f"WHEN {self.matches(text, pattern)} THEN {self.rewrite(text, f'^{pattern}$', template)}"


def layout_pattern(layout: str) -> tuple[str, str]:
    """Return the pattern of a layout such as `dd/MM/yyyy`, and the template that writes its match as ISO 8601."""
    pattern, at, groups = "", 0, {}
    end = 0
    for match in _PART.finditer(layout):
        written, place = _PARTS[match[0]]
        pattern += re.sub(r"[.]", "[.]", layout[end : match.start()])
        inner = written.count("(")
        pattern += written if inner else f"({written})"
        groups[place] = at + 1
        at += inner or 1
        end = match.end()
    pattern += layout[end:]
    template = "".join(
        between + rf"\{groups[place]}" for place, between in enumerate(_BETWEEN) if place in groups
    )
    return pattern, template
