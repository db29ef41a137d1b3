"""What a reader of a pipeline's state needs to know without its file; small, and without any secret.

It travels with the serialized DAG and with the state, so that the api-server, which has no pipeline files, can
compute what is complete, what is missing and why.
"""

from __future__ import annotations

import json
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.options import Options, StateOptions
from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.observability.redaction import is_secret

if TYPE_CHECKING:
    from airflow_pipeline_provider.core.planning import PlanRules

NAMES = ("type", "conn_id", "index", "table", "path", "name", "time_field", "time_column", "history")
"""Keys of source, stage and target that name the data; filters, queries and tuning stay in the file."""


class PipelineFacts(Struct, frozen=True, omit_defaults=True, dict=True):
    """Facts of a pipeline file; durations are text as in the file, `settle` is in seconds.

    `state` is the file's section without its defaults. A reader of an older version ignores keys that are new to it.
    """

    pipeline_id: str
    timezone: str
    granularity: str
    x_time_back: str
    settle: int
    source: dict[str, Any]
    stage: dict[str, Any]
    target: dict[str, Any]
    state: dict[str, Any]
    start_day: date | None = None
    end_day: date | None = None
    max_backlog_days: int | None = None
    on_blocked: str = "pass"
    on_shrink: str = "fail"
    max_attempts: int = 5
    backlog: str = "drain"
    schedule: str | None = None
    file: str | None = None
    backlog_granularity: str | None = None

    @cached_property
    def rules(self) -> PlanRules:
        """Return the rules for the planner."""
        from airflow_pipeline_provider.core.planning import PlanRules

        return PlanRules(
            timezone=self.timezone,
            x_time_back=parse_duration(self.x_time_back),
            granularity=parse_duration(self.granularity),
            backlog_granularity=parse_duration(self.backlog_granularity)
            if self.backlog_granularity
            else None,
            settle_seconds=self.settle,
            start_day=self.start_day,
            end_day=self.end_day,
            max_backlog_days=self.max_backlog_days,
            on_blocked=self.on_blocked,
        )

    @cached_property
    def store_key(self) -> str:
        """Return a text that pipelines share whose state is in one store, for readers with the same connections."""
        return json.dumps({k: v for k, v in self.state.items() if k != "lease"}, sort_keys=True)

    def dump(self) -> dict[str, Any]:
        """Return the facts as JSON values, for the state's record."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def dump_json(self) -> str:
        """Return the facts as JSON, for the serialized DAG."""
        return msgspec.json.encode(self).decode()


def facts_of(config: PipelineConfig) -> PipelineFacts:
    """Return the facts of a pipeline file."""
    return PipelineFacts(
        pipeline_id=config.pipeline_id,
        timezone=config.timezone,
        granularity=str(config.granularity),
        backlog_granularity=str(config.backlog_granularity) if config.backlog_granularity else None,
        x_time_back=str(config.x_time_back),
        settle=config.settle,
        source=_names(config.source),
        stage=_names(config.stage),
        target=_names(config.target),
        state=_section(config.state),
        start_day=config.start_day,
        end_day=config.end_day,
        max_backlog_days=config.max_backlog_days,
        on_blocked=config.on_blocked,
        on_shrink=config.audit.on_shrink,
        max_attempts=config.max_attempts,
        backlog=config.backlog,
        schedule=config.schedule,
        file=config.file,
    )


def read_facts(stored: object) -> PipelineFacts:
    """Parse what `PipelineFacts.dump` or `dump_json` returned; raise ValueError for anything else."""
    if isinstance(stored, str):
        return msgspec.json.decode(stored, type=PipelineFacts)
    return msgspec.convert(stored, PipelineFacts)


def _names(options: Options) -> dict[str, Any]:
    dumped = options.model_dump(mode="json", include=set(NAMES), exclude_none=True)
    return {name: dumped[name] for name in NAMES if name in dumped}


def _section(options: StateOptions) -> dict[str, Any]:
    """Return the section as the file has it; what a store of another package calls a secret is left out."""
    dumped = options.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {"type": options.type, **{k: v for k, v in dumped.items() if not is_secret(k, v)}}
