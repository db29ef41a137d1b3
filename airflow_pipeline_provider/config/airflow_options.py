"""Define the section `airflow` of a pipeline file: settings of the DAG, its tasks and notifiers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from airflow_pipeline_provider.config import fields
from airflow_pipeline_provider.config.notices import Notices
from airflow_pipeline_provider.config.options import DurationSeconds, Section, printable
from airflow_pipeline_provider.config.problems import CrossFieldError, Problem, format_value
from airflow_pipeline_provider.suggestions import did_you_mean

Names = Annotated[tuple[str, ...], BeforeValidator(fields.validate_names)]
Line = Annotated[str, AfterValidator(printable)]
Retries = Annotated[int, Field(ge=0, le=100, strict=True)]

INT32 = 2**31
KUBERNETES_KEYS = ("pod_override", "pod_template_file")
"""Keys of `executor_config` that the KubernetesExecutor reads."""
ACTIONS = {
    "DAGs": ("can_read", "can_edit", "can_delete"),
    "DAG Runs": ("can_read", "can_create", "can_delete", "menu_access"),
}
"""Resources of one DAG and the actions on them, as the FAB auth manager names them."""


def _executor_config(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must contain only values that JSON supports: {error}") from None
    for key in value:
        if key not in KUBERNETES_KEYS and (hint := did_you_mean(key, KUBERNETES_KEYS, cutoff=0.75)):
            raise CrossFieldError([Problem(key, f"unknown key; {hint}")])
    if not isinstance(value.get("pod_override", {}), dict):
        message = f"must be a mapping with the keys of a pod, got {format_value(value['pod_override'])}"
        raise CrossFieldError([Problem("pod_override", message)])
    if not isinstance(value.get("pod_template_file", ""), str):
        message = f"must be the path of a pod template, got {format_value(value['pod_template_file'])}"
        raise CrossFieldError([Problem("pod_template_file", message)])
    return value


def _access_control(value: object) -> object:
    """Return the actions by role and resource; a plain list of actions is about the resource DAGs."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping such as {{Analysts: [can_read]}}, got {format_value(value)}")
    problems: list[Problem] = []
    result: dict[str, dict[str, tuple[str, ...]]] = {}
    for role, granted in value.items():
        if not role.strip() or not role.isprintable():
            raise ValueError(f"must have the names of roles as keys, got {format_value(role)}")
        resources = granted if isinstance(granted, dict) else {"DAGs": granted}
        for resource, actions in resources.items():
            if problem := _actions_problem(resource, actions):
                problems.append(Problem(role, problem))
            else:
                result.setdefault(role, {})[resource] = tuple(dict.fromkeys(actions))
    if problems:
        raise CrossFieldError(problems)
    return result


def _actions_problem(resource: str, actions: object) -> str | None:
    known = ACTIONS.get(resource)
    if known is None:
        return f"must be about {' or '.join(ACTIONS)}, got {format_value(resource)}"
    if not isinstance(actions, list | tuple) or not actions:
        return f"must be a list of actions such as [can_read], got {format_value(actions)}"
    for action in actions:
        if action not in known:
            hint = did_you_mean(str(action), known)
            return f"must be actions on {resource} ({', '.join(known)}), got {format_value(action)}" + (
                f"; {hint}" if hint else ""
            )
    return None


def _is_link(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # such as http://[
        return False
    return bool(
        parts.path if parts.scheme == "mailto" else parts.scheme in ("http", "https") and parts.netloc
    )


def _owner_links(value: dict[str, str]) -> dict[str, str]:
    problems = []
    for owner, link in value.items():
        if not _is_link(printable(link)):
            message = f"must be a link with http://, https:// or mailto:, got {format_value(link)}"
            problems.append(Problem(owner, message))
    if problems:
        raise CrossFieldError(problems)
    return value


class TaskDefaults(Section):
    """Settings of all tasks, which `tasks.TASK` replaces for one."""

    queue: Line | None = Field(
        default=None, min_length=1, max_length=256, description="Queue of the executor, such as Celery's."
    )
    execution_timeout: DurationSeconds | None = Field(
        default=None,
        ge=1,
        description="Longest time of one try, such as 2h; then Airflow ends and retries it.",
    )
    priority_weight: int | None = Field(
        default=None,
        ge=-INT32,
        le=INT32 - 1,
        strict=True,
        description="Tasks with a higher value start first when slots are short; Airflow's default is 1.",
    )
    executor: Line | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="One of the executors of this Airflow ([core] executor), by its name or alias.",
    )
    executor_config: Annotated[dict[str, Any], AfterValidator(_executor_config)] | None = Field(
        default=None,
        description="Settings that the executor reads. KubernetesExecutor: pod_override, the keys of a pod.",
    )

    @model_validator(mode="before")
    @classmethod
    def _keys_of_all_tasks(cls, data: object) -> object:
        """Name the key that holds a default already, so that there is one place for it."""
        if isinstance(data, dict):
            problems = [
                Problem(key, f"is not a key here: airflow.{key} is the default of all tasks")
                for key in ("pool", "retries")
                if key in data and key not in cls.model_fields
            ]
            if problems:
                raise CrossFieldError(problems)
        return data


class TaskSettings(TaskDefaults):
    """Settings of one task; what is not set is as in `tasks.default`, `airflow.pool` and `airflow.retries`."""

    pool: Line | None = Field(
        default=None, min_length=1, max_length=256, description="Airflow pool of the task."
    )
    retries: Retries | None = Field(default=None, description="Number of Airflow retries of the task.")


class TasksOptions(Section):
    """Settings by task."""

    default: TaskDefaults | None = Field(
        default=None,
        description="Settings of all tasks of the pipeline, also of those in the maintenance DAG.",
    )
    generate_window: TaskSettings | None = Field(default=None, description="Settings of generate_window.")
    validate_: TaskSettings | None = Field(
        default=None, alias="validate", description="Settings of validate."
    )
    extract: TaskSettings | None = Field(
        default=None, description="Settings of extract, with distribute: tasks of each of its tasks."
    )
    stage: TaskSettings | None = Field(default=None, description="Settings of stage.")
    load: TaskSettings | None = Field(default=None, description="Settings of load.")
    audit: TaskSettings | None = Field(default=None, description="Settings of audit.")
    drain: TaskSettings | None = Field(default=None, description="Settings of drain.")
    before_extract: TaskSettings | None = Field(
        default=None, description="Settings of own_tasks.before_extract."
    )
    after_load: TaskSettings | None = Field(default=None, description="Settings of own_tasks.after_load.")
    after_commit: TaskSettings | None = Field(default=None, description="Settings of own_tasks.after_commit.")
    after_day: TaskSettings | None = Field(default=None, description="Settings of own_tasks.after_day.")
    move_window: TaskSettings | None = Field(
        default=None, description="Settings of move_window, the task of layout: single_task."
    )

    def of(self, task_id: str) -> TaskSettings | None:
        """Return the settings of one task, None if it has none of its own."""
        found: TaskSettings | None = getattr(self, "validate_" if task_id == "validate" else task_id, None)
        return found

    def of_phases(self) -> Iterator[str]:
        """Yield the names of the tasks of single phases that have settings of their own."""
        for name, field in type(self).model_fields.items():
            if name not in ("default", "move_window") and getattr(self, name) is not None:
                yield field.alias or name

    def executor_configs(self) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
        """Yield every `executor_config` with its path."""
        for name, field in type(self).model_fields.items():
            settings = getattr(self, name)
            if settings is not None and settings.executor_config:
                yield ("airflow", "tasks", field.alias or name, "executor_config"), settings.executor_config


class ShrinkageForm(Section):
    """Form of Airflow in which a person decides about windows that shrank at the source."""

    timeout: DurationSeconds = Field(
        default=72_000,
        ge=60,
        description="How long a form waits for an answer, such as 20h; then it counts as answered by later.",
    )
    assigned_users: Names = Field(
        default=(),
        description="Ids of the users who may answer, as Airflow's auth manager has them; empty: all who may edit "
        "runs of the DAG.",
    )


class AirflowOptions(Section):
    """Settings of the pipeline's DAG."""

    layout: Literal["tasks", "single_task"] = Field(
        default="tasks",
        description="tasks: a task for each phase. single_task: one task moves a window, for many small pipelines.",
    )
    retries: Retries = Field(default=3, description="Number of Airflow retries of each task.")
    retry_delay: DurationSeconds = Field(
        default=30,
        description="Delay before the first retry, such as 30s; each further delay is about twice as long.",
    )
    pool: Line | None = Field(
        default=None, min_length=1, max_length=256, description="Airflow pool of the tasks."
    )
    tasks: TasksOptions = Field(
        default=TasksOptions(),
        description="Settings of all tasks (default) and of single tasks.",
        json_schema_extra={"default": {}},
    )
    description: Line | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Description of the DAG; null: source, target and windows.",
    )
    tags: Names = Field(default=(), description="Tags of the DAG, at most 100 characters each.")
    owner: Line | None = Field(
        default=None, min_length=1, max_length=500, description="Owner shown by Airflow."
    )
    owner_links: Annotated[dict[str, str], AfterValidator(_owner_links)] = Field(
        default={}, description="Link of each owner: an address with http://, https:// or mailto:."
    )
    access_control: Annotated[dict[str, dict[str, tuple[str, ...]]], BeforeValidator(_access_control)] = (
        Field(
            default={},
            description="Actions on this DAG by role, as a list or by resource (DAGs, DAG Runs); read by Airflow's "
            "FAB auth manager.",
        )
    )
    max_active_runs: int = Field(
        default=1,
        ge=1,
        le=1000,
        strict=True,
        description="Number of concurrent runs; more than 1 needs state.type sql.",
    )
    max_active_tasks: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        strict=True,
        description="Number of concurrent tasks of the DAG; null: [core] max_active_tasks_per_dag.",
    )
    dagrun_timeout: DurationSeconds | None = Field(
        default=None,
        ge=1,
        description="Longest time of a run, such as 6h; then Airflow fails it and ends its tasks.",
    )
    on_failure: Notices = Field(
        default={},
        description="Notifiers that are called when a task has failed and is not retried; in defaults.yaml also when "
        "a pipeline file cannot be loaded.",
    )
    on_blocked: Notices = Field(
        default={},
        description="Notifiers that are called instead of on_failure when the window does not continue until a "
        "person acts: max_attempts is reached, or a policy such as audit.on_shrink refused it.",
    )
    on_drift: Notices = Field(
        default={},
        description="Notifiers that the maintenance DAG calls when it finds that source and target differ since the "
        "commit.",
    )
    on_late: Notices = Field(
        default={},
        description="Notifiers that the maintenance DAG calls when a day or a window is not as `expect` says.",
    )

    decide_shrinkage: ShrinkageForm | None = Field(
        default=None,
        description="Ask in a form of Airflow what becomes of rows that the source lost: accept, keep or later; {} "
        "uses the defaults.",
    )

    def notices(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the notifiers and their arguments, by key."""
        keys = {key: getattr(self, key) for key in ("on_failure", "on_blocked", "on_drift", "on_late")}
        return {key: notifiers for key, notifiers in keys.items() if notifiers}
