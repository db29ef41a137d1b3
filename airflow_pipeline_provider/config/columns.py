"""Validate the typed columns of a pipeline file, and which of them contradict each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from airflow_pipeline_provider.config.messages import validation_messages
from airflow_pipeline_provider.config.options import Section, TargetOptions
from airflow_pipeline_provider.config.problems import CrossFieldError, Problem, dotted, format_value
from airflow_pipeline_provider.core.columns import (
    CHILD_COLUMNS,
    DATE_FORMATS,
    DEFAULT_FORMATS,
    KINDS,
    MOST_COLUMNS,
    NAME_PATTERN,
    SIBLINGS,
    VIEW_COLUMNS,
    Column,
    ColumnType,
    Mask,
    format_path,
    indexed_path,
    parse_path,
    parse_type,
)
from airflow_pipeline_provider.core.datasets import table_parts
from airflow_pipeline_provider.suggestions import did_you_mean

Path = tuple[str | int, ...]
Found = list[tuple[Path, str]]


def _name(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN, value):
        raise ValueError(
            f"must be letters, digits and _, and not begin with a digit, got {format_value(value)}"
        )
    return value


def _type(value: object) -> ColumnType:
    if isinstance(value, ColumnType):
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be a type such as text, got {format_value(value)}")
    try:
        return parse_type(value)
    except ValueError as error:
        if value.startswith("decimal(") and "," not in value:  # { } ends a value at a comma
            raise ValueError(
                f'must be in quotes inside of {{ }}: "decimal(12,2)", got {format_value(value)}'
            ) from None
        hint = None if value.startswith("decimal(") else did_you_mean(value, KINDS)
        raise ValueError(f"{error}{f'; {hint}' if hint else ''}") from None


def _path(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        quoted = isinstance(value, int | float) and not isinstance(value, bool)
        hint = " (put it in quotes)" if quoted else ""
        raise ValueError(f"must be a path such as dep.time, got {format_value(value)}{hint}")
    return parse_path(value)


def _formats(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise ValueError(f"must be formats such as yyyy-MM-dd||epoch_millis, got {format_value(value)}")
    names = tuple(dict.fromkeys(name.strip() for name in value.split("||")))
    for name in names:
        if name not in DATE_FORMATS:
            hint = did_you_mean(name, DATE_FORMATS) or f"known: {', '.join(DATE_FORMATS)}"
            raise ValueError(f"unknown format {format_value(name)}; {hint}")
    return names


def _count(columns: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"must be at most {MOST_COLUMNS} columns, got {len(columns)}")
    return columns


_LIMIT = Field(json_schema_extra={"maxItems": MOST_COLUMNS})
_DECIMAL_SCHEMA = {"type": "string", "pattern": r"^decimal\( ?[0-9]+ ?, ?[0-9]+ ?\)$"}


def _type_schema(*without: str) -> dict[str, Any]:
    return {"anyOf": [{"enum": [kind for kind in KINDS if kind not in without]}, _DECIMAL_SCHEMA]}


AnyType = Annotated[
    ColumnType, PlainValidator(_type), PlainSerializer(str), WithJsonSchema(_type_schema("decimal"))
]
ElementType = Annotated[
    ColumnType, PlainValidator(_type), PlainSerializer(str), WithJsonSchema(_type_schema("decimal", "rows"))
]
Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})
]
PathText = Annotated[
    tuple[str, ...],
    PlainValidator(_path),
    PlainSerializer(format_path),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
Formats = Annotated[
    tuple[str, ...],
    BeforeValidator(_formats),
    PlainSerializer("||".join),
    WithJsonSchema({"type": "string", "minLength": 1}),
]


class ElementColumnOptions(Section):
    """A column of the view of an array's elements."""

    name: Name = Field(description="Name of the column: letters, digits and _, unique whatever the case.")
    path: PathText = Field(
        description='Path of the value: keys with dots between them, a key with a dot in quotes ("a.b".c); in '
        "`columns` of a column it begins at the element."
    )
    type: ElementType = Field(
        description="Type; a value that does not cast is NULL. decimal(p,s) has p digits, s after the point."
    )
    format: Formats = Field(
        default=(),
        description="Formats of a date or timestamp by Elasticsearch's names, with || between them; "
        "strict_date_optional_time is ISO 8601.",
        json_schema_extra={"default": "||".join(DEFAULT_FORMATS)},
    )
    mask: Mask | None = Field(
        default=None,
        description="What the views show instead of the value: sha256 (64 hex digits), last4 (the last four "
        "characters), drop (nothing). The table keeps the value in BODY.",
    )

    @model_validator(mode="after")
    def _fitting_keys(self) -> ElementColumnOptions:
        if problems := list(self.misplaced()):
            raise CrossFieldError(problems)
        return self

    def misplaced(self) -> Iterator[Problem]:
        """Yield a problem for each key that does not fit the column's type."""
        if self.format and self.type.kind not in ("date", "timestamp"):
            yield Problem("format", f"is for the types date and timestamp, got type {self.type}")
        if self.mask in ("sha256", "last4") and self.type.kind != "text":
            yield Problem("mask", f"{self.mask} needs type text, which it returns, got type {self.type}")
        if self.type.kind == "rows" and not isinstance(self, ColumnOptions):
            yield Problem("type", "must not be rows inside of rows: use json or array")

    def column(self) -> Column:
        """Return the column."""
        return Column(self.name, self.path, self.type, self.format, mask=self.mask)


class ColumnOptions(ElementColumnOptions):
    """A typed column of a pipeline file."""

    type: AnyType = Field(
        description="Type; a value that does not cast is NULL. decimal(p,s) has p digits, s after the point; rows "
        "makes a view with a row per element."
    )
    columns: Annotated[tuple[ElementColumnOptions, ...], AfterValidator(_count), _LIMIT] = Field(
        default=(), description="Columns of each element, for type rows."
    )

    def misplaced(self) -> Iterator[Problem]:
        """Yield a problem for each key that does not fit the column's type."""
        yield from super().misplaced()
        if self.type.kind == "rows" and not self.columns and self.mask != "drop":
            yield Problem("columns", "is missing: type rows needs the columns of each element")
        if self.type.kind != "rows" and self.columns:
            yield Problem("columns", f"is for the type rows, got type {self.type}")

    def column(self) -> Column:
        """Return the column with those of its elements."""
        return Column(
            self.name,
            self.path,
            self.type,
            self.format,
            mask=self.mask,
            columns=tuple(each.column() for each in self.columns),
        )


class ColumnsFile(Section):
    """A reference to a file with the list of columns."""

    include: str = Field(
        min_length=1,
        description="File with the list of columns, relative to the pipeline file, such as columns/flights.yaml.",
    )


ColumnList = Annotated[tuple[ColumnOptions, ...], AfterValidator(_count), _LIMIT]


class TypedColumns(Section):
    """The key `columns` alone, to validate it whatever else is wrong with the file."""

    columns: ColumnList


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
