"""Build an Airflow DAG from a pipeline's graph, and load all pipelines of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict

from airflow_pipeline_provider import operators
from airflow_pipeline_provider.config.loader import (
    add_problem,
    find_file,
    load_folder,
    load_pipeline,
    located,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.factory.broken import broken_pipeline
from airflow_pipeline_provider.factory.documentation import describe, document
from airflow_pipeline_provider.factory.graph import TaskSpec, pipeline_graph
from airflow_pipeline_provider.factory.task_settings import (
    dag_arguments,
    default_args,
    notice_arguments,
    task_arguments,
)
from airflow_pipeline_provider.factory.timetable import DayPlanTimetable
from airflow_pipeline_provider.garbage_collection import freeze_imports
from airflow_pipeline_provider.observability.redaction import redact_yaml
from airflow_pipeline_provider.operators.executor_config import TaskSettingError
from airflow_pipeline_provider.operators.hitl import check_form

EARLIEST_START = pendulum.datetime(1970, 1, 1)  # runs of days before a DAG's start_date would have no tasks


def load_pipelines(namespace: dict[str, Any], folder: str) -> None:
    """Add a DAG for every pipeline of the files of `folder` to `namespace`, the ``globals()`` of the DAG file.

    When a task starts, Airflow requests a single DAG, and only the file of this pipeline is loaded.

    :param folder: absolute, or relative to the DAG file.
    :raises ConfigError: the folder is missing. An invalid pipeline file raises nothing: it becomes an import error of
        its own (see `factory.broken`), and the other pipelines are loaded.
    """
    dag_file = Path(namespace["__file__"])
    path = dag_file.parent / folder
    if not path.is_dir():
        raise ConfigError(f"folder: there is no folder {path}; pass the folder of the pipeline files")
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        freeze_imports()
        file = find_file(path, wanted)
        if file is not None:
            namespace[wanted] = build_dag(
                load_pipeline(file, options_model=options_model, pipeline_id=wanted), file
            )
        return
    loaded = load_folder(path, options_model=options_model)
    for pipeline_id, (file, config) in loaded.pipelines.items():
        try:
            namespace[pipeline_id] = build_dag(config, file)
        except TaskSettingError as wrong:
            add_problem(loaded.errors, file, located(file, config, wrong.path, wrong.reason))
    for file, error in loaded.errors.items():
        broken = broken_pipeline(file, str(Path(folder) / file.name), error)
        namespace[broken.dag_id] = broken


def build_dag(config: PipelineConfig, file: Path | None = None) -> DAG:
    """Build the DAG of one pipeline; its documentation shows `file`."""
    if get_parsing_context().dag_id is None:
        check_form(config)
    start = day_interval(config.start_day, config.timezone).start if config.start_day else EARLIEST_START
    # Airflow evaluates a cron expression in the time zone of the start date
    local_start = pendulum.instance(start).in_timezone(config.timezone)
    description = describe(config)
    dag = DAG(
        dag_id=config.pipeline_id,
        schedule=_schedule(config),
        start_date=local_start,
        catchup=False,
        default_args={**default_args(config), **notice_arguments(config)},
        description=redact_yaml(config.airflow.description or description),
        doc_md=document(config, description, file),
        **dag_arguments(config),
    )
    with dag:
        _add_tasks(config)
    # Set after the tasks, because each task would deep-copy the Params several times, although a run uses the DAG's.
    # Not by assignment, because that validates the Params of every DAG, a third of the time to build it.
    object.__setattr__(dag, "params", _params())
    return dag


def _schedule(config: PipelineConfig) -> Any:
    if config.schedule != "auto":
        return config.schedule
    return DayPlanTimetable(
        timezone=config.timezone,
        granularity=str(config.granularity),
        x_time_back=str(config.x_time_back),
        settle_seconds=config.rules.settle_seconds,
        start_day=config.start_day.isoformat() if config.start_day else None,
        end_day=config.end_day.isoformat() if config.end_day else None,
    )


def _params() -> ParamsDict:
    return ParamsDict(
        {
            "window_start": _time_param(
                f"Start of the window to move. Empty: the planner chooses. {_PICKER}"
            ),
            "window_end": _time_param("End of the window, in the same day of the pipeline's time zone."),
            "exact": Param(
                False,
                description="Move exactly this window, even if it is not a window of the day plan.",
                type="boolean",
            ),
        }
    )


_PICKER = (
    "The picker sends an instant in UTC, computed from the time zone that Airflow's clock icon shows; on a day on "
    "which the clocks change it can be an hour off. It cannot tell which one of two equal hours is meant: set the "
    "icon to UTC, or write the instant with its offset under Advanced Options, such as 2013-11-03T01:00:00-05:00."
)


_TIME_WITH_OFFSET = (
    r"^\s*\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?\s*([Zz]|[+-]\d\d:?\d\d(:?\d\d)?)\s*$"
)


def _time_param(description: str) -> Param:
    """Build a Param for a time with an offset, as Airflow's form writes it or with a space instead of the T.

    `format` only selects the form's date picker. Airflow would also validate by it and reject the space, so the value
    is validated by a reference: JSON Schema draft 7 ignores every keyword next to `$ref`. Airflow starts no run for a
    text that does not match the pattern; `GenerateWindowOperator` rejects a matching text that is not a valid time.
    """
    schema: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/definitions/time",
        "definitions": {"time": {"type": ["null", "string"], "pattern": _TIME_WITH_OFFSET}},
        "type": ["null", "string"],
        "format": "date-time",
    }
    return Param(None, description=description, **schema)


def _add_tasks(config: PipelineConfig) -> None:
    graph = pipeline_graph(config)
    built: dict[str, Any] = {}
    for spec in graph.tasks:
        built[spec.task_id] = _task(spec, config, built)
    for upstream, downstream in graph.edges:
        built[upstream] >> built[downstream]


def _task(spec: TaskSpec, config: PipelineConfig, built: dict[str, Any]) -> Any:
    operator = getattr(operators, spec.operator)
    arguments = {**spec.arguments, **task_arguments(config, spec.task_id)}
    if spec.mapped is None:
        return operator(task_id=spec.task_id, pipeline=config, **arguments)
    partial = operator.partial(task_id=spec.task_id, pipeline=config, **arguments)
    return partial.expand(slice=built[spec.mapped].output)
