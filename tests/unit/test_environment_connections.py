"""A connection of the environment is read without Airflow only where Airflow would find the same."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_pipeline_provider.connectors import airflow_connections, environment_connections
from airflow_pipeline_provider.connectors.environment_connections import (
    EnvironmentConnection,
    read_environment,
)

SQLITE = {"conn_type": "sqlite", "host": "/data/state.db"}
BACKEND = "mycompany.secrets.Backend"


@pytest.fixture(autouse=True)
def without_airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make the tests' process look like one that has not imported Airflow."""
    monkeypatch.setattr(environment_connections, "sys", SimpleNamespace(modules={}))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("AIRFLOW_CONFIG", raising=False)


def define(monkeypatch: pytest.MonkeyPatch, value: dict[str, Any] | str) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", text)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(SQLITE, id="sqlite"),
        pytest.param({**SQLITE, "extra": {"mode": "ro"}}, id="extra"),
        pytest.param({**SQLITE, "extra": '{"mode": "ro"}'}, id="extra as text"),
        pytest.param({**SQLITE, "description": "of the demo", "extra": None}, id="description"),
        pytest.param({"conn_type": "elasticsearch", "host": "a,b", "port": "9200"}, id="port as text"),
        pytest.param(
            {"conn_type": "elasticsearch", "host": "a", "schema": "https", "login": "me", "password": "p"},
            id="login",
        ),
    ],
)
def test_the_fields_are_those_that_airflow_reads(
    monkeypatch: pytest.MonkeyPatch, value: dict[str, Any]
) -> None:
    from airflow.sdk import Connection

    define(monkeypatch, value)
    found = read_environment("place")
    assert found is not None
    expected = Connection.from_json(json.dumps(value), conn_id="place")
    assert found._asdict() == {name: getattr(expected, name) for name in EnvironmentConnection._fields}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("sqlite:////data/state.db", id="a URI"),
        pytest.param("", id="empty"),
        pytest.param("{", id="no JSON"),
        pytest.param({**SQLITE, "conn_type": "postgres"}, id="needs a hook"),
        pytest.param({"host": "x"}, id="no type"),
        pytest.param({**SQLITE, "hots": "x"}, id="unknown key"),
        pytest.param({**SQLITE, "host": 5}, id="no text"),
        pytest.param({**SQLITE, "port": "x"}, id="no number"),
        pytest.param({**SQLITE, "extra": "{"}, id="extra is no JSON"),
        pytest.param({**SQLITE, "extra": "[1]"}, id="extra is a list"),
    ],
)
def test_airflow_reads_anything_else_and_reports_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, value: dict[str, Any] | str
) -> None:
    define(monkeypatch, value)
    assert read_environment("place") is None


def test_airflow_finds_a_connection_that_the_environment_does_not_define(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    define(monkeypatch, SQLITE)
    assert read_environment("place") is not None
    assert read_environment("another") is None


def test_airflow_judges_an_id_that_names_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN__ONE___PLACE", json.dumps(SQLITE))
    assert read_environment("_one___place") is None


def test_airflow_looks_up_every_connection_of_a_process_that_imported_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    define(monkeypatch, SQLITE)
    monkeypatch.setattr(environment_connections, "sys", SimpleNamespace(modules={"airflow": object()}))
    assert read_environment("place") is None


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW__SECRETS__BACKEND",
        "AIRFLOW__SECRETS__BACKEND_CMD",
        "AIRFLOW__WORKERS__SECRETS_BACKEND",
    ],
)
def test_a_secrets_backend_is_asked_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    define(monkeypatch, SQLITE)
    monkeypatch.setenv(name, BACKEND)
    assert read_environment("place") is None


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        pytest.param(f"[secrets]\nbackend = {BACKEND}\n", False, id="a backend"),
        pytest.param(f"[workers]\nsecrets_backend = {BACKEND}\n", False, id="a backend of workers"),
        pytest.param("no section\n", False, id="cannot be read"),
        pytest.param("[secrets]\nbackend =\n", True, id="no backend"),
    ],
)
def test_airflow_cfg_is_read_for_a_secrets_backend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, is_read: bool
) -> None:
    define(monkeypatch, SQLITE)
    (tmp_path / "airflow.cfg").write_text(text)
    assert (read_environment("place") is not None) == is_read


@pytest.mark.parametrize(
    ("value", "finder"),
    [
        pytest.param(SQLITE, "environment", id="no secret"),
        pytest.param({**SQLITE, "password": "canary"}, "airflow", id="password"),
        pytest.param({**SQLITE, "extra": {"api_key": "canary"}}, "airflow", id="secret extra"),
        pytest.param({**SQLITE, "host": "https://me:canary@host"}, "airflow", id="password in the host"),
    ],
)
def test_a_connection_with_a_secret_reaches_airflows_masker(
    monkeypatch: pytest.MonkeyPatch, value: dict[str, Any], finder: str
) -> None:
    define(monkeypatch, value)
    hidden: list[object] = []
    monkeypatch.setattr(airflow_connections, "_find_connection", lambda _: "airflow's")
    monkeypatch.setattr(airflow_connections, "_hide_secrets", hidden.append)
    found = airflow_connections.get_connection("place")
    assert hidden == (["airflow's"] if finder == "airflow" else [])
    assert isinstance(found, EnvironmentConnection) == (finder == "environment")
