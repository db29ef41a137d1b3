"""Define the typed columns of a pipeline file, each valid by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from airflow_pipeline_provider.config.options import Section
from airflow_pipeline_provider.config.problems import CrossFieldError, Problem, format_value
from airflow_pipeline_provider.core.columns import (
    DATE_FORMATS,
    DEFAULT_FORMATS,
    KINDS,
    MOST_COLUMNS,
    NAME_PATTERN,
    Column,
    ColumnType,
    Contract,
    Level,
    Mask,
    format_path,
    parse_path,
    parse_type,
)
from airflow_pipeline_provider.suggestions import did_you_mean


def _name(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN, value):
        raise ValueError(
            f"must be letters, digits and _, and not begin with a digit, got {format_value(value)}"
        )
    return value


def _type(value: object) -> ColumnType:
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
    required: bool = Field(
        default=False,
        strict=True,
        description="Some document of each window has a value; contract.missing_field is for a window without one.",
    )
    physical: bool = Field(
        default=False,
        strict=True,
        description="A column of the table itself, filled by each load and for the past by columns apply.",
    )
    columns: Annotated[tuple[ElementColumnOptions, ...], AfterValidator(_count), _LIMIT] = Field(
        default=(), description="Columns of each element, for type rows."
    )

    def misplaced(self) -> Iterator[Problem]:
        """Yield a problem for each key that does not fit the column's type."""
        yield from super().misplaced()
        if self.type.kind == "rows" and not self.columns and self.mask != "drop":
            yield Problem("columns", "is missing: type rows needs the columns of each element")
        if self.physical and self.type.kind == "rows":
            yield Problem("physical", "is for columns of the table, and type rows is a view: remove it")
        if self.physical and self.mask is not None:
            yield Problem(
                "physical", f"would keep the value that mask {self.mask} hides: remove one of the two"
            )
        if self.type.kind != "rows" and self.columns:
            yield Problem("columns", f"is for the type rows, got type {self.type}")

    def column(self) -> Column:
        """Return the column with those of its elements."""
        return Column(
            self.name,
            self.path,
            self.type,
            self.format,
            self.required,
            self.physical,
            mask=self.mask,
            columns=tuple(each.column() for each in self.columns),
        )


class ContractOptions(Section):
    """What a change of the documents does: ignore, warn (recorded and shown), or fail before the commit."""

    new_field: Level = Field(
        default="warn", description="A field that the windows before and the columns do not have."
    )
    missing_field: Level = Field(
        default="warn", description="A required column without a value in any document of a window."
    )
    type_change: Level = Field(
        default="warn", description="A field with values of another JSON type than in the windows before."
    )
    uncastable: Level = Field(
        default="warn", description="Values that do not cast to the type of their column, and so are NULL."
    )

    def contract(self) -> Contract:
        """Return the contract."""
        return Contract(self.new_field, self.missing_field, self.type_change, self.uncastable)


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
