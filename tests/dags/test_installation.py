"""Two Airflows on one state store make equal run ids; an installation's id keeps their leases apart."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.operators import installation
from airflow_pipeline_provider.operators.installation import VARIABLE, installation_of
from airflow_pipeline_provider.state.variable_access import DictVariables

SETTING = "AIRFLOW__PIPELINES__INSTALLATION"


def config(state: dict[str, Any]) -> PipelineConfig:
    return parse_pipeline(
        {
            "pipeline_id": "flights",
            "granularity": "1h",
            "source": {
                "type": "sql",
                "conn_id": "c",
                "table": "t",
                "time_column": "at",
                "key_columns": ["id"],
            },
            "stage": {"type": "object_store", "path": "/data/stage"},
            "target": {"type": "duckdb", "path": "/data/lake.duckdb", "table": "main.flights"},
            "state": state,
        },
        options_model=options_model,
    )


SHARED = {"type": "sql", "conn_id": "state_db"}


def test_each_metadata_database_gets_an_id_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PAUSE_SECONDS", 0)
    blue, green = DictVariables(), DictVariables()
    ids = [installation_of(config(SHARED), variables) for variables in (blue, green, blue, green)]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2
    assert blue.values == {VARIABLE: ids[0]}


def test_two_tasks_that_write_the_first_id_at_once_use_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = DictVariables()
    monkeypatch.setattr(installation.time, "sleep", lambda _: variables.set(VARIABLE, "of-the-other"))
    assert installation_of(config(SHARED), variables) == "of-the-other"


def test_the_configured_name_goes_before_and_writes_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, " blue ")
    variables = DictVariables()
    assert installation_of(config(SHARED), variables) == "blue"
    assert variables.values == {}


def test_a_state_of_one_airflow_needs_no_id() -> None:
    variables = DictVariables()
    assert installation_of(config({"type": "variable"}), variables) is None
    assert variables.values == {}


@pytest.mark.parametrize("text", ["two words", "x" * 65, "a\nb", "é"])
def test_a_name_that_no_message_could_show_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"Airflow Variable 'pipelines.installation'.*64 letters.*delete it"
    ):
        installation_of(config(SHARED), DictVariables({VARIABLE: text}))
    monkeypatch.setenv(SETTING, text)
    with pytest.raises(
        ConfigError, match=r"\[pipelines\] installation of Airflow's configuration.*correct it"
    ):
        installation_of(config(SHARED), DictVariables())
