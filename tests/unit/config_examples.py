"""Option models of small connectors, and pipeline files that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    load_pipeline,
)
from airflow_pipeline_provider.config.options import (
    ByteCount,
    DurationSeconds,
    SourceOptions,
    StageOptions,
    StateOptions,
    TargetOptions,
)
from airflow_pipeline_provider.exceptions import ConfigError


class SearchOptions(SourceOptions):
    type: Literal["search"]
    index: str | list[str]
    page_size: int = Field(default=5000, ge=1, le=10_000)
    keys: tuple[str, ...] = ()
    keep_alive: DurationSeconds = 300
    buffer: ByteCount = 1_000_000
    ratio: float = Field(default=0.5, gt=0)
    compress: bool = False
    query: dict[str, Any] | None = None
    password: int | None = None

    @field_validator("keys")
    @classmethod
    def _no_star(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in value:
            raise ValueError("must not hold '*'")
        return value

    @model_validator(mode="after")
    def _not_both(self) -> SearchOptions:
        if self.query and self.keys:
            raise ValueError("needs one of query and keys, got both")
        return self


class FilesOptions(StageOptions):
    type: Literal["files"]
    path: str


class TableOptions(TargetOptions):
    type: Literal["table"]
    table: str = Field(min_length=1)
    schema_name: str | None = Field(default=None, alias="schema")


class OtherTableOptions(TargetOptions):
    type: Literal["other"]
    name: str


class VariableOptions(StateOptions):
    type: Literal["variable"]


class SqlOptions(StateOptions):
    type: Literal["sql"]


class ForeignOptions(StateOptions):
    type: Literal["foreign"]


class BrokenOptions(SourceOptions):
    type: Literal["broken"]
    x: int = 0

    @field_validator("x")
    @classmethod
    def _bug(cls, value: int) -> int:
        raise KeyError("a bug of its own")


MODELS: dict[tuple[str, str], Any] = {
    ("source", "search"): SearchOptions,
    ("source", "broken"): BrokenOptions,
    ("source", "foreign"): ForeignOptions,
    ("stage", "files"): FilesOptions,
    ("target", "table"): TableOptions,
    ("target", "other"): OtherTableOptions,
    ("state", "variable"): VariableOptions,
    ("state", "sql"): SqlOptions,
}


def options_model(kind: str, name: str) -> Any:
    if name == "unimportable":
        raise ImportError("No module named 'kafka'")
    if (kind, name) not in MODELS:
        raise ConfigError(f"{kind}.type: unknown {name!r}; did you mean 'search'?")
    return MODELS[kind, name]


LEAST = """\
pipeline_id: flights
source: {type: search, index: flights}
stage: {type: files, path: /stage}
target: {type: table, table: flights}
"""
WHOLE = """\
pipeline_id: flights
timezone: America/New_York
x_time_back: 1d2h
granularity: 2h
settle: 10m
start_day: 2013-11-01
end_day: null
max_backlog_days: null
schedule: "*/30 * * * *"
backlog: wait
source:
  type: search
  index: [flights-a, flights-b]
  page_size: 100
  slices: 2
  distribute: tasks
  keep_alive: 1m30s
stage: {type: files, path: /stage, part_size: 64MiB, keep_attempts: 2, keep: 30d}
target: {type: table, table: flights, schema: raw}
validate: {on_unavailable: proceed, max_staleness: 6h}
audit: {on_mismatch: fail, on_shrink: accept, on_empty: fail}
state: {type: sql, lease: 30s}
max_attempts: 2
on_blocked: stop
airflow: {retries: 0, pool: etl, tags: [a, b, a], max_active_runs: 4, owner: ops}
default_record: {team: ops, nested: {list: [1, null]}}
record_functions: {PARTNER: mycompany.records.partner_of}
"""


ALLOWED_MODULES = "AIRFLOW__PIPELINES__ALLOWED_MODULES"  # WHOLE needs mycompany in it


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(folder: Path, text: str | bytes, defaults: str | None = None) -> Any:
    if defaults is not None:
        write(folder, "defaults.yaml", defaults)
    return load_pipeline(write(folder, "flights.yaml", text), options_model=options_model)


def problems(folder: Path, text: str | bytes, defaults: str | None = None) -> list[str]:
    with pytest.raises(ConfigFileError) as raised:
        load(folder, text, defaults)
    return [str(problem) for problem in raised.value.problems]
