"""Compare the columns of a pipeline file with source, recent documents and target.

A side that could not be asked is listed as such.  A type that the pipeline file chose is not a difference: a field
that the source declares as text may be an integer column, as long as its sampled values cast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from airflow_pipeline_provider.connectors.values import FieldType, TypedView
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.columns import (
    Column,
    ColumnType,
    contract_hash,
    format_path,
    indexed_path,
)
from airflow_pipeline_provider.core.command_line import shell_line
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.columns_fields import ARRAY, OBJECT, Field, Tree
from airflow_pipeline_provider.phases.columns_guess import count_misfits
from airflow_pipeline_provider.phases.columns_infer import (
    Looked,
    look,
    look_at_documents,
    look_at_source,
)
from airflow_pipeline_provider.phases.columns_propose import HeldFields, element_types, leaves
from airflow_pipeline_provider.phases.columns_sample import Sample
from airflow_pipeline_provider.phases.runtime import Runtime

PHYSICAL = "physical: "  # begins the detail of a column of the table


class Change(str, Enum):
    """What differs."""

    NEW_FIELD = "new_field"  # no column holds it
    MISSING_FIELD = "missing_field"  # neither declared nor in a document
    TYPE_CHANGE = "type_change"  # declared or written as another type than the column's
    UNCASTABLE = "uncastable"  # values that are NULL in the view
    NOT_APPLIED = "not_applied"  # a view or physical column follows other columns, or is missing


@dataclass(frozen=True)
class Difference:
    """One difference; `side` is where it was seen, and `detail` a sentence without a full stop."""

    change: Change
    side: str
    path: str
    column: str | None
    detail: str


@dataclass(frozen=True)
class ColumnsCompared:
    """The differences, and what was asked; `contract` is the hash of the columns."""

    contract: str
    looked: tuple[Looked[Any], ...]
    differences: tuple[Difference, ...]


def diff_columns(runtime: Runtime, days: int) -> ColumnsCompared:
    """Compare the columns with all three sides.

    Raises:
        ConfigError: The pipeline file has no columns.
    """
    columns = runtime.config.columns
    if not columns:
        raise no_columns(runtime.config.pipeline_id)
    source, documents = look_at_source(runtime), look_at_documents(runtime, days)
    sample = documents.value or Sample()
    target = look(
        "target", partial(_ask_target, runtime, sample.newest), _views_found, lambda found: found is None
    )
    found = list(compare_fields(sample.tree, source.value or [], columns))
    if target.value is not None:
        found += compare_views(target.value.views, columns, runtime.config.pipeline_id)
        found += _unfilled(target.value.unfilled, columns)
        known = {one.column for one in found if one.change is Change.UNCASTABLE}
        found += [one for one in target.value.uncastable if one.column not in known]
    return ColumnsCompared(contract_hash(columns), (source, documents, target), tuple(found))


class _TargetAnswer(NamedTuple):
    views: tuple[TypedView, ...]
    unfilled: dict[str, str]
    counted: Interval | None
    uncastable: list[Difference]


def _ask_target(runtime: Runtime, window: Interval | None) -> _TargetAnswer | None:
    """Return the target's views, and what it counts in the window; None for a target without typed views."""
    views = runtime.target.typed_views()
    if views is None:
        return None
    uncastable = [] if window is None else list(_uncastable_rows(runtime, window))
    return _TargetAnswer(views, runtime.target.unfilled_columns(), window, uncastable)


def _uncastable_rows(runtime: Runtime, window: Interval) -> Iterator[Difference]:
    """Yield the columns that are NULL in the view for values of the window, counted by the target."""
    columns = {column.name: column for column in runtime.config.columns}
    columns |= {f"{rows.name}.{one.name}": one for rows in columns.values() for one in rows.columns}
    for name, (values, wrong) in runtime.target.count_uncastable(window).items():
        if wrong:
            column = columns[name]
            detail = f"NULL as {column.type}: {wrong:,} of {counted(values, 'value')} in the newest window"
            yield Difference(Change.UNCASTABLE, "target", format_path(column.path), name, detail)


def _unfilled(unfilled: dict[str, str], columns: Sequence[Column]) -> Iterator[Difference]:
    """Yield the physical columns that the view computes."""
    for column in columns:
        if column.name in unfilled:
            detail = f"{PHYSICAL}{unfilled[column.name]}"
            yield Difference(Change.NOT_APPLIED, "target", format_path(column.path), column.name, detail)


def no_columns(pipeline_id: str) -> ConfigError:
    """Return the error of a command that needs columns."""
    infer = shell_line(command_line.infer_columns(command_line.name_of(pipeline_id)))
    return ConfigError(f"columns: pipeline {pipeline_id} has none: propose them with `{infer}`")


# --- fields


def compare_fields(
    tree: Tree, declared: Sequence[FieldType], columns: Sequence[Column], prefix: tuple[str, ...] = ()
) -> Iterator[Difference]:
    """Yield the differences of the columns to the declared types and to the sampled documents."""
    held = HeldFields(columns)
    for path, type_, _ in leaves(tree, declared):
        if held.by(path) is None and held.inside(path) is None:
            side = "documents" if type_ is None else "source"
            what = "in documents" if type_ is None else f"declared as {type_.type}"
            detail = f"{what}, and no column holds it"
            yield Difference(Change.NEW_FIELD, side, format_path((*prefix, *path)), None, detail)
    types = {indexed_path(one.path): one for one in declared}
    for column in columns:
        name = indexed_path(column.path)
        yield from _compare_column(column, types.get(name), tree.fields.get(name), tree, types, prefix)


def _compare_column(
    column: Column,
    declared: FieldType | None,
    seen: Field | None,
    tree: Tree,
    types: dict[str, FieldType],
    prefix: tuple[str, ...],
) -> Iterator[Difference]:
    path = format_path((*prefix, *column.path))

    def difference(change: Change, side: str, detail: str) -> Difference:
        return Difference(change, side, path, column.name, detail)

    side = "documents" if tree.of else "source"
    if column.required and tree.of and (seen is None or not seen.values):
        detail = f"required, and no value in {counted(tree.of, 'sampled document')}"
        yield difference(Change.MISSING_FIELD, side, detail)
    elif seen is None and (tree.of or types) and not _is_declared(column, types):
        yield difference(
            Change.MISSING_FIELD, side, _missing(is_sampled=bool(tree.of), is_declared=bool(types))
        )
    if seen is not None:
        yield from (difference(*found) for found in _compare_values(column, seen))
    elif declared is not None and not holds(column.type, declared.type):
        detail = f"declared as {declared.type}, the column is {column.type}"
        yield difference(Change.TYPE_CHANGE, "source", detail)
    if column.type.kind == "rows":
        elements = Tree() if seen is None or seen.rows is None else seen.rows
        inner = element_types(column.path, types.values())
        yield from compare_fields(elements, inner, column.columns, (*prefix, *column.path))


def _is_declared(column: Column, types: dict[str, FieldType]) -> bool:
    """Return whether the source declares the field, an object around it, or a part of it."""
    name = indexed_path(column.path)
    return any(f"{one}.".startswith(f"{name}.") or f"{name}.".startswith(f"{one}.") for one in types)


def _missing(*, is_sampled: bool, is_declared: bool) -> str:
    if is_sampled and is_declared:
        return "neither declared by the source nor in a sampled document"
    return "in no sampled document" if is_sampled else "not declared by the source"


def _compare_values(column: Column, seen: Field) -> Iterator[tuple[Change, str, str]]:
    kind, values = column.type.kind, counted(seen.values, "sampled value")
    if kind in ("json", "array"):
        return
    if kind == "rows":
        others = seen.values - seen.kinds[ARRAY] - seen.kinds[OBJECT]
        if others:
            yield Change.TYPE_CHANGE, "documents", f"neither an array nor an object in {others:,} of {values}"
        return
    if seen.longest > 1:
        arrays = f"an array in {seen.kinds[ARRAY]:,} of {values}, of up to {counted(seen.longest, 'element')}"
        yield Change.TYPE_CHANGE, "documents", f"{arrays}, the column is {column.type}"
    if misfits := count_misfits(column.type, column.formats, seen):
        yield Change.UNCASTABLE, "documents", f"NULL as {column.type}: {misfits:,} of {values}"


_HELD_BY = {
    "integer": {"integer"},
    "double": {"integer", "decimal", "double"},
    "boolean": {"boolean"},
    "date": {"date"},
    "timestamp": {"date", "timestamp"},
    "rows": {"rows", "json"},
}


def holds(column: ColumnType, declared: ColumnType) -> bool:
    """Return whether each value of the declared type casts to the column's type without a loss."""
    if column.kind in ("text", "json", "array"):
        return column.kind != "text" or declared.kind not in ("json", "array", "rows")
    if column.kind != "decimal":
        return declared.kind in _HELD_BY[column.kind]
    if declared.kind == "integer":
        return True
    before = (column.precision or 0) - (column.scale or 0)
    return (
        declared.kind == "decimal"
        and (declared.scale or 0) <= (column.scale or 0)
        and (declared.precision or 0) - (declared.scale or 0) <= before
    )


# --- the views of the target


def compare_views(
    views: Sequence[TypedView], columns: Sequence[Column], pipeline_id: str
) -> Iterator[Difference]:
    """Yield the differences of the target's views to the columns; names are compared whatever their case."""

    def difference(detail: str) -> Difference:
        return Difference(Change.NOT_APPLIED, "target", "", None, detail)

    if not views:
        yield difference("no typed view exists")
        return
    expected = contract_hash(columns)
    for view in views:
        if view.contract != expected:
            is_ours = view.pipeline_id == pipeline_id
            followed = "other columns" if is_ours else f"the columns of pipeline {view.pipeline_id}"
            yield difference(f"view {view.name} follows {followed} (hash {view.contract}, not {expected})")
    main, *children = views
    if main.contract == expected:
        shown = {name.casefold() for name in main.columns}
        for column in columns:
            hidden = column.mask == "drop" or any(inner.mask for inner in column.columns)
            if not hidden and column.name.casefold() not in shown:
                yield Difference(
                    Change.NOT_APPLIED,
                    "target",
                    format_path(column.path),
                    column.name,
                    f"not in view {main.name}",
                )
    endings = [view.name.casefold() for view in children]
    for column in columns:
        is_rows = column.type.kind == "rows" and column.mask != "drop"
        if is_rows and not any(name.endswith(f"_{column.name.casefold()}") for name in endings):
            yield Difference(
                Change.NOT_APPLIED,
                "target",
                format_path(column.path),
                column.name,
                "the view of its elements is missing",
            )


def _views_found(found: _TargetAnswer | None) -> str:
    if found is None:
        return "the target has no typed views"
    text = f"the target has {counted(len(found.views), 'typed view')}"
    return text if found.counted is None else f"{text}; values were counted in the newest window"
