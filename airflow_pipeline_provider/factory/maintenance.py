"""Build one DAG that maintains all pipelines of a folder: `load_maintenance(globals(), folder)`."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param, TaskGroup, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict

from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    default_notices,
    find_file,
    load_folder,
    load_pipeline,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.factory.dag import EARLIEST_START
from airflow_pipeline_provider.factory.deadlines import SUFFIX, build_deadlines
from airflow_pipeline_provider.factory.task_settings import default_args
from airflow_pipeline_provider.operators.choose_pipeline import ChoosePipelineOperator
from airflow_pipeline_provider.operators.executor_config import TaskSettingError
from airflow_pipeline_provider.operators.hitl import FORM_SUFFIX, check_form
from airflow_pipeline_provider.operators.maintenance import (
    CleanupOperator,
    DriftOperator,
    ExpectationsOperator,
    RecheckOperator,
    ReloadOperator,
)

DAG_ID = "pipelines_maintenance"
ON_SHRINK = ("fail", "warn")


def load_maintenance(
    namespace: dict[str, Any],
    folder: str,
    *,
    schedule: str | None = "0 6 * * *",
    days: int = 7,
    on_shrink: str = "fail",
    dag_id: str = DAG_ID,
) -> None:
    """Add the maintenance DAG to `namespace`, the ``globals()`` of the DAG file.

    For each pipeline, the DAG counts the committed windows of the last `days` days again, starts runs of the
    pipeline's own DAG to reload windows that grew, reports windows that shrank, and removes files of crashed
    attempts and part files older than `stage.keep`. A pipeline with `expect` gets a task that judges the last `days`
    days by it, one with `airflow.decide_shrinkage` a DAG `<pipeline id>.shrinkage` with a form. With a
    schedule, the DAG `<dag_id>.deadlines` judges pipelines with `expect.day_complete_by` at that time, too. The DAG
    file can also call `load_pipelines`. The Params `pipeline` and `day` limit a run that is started by hand.

    :param folder: absolute, or relative to the DAG file. Invalid files are ignored; `load_pipelines` reports them.
    :param schedule: a cron expression in UTC, or None for manual runs only.
    :param days: number of days to recheck and to judge, 1 or more.
    :param on_shrink: ``fail``: the run fails if a window shrank at the source; ``warn``: the task logs a warning.
    :raises ConfigError: the folder is missing, or an argument is invalid.
    """
    if on_shrink not in ON_SHRINK:
        raise ConfigError(f"on_shrink: expected fail or warn, got {on_shrink!r}")
    if isinstance(days, bool) or not isinstance(days, int) or days < 1:
        raise ConfigError(f"days: expected a whole number, 1 or more, got {days!r}")
    path = Path(namespace["__file__"]).parent / folder
    if not path.is_dir():
        raise ConfigError(f"folder: there is no folder {path}; pass the folder of the pipeline files")
    wanted, deadlines_id = get_parsing_context().dag_id, dag_id + SUFFIX
    if wanted not in (None, dag_id, deadlines_id):
        _add_wanted_form(namespace, path, str(wanted))
        return
    loaded = load_folder(path, options_model=options_model)
    configs = [config for _, (_, config) in sorted(loaded.pipelines.items()) if _is_valid(config)]
    if wanted is None:
        for config in configs:
            _add_form(namespace, config, loaded.pipelines)
    if schedule is not None and wanted != dag_id:
        _add_deadlines(namespace, configs, deadlines_id, days, loaded.pipelines)
    if wanted == deadlines_id:
        return
    dag = build_maintenance(configs, schedule=schedule, days=days, on_shrink=on_shrink, dag_id=dag_id)
    if _reports_broken_files(path):
        from airflow_pipeline_provider.operators.broken_files import BrokenFilesOperator

        with dag:
            BrokenFilesOperator(task_id="broken_files", folder=str(path))
    namespace[dag_id] = dag


def _add_deadlines(
    namespace: dict[str, Any],
    configs: Iterable[PipelineConfig],
    dag_id: str,
    days: int,
    pipeline_ids: Container[str],
) -> None:
    """Add the DAG that judges pipelines when their days are due, if one has `day_complete_by`."""
    dag = build_deadlines(configs, days=days, dag_id=dag_id, start_date=EARLIEST_START)
    if dag is None:
        return
    if dag_id in pipeline_ids:
        raise ConfigError(
            f"pipeline_id: {dag_id} is the id of the DAG that judges days when they are due: choose another id, or "
            "another dag_id of load_maintenance"
        )
    namespace[dag_id] = dag


def _add_form(namespace: dict[str, Any], config: PipelineConfig, pipeline_ids: Container[str]) -> None:
    """Add the DAG of the pipeline's form, if it has one."""
    form = config.airflow.decide_shrinkage
    if form is None:
        return
    from airflow_pipeline_provider.factory.shrinkage import build_shrinkage_dag

    dag = build_shrinkage_dag(config, form, EARLIEST_START)
    if dag.dag_id in pipeline_ids:
        raise ConfigError(
            f"pipeline_id: {dag.dag_id} is the id of the DAG that decides about {config.pipeline_id}: choose another "
            f"id, or remove airflow.decide_shrinkage of {config.pipeline_id}"
        )
    namespace[dag.dag_id] = dag


def _add_wanted_form(namespace: dict[str, Any], folder: Path, dag_id: str) -> None:
    """Add the DAG of one form, which a task of it requests; only the file of its pipeline is loaded."""
    pipeline_id = dag_id.removesuffix(FORM_SUFFIX)
    file = find_file(folder, pipeline_id) if pipeline_id != dag_id else None
    if file is not None:
        _add_form(namespace, load_pipeline(file, options_model=options_model, pipeline_id=pipeline_id), ())


def _is_valid(config: PipelineConfig) -> bool:
    try:
        default_args(config)
        check_form(config)
    except TaskSettingError:
        return False
    return True


def _reports_broken_files(folder: Path) -> bool:
    """Return True also for a `defaults.yaml` that cannot be read: the task then fails with the reason."""
    try:
        return bool(default_notices(folder))
    except ConfigFileError:
        return True


def build_maintenance(
    configs: Iterable[PipelineConfig],
    *,
    schedule: str | None,
    days: int,
    on_shrink: str,
    dag_id: str = DAG_ID,
) -> DAG:
    """Build the DAG: a task group of four to six tasks for each pipeline; no pipeline waits for another."""
    dag = DAG(
        dag_id=dag_id,
        schedule=schedule,
        start_date=EARLIEST_START,
        catchup=False,
        max_active_runs=1,
        tags=["maintenance"],
        doc_md=(
            f"For each pipeline: count the committed windows of the last {counted(days, 'day')} again, start runs of "
            "the pipeline's own DAG to reload windows that grew, report windows that shrank (the target keeps its "
            "rows), and remove files of crashed attempts and part files older than `stage.keep`. "
            "Pipelines with `expect` are judged by it."
        ),
    )
    with dag:
        first_tasks = {config.pipeline_id: _add_tasks(config, days, on_shrink) for config in configs}
        choose = ChoosePipelineOperator(
            task_id="choose_pipeline",
            pipeline="{{ params.pipeline or '' }}",
            first_tasks={name: [task.task_id for task in tasks] for name, tasks in first_tasks.items()},
        )
        for tasks in first_tasks.values():
            choose >> tasks
    dag.params = _params(first_tasks)  # after the tasks, each of which would copy them
    return dag


def _params(pipeline_ids: Iterable[str]) -> ParamsDict:
    return ParamsDict(
        {
            "pipeline": Param(
                None,
                type=["null", "string"],
                enum=[None, *sorted(pipeline_ids)],
                description="Maintain this pipeline only; empty: all.",
            ),
            "day": Param(
                None,
                type=["null", "string"],
                pattern=r"^\d{4}-\d\d-\d\d$",
                description="Recheck only this local day, such as 2013-11-03, and remove no files; empty: the last "
                "days.",
            ),
        }
    )


def _add_tasks(config: PipelineConfig, days: int, on_shrink: str) -> list[BaseOperator]:
    """Add the tasks of one pipeline; return those that wait for none of the others."""
    name, common = config.pipeline_id, default_args(config)
    day = "{{ params.day or '' }}"
    with TaskGroup(name.replace(".", "__"), prefix_group_id=False, add_suffix_on_collision=True):
        recheck_id = f"recheck__{name}"
        counted = RecheckOperator(task_id=recheck_id, pipeline=config, days=days, day=day, **common)
        reload = ReloadOperator.partial(
            task_id=f"reload__{name}",
            pipeline=config,
            map_index_template=ReloadOperator.label_template,
            **common,
        )
        reload.expand(window=counted.output)
        drift = DriftOperator(
            task_id=f"drift__{name}",
            pipeline=config,
            on_shrink=on_shrink,
            recheck_task_id=recheck_id,
            **common,
        )
        counted >> drift
        if config.airflow.decide_shrinkage is not None:
            from airflow_pipeline_provider.operators.decide_shrinkage import AskShrinkageOperator

            counted >> AskShrinkageOperator(
                task_id=f"ask__{name}", pipeline=config, recheck_task_id=recheck_id, **common
            )
        cleanup = CleanupOperator(task_id=f"cleanup__{name}", pipeline=config, day=day, **common)
        first: list[BaseOperator] = [counted, cleanup]
        if config.expect is not None:
            task_id = f"expectations__{name}"
            first.append(ExpectationsOperator(task_id=task_id, pipeline=config, days=days, day=day, **common))
    return first
