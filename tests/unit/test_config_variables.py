"""Replace environment variables in pipeline files, and refuse invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_pipeline_provider.config.loader import ConfigFileError, find_file, load_folder, load_pipeline
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model

FILE = """\
pipeline_id: flights
granularity: 2h
source: {type: sql, conn_id: shop, table: orders, time_column: at, key_columns: [id]}
stage:
  type: object_store
  path: "s3://aws@${LAKE:-lake-dev}/flights"
target:
  type: duckdb
  path: /data/lake.duckdb
  table: main.${TABLE}
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAKE", raising=False)
    monkeypatch.setenv("TABLE", "flights_dev")


def load(folder: Path, text: str = FILE, defaults: str | None = None) -> PipelineConfig:
    (folder / "flights.yaml").write_text(text)
    if defaults is not None:
        (folder / "defaults.yaml").write_text(defaults)
    return load_pipeline(folder / "flights.yaml", options_model=options_model)


def problem(folder: Path, text: str, defaults: str | None = None) -> str:
    with pytest.raises(ConfigFileError) as caught:
        load(folder, text, defaults)
    return str(caught.value)


def test_values_come_from_the_environment_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(tmp_path)
    assert (config.stage.path, config.target.table) == ("s3://aws@lake-dev/flights", "main.flights_dev")  # type: ignore[attr-defined]
    monkeypatch.setenv("LAKE", "lake-prod")
    config = load(tmp_path)
    assert config.stage.path == "s3://aws@lake-prod/flights"  # type: ignore[attr-defined]
    assert [str(variable) for variable in config.variables] == [
        "LAKE: from the environment (stage.path, flights.yaml:6)",
        "TABLE: from the environment (target.table, flights.yaml:10)",
    ]


@pytest.mark.parametrize(
    ("line", "environ", "field", "value"),
    [
        pytest.param("max_attempts: ${X}", {"X": "7"}, "max_attempts", 7, id="a number"),
        pytest.param("max_attempts: ${X:-6}", {}, "max_attempts", 6, id="a default that is a number"),
        pytest.param("max_attempts: ${X:-6}", {"X": ""}, "max_attempts", 6, id="empty counts as not set"),
        pytest.param("max_backlog_days: ${X}", {"X": "null"}, "max_backlog_days", None, id="null"),
        pytest.param('default_record: {A: "${X}"}', {"X": "7"}, "default_record", {"A": "7"}, id="quoted is text"),
        pytest.param("default_record:\n  A: ${X}", {"X": "{b: 1}"}, "default_record", {"A": "{b: 1}"},
                     id="no structure"),
        pytest.param("default_record:\n  A: ${X}", {"X": "a # b"}, "default_record", {"A": "a # b"}, id="no comment"),
        pytest.param("default_record:\n  A: ${X}-${Y:-2}", {"X": "1"}, "default_record", {"A": "1-2"}, id="several"),
        pytest.param("default_record:\n  A: ${X}", {"X": "${TABLE}"}, "default_record", {"A": "${TABLE}"},
                     id="not twice"),
        pytest.param("default_record:\n  A: $${X} $5", {}, "default_record", {"A": "${X} $5"}, id="the text itself"),
        pytest.param("default_record:\n  A: &a ${X}\n  B: *a", {"X": "1"}, "default_record", {"A": 1, "B": 1},
                     id="alias"),
    ],
)  # fmt: skip
def test_a_value_after_its_variables_are_replaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    environ: dict[str, str],
    field: str,
    value: object,
) -> None:
    for name in ("X", "Y"):
        monkeypatch.delenv(name, raising=False)
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    assert getattr(load(tmp_path, f"{FILE}{line}\n"), field) == value


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("owner: ${MISSING}", r"owner: the environment variable MISSING is not set: .* \$\{MISSING:-default\} "
                              r"\(flights.yaml:11\)"),
        ("default_record:\n  A: [x, \"${MISSING}\"]", r"default_record.A\[1\]: the environment variable MISSING"),
        ("owner: ${1X}", r"'\$\{1X\}' is not a variable"),
        ("owner: ${}", "is not a variable"),
        ("owner: ${X", "is not a variable"),
        ("owner: ${a.b}", "is not a variable"),
        ("default_record:\n  API_KEY: ${TABLE}", "default_record.API_KEY: this key looks like a secret"),
        ("default_record:\n  A: ${DB_PASSWORD:-x}", "the variable DB_PASSWORD looks like a secret"),
        ("default_record:\n  A: ${AIRFLOW_CONN_WH}", "the variable AIRFLOW_CONN_WH looks like a secret"),
        ("default_record:\n  A: ${AIRFLOW__CORE__FERNET_KEY}", "looks like a secret"),
        ("default_record:\n  A: ${AIRFLOW__DATABASE__SQL_ALCHEMY_CONN}", "looks like a secret"),
        ("default_record:\n  A: ${SERVICE_URL}", "SERVICE_URL is a URL with a password"),
        ("${TABLE}: 1", "unknown key"),
        ("airflow: {owner: ${TABLE}}", r"text with \$\{…\} inside \{ \} or \[ \] needs quotes"),
    ],
)  # fmt: skip
def test_an_invalid_variable_is_reported_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    import re

    monkeypatch.setenv("SERVICE_URL", "https://me:hunter2@example.com")
    message = problem(tmp_path, f"{FILE}{line}\n")
    assert re.search(words, message)
    assert "hunter2" not in message


def test_the_id_cannot_contain_a_variable(tmp_path: Path) -> None:
    message = problem(tmp_path, FILE.replace("pipeline_id: flights", "pipeline_id: ${TABLE}"))
    assert (
        "pipeline_id: must not contain a variable, got ${TABLE}: it names the DAG and the state (flights.yaml:1)"
        in message
    )
    assert find_file(tmp_path, "flights_dev") is None


def test_variables_of_defaults_are_replaced_unless_overridden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = "airflow:\n  owner: ${OWNER}\n  pool: ${POOL}\n"
    text = FILE + "airflow: {owner: me}\n"
    assert "airflow.pool: the environment variable POOL is not set" in problem(tmp_path, text, defaults)
    for pool in ("slow", "fast"):  # defaults.yaml is read once, the environment each time
        monkeypatch.setenv("POOL", pool)
        config = load(tmp_path, text, defaults)
        assert (config.airflow.owner, config.airflow.pool) == ("me", pool)
    assert str(config.variables[0]) == "POOL: from the environment (airflow.pool, defaults.yaml:3)"


def test_a_missing_variable_does_not_affect_other_pipelines(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(FILE.replace("flights\n", "other\n", 1).replace("TABLE", "MISSING"))
    load(tmp_path)
    loaded = load_folder(tmp_path, options_model=options_model)
    assert (list(loaded.pipelines), len(loaded.errors)) == (["flights"], 1)
