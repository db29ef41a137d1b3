"""Turn the section `airflow` of a pipeline file into arguments of the DAG and its tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import get_parsing_context

from airflow_pipeline_provider.config.airflow_options import TaskDefaults
from airflow_pipeline_provider.config.airflow_settings import airflow_setting
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.operators.executor_config import Path, TaskSettingError, executor_config
from airflow_pipeline_provider.suggestions import did_you_mean

LONGEST_RETRY_DELAY = timedelta(minutes=10)
DEFAULT_EXECUTOR = "LocalExecutor"


def dag_arguments(config: PipelineConfig) -> dict[str, Any]:
    """Return the arguments of the DAG that the pipeline file sets; Airflow's defaults hold for the others."""
    settings = config.airflow
    arguments: dict[str, Any] = {"max_active_runs": settings.max_active_runs, "tags": list(settings.tags)}
    if settings.max_active_tasks is not None:
        arguments["max_active_tasks"] = settings.max_active_tasks
    if settings.dagrun_timeout is not None:
        arguments["dagrun_timeout"] = timedelta(seconds=settings.dagrun_timeout)
    if settings.owner_links:
        arguments["owner_links"] = dict(settings.owner_links)
    if settings.access_control:
        arguments["access_control"] = {
            role: {resource: set(actions) for resource, actions in resources.items()}
            for role, resources in settings.access_control.items()
        }
    return arguments


def default_args(config: PipelineConfig) -> dict[str, Any]:
    """Return the DAG's `default_args`: retries, pool, owner and `airflow.tasks.default`."""
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
    return {**arguments, **_arguments(settings.tasks.default, ("airflow", "tasks", "default"))}


def notice_arguments(config: PipelineConfig) -> dict[str, Any]:
    """Return the callback of the tasks of the pipeline's DAG, nothing without notifiers of failures.

    Raise TaskSettingError for a notifier that is not installed or not allowed.
    """
    settings = config.airflow
    if settings.notices() and get_parsing_context().dag_id is None:
        from airflow_pipeline_provider.operators.notifiers import check_names

        check_names(config)
    if not settings.on_failure and not settings.on_blocked:
        return {}
    from airflow_pipeline_provider.operators.notices import FailureNotices

    return {"on_failure_callback": FailureNotices(config)}


def task_arguments(config: PipelineConfig, task_id: str) -> dict[str, Any]:
    """Return the arguments of one task that replace those of `default_args`.

    Raise TaskSettingError for an executor that this Airflow does not have and for a `pod_override` that is no pod.
    """
    return _arguments(config.airflow.tasks.of(task_id), ("airflow", "tasks", task_id))


def _arguments(settings: TaskDefaults | None, path: Path) -> dict[str, Any]:
    if settings is None:
        return {}
    arguments = settings.model_dump(exclude_none=True, exclude={"execution_timeout", "executor_config"})
    if settings.execution_timeout is not None:
        arguments["execution_timeout"] = timedelta(seconds=settings.execution_timeout)
    if get_parsing_context().dag_id is not None:
        return (
            arguments  # in a task, whose executor has read the rest; the import of Kubernetes takes a second
        )
    if settings.executor is not None:
        _check_executor(settings.executor, (*path, "executor"))
    if settings.executor_config:
        arguments["executor_config"] = executor_config(settings.executor_config, (*path, "executor_config"))
    return arguments


def _check_executor(name: str, path: Path) -> None:
    """Raise TaskSettingError if this Airflow has no such executor.

    Airflow itself would record the error for the Python file, and so disable every pipeline of the folder.
    """
    known = _executors(airflow_setting("core", "executor") or DEFAULT_EXECUTOR)
    if name not in known and name.rpartition(".")[2] not in known:
        hint = did_you_mean(name, known) or f"known: {', '.join(sorted(known))}"
        raise TaskSettingError(path, f"this Airflow has no executor {name!r} ([core] executor); {hint}")


def _executors(setting: str) -> set[str]:
    """Return the names by which a task may choose an executor of `[core] executor`.

    Each is `name`, `module.Class` or `alias:module.Class`; those of a team follow `;team=`.
    """
    names: set[str] = set()
    for team in setting.split(";"):
        for one in team.partition("=")[2].split(",") if "=" in team else team.split(","):
            alias, _, path = one.strip().partition(":")
            names.update(part for part in (alias, path, (path or alias).rpartition(".")[2]) if part)
    return names
