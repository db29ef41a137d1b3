"""What every connector's YAML section shares; a connector's `Options` subclasses one of these.

The field types here give a connector durations and sizes with one meaning and one error sentence:
`lease: DurationSeconds = 120` reads `lease: 2m`, `part_size: ByteCount = ...` reads `part_size: 128MB`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from airflow_pipeline_provider.config.problems import shown
from airflow_pipeline_provider.core.durations import Duration, seconds_to_time_string
from airflow_pipeline_provider.core.durations import parse_duration as core_parse_duration

MAX_DAYS = 10_000  # keeps every instant that a duration is taken from inside the calendar
DURATION_PATTERN = r"^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
# what Airflow itself takes for an id
_CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")
_SIZE = re.compile(r"([0-9]{1,18})\s*([KMGT]I?B|B)", re.IGNORECASE)
_UNITS = {"B": 1, **{f"{letter}B": 1000**n for n, letter in enumerate("KMGT", 1)}}
_UNITS.update({f"{letter}IB": 1024**n for n, letter in enumerate("KMGT", 1)})
_SMALLEST_SIZE, _LARGEST_SIZE = 1_000, 5 * 1000**3


def parse_duration(value: Any) -> Duration:
    """Read "1d2h30m20s"; anything else is a ValueError with the expectation."""
    if isinstance(value, Duration):
        return value
    try:
        return core_parse_duration(value)
    except ValueError:
        raise ValueError(f"must be a duration such as 30s, 10m, 2h or 1d2h30m, got {shown(value)}") from None


def _parse_seconds(value: Any) -> int:
    seconds = parse_duration(value).elapsed_seconds
    if seconds > MAX_DAYS * 86_400:
        raise ValueError(f"must be at most {MAX_DAYS}d, got {shown(value)}")
    return seconds


def parse_size(value: Any) -> int:
    """Bytes of "128MB" (1000-based), "128MiB" (1024-based) or a plain number of bytes."""
    size: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = int(match[1]) * _UNITS[match[2].upper()]
    if size is None:
        raise ValueError(f"must be a size such as 128MB or 64MiB, got {shown(value)}")
    if not _SMALLEST_SIZE <= size <= _LARGEST_SIZE:
        raise ValueError(f"must be between 1KB and 5GB, got {shown(value)}")
    return size


def printable(value: str) -> str:
    """A name that a person can read on one line; what hides in a text (zero width, right to left) is refused."""
    if not value.isprintable():
        raise ValueError(f"must be printable text on one line, got {shown(value)}")
    return value


def _conn_id(value: str) -> str:
    if not _CONN_ID.fullmatch(value):
        raise ValueError(
            "must be the id of an Airflow connection (letters, digits and _#!()-.:/\\, at most 250), "
            f"got {shown(value)}"
        )
    return value


ConnId = Annotated[str, AfterValidator(_conn_id)]
"""The id of an Airflow connection."""

DurationSeconds = Annotated[
    int,
    BeforeValidator(_parse_seconds),
    PlainSerializer(seconds_to_time_string),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
"""Elapsed seconds, written as `30s`, `10m`, `1d2h` (where a calendar day and 24 hours are not told apart)."""

ByteCount = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^[0-9]+\s*([KMGTkmgt][Ii]?)?[Bb]$"}),
]
"""Bytes, written as `128MB`, `64MiB` or a plain number; 1KB to 5GB."""


class Options(BaseModel):
    """A section of a pipeline file: every key is known, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(description="Name of the connector.")


class SourceOptions(Options):
    """Keys that every source has."""

    slices: Literal["auto"] | Annotated[int, Field(ge=1, le=64, strict=True)] = Field(
        default="auto",
        description="Parts of a window that are read at the same time, 1 to 64; auto: by its rows and shards.",
    )
    distribute: Literal["threads", "tasks"] = Field(
        default="threads", description="Read the slices as threads of one task, or as mapped Airflow tasks."
    )
    history: Literal["events", "changes"] = Field(
        default="events",
        description="events: a record keeps its time; changes: an update gives it a later one (updated_at).",
    )


class StageOptions(Options):
    """Keys that every stage has."""

    part_size: ByteCount = Field(
        default=128_000_000,
        description="Compressed size at which a part file ends: 128MB, 64MiB; 1KB to 5GB.",
    )
    keep_attempts: int = Field(
        default=0, ge=0, le=1000, strict=True, description="Older attempts of a window kept after its commit."
    )


class TargetOptions(Options):
    """Keys that every target has: none yet."""


class StateOptions(Options):
    """Keys that every state store has."""

    lease: DurationSeconds = Field(
        default=120,
        ge=1,
        description="How long a run keeps its window without a sign of life, by the store's clock: 2m.",
    )

    @property
    def lease_seconds(self) -> int:
        return self.lease
