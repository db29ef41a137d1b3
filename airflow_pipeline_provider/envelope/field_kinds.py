"""Gather the fields of documents and the JSON kinds of their values while part files are written.

Decoding every document again would cost twice the CPU of an extraction, scanning it a tenth (docs/performance.md).
So the first `ALL_UP_TO` documents of a reader are looked at, then one in `EVERY`: a field that is found is in a
document, but one that few documents hold may only be found in a later window.  Whether a required field is absent is
checked in all documents: the bytes of every batch are searched for its name until a document with a value is found.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_pipeline_provider.core.columns import Column, indexed_path
from airflow_pipeline_provider.core.drift import MOST_FIELDS, FieldSet, JsonKind, element_path

ALL_UP_TO = 500
EVERY = 64

Path = tuple[str, ...]
_Object = dict[str, msgspec.Raw]

_OBJECT = msgspec.json.Decoder(_Object)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_DIGITS, _NUMBER = frozenset(b"-0123456789"), ord(".")
_KINDS: dict[int, JsonKind] = {
    **dict.fromkeys(_DIGITS, "integer"),
    _NUMBER: "number",
    ord("{"): "object",
    ord("["): "array",
    ord('"'): "string",
    ord("t"): "boolean",
    ord("f"): "boolean",
    ord("n"): "null",
}
_FRACTION = re.compile(rb"[.eE]")
# Any writer of JSON writes these characters as they are; others may be escaped in several ways.
_PLAIN = re.compile(r"[A-Za-z0-9_@ .$-]+")


class FieldKinds:
    """Field set of the batches of one reader."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._kinds: defaultdict[str, set[JsonKind]] = defaultdict(set)
        self._seen: defaultdict[Path, set[tuple[str, int]]] = defaultdict(set)  # what _kinds has, for speed
        self._levels = sorted({column.path[:end] for column in columns for end in range(1, len(column.path))})
        self._rows = [column for column in columns if column.columns]
        self._awaited = {column.path for column in columns if column.required}
        self._documents = self._looked_at = 0
        self._cut = False

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at the documents of a batch of the envelope."""
        bodies = batch.column("BODY")
        for text in _texts(bodies, self._chosen(len(bodies))):
            self._look(text)
            self._looked_at += 1
        self._documents += len(bodies)
        for path in list(self._awaited):
            self._search(path, bodies)

    def result(self) -> FieldSet:
        """Return what was found so far."""
        return FieldSet(
            {field: tuple(sorted(self._kinds[field])) for field in sorted(self._kinds)},
            self._documents,
            self._looked_at,
            cut=self._cut,
            absent=tuple(sorted(indexed_path(path) for path in self._awaited)),
        )

    def _chosen(self, rows: int) -> Iterator[int]:
        first = max(0, min(rows, ALL_UP_TO - self._documents))
        yield from range(first)
        number = self._documents + first
        yield from range(first + -number % EVERY, rows, EVERY)

    def _look(self, text: memoryview) -> None:
        document = _decoded(text)
        if document is None:
            return
        self._note((), document)
        for level in self._levels:
            for value in _values(document, level):
                if (inner := _decoded(value)) is not None:
                    self._note(level, inner)
        for column in self._rows:
            for value in _values(document, column.path):
                for element in _elements(value):
                    self._note(element_path(column), element)
        if self._awaited:
            self._awaited = {path for path in self._awaited if not _holds(document, path)}

    def _note(self, level: Path, found: _Object) -> None:
        seen = self._seen[level]
        for key, value in found.items():
            text = bytes(value)
            sign = text[0]
            if sign in _DIGITS and _FRACTION.search(text):
                sign = _NUMBER
            if (key, sign) not in seen:
                seen.add((key, sign))
                self._add(".".join((*level, key)), _KINDS[sign])

    def _add(self, field: str, kind: JsonKind) -> None:
        if field not in self._kinds and len(self._kinds) >= MOST_FIELDS:
            self._cut = True
        else:
            self._kinds[field].add(kind)

    def _search(self, path: Path, bodies: pa.StringArray) -> None:
        """Look at each document that may hold a value for the path, up to the first one that does."""
        for text in _texts(bodies, _rows_with(path, bodies)):
            document = _decoded(text)
            if document is not None and _holds(document, path):
                self._awaited.discard(path)
                return


def _texts(bodies: pa.StringArray, rows: Iterable[int]) -> Iterator[memoryview]:
    """Yield the bytes of these rows, not copied: a scalar per row would take as long as decoding it."""
    _, offsets, data = bodies.buffers()
    if data is None:
        return
    ends, text = memoryview(offsets).cast("i"), memoryview(data)
    for row in rows:
        at = bodies.offset + row
        yield text[ends[at] : ends[at + 1]]


def _decoded(data: object) -> _Object | None:
    """Return the members of an object; None for another value, or one that only Python's own parser accepts."""
    try:
        return _OBJECT.decode(data)  # type: ignore[arg-type]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _elements(value: msgspec.Raw) -> list[_Object]:
    """Return the objects of an array, or a single object in its place; none for other values."""
    if (single := _decoded(value)) is not None:
        return [single]
    try:
        elements = _ARRAY.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [found for element in elements if (found := _decoded(element)) is not None]


def _values(document: _Object, path: Path) -> Iterator[msgspec.Raw]:
    """Yield the values of the path in each of its spellings: `{"a": {"b": 1}}` and `{"a.b": 1}` are one field."""
    for end in range(1, len(path) + 1):
        value = document.get(".".join(path[:end]))
        if value is None:
            continue
        if end == len(path):
            yield value
        elif (inner := _decoded(value)) is not None:
            yield from _values(inner, path[end:])


def _holds(document: _Object, path: Path) -> bool:
    return any(bytes(value) != b"null" for value in _values(document, path))


def _rows_with(path: Path, bodies: pa.StringArray) -> Iterator[int]:
    """Yield the rows whose text contains the last key of the path; all rows if that key may be escaped."""
    if not all(map(_PLAIN.fullmatch, path)):
        yield from range(len(bodies))
        return
    names = [f'"{".".join(path[start:])}"' for start in range(len(path))]
    data = bodies.buffers()[2]
    # one search through the buffer, which may hold more than this batch, is many times faster than one in each row
    anywhere = re.compile("|".join(map(re.escape, names)).encode())
    if data is not None and anywhere.search(data):
        for name in names:
            yield from pc.indices_nonzero(pc.match_substring(bodies, name)).to_pylist()
