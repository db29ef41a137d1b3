"""Field sets of documents, and how one window's set differs from those before and from the columns.

A field set maps a field's name as an index has it (`core.columns.indexed_path`, so `{"a": {"b": 1}}` and `{"a.b": 1}`
are one field) to the JSON kinds of its values.  It holds the names of the top level, of every object that a column
reads from, and of the elements of columns of type rows (`legs[].gate`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.core.columns import Column, Contract, Kind, indexed_path
from airflow_pipeline_provider.core.wording import counted

JsonKind = Literal["array", "boolean", "integer", "null", "number", "object", "string"]
JSON_KINDS: tuple[JsonKind, ...] = get_args(JsonKind)
MOST_FIELDS = 2_000
MOST_SHOWN = 5  # of a kind of change in a sentence
LONGEST_NAME = 60  # there

_SCALARS: frozenset[JsonKind] = frozenset({"boolean", "integer", "number", "string"})
_ANY: frozenset[JsonKind] = frozenset(JSON_KINDS)
# What a document holds where it was written for the column's type; anything else that also casts is a change.
_EXPECTED: dict[Kind, frozenset[JsonKind]] = {
    "text": _SCALARS,
    "integer": frozenset({"integer"}),
    "decimal": frozenset({"integer", "number"}),
    "double": frozenset({"integer", "number"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"integer", "string"}),
    "timestamp": frozenset({"integer", "number", "string"}),
    "json": _ANY,
    "array": _ANY,
    "rows": frozenset({"array", "object"}),
}


class FieldSet(Struct, frozen=True, omit_defaults=True):
    """Fields of documents with the sorted kinds of their values.

    `looked_at` of the `documents` were looked at.  `cut` is set if there were more than `MOST_FIELDS` fields, of
    which some are left out.  `absent` are the required fields for which none of all `documents` has a value.
    """

    kinds: dict[str, tuple[JsonKind, ...]]
    documents: int = 0
    looked_at: int = 0
    cut: bool = False
    absent: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Return 16 hex digits of the fields and kinds."""
        return hashlib.sha256(msgspec.json.encode(self.kinds, order="sorted")).hexdigest()[:16]


class SchemaChanges(Struct, frozen=True, omit_defaults=True):
    """How a window's documents differ from those before and from the columns.

    `new` and `missing` are fields, `changed` are (field, expected kinds, other kinds), `uncastable` maps a column to
    its values and how many of them do not cast.  `not_counted` is why the target could not count those; it is not a
    change, and is never 0 values.
    """

    new: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    changed: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()
    uncastable: dict[str, tuple[int, int]] = {}
    not_counted: str | None = None

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.changed or self.uncastable)

    @property
    def count(self) -> int:
        """Return the number of changes, one for each field or column."""
        return len(self.new) + len(self.missing) + len(self.changed) + len(self.uncastable)

    def by_level(self, contract: Contract, *levels: str) -> SchemaChanges:
        """Return the changes whose level in the contract is one of these."""
        return SchemaChanges(
            new=self.new if contract.new_field in levels else (),
            missing=self.missing if contract.missing_field in levels else (),
            changed=self.changed if contract.type_change in levels else (),
            uncastable=self.uncastable if contract.uncastable in levels else {},
            not_counted=self.not_counted if contract.uncastable in levels else None,
        )

    def sentences(self) -> list[str]:
        """Return a sentence, without a full stop, for each kind of change, and for what was not counted."""
        found = []
        if self.new:
            found.append(f"{counted(len(self.new), 'new field')}: {_names(self.new)}")
        if self.missing:
            noun = "field" if len(self.missing) == 1 else "fields"
            found.append(f"required {noun} without a value in any document: {_names(self.missing)}")
        if self.changed:
            changes = [
                f"{_short(field)} holds {_or(other)}, expected {_or(expected)}"
                for field, expected, other in self.changed
            ]
            found.append(_listed(changes, "; "))
        if self.uncastable:
            shares = [
                f"{name} {wrong:,} of {counted(values, 'value')} ({wrong / values:.2%})"
                for name, (values, wrong) in self.uncastable.items()
            ]
            found.append(f"values that do not cast: {_listed(shares)}")
        if self.not_counted is not None:
            found.append(f"values that do not cast: not counted ({self.not_counted})")
        return found


def merged(sets: Iterable[FieldSet]) -> FieldSet | None:
    """Return the fields of all sets, for readers and slices of one window; None without any."""
    listed = list(sets)
    if not listed:
        return None
    absent = set.intersection(*(set(one.absent) for one in listed))
    return FieldSet(
        _union(*(one.kinds for one in listed)),
        sum(one.documents for one in listed),
        sum(one.looked_at for one in listed),
        cut=any(one.cut for one in listed),
        absent=tuple(sorted(absent)),
    )


def known_after(before: FieldSet | None, now: FieldSet) -> FieldSet:
    """Return the fields that are known after a window: an optional field does not become new each time it returns."""
    earlier = FieldSet({}) if before is None else before
    kinds = _union(earlier.kinds, now.kinds)
    cut = earlier.cut or now.cut or len(kinds) > MOST_FIELDS
    if len(kinds) > MOST_FIELDS:  # keys that are data would make each commit larger than the one before
        kept = set(
            [*earlier.kinds, *(field for field in now.kinds if field not in earlier.kinds)][:MOST_FIELDS]
        )
        kinds = {field: each for field, each in kinds.items() if field in kept}
    return FieldSet(kinds, cut=cut)


def compare(now: FieldSet, before: FieldSet | None, columns: Sequence[Column]) -> SchemaChanges:
    """Compare a window's fields with those known before it (None: nothing is known) and with the columns.

    A column's field is never new.  Where a set was cut, fields are not reported as new; nor are those of an object
    that no window before looked into, because no column read from it.
    """
    if not now.documents:
        return SchemaChanges()
    if before is not None and not before.kinds:  # only windows without documents
        before = None
    declared = _declared(columns)
    unread = () if before is None else tuple(_unread(before, columns))
    new, changed = [], []
    for field, kinds in sorted(now.kinds.items()):
        column, seen = declared.get(field), () if before is None else before.kinds.get(field, ())
        if column is None and not seen:
            complete = before is not None and not (before.cut or now.cut) and not field.startswith(unread)
            if complete and not any(other.startswith(f"{field}.") for other in declared):
                new.append(field)
            continue
        usual = _EXPECTED[column.type.kind] if column is not None else frozenset[JsonKind]()
        other = set(kinds) - {*usual, *seen, "null"}
        if "number" in {*usual, *seen}:
            other -= {"integer"}
        if other and {*usual, *seen} != {"null"}:
            changed.append((field, tuple(sorted({*usual, *seen} - {"null"})), tuple(sorted(other))))
    required = {indexed_path(column.path) for column in columns if column.required}
    missing = tuple(field for field in now.absent if field in required)
    return SchemaChanges(tuple(new), missing, tuple(changed))


def element_path(column: Column) -> tuple[str, ...]:
    """Return the path of the elements of a column of type rows, as field sets name it."""
    return (*column.path[:-1], f"{column.path[-1]}[]")


def _unread(before: FieldSet, columns: Iterable[Column]) -> Iterator[str]:
    """Yield how the fields of objects and elements begin that held something before, of which no field is known."""
    for column in columns:
        objects = [indexed_path(column.path[:end]) for end in range(1, len(column.path))]
        levels = dict(zip(objects, objects, strict=True))
        if column.columns:
            levels[indexed_path(element_path(column))] = indexed_path(column.path)
        for level, field in levels.items():
            held = {"array", "object"} & set(before.kinds.get(field, ()))
            if held and not any(known.startswith(f"{level}.") for known in before.kinds):
                yield f"{level}."


def _declared(columns: Iterable[Column]) -> dict[str, Column]:
    found = {}
    for column in columns:
        found[indexed_path(column.path)] = column
        for inner in column.columns:
            found[indexed_path((*element_path(column), *inner.path))] = inner
    return found


def detail_of(
    changes: SchemaChanges, known: FieldSet | None, now: FieldSet | None, *, whole: bool
) -> dict[str, Any]:
    """Return what a commit records: the changes, the hash of the known fields, and with `whole` the fields.

    `known` and `now` are None where the fields of the window were not gathered.
    """
    detail = _as_json(changes)
    if known is None or now is None:
        return detail
    detail = {"hash": known.hash, **detail}
    if now.looked_at < now.documents:
        detail |= {"looked_at": now.looked_at, "documents": now.documents}
    if whole:
        detail["set"] = _as_json(known)
    return detail


def _as_json(value: Struct) -> dict[str, Any]:
    """Return the value as a ledger returns it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return found


def changes_in(detail: dict[str, Any]) -> SchemaChanges:
    """Return the changes that an entry's detail records; none for an entry without them."""
    return msgspec.convert(detail.get("fields", {}), SchemaChanges)


def set_in(detail: dict[str, Any]) -> FieldSet | None:
    """Return the known fields that a commit records; None if it records their hash only, or nothing."""
    found = detail.get("fields", {}).get("set")
    return None if found is None else msgspec.convert(found, FieldSet)


def _union(*sets: dict[str, tuple[JsonKind, ...]]) -> dict[str, tuple[JsonKind, ...]]:
    found: dict[str, set[JsonKind]] = {}
    for kinds in sets:
        for path, each in kinds.items():
            found.setdefault(path, set()).update(each)
    return {path: tuple(sorted(found[path])) for path in sorted(found)}


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def _or(kinds: Sequence[str]) -> str:
    return " or ".join(kinds)


def _names(fields: Sequence[str]) -> str:
    return _listed([_short(field) for field in fields])


def _listed(texts: Sequence[str], between: str = ", ") -> str:
    more = len(texts) - MOST_SHOWN
    return between.join(texts[:MOST_SHOWN]) + (f"{between}and {more} more" if more > 0 else "")
