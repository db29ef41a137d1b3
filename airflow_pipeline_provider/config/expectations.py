"""Define the section `expect`: when a day must be complete, and how many rows a window must have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from airflow_pipeline_provider.config.options import Section
from airflow_pipeline_provider.config.problems import CrossFieldError, Problem, format_value
from airflow_pipeline_provider.core.expectations import (
    CompleteBy,
    Expectations,
    RowsExpected,
    always_late,
    parse_complete_by,
)
from airflow_pipeline_provider.core.wording import local_time

if TYPE_CHECKING:
    from airflow_pipeline_provider.config.model import PipelineConfig

_WEEKS = re.compile(r"([1-9][0-9]?)w", re.ASCII)
_PERCENT = re.compile(r"([1-9][0-9]{0,3})%", re.ASCII)
MOST_WEEKS, WIDEST = 52, 1000
MOST_DAYS = 99  # `parse_complete_by` reads two digits


def _complete_by(value: object) -> CompleteBy:
    if isinstance(value, CompleteBy):
        return value
    try:
        return parse_complete_by(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            'must be a local time in quotes such as "09:00", or "2d 09:00" for the second day after, got '
            f"{format_value(value)}"
        ) from None


def _weeks(value: object) -> int:
    match = _WEEKS.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > MOST_WEEKS:
        raise ValueError(f"must be a number of weeks from 1w to {MOST_WEEKS}w, got {format_value(value)}")
    return int(match[1])


def _percent(value: object) -> int:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > WIDEST:
        raise ValueError(f"must be a percentage from 1% to {WIDEST}%, got {format_value(value)}")
    return int(match[1])


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


Weeks = Annotated[
    int, BeforeValidator(_weeks), PlainSerializer(lambda weeks: f"{weeks}w"), _schema("^[1-9][0-9]?w$")
]
Percent = Annotated[
    int, BeforeValidator(_percent), PlainSerializer(lambda band: f"{band}%"), _schema("^[1-9][0-9]{0,3}%$")
]
LocalTime = Annotated[
    CompleteBy,
    PlainValidator(_complete_by),
    PlainSerializer(str),
    _schema("^([1-9][0-9]?d )?([01][0-9]|2[0-3]):[0-5][0-9]$"),
]


class ExpectRowsOptions(Section):
    """How many rows a window must have."""

    min: int | None = Field(
        default=None, ge=1, strict=True, description="Number of rows that each window must have at least."
    )
    of_last: Weeks | None = Field(
        default=None,
        description="Number of weeks, such as 4w, whose median of the same weekday and local hour is compared with.",
    )
    band: Percent | None = Field(
        default=None,
        description="How far the rows may be from that median, such as 50% (the default).",
    )

    @model_validator(mode="after")
    def _complete(self) -> ExpectRowsOptions:
        if self.band is not None and self.of_last is None:
            raise CrossFieldError([Problem("band", "needs of_last, the weeks to compare with, such as 4w")])
        if self.min is None and self.of_last is None:
            raise ValueError("needs min or of_last, such as {min: 1, of_last: 4w, band: 50%}")
        return self


class ExpectOptions(Section):
    """What is expected of each day and window; a miss is recorded, shown, and can hold a commit."""

    day_complete_by: LocalTime | None = Field(
        default=None,
        description='Local time by which a day must be complete: "09:00" of the day after, "2d 09:00" of the second '
        "day after.",
    )
    rows: ExpectRowsOptions | None = Field(
        default=None, description="Number of rows that each window must have."
    )

    @model_validator(mode="after")
    def _complete(self) -> ExpectOptions:
        if self.day_complete_by is None and self.rows is None:
            raise ValueError('needs day_complete_by or rows, such as {day_complete_by: "09:00"}')
        return self

    def expectations(self) -> Expectations:
        """Return what is expected, for the functions that judge."""
        rows = None
        if self.rows is not None:
            rows = RowsExpected(self.rows.min or 0, self.rows.of_last, self.rows.band or 50)
        return Expectations(self.day_complete_by, rows)


def expectation_warnings(config: PipelineConfig) -> Iterator[Problem]:
    """Yield what is allowed and probably a mistake."""
    expected = config.expectations
    if expected.complete_by is not None and (late := always_late(config.rules, expected.complete_by)):
        due, ready = (local_time(instant.replace(second=0), config.timezone) for instant in late)
        later = expected.complete_by
        while later.days < MOST_DAYS and always_late(config.rules, later):
            later = later._replace(days=later.days + 1)
        advice = (
            f"no time up to {MOST_DAYS} days after is late enough, remove the key"
            if always_late(config.rules, later)
            else f'choose a later time such as "{later}"'
        )
        yield Problem(
            "expect.day_complete_by",
            f'"{expected.complete_by}" makes every day late: 2023-01-18, for one, would be due by {due}, and its '
            f"last window is ready at {ready}: {advice}",
            severity="warning",
        )
    if config.audit.on_unusual == "fail" and expected.rows is None:
        yield Problem("audit.on_unusual", "has no effect without expect.rows", severity="warning")
