"""Read the section `airflow`: settings of the DAG and of its tasks."""

# ruff: noqa: E501  (one case per line, however long its message is)

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.config.airflow_options import TaskSettings
from airflow_pipeline_provider.config.loader import (
    ConfigFileError,
    default_notices,
    load_file,
    load_pipeline,
    located,
)
from tests.unit.config_examples import LEAST, load, options_model, problems, write

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
        pytest.param("owner_links: {data: 'http://['}", "airflow.owner_links.data: must be a link with http://, https:// or mailto:, got 'http://['", id="half an address"),
        pytest.param("owner_links: {data: wiki/data}", "airflow.owner_links.data: must be a link", id="relative link"),
        pytest.param("access_control: [can_read]", "airflow.access_control: must be a mapping such as {Analysts: [can_read]}, got a list", id="actions without a role"),
        pytest.param("access_control: {A: can_read}", "airflow.access_control.A: must be a list of actions such as [can_read], got 'can_read'", id="one action"),
        pytest.param("access_control: {A: [can_raed]}", "airflow.access_control.A: must be actions on DAGs (can_read, can_edit, can_delete), got 'can_raed'; did you mean 'can_read'?", id="unknown action"),
        pytest.param("access_control: {A: {DAG runs: [can_read]}}", "airflow.access_control.A: must be about DAGs or DAG Runs, got 'DAG runs'", id="unknown resource"),
        pytest.param("access_control: {'': [can_read]}", "airflow.access_control: must have the names of roles as keys, got ''", id="no role"),
        pytest.param("on_failure: slack", "airflow.on_failure: must be a mapping of notifiers such as {slack: {channel: \"#data\"}}, got 'slack'", id="notifier without arguments"),
        pytest.param("on_failure: {slack: a}", "airflow.on_failure.slack: must be a mapping of arguments, got 'a' (flights.yaml:5)", id="text as arguments"),
        pytest.param("on_failure: {'Not a name': {}}", "airflow.on_failure: must have names of notifiers such as slack, or the dotted path", id="no name"),
        pytest.param("on_failure: {pager: {token: abc}}", "airflow.on_failure.pager.token: must not be written here: put it into an Airflow connection", id="secret"),
        pytest.param("on_late: {acme.Pager: {api_key: abc}}", "airflow.on_late: acme.Pager: api_key: must not be written here", id="secret of a class"),
        pytest.param("on_drift: {slack: {text: '{{ notice.pipelines }}'}}", "airflow.on_drift.slack.text: unknown notice.pipelines in its template; did you mean 'pipeline'?", id="unknown value"),
        pytest.param("on_blocked: {slack: {blocks: [{a: '{% if notice.x %}'}]}}", "airflow.on_blocked.slack.blocks: unknown notice.x in its template; known: command, counts, end, html, kind, link, ", id="value in a list"),
        pytest.param("on_failure: {slack: {context: {}}}", "airflow.on_failure.slack.context: is not an argument", id="context"),
        pytest.param("decide_shrinkage: yes", "airflow.decide_shrinkage: must be a mapping, got 'yes'", id="form without settings"),
        pytest.param("decide_shrinkage: {timeout: 5s}", "airflow.decide_shrinkage.timeout: must be at least 60, got '5s'", id="form for seconds"),
        pytest.param("decide_shrinkage: {assigned_users: ann}", "airflow.decide_shrinkage.assigned_users: must be a list of text such as [a, b], got 'ann'", id="users of a form"),
        pytest.param("decide_shrinkage: {time_out: 1d}", "airflow.decide_shrinkage.time_out: unknown key; did you mean 'timeout'?", id="unknown key of a form"),
        pytest.param("on_broken: {slack: {}}", "airflow.on_broken: unknown key; did you mean 'on_blocked'?", id="unknown notice"),
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
        ("airflow: {on_late: {slack: {}}}", "airflow.on_late: is not used: the pipeline has no `expect` (flights.yaml:5)"),
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
    config = load_pipeline(file, options_model=options_model)
    path: tuple[str, ...] = ("airflow", "tasks", "extract", "executor")
    assert (
        str(located(file, config, path, "wrong")) == "airflow.tasks.extract.executor: wrong (defaults.yaml:3)"
    )
    path = ("airflow", "tasks", "load", "queue")
    assert str(located(file, config, path, "wrong")) == "airflow.tasks.load.queue: wrong (flights.yaml:7)"


def test_a_file_adds_to_the_notifiers_of_its_folder_and_removes_others(tmp_path: Path) -> None:
    defaults = "airflow: {on_failure: {slack: {channel: '#all', username: bot}, smtp: {to: a@b.c}}}"
    text = "airflow: {on_failure: {slack: {channel: '#flights'}, acme.Pager: null}}"
    config = load(tmp_path, f"{LEAST}{text}\n", defaults)
    assert config.airflow.on_failure == {
        "slack": {"channel": "#flights", "username": "bot"},
        "smtp": {"to": "a@b.c"},
        "acme.Pager": {},
    }
    assert default_notices(tmp_path) == {
        "slack": {"channel": "#all", "username": "bot"},
        "smtp": {"to": "a@b.c"},
    }


def test_a_template_of_a_connection_is_no_secret(tmp_path: Path) -> None:
    text = "airflow: {on_failure: {pager: {token: '{{ conn.pager.password }}'}}}"
    assert load(tmp_path, f"{LEAST}{text}\n").airflow.on_failure["pager"]


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ("airflow: {on_failure: slack}", "airflow.on_failure: must be a mapping of notifiers"),
        ("airflow: {on_failure: {slack: {channel: '${NOT_SET_CHANNEL}'}}}", "the environment variable NOT_SET_CHANNEL is not set"),
        ("airflow: [", "is not valid YAML"),
    ],
)  # fmt: skip
def test_invalid_notifiers_of_a_folder_are_reported(tmp_path: Path, defaults: str, expected: str) -> None:
    write(tmp_path, "defaults.yaml", defaults)
    with pytest.raises(ConfigFileError) as raised:
        default_notices(tmp_path)
    assert expected in raised.value.message


@pytest.mark.parametrize(
    "defaults", ["airflow:", "airflow: {tags: [a]}", "airflow: {on_failure: null}", "timezone: UTC"]
)
def test_a_folder_may_have_no_notifiers(tmp_path: Path, defaults: str) -> None:
    assert default_notices(tmp_path) == {}
    write(tmp_path, "defaults.yaml", defaults)
    assert default_notices(tmp_path) == {}


def test_a_matrix_fills_its_values_into_notifiers_and_leaves_templates_to_airflow(tmp_path: Path) -> None:
    write(tmp_path, "defaults.yaml", "airflow: {on_failure: {slack: {text: '{{ notice.text }}'}}}")
    notifier = "{slack: {channel: '#{{ region }}', username: '{{ region }}', icon: '{{ ti.task_id }} of {{ region }}'}}"
    text = LEAST.replace(
        "pipeline_id: flights", "pipeline_id: flights_{{ region }}\nmatrix: {region: [us, eu]}"
    )
    file = write(tmp_path, "flights.yaml", f"{text}airflow: {{on_failure: {notifier}}}\n")
    loaded = load_file(file, options_model=options_model)
    assert loaded.error is None
    assert [config.airflow.on_failure["slack"] for config in loaded.pipelines] == [
        {
            "channel": f"#{region}",
            "username": region,
            "icon": f"{{{{ ti.task_id }}}} of {region}",
            "text": "{{ notice.text }}",
        }
        for region in ("us", "eu")
    ]
