"""Define the immutable configuration of a pipeline.

Editors show the field descriptions, which are part of the JSON Schema. The sections `source`, `stage`, `target` and
`state` contain the connectors' option models, which `loader` finds by `type`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    SerializeAsAny,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from airflow_pipeline_provider.config import fields
from airflow_pipeline_provider.config.airflow_options import AirflowOptions
from airflow_pipeline_provider.config.checks import cross_field_problems
from airflow_pipeline_provider.config.columns import ColumnList, ColumnsFile, ContractOptions
from airflow_pipeline_provider.config.expectations import ExpectOptions
from airflow_pipeline_provider.config.functions import import_function
from airflow_pipeline_provider.config.matrix import OfFile
from airflow_pipeline_provider.config.options import (
    DURATION_PATTERN,
    DurationSeconds,
    Section,
    SourceOptions,
    StageOptions,
    StateOptions,
    TargetOptions,
    validate_duration,
)
from airflow_pipeline_provider.config.own_tasks import OwnTasksOptions
from airflow_pipeline_provider.config.problems import CrossFieldError, Problem
from airflow_pipeline_provider.config.variables import Variable
from airflow_pipeline_provider.core.columns import Column, Contract
from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.expectations import Expectations

if TYPE_CHECKING:
    from airflow_pipeline_provider.core.planning import PlanRules

CalendarDuration = Annotated[
    Duration,
    PlainValidator(validate_duration),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
"""Calendar days first, then elapsed time, written as `1d2h`."""

Day = Annotated[
    date, BeforeValidator(fields.validate_day), WithJsonSchema({"type": "string", "format": "date"})
]


class ValidateOptions(Section):
    """Settings of the validate phase."""

    on_unavailable: Literal["fail", "proceed"] = Field(
        default="fail",
        description="When a check of the source gets no answer: fail, or proceed without it.",
    )
    max_staleness: DurationSeconds | None = Field(
        default=None,
        description="Maximum age of the source's newest event at the end of the window, such as 6h; null: any age.",
    )
    on_untimed: Literal["fail", "warn"] = Field(
        default="warn",
        description="When rows have no usable event time: fail, or warn. If no row has one, validate always fails.",
    )

    @property
    def max_staleness_seconds(self) -> int | None:
        """Return `max_staleness` in seconds."""
        return self.max_staleness


class AuditOptions(Section):
    """Settings of the audit phase."""

    on_mismatch: Literal["reextract", "fail"] = Field(
        default="reextract", description="When the counts differ: read the window again, or fail."
    )
    on_shrink: Literal["fail", "accept"] = Field(
        default="fail",
        description="When a window has fewer rows than its committed version: fail, or accept. Ids are not compared.",
    )
    on_empty: Literal["commit", "fail"] = Field(
        default="commit", description="When the window has no rows: commit it, or fail."
    )
    on_reject: Literal["fail", "quarantine"] = Field(
        default="fail",
        description="When the target cannot accept a document: fail, or load the others and keep it in the stage.",
    )
    on_unusual: Literal["warn", "fail"] = Field(
        default="warn",
        description="When the window has other rows than expect.rows: commit it with a warning, or fail.",
    )


class PipelineConfig(BaseModel):
    """The valid configuration of one pipeline; `warnings` lists what is allowed but probably a mistake.

    The constructor raises pydantic's ValidationError, which `loader` turns into messages with file and line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, title="Pipeline")

    pipeline_id: Annotated[str, BeforeValidator(fields.validate_pipeline_id)] = Field(
        description="Name of the pipeline and its DAG: letters, digits, '_', '-' and '.', at most 120 characters.",
        json_schema_extra={"pattern": fields.PIPELINE_ID.pattern, "maxLength": fields.LONGEST_ID},
    )
    timezone: Annotated[str, BeforeValidator(fields.validate_timezone)] = Field(
        default="UTC", description="IANA timezone of the pipeline's calendar days, such as America/New_York."
    )
    x_time_back: CalendarDuration = Field(
        default=Duration(1, 0),
        description="How far the target day is before the run, such as 1d2h; d is a calendar day.",
    )
    granularity: CalendarDuration = Field(
        default=Duration(0, 3600),
        description="Length of a window, at least 1m, such as 2h; 1d is the whole day.",
    )
    backlog_granularity: CalendarDuration | None = Field(
        default=None,
        description="Longest window of a day that lies back: a multiple of granularity, or 1d; null: granularity.",
    )
    settle: DurationSeconds = Field(
        default=600, description="Time that a window waits after its end for late rows, such as 10m."
    )
    start_day: Day | None = Field(
        default=None, description="First day to move, such as 2013-11-01; null: the first day ever planned."
    )
    end_day: Day | None = Field(default=None, description="Last day to move; null: no last day.")
    max_backlog_days: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        strict=True,
        description="Number of days before the target day to catch up on; null: all days "
        "(default: all with start_day, else 31).",
        json_schema_extra=fields.without_default,
    )
    schedule: Annotated[str, BeforeValidator(fields.validate_schedule)] | None = Field(
        default="auto",
        description="auto: one run for each window; a cron expression of five fields in `timezone`: one run at "
        "each tick; null: manual runs only.",
    )
    backlog: Literal["drain", "wait"] = Field(
        default="drain",
        description="drain: a commit starts a run for the next window that is ready; wait: only the schedule "
        "starts runs.",
    )
    source: SerializeAsAny[SourceOptions] = Field(description="Where windows are read from.")
    stage: SerializeAsAny[StageOptions] = Field(
        description="Where part files are stored between extract and load."
    )
    target: SerializeAsAny[TargetOptions] = Field(description="Where windows are loaded to.")
    state: SerializeAsAny[StateOptions] = Field(description="Where leases and the ledger are stored.")
    columns_: ColumnList | ColumnsFile = Field(
        default=(),
        alias="columns",
        description="Typed columns of the view <table>_TYPED, as a list or in a file of their own.",
    )
    contract_: ContractOptions | None = Field(
        default=None,
        alias="contract",
        description="What a change of the documents' fields does; without it and columns, none is looked for.",
    )
    validate_: ValidateOptions = Field(
        default=ValidateOptions(), alias="validate", description="Checks before a window is read."
    )
    audit: AuditOptions = Field(default=AuditOptions(), description="Checks before a window is committed.")
    expect: ExpectOptions | None = Field(
        default=None, description="When days must be complete, and how many rows windows must have."
    )
    max_attempts: int = Field(
        default=5,
        ge=1,
        le=1000,
        strict=True,
        description="Number of failures, by a data error or an unexpected error, after which a window is blocked.",
    )
    on_blocked: Literal["pass", "stop"] = Field(
        default="pass", description="pass: planning skips a blocked window; stop: planning stops at it."
    )
    airflow: AirflowOptions = Field(
        default=AirflowOptions(), description="Settings of the DAG, its tasks and notifiers."
    )
    default_record: dict[str, Any] = Field(
        default={}, description="Fields and values that every window's record starts with."
    )
    record_functions: dict[str, str] = Field(
        default={},
        description="Record fields in UPPERCASE, each with the dotted path of a function(record) that returns its "
        "value; the module must be allowed.",
    )

    own_tasks: OwnTasksOptions = Field(
        default=OwnTasksOptions(),
        description="Functions of your own, each of which runs in a task of its own at a place of the DAG.",
    )

    _warnings: tuple[Problem, ...] = PrivateAttr(())
    _variables: tuple[Variable, ...] = PrivateAttr(())
    _file: str | None = PrivateAttr(None)
    _folder: str | None = PrivateAttr(None)
    _variant: OfFile | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _default_backlog(cls, data: object) -> Any:
        """Set the default limit unless the file has a first day, which is a limit itself."""
        if isinstance(data, dict) and "max_backlog_days" not in data and data.get("start_day") is None:
            return {**data, "max_backlog_days": fields.DEFAULT_BACKLOG_DAYS}
        return data

    @field_validator("x_time_back", "granularity")
    @classmethod
    def _inside_the_calendar(cls, value: Duration, info: Any) -> Duration:
        return fields.validate_length(value, shortest_seconds=60 if info.field_name == "granularity" else 0)

    @field_validator("default_record")
    @classmethod
    def _json_only(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"must contain only values that JSON supports: {error}") from None
        return value

    @field_validator("record_functions")
    @classmethod
    def _function_paths(cls, value: dict[str, str]) -> dict[str, str]:
        return fields.validate_function_paths(value)

    @model_validator(mode="after")
    def _across_fields(self) -> PipelineConfig:
        problems = cross_field_problems(self)
        if errors := [problem for problem in problems if problem.severity == "error"]:
            raise CrossFieldError(errors)
        self._warnings = tuple(problems)
        return self

    def __str__(self) -> str:
        """Its id: Airflow writes an operator's arguments as text into the serialized DAG and its pages."""
        return self.pipeline_id

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Return the problems that do not make the file invalid."""
        return self._warnings

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Return the environment variables that the file uses."""
        return self._variables

    @property
    def file(self) -> str | None:
        """Return the name of the pipeline file, None for a configuration without one."""
        return self._file

    @property
    def folder(self) -> str | None:
        """Return the folder of the pipeline file, None for a configuration without one."""
        return self._folder

    @property
    def variant(self) -> OfFile | None:
        """Return which variant of its file the pipeline is, None for a file without `matrix`."""
        return self._variant

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        """The typed columns, none without the key."""
        listed = () if isinstance(self.columns_, ColumnsFile) else self.columns_
        return tuple(column.column() for column in listed)

    @functools.cached_property
    def contract(self) -> Contract | None:
        """What a change of the documents does; None without columns and contract."""
        if self.contract_ is not None:
            return self.contract_.contract()
        return Contract() if self.columns else None

    @functools.cached_property
    def expectations(self) -> Expectations:
        """What is expected of days and windows."""
        return Expectations() if self.expect is None else self.expect.expectations()

    @functools.cached_property
    def rules(self) -> PlanRules:
        """The rules for the planner."""
        from airflow_pipeline_provider.core.planning import PlanRules

        return PlanRules(
            timezone=self.timezone,
            x_time_back=self.x_time_back,
            granularity=self.granularity,
            backlog_granularity=self.backlog_granularity,
            settle_seconds=self.settle,
            start_day=self.start_day,
            end_day=self.end_day,
            max_backlog_days=self.max_backlog_days,
            on_blocked=self.on_blocked,
        )

    def resolve_record_functions(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Import the functions of `record_functions`.

        Raise ConfigError with field, path and reason if one cannot be imported, is not callable or is not allowed.
        """
        return {
            field: import_function(f"record_functions.{field}", path)
            for field, path in self.record_functions.items()
        }
