"""Count what sampled documents hold in each field: how often, which kinds of values, arrays or not."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_pipeline_provider.core.columns import indexed_path
from airflow_pipeline_provider.phases.columns_texts import Texts

MOST_FIELDS = 20_000  # of one tree, so that memory is bounded whatever documents hold
MOST_LEVELS = 20
_MOST_DIGITS = 1_000  # of an integer; Python parses at most 4,300
INTEGER, NUMBER, STRING, BOOLEAN, OBJECT, ARRAY, NULL = (
    "integer",
    "number",
    "string",
    "boolean",
    "object",
    "array",
    "null",
)
_KINDS = {
    int: INTEGER,
    float: NUMBER,
    str: STRING,
    bool: BOOLEAN,
    dict: OBJECT,
    list: ARRAY,
    type(None): NULL,
}


@dataclass(slots=True)
class Field:
    """One field of the sampled documents; `{"a": {"b": 1}}` and `{"a.b": 1}` are one.

    `path` is the spelling seen first.  `kinds` counts values, `elements` those in arrays.  `rows` holds the fields of
    objects in arrays.
    """

    path: tuple[str, ...]
    spellings: set[tuple[str, ...]] = field(default_factory=set)
    seen: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    elements: Counter[str] = field(default_factory=Counter)
    longest: int = 0  # elements of an array
    empty_objects: int = 0
    digits: int = 0  # of the longest integer
    fractions: int = 0  # numbers that are not whole
    texts: Texts = field(default_factory=Texts)
    rows: Tree | None = None

    @property
    def values(self) -> int:
        """Return the number of values that are not null."""
        return self.seen - self.kinds[NULL]


@dataclass(slots=True)
class Tree:
    """The fields of the documents, or of the objects in an array, by the name that an index gives them."""

    of: int = 0  # documents or objects
    fields: dict[str, Field] = field(default_factory=dict)
    children: dict[str, list[Field]] = field(default_factory=dict)  # of each object, by its name
    _by_path: dict[tuple[str, ...], Field] = field(default_factory=dict)

    def add(self, document: dict[str, Any]) -> int:
        """Count the fields of one document; return the number of its values."""
        self.of += 1
        return self._walk(document, (), 0)

    def _walk(self, value: dict[str, Any], prefix: tuple[str, ...], level: int) -> int:
        count = 0
        for key, child in value.items():
            count += 1
            at = self._field((*prefix, key))
            if at is None:
                continue
            at.seen += 1
            kind = _KINDS[type(child)]
            at.kinds[kind] += 1
            if kind == STRING:
                at.texts.add(child)
            elif kind == INTEGER:
                at.digits = max(at.digits, len(str(abs(child))))
            elif kind == NUMBER:
                at.fractions += not child.is_integer()
            elif kind == OBJECT:
                if not child:
                    at.empty_objects += 1
                elif level < MOST_LEVELS:
                    count += self._walk(child, (*prefix, key), level + 1)
            elif kind == ARRAY:
                count += _count_elements(at, child, level)
        return count

    def _field(self, path: tuple[str, ...]) -> Field | None:
        found = self._by_path.get(path)
        if found is None:
            name = indexed_path(path)
            if len(self._by_path) >= MOST_FIELDS:
                return None
            found = self.fields.get(name)
            if found is None:
                found = self.fields[name] = Field(path)
                self.children.setdefault(indexed_path(path[:-1]), []).append(found)
            found.spellings.add(path)
            self._by_path[path] = found
        return found


def _count_elements(at: Field, elements: list[Any], level: int) -> int:
    at.longest = max(at.longest, len(elements))
    count = len(elements)
    for element in elements:
        kind = _KINDS[type(element)]
        at.elements[kind] += 1
        if kind == OBJECT and level < MOST_LEVELS:
            if at.rows is None:
                at.rows = Tree()
            count += at.rows.add(element)
    return count


def decode_document(body: bytes) -> dict[str, Any] | None:
    """Return the document, None for anything but a JSON object."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        try:
            value = json.loads(body, parse_int=_integer)  # which accepts numbers beyond the range of a float
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _integer(digits: str) -> int | float:
    """Return an integer, or a float of the same kind where its digits are too many to count."""
    return int(digits) if len(digits) < _MOST_DIGITS else float("inf")
