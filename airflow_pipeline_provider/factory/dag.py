"""The graph rendered as an Airflow DAG, and the two-line loader of a DAGs folder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict

from airflow_pipeline_provider import operators
from airflow_pipeline_provider.config.loader import find_file, load_folder, load_pipeline
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.time_utils import seconds_to_time_string
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.factory.broken import broken_pipeline
from airflow_pipeline_provider.factory.graph import TaskSpec, pipeline_graph
from airflow_pipeline_provider.factory.timetable import DayPlanTimetable

LONGEST_RETRY_DELAY = timedelta(minutes=10)
LONG_AGO = pendulum.datetime(1970, 1, 1)  # runs of days before a DAG's start_date would have no tasks


def load_pipelines(namespace: dict[str, Any], folder: str) -> None:
    """Turn every pipeline file of `folder` into a DAG in `namespace`, the DAG file's own ``globals()``.

    :param folder: absolute, or relative to the DAG file.
    :raises ConfigError: the folder is missing.  A broken pipeline file raises nothing here: it becomes an import
        error of its own (see `factory.broken`), and the other pipelines stay.

    When a task starts, Airflow says which DAG it needs, and only that file is read.
    """
    dag_file = Path(namespace["__file__"])
    path = dag_file.parent / folder
    if not path.is_dir():
        raise ConfigError(f"folder: expected a folder of pipeline files at {path}, got nothing there")
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        file = find_file(path, wanted)
        if file is not None:
            namespace[wanted] = build_dag(load_pipeline(file, options_model=options_model), file)
        return
    loaded = load_folder(path, options_model=options_model)
    for pipeline_id, (file, config) in loaded.pipelines.items():
        namespace[pipeline_id] = build_dag(config, file)
    for file, error in loaded.errors.items():
        broken = broken_pipeline(file, str(Path(folder) / file.name), error)
        namespace[broken.dag_id] = broken


def build_dag(config: PipelineConfig, file: Path | None = None) -> DAG:
    """One pipeline as a DAG.  `file` is named in the DAG's documentation."""
    start = day_interval(config.start_day, config.timezone).start if config.start_day else LONG_AGO
    # Airflow reads a cron in the time zone of the start date
    local_start = pendulum.instance(start).in_timezone(config.timezone)
    settings = config.airflow
    dag = DAG(
        dag_id=config.pipeline_id,
        schedule=_schedule(config),
        start_date=local_start,
        catchup=False,
        max_active_runs=settings.max_active_runs,
        tags=list(settings.tags),
        default_args=default_args(config),
        doc_md=_documentation(config, file),
    )
    with dag:
        _add_tasks(config)
    # Not before: every task would copy them deeply, several times, and a run takes them from the DAG anyway.  And not
    # by assignment, which validates the Params of each DAG anew, a third of its time: they are the same for all.
    object.__setattr__(dag, "params", _params())
    return dag


def _schedule(config: PipelineConfig) -> Any:
    if config.schedule != "auto":
        return config.schedule
    arguments = config.record_config()
    return DayPlanTimetable(
        timezone=config.timezone,
        granularity=arguments["granularity"],
        x_time_back=arguments["x_time_back"],
        settle_seconds=config.rules.settle_seconds,
        start_day=config.start_day.isoformat() if config.start_day else None,
        end_day=config.end_day.isoformat() if config.end_day else None,
    )


def default_args(config: PipelineConfig) -> dict[str, Any]:
    settings = config.airflow
    delay = timedelta(seconds=settings.retry_delay)
    arguments: dict[str, Any] = {
        "retries": settings.retries,
        "retry_delay": delay,
        "retry_exponential_backoff": True,
        "max_retry_delay": max(delay, LONGEST_RETRY_DELAY),
    }
    if settings.pool:
        arguments["pool"] = settings.pool
    if settings.owner:
        arguments["owner"] = settings.owner
    return arguments


def _params() -> ParamsDict:
    return ParamsDict(
        {
            "window_start": _time_param(
                "Start of the window to move, with an offset; empty: the planner chooses."
            ),
            "window_end": _time_param("End of the window to move, with an offset, in the same day."),
        }
    )


_TIME_WITH_OFFSET = (
    r"^\s*\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?\s*([Zz]|[+-]\d\d:?\d\d(:?\d\d)?)\s*$"
)


def _time_param(description: str) -> Param:
    """A time as Airflow's form has it, or as a template renders it: with a space instead of the T.

    `format` is for the form's date picker alone.  Airflow would also refuse the space by it, so the value is
    validated by a reference: in draft 7 nothing beside `$ref` counts.  A text of another form never becomes a run;
    `GenerateWindowOperator` refuses what has the form and is no instant.
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
    if spec.mapped is None:
        return operator(task_id=spec.task_id, pipeline=config, **spec.arguments)
    partial = operator.partial(task_id=spec.task_id, pipeline=config, **spec.arguments)
    return partial.expand(slice=built[spec.mapped].output)


def _documentation(config: PipelineConfig, file: Path | None) -> str:
    rules = config.rules
    return "\n".join(
        [
            f"**{config.source.type} → {config.stage.type} → {config.target.type}**, "
            f"windows of `{config.record_config()['granularity']}` in `{config.timezone}`.",
            "",
            f"- looks back `{config.record_config()['x_time_back']}`, "
            f"settles `{seconds_to_time_string(rules.settle_seconds)}`, state in `{config.state.type}`",
            f"- from `{config.start_day or 'the first day planned'}` to `{config.end_day or 'no end'}`",
            f"- file `{file.name}`" if file else "",
            "",
            "Trigger it without Params and the planner takes the earliest gap; with `window_start` and `window_end` "
            "exactly that window is moved, again if need be. A backfill moves the windows of the chosen days anew.",
        ]
    )
