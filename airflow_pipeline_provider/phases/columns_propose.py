"""Propose columns from what the source declares and what sampled documents hold.

The source's type is kept, except that only documents show arrays.  What the source does not declare is guessed from
the documents, and the proposal notes it.  A guess prefers the type that loses nothing: text or json.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from airflow_pipeline_provider.connectors.values import FieldType
from airflow_pipeline_provider.core.columns import (
    MOST_COLUMNS,
    Column,
    ColumnType,
    format_path,
    indexed_path,
    parse_path,
)
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.phases.columns_fields import ARRAY, OBJECT, Field, Tree
from airflow_pipeline_provider.phases.columns_guess import ARRAY_TYPE, JSON, count_misfits, guess_type
from airflow_pipeline_provider.phases.columns_names import LONGEST_NAME, Names

# an object with more keys, each in few objects, is a map: its keys are data
MOST_KEYS, FULL_SHARE = 100, 0.05


class Lengths(NamedTuple):
    """The most characters of a column's name, and of the name of a column of type rows, which ends a view's name."""

    column: int = LONGEST_NAME
    view: int = LONGEST_NAME


_LENGTHS = Lengths()


@dataclass(frozen=True)
class Proposal:
    """A column, and a comment for a reader of the pipeline file.

    `guessed`: the source did not declare the type.  `present` counts the sampled documents with a value.
    """

    column: Column
    note: str | None = None
    guessed: bool = False
    present: int = 0
    columns: tuple[Proposal, ...] = ()


@dataclass(frozen=True)
class UnproposedField:
    """A field without a proposal; `path` is the text of its path."""

    path: str
    why: str


@dataclass(frozen=True)
class Proposals:
    """The proposed columns in the order of the documents, then of the source, and the fields left out."""

    columns: tuple[Proposal, ...]
    left_out: tuple[UnproposedField, ...]


def propose(
    tree: Tree, declared: Sequence[FieldType], existing: Sequence[Column] = (), lengths: Lengths = _LENGTHS
) -> Proposals:
    """Propose a column for each field that no existing column holds."""
    left_out: list[UnproposedField] = []
    names = Names(column.name for column in existing)
    held = HeldFields(existing)
    proposals: list[Proposal] = []
    for path, type_, seen in leaves(tree, declared):
        if held.by(path):
            continue
        if (why := _unwritable(path)) is not None:
            left_out.append(UnproposedField(format_path(path), why))
        elif name := held.inside(path):
            left_out.append(UnproposedField(format_path(path), f"the column {name} holds a part of it"))
        elif len(existing) + len(proposals) >= MOST_COLUMNS:
            left_out.append(
                UnproposedField(format_path(path), f"a view has at most {MOST_COLUMNS:,} columns")
            )
        else:
            proposals.append(_proposal(path, type_, seen, tree.of, names, lengths, declared))
    return Proposals(tuple(proposals), tuple(left_out))


class HeldFields:
    """The fields that the columns of a pipeline file hold."""

    def __init__(self, existing: Iterable[Column]) -> None:
        self._names = {indexed_path(column.path): column.name for column in existing}
        self._around = {above: name for path, name in self._names.items() for above in _above(path)}

    def by(self, path: tuple[str, ...]) -> str | None:
        """Return the column that holds the field or an object around it."""
        field = indexed_path(path)
        return next((self._names[one] for one in (field, *_above(field)) if one in self._names), None)

    def inside(self, path: tuple[str, ...]) -> str | None:
        """Return a column that holds a part of the field."""
        return self._around.get(indexed_path(path))


def _above(field: str) -> Iterator[str]:
    """Yield the names of the objects around a field, the nearest first."""
    while (at := field.rfind(".")) >= 0:
        field = field[:at]
        yield field


def _unwritable(path: tuple[str, ...]) -> str | None:
    try:
        return None if parse_path(format_path(path)) == path else "its path cannot be written"
    except ValueError:
        return "a key of its path is empty or has characters that are not printable"


# --- which fields become columns


def leaves(
    tree: Tree, declared: Sequence[FieldType]
) -> Iterator[tuple[tuple[str, ...], FieldType | None, Field | None]]:
    """Yield path, declared type and sampled field of each column to be, without what another of them holds."""
    types = {indexed_path(one.path): one for one in declared}
    done: set[str] = set()
    for name, seen in tree.fields.items():
        if _inside(name, done) or (name not in types and _is_container(tree, name, seen)):
            continue
        done.add(name)
        yield _path_of(seen), types.get(name), seen
    for name, one in types.items():
        if name not in tree.fields and not _inside(name, done):
            done.add(name)
            yield one.path, one, None


def _inside(name: str, done: set[str]) -> bool:
    return any(above in done for above in _above(name))


def _is_container(tree: Tree, name: str, seen: Field) -> bool:
    """Return whether the field is an object whose fields become columns of their own."""
    if seen.kinds[OBJECT] != seen.values or seen.empty_objects == seen.values:
        return False
    children = tree.children.get(name, [])
    average = sum(child.seen for child in children) / max(1, len(children))
    keys_are_data = len(children) > MOST_KEYS and average < FULL_SHARE * seen.seen
    return bool(children) and not keys_are_data


def _path_of(seen: Field) -> tuple[str, ...]:
    """Return the path to write: the one with nested keys unless documents only spell it otherwise.

    `a.b` reads both `{"a": {"b": 1}}` and `{"a.b": 1}`; a mixed spelling is read only by a path that spells it so.
    """
    nested = tuple(indexed_path(seen.path).split("."))
    if all(nested):
        whole = {nested, (indexed_path(seen.path),)}
        if seen.spellings & whole:
            return nested
    return seen.path


# --- the type of one column


def _proposal(
    path: tuple[str, ...],
    declared: FieldType | None,
    seen: Field | None,
    of: int,
    names: Names,
    lengths: Lengths,
    types: Sequence[FieldType],
) -> Proposal:
    notes: list[str] = []
    formats: tuple[str, ...] = ()
    if declared is None:
        guess = guess_type(seen or Field(path))
        type_, formats = guess.type, guess.formats
        notes.append(f"guessed: {guess.why}" if guess.why else "guessed")
    else:
        type_, formats = declared.type, declared.formats
        notes += [declared.note] if declared.note else []
        if seen is None:
            notes += ["in no sampled document"] if of else []
        else:
            type_, more = _checked(declared, seen)
            notes += more
            formats = formats if type_.kind in ("date", "timestamp") else ()
    if seen is not None and (spellings := _other_spellings(path, seen)):
        notes.append(f"also spelled {spellings}, which only _REST holds")
    columns: tuple[Proposal, ...] = ()
    if type_.kind == "rows":
        columns = _row_columns(path, seen, types, lengths)
        if not columns:
            type_, notes = JSON, [*notes, "no field of its elements is known"]
    longest = lengths.view if columns else lengths.column
    name, collision = names.give(path, format_path(path), longest)
    column = Column(name, path, type_, formats, columns=tuple(one.column for one in columns))
    comment = "; ".join(([collision] if collision else []) + notes) or None
    return Proposal(column, comment, declared is None, 0 if seen is None else seen.values, columns)


def _other_spellings(path: tuple[str, ...], seen: Field) -> str:
    nested = tuple(indexed_path(path).split("."))
    read = {path, nested, (indexed_path(path),)} if path == nested else {path}
    return ", ".join(sorted(format_path(one) for one in seen.spellings - read))


def _row_columns(
    path: tuple[str, ...], seen: Field | None, types: Sequence[FieldType], lengths: Lengths
) -> tuple[Proposal, ...]:
    """Propose the columns of one element: one level, since rows hold no rows."""
    inner = element_types(path, types)
    found = propose(seen.rows if seen is not None and seen.rows is not None else Tree(), inner, (), lengths)
    return tuple(_flat(one) for one in found.columns)


def element_types(path: tuple[str, ...], types: Iterable[FieldType]) -> list[FieldType]:
    """Return the declared fields below the path, with paths that start at an element."""
    prefix = indexed_path(path) + "."
    return [
        FieldType(tuple(indexed_path(one.path)[len(prefix) :].split(".")), one.type, one.formats, one.note)
        for one in types
        if indexed_path(one.path).startswith(prefix)
    ]


def _flat(one: Proposal) -> Proposal:
    """Return rows within rows as an array."""
    if one.column.type.kind != "rows":
        return one
    return replace(one, column=Column(one.column.name, one.column.path, ARRAY_TYPE), columns=())


def _checked(declared: FieldType, seen: Field) -> tuple[ColumnType, list[str]]:
    """Return the declared type, or array where documents hold several values, and what does not fit."""
    kind = declared.type.kind
    if kind in ("json", "array"):
        return declared.type, []
    if kind == "rows":
        alone = seen.kinds[OBJECT]
        return declared.type, [f"one object without an array in {_share(alone, seen)}"] if alone else []
    if seen.kinds[ARRAY]:
        held = f"declared as {declared.type}, and an array in {_share(seen.kinds[ARRAY], seen)}"
        return ARRAY_TYPE, [f"{held}, of up to {counted(seen.longest, 'value')}"]
    if kind == "text" and seen.texts.all_dates():
        return declared.type, [f"every one of {counted(seen.texts.total, 'sampled text')} is a date"]
    misfits = count_misfits(declared.type, declared.formats, seen)
    return declared.type, [f"NULL for {_share(misfits, seen)}, which do not cast"] if misfits else []


def _share(number: int, seen: Field) -> str:
    return f"{number:,} of {counted(seen.values, 'sampled value')}"
