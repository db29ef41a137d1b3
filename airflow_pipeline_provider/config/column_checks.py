"""Find columns that contradict each other, and names that the target's views cannot have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from airflow_pipeline_provider.config.columns import (
    ColumnOptions,
    ColumnsFile,
    ElementColumnOptions,
    TypedColumns,
)
from airflow_pipeline_provider.config.messages import validation_messages
from airflow_pipeline_provider.config.options import TargetOptions
from airflow_pipeline_provider.config.problems import dotted
from airflow_pipeline_provider.core.columns import (
    CHILD_COLUMNS,
    SIBLINGS,
    TABLE_COLUMNS,
    VIEW_COLUMNS,
    format_path,
    indexed_path,
)
from airflow_pipeline_provider.core.datasets import table_parts

Path = tuple[str | int, ...]
Found = list[tuple[Path, str]]


def validate_columns(
    value: object, target: TargetOptions, line_of: Callable[[Path], int | None]
) -> tuple[tuple[ColumnOptions, ...], Found]:
    """Return the columns, () if they are invalid, and all problems with their paths in the file.

    `line_of` returns the line of a path.  Of two columns that collide, the later one is the problem, and its message
    has the line of the earlier one.
    """
    if isinstance(value, dict):
        return (), _reference_problems(value)
    data = {"columns": value}
    try:
        columns = TypedColumns.model_validate(data).columns
    except ValidationError as error:
        return (), validation_messages(error, data, TypedColumns)
    if not columns:
        return (), []
    found: Found = []
    if target.longest_column is not None:
        found += _unfit_names(columns, target)
    elif target.type:  # otherwise the section is invalid
        found.append((("columns",), f"target.type {target.type} has no typed columns: remove the key"))
    for conflict in (*_collisions(columns), *_unmasked(columns)):
        line = line_of(conflict.other)
        other = dotted(conflict.other) + (f" in line {line}" if line else "")
        found.append((conflict.path, f"{conflict.problem} {other}{conflict.advice}"))
    return (columns, []) if not found else ((), found)


def _reference_problems(value: dict[str, object]) -> Found:
    try:
        ColumnsFile.model_validate(value)
    except ValidationError as error:
        return validation_messages(error, value, ColumnsFile, ("columns",))
    return [(("columns", "include"), "needs a pipeline file, to whose folder it is relative")]


class _Conflict(NamedTuple):
    """Two columns that contradict each other: the message is the problem, the other path, the advice."""

    path: Path
    problem: str
    other: Path
    advice: str


class _Placed(NamedTuple):
    """A column with its path in the file, and its field's name in the index."""

    place: Path
    options: ElementColumnOptions
    field: str


def _placed(columns: Sequence[ColumnOptions]) -> Iterator[_Placed]:
    """Yield the columns, each followed by those of its elements."""
    for i, column in enumerate(columns):
        field = indexed_path(column.path)
        yield _Placed(("columns", i), column, field)
        for j, inner in enumerate(column.columns):
            yield _Placed(("columns", i, "columns", j), inner, f"{field}.{indexed_path(inner.path)}")


def _unfit_names(columns: Sequence[ColumnOptions], target: TargetOptions) -> Found:
    """Return the names that the target's views cannot have."""
    found: Found = []
    longest = target.longest_column or 0
    table = table_parts(target.table)[-1] if getattr(target, "table", None) else ""  # type: ignore[attr-defined]
    for place, column, _ in _placed(columns):
        own = VIEW_COLUMNS if len(place) == 2 else CHILD_COLUMNS
        problem = None
        if column.name.upper() in own:
            problem = f"{column.name} is a column of the view itself: choose another name"
        elif isinstance(column, ColumnOptions) and column.physical and column.name.upper() in TABLE_COLUMNS:
            problem = f"{column.name} is a column of the table itself: choose another name"
        elif len(column.name) > longest:
            problem = f"must be at most {longest} characters long for target.type {target.type}"
        elif column.type.kind == "rows":
            view = f"{table}_{column.name}"
            if column.name.upper() in SIBLINGS:
                problem = f"{view} is another object of the target: choose another name"
            elif len(view) > longest:
                problem = (
                    f"the view {view} would have {len(view)} characters, the target allows {longest}: "
                    "choose a shorter name"
                )
        if problem:
            found.append(((*place, "name"), problem))
    return found


def _collisions(columns: Sequence[ColumnOptions]) -> Iterator[_Conflict]:
    """Yield names that differ in case only, and paths that are one field."""
    first: dict[tuple[Path, str, str], Path] = {}
    for place, column, field in _placed(columns):
        named = first.setdefault((place[:-1], "name", column.name.upper()), place)
        read = first.setdefault((place[:-1], "path", field), place)
        if named != place:
            yield _Conflict(
                (*place, "name"),
                f"{column.name} is the same name, whatever the case, as",
                (*named, "name"),
                ": choose another name",
            )
        elif read != place:
            yield _Conflict(
                (*place, "path"),
                f"{format_path(column.path)} is the same field as",
                (*read, "path"),
                ": remove one of the two columns",
            )


def _unmasked(columns: Sequence[ColumnOptions]) -> Iterator[_Conflict]:
    """Yield masked columns whose value another column shows as a part of its own."""
    shown: dict[str, list[_Placed]] = {}
    placed = list(_placed(columns))
    for one in placed:
        if one.options.mask is None:
            shown.setdefault(one.field, []).append(one)
    for place, column, field in placed:
        if column.mask is None:
            continue
        for at in (i for i in range(len(field) + 1) if i == len(field) or field[i] == "."):
            for other in shown.get(field[:at], ()):
                if other.place != place[:2] and (at < len(field) or other.place[:-1] != place[:-1]):
                    yield _Conflict(
                        (*place, "mask"),
                        f"{format_path(column.path)} is shown unmasked as a part of",
                        (*other.place, "path"),
                        ": give that column mask: drop, or a column to each part that may be shown",
                    )
