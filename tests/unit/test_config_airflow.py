"""Read the section `airflow`: settings of the DAG and of its tasks."""

# ruff: noqa: E501  (one case per line, however long its message is)

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.config.airflow_options import TaskSettings
from airflow_pipeline_provider.config.loader import located
from tests.unit.config_examples import LEAST, load, problems, write

SETTINGS = """\
airflow:
  pool: etl
  owner: data
  description: Flights by the hour
  owner_links: {data: "mailto:data@example.com"}
  access_control: {Analysts: [can_read, can_read], Ops: {DAGs: [can_edit], DAG Runs: [can_create]}}
  max_active_tasks: 8
  dagrun_timeout: 6h
  tasks:
    default: {execution_timeout: 1h, queue: small}
    extract: {pool: elasticsearch, execution_timeout: 2h, retries: 5, priority_weight: 10}
    validate: {queue: large}
    load:
"""


def test_settings_of_the_dag_and_its_tasks(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST + SETTINGS)
    settings = config.airflow
    assert settings.description == "Flights by the hour"
    assert settings.access_control == {
        "Analysts": {"DAGs": ("can_read",)},
        "Ops": {"DAGs": ("can_edit",), "DAG Runs": ("can_create",)},
    }
    assert (settings.max_active_tasks, settings.dagrun_timeout) == (8, 21_600)
    assert settings.tasks.default.execution_timeout == 3600
    extract = settings.tasks.of("extract")
    assert (extract.pool, extract.execution_timeout, extract.retries) == ("elasticsearch", 7200, 5)
    assert settings.tasks.of("validate").queue == "large"
    assert settings.tasks.of("load") is None
    assert settings.tasks.of("recheck__flights") is None
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("tasks: {extrakt: {}}", "airflow.tasks.extrakt: unknown key; did you mean 'extract'? (flights.yaml:5)", id="unknown task"),
        pytest.param("tasks: {extract: {que: a}}", "airflow.tasks.extract.que: unknown key; did you mean 'queue'?", id="unknown setting"),
        pytest.param("tasks: {extract: {execution_timeout: 90}}", "airflow.tasks.extract.execution_timeout: must be a duration such as 30s, 10m, 2h or 1d2h30m, got 90", id="duration without a unit"),
        pytest.param("tasks: {extract: {execution_timeout: 0s}}", "airflow.tasks.extract.execution_timeout: must be at least 1, got '0s'", id="no time"),
        pytest.param("tasks: {extract: {pool: ''}}", "airflow.tasks.extract.pool: must be given, not empty, got ''", id="empty pool"),
        pytest.param('tasks: {extract: {pool: "a\\nb"}}', "airflow.tasks.extract.pool: must be printable text on one line", id="pool of two lines"),
        pytest.param(f"tasks: {{extract: {{pool: {'p' * 257}}}}}", "airflow.tasks.extract.pool: must be at most 256 characters long", id="long pool"),
        pytest.param("tasks: {extract: {retries: -1}}", "airflow.tasks.extract.retries: must be between 0 and 100, got -1", id="retries"),
        pytest.param("tasks: {extract: {priority_weight: high}}", "airflow.tasks.extract.priority_weight: must be a whole number, got 'high'", id="weight"),
        pytest.param("tasks: {default: {pool: a}}", "airflow.tasks.default.pool: is not a key here: airflow.pool is the default of all tasks (flights.yaml:5)", id="a default has one place"),
        pytest.param("tasks: {default: {retries: 1}}", "airflow.tasks.default.retries: is not a key here: airflow.retries is the default", id="retries have one place"),
        pytest.param("tasks: [extract]", "airflow.tasks: must be a mapping, got a list", id="list of tasks"),
        pytest.param("tasks: {load: {executor_config: {pod_overide: {}}}}", "airflow.tasks.load.executor_config.pod_overide: unknown key; did you mean 'pod_override'?", id="misspelled pod"),
        pytest.param("tasks: {load: {executor_config: {pod_override: large}}}", "airflow.tasks.load.executor_config.pod_override: must be a mapping with the keys of a pod, got 'large'", id="text as pod"),
        pytest.param("tasks: {load: {executor_config: [a]}}", "airflow.tasks.load.executor_config: must be a mapping, got a list", id="list as executor_config"),
        pytest.param("description: ''", "airflow.description: must be given, not empty", id="empty description"),
        pytest.param("dagrun_timeout: 6", "airflow.dagrun_timeout: must be a duration", id="timeout of a run"),
        pytest.param("max_active_tasks: 0", "airflow.max_active_tasks: must be between 1 and 10000, got 0", id="no tasks"),
        pytest.param("owner_links: {data: 'javascript:alert(1)'}", "airflow.owner_links.data: must be a link with http://, https:// or mailto:, got 'javascript:alert(1)' (flights.yaml:5)", id="script as a link"),
        pytest.param("owner_links: {data: 'mailto:'}", "airflow.owner_links.data: must be a link", id="mail to nowhere"),
        pytest.param("owner_links: {data: wiki/data}", "airflow.owner_links.data: must be a link", id="relative link"),
        pytest.param("access_control: [can_read]", "airflow.access_control: must be a mapping such as {Analysts: [can_read]}, got a list", id="actions without a role"),
        pytest.param("access_control: {A: can_read}", "airflow.access_control.A: must be a list of actions such as [can_read], got 'can_read'", id="one action"),
        pytest.param("access_control: {A: [can_raed]}", "airflow.access_control.A: must be actions on DAGs (can_read, can_edit, can_delete), got 'can_raed'; did you mean 'can_read'?", id="unknown action"),
        pytest.param("access_control: {A: {DAG runs: [can_read]}}", "airflow.access_control.A: must be about DAGs or DAG Runs, got 'DAG runs'", id="unknown resource"),
        pytest.param("access_control: {'': [can_read]}", "airflow.access_control: must have the names of roles as keys, got ''", id="no role"),
    ],
)  # fmt: skip
def test_an_invalid_setting_is_reported(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = problems(tmp_path, f"{LEAST}airflow: {{{text}}}\n")
    assert expected in found


def test_executor_config_holds_what_airflow_can_store() -> None:
    with pytest.raises(ValidationError, match="must contain only values that JSON supports"):
        TaskSettings(executor_config={"a": float("nan")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("backlog: wait\nairflow: {tasks: {drain: {queue: a}}}", "airflow.tasks.drain: is not used: backlog: wait has no task drain (flights.yaml:6)"),
        ("airflow: {owner_links: {data: 'https://a.example'}}", "airflow.owner_links: has no link of this pipeline's owner: set airflow.owner"),
        ("airflow: {owner: ops, owner_links: {data: 'https://a.example'}}", "airflow.owner_links: has no link of this pipeline's owner: 'ops' is not in it"),
    ],
)  # fmt: skip
def test_a_setting_without_effect_is_a_warning(tmp_path: Path, text: str, expected: str) -> None:
    (warning,) = load(tmp_path, f"{LEAST}{text}\n").warnings
    assert str(warning).startswith(expected)


def test_owner_links_may_name_other_owners_too(tmp_path: Path) -> None:
    text = "airflow: {owner: 'ops, data', owner_links: {data: 'https://a.example', web: 'https://b.example'}}"
    assert load(tmp_path, f"{LEAST}{text}\n").warnings == ()


def test_a_setting_of_the_defaults_is_found_in_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, "defaults.yaml", "airflow:\n  tasks:\n    extract: {executor: Cube}\n")
    file = write(tmp_path, "flights.yaml", LEAST + "airflow:\n  tasks:\n    load: {queue: a}\n")
    path = ("airflow", "tasks", "extract", "executor")
    assert str(located(file, path, "wrong")) == "airflow.tasks.extract.executor: wrong (defaults.yaml:3)"
    path = ("airflow", "tasks", "load", "queue")
    assert str(located(file, path, "wrong")) == "airflow.tasks.load.queue: wrong (flights.yaml:7)"
