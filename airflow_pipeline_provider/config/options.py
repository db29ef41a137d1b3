"""Define the base classes of connectors' `Options`, the models of their YAML sections.

The field types give every connector the same durations and sizes with the same error messages:
`lease: DurationSeconds = 120` reads `lease: 2m`, `part_size: ByteCount = ...` reads `part_size: 128MB`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from airflow_pipeline_provider.config.field_control import FieldsOptions, RedactList
from airflow_pipeline_provider.config.problems import format_value
from airflow_pipeline_provider.core.durations import (
    SECONDS_OF_DAY,
    Duration,
    parse_duration,
    seconds_to_time_string,
)

MAX_DAYS = 10_000  # subtracting a duration from an instant stays inside the calendar
DURATION_PATTERN = r"^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
# the connection ids that Airflow accepts
_CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")
_SIZE = re.compile(r"([0-9]{1,18})\s*([KMGT]I?B|B)", re.IGNORECASE)
_UNITS = {"B": 1, **{f"{letter}B": 1000**n for n, letter in enumerate("KMGT", 1)}}
_UNITS.update({f"{letter}IB": 1024**n for n, letter in enumerate("KMGT", 1)})
_SMALLEST_SIZE, _LARGEST_SIZE = 1_000, 5 * 1000**3


def validate_duration(value: Any) -> Duration:
    """Parse "1d2h30m20s"; raise ValueError with the expected form for anything else."""
    if isinstance(value, Duration):
        return value
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError(
            f"must be a duration such as 30s, 10m, 2h or 1d2h30m, got {format_value(value)}"
        ) from None


def _validate_seconds(value: object) -> int:
    seconds = validate_duration(value).elapsed_seconds
    if seconds > MAX_DAYS * 86_400:
        raise ValueError(f"must be at most {MAX_DAYS}d, got {format_value(value)}")
    return seconds


def parse_size(value: object) -> int:
    """Return the bytes of "128MB" (1000-based), "128MiB" (1024-based) or a plain number of bytes."""
    size: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = int(match[1]) * _UNITS[match[2].upper()]
    if size is None:
        raise ValueError(f"must be a size such as 128MB or 64MiB, got {format_value(value)}")
    if not _SMALLEST_SIZE <= size <= _LARGEST_SIZE:
        raise ValueError(f"must be between 1KB and 5GB, got {format_value(value)}")
    return size


def printable(value: str) -> str:
    """Return a text of one line; raise ValueError for line ends, zero-width characters and bidirectional marks."""
    if not value.isprintable():
        raise ValueError(f"must be printable text on one line, got {format_value(value)}")
    return value


def _conn_id(value: str) -> str:
    if not _CONN_ID.fullmatch(value):
        raise ValueError(
            "must be the id of an Airflow connection (letters, digits and _#!()-.:/\\, at most 250), "
            f"got {format_value(value)}"
        )
    return value


Compression = Literal["zstd", "lz4"]
"""The codec of part files; `lz4` is Parquet's `LZ4_RAW`, the block format without the frames of Hadoop's `LZ4`."""

Naming = Literal["upper", "lower", "as_is"]
"""The case of names in typed views: `upper`, `lower`, or `as_is`, as they are written in `columns`."""

ConnId = Annotated[str, AfterValidator(_conn_id)]
"""The id of an Airflow connection."""

DurationSeconds = Annotated[
    int,
    BeforeValidator(_validate_seconds),
    PlainSerializer(seconds_to_time_string),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
"""Elapsed seconds, written as `30s`, `10m`, `1d2h`; a day counts as 24 hours."""

ByteCount = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^[0-9]+\s*([KMGTkmgt][Ii]?)?[Bb]$"}),
]
"""Bytes, written as `128MB`, `64MiB` or a plain number; 1KB to 5GB."""


class Section(BaseModel):
    """A section of fixed keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Options(BaseModel):
    """A section of a pipeline file; unknown keys are errors, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(description="Name of the connector.")


class SourceOptions(Options):
    """Keys of every source; `takes_fields`: the source itself can leave fields out, by `fields`."""

    takes_fields: ClassVar[bool] = False

    slices: Literal["auto"] | Annotated[int, Field(ge=1, le=64, strict=True)] = Field(
        default="auto",
        description="Number of concurrent readers of a window; with distribute: tasks, of its slices. "
        "auto: by its rows and shards.",
    )
    distribute: Literal["threads", "tasks"] = Field(
        default="threads",
        description="threads: one task reads the window; tasks: a mapped Airflow task reads each slice.",
    )
    history: Literal["events", "changes"] = Field(
        default="events",
        description="events: a record keeps its time; changes: an update gives it a later time (updated_at).",
    )
    fields: FieldsOptions | None = Field(
        default=None,
        description="Fields that the source returns; null: all. Only for sources that can leave fields out.",
        examples=[{"exclude": ["passenger"]}],
    )
    redact: RedactList = Field(
        default=(),
        description="Fields whose values are dropped, hashed or masked before anything is written to the stage.",
        examples=[[{"path": "user.email", "how": "drop"}]],
    )
    redact_conn_id: ConnId | None = Field(
        default=None,
        min_length=1,
        description="Airflow connection whose password is the secret key of hashes, at least 16 characters.",
        examples=["redact_key"],
    )


def _at_least_a_day(seconds: int) -> int:
    if seconds < SECONDS_OF_DAY:
        raise ValueError(f"must be 1d or more, got {seconds_to_time_string(seconds)}")
    return seconds


class StageOptions(Options):
    """Keys of every stage."""

    part_size: ByteCount = Field(
        default=128_000_000,
        description="Compressed size at which a part file is closed, 1KB to 5GB, such as 128MB or 64MiB.",
    )
    compression: Compression = Field(
        default="zstd",
        description="Codec of new part files. zstd: small files (level 1); lz4: less CPU, larger files.",
    )
    keep_attempts: int = Field(
        default=0,
        ge=0,
        le=1000,
        strict=True,
        description="Number of older attempts of a window whose files are kept after its commit.",
    )
    keep: Annotated[DurationSeconds, AfterValidator(_at_least_a_day)] | None = Field(
        default=None,
        description="How long cleanup keeps the part files of a committed window, such as 30d; null: for good.",
    )


class TargetOptions(Options):
    """Keys of every target; none so far.

    `longest_column` is the most characters of a column's or view's name, None for a target without typed columns.
    """

    longest_column: ClassVar[int | None] = None


class StateOptions(Options):
    """Keys of every state store."""

    lease: DurationSeconds = Field(
        default=120,
        ge=1,
        description="Time after which an unrenewed lease expires, by the store's clock, such as 2m.",
    )

    @property
    def lease_seconds(self) -> int:
        """Return `lease` in seconds."""
        return self.lease
