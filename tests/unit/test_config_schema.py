"""Compare the shipped JSON Schema with the models, and with what the loader accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_pipeline_provider.config.json_schema import SCHEMA_FILE, pipeline_schema
from airflow_pipeline_provider.config.loader import ConfigFileError, load_pipeline, parse_pipeline
from airflow_pipeline_provider.config.yaml_tree import Template, plain, read_yaml
from airflow_pipeline_provider.connectors.registry import BUILT_IN, KINDS, options_model


@pytest.fixture(autouse=True)
def _mycompany_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PIPELINES__ALLOWED_MODULES", "mycompany")


ROOT = Path(__file__).parents[2]
SHIPPED: dict[str, Any] = json.loads(
    files("airflow_pipeline_provider.config").joinpath(SCHEMA_FILE).read_text()
)
EXAMPLES = [*sorted((ROOT / "dags").rglob("*.yaml"))]
WHOLE = {
    "pipeline_id": "flights",
    "timezone": "America/New_York",
    "x_time_back": "1d2h",
    "granularity": "2h",
    "start_day": "2013-11-01",
    "end_day": None,
    "max_backlog_days": 31,
    "schedule": "auto",
    "settle": "10m",
    "backlog": "drain",
    "source": {
        "type": "elasticsearch",
        "conn_id": "elasticsearch_default",
        "index": "flights-*",
        "time_field": "time_hour",
        "query": {"term": {"origin": "JFK"}},
        "page_size": 5000,
        "slices": 2,
        "distribute": "threads",
    },
    "stage": {
        "type": "object_store",
        "path": "s3://aws_default@data-stage/flights",
        "part_size": "128MB",
        "keep_attempts": 0,
    },
    "target": {
        "type": "snowflake",
        "conn_id": "snowflake_default",
        "table": "ANALYTICS.RAW.FLIGHTS",
        "external_stage": "ANALYTICS.RAW.LAKE",
    },
    "validate": {"on_unavailable": "fail", "max_staleness": None},
    "audit": {"on_mismatch": "reextract", "on_shrink": "fail", "on_empty": "commit"},
    "state": {"type": "sql", "conn_id": "pipeline_state", "lease": "2m"},
    "max_attempts": 5,
    "on_blocked": "pass",
    "airflow": {"retries": 3, "pool": None, "tags": ["flights"], "max_active_runs": 1},
    "default_record": {"source_name": "elasticsearch", "target_name": "snowflake", "team": "ops"},
    "record_functions": {"PARTNER": "mycompany.records.partner_of"},
}


def as_written(data: Any) -> Any:
    """Return the data with unreplaced variables, as an editor sees it."""
    if isinstance(data, Template):
        return data.text
    return {key: as_written(value) for key, value in data.items()} if isinstance(data, dict) else data


def complaints(data: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SHIPPED).iter_errors(data)]


def test_the_shipped_schema_matches_the_models():
    options: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for key in BUILT_IN:
        kind, _, name = key.partition(".")
        options[kind][name] = options_model(kind, name)
    assert pipeline_schema(options) == SHIPPED, (
        f"write it again: airflow-pipelines schema --write airflow_pipeline_provider/config/{SCHEMA_FILE}"
    )


def test_the_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(SHIPPED)


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path or "root", schema
        for key, child in schema.items():
            yield from objects(child, f"{path}/{key}")
    elif isinstance(schema, list):
        for child in schema:
            yield from objects(child, path)


@pytest.mark.parametrize(("path", "schema"), [pytest.param(p, s, id=p) for p, s in objects(SHIPPED)])
def test_every_key_is_described_and_no_other_is_allowed(path, schema):
    assert schema["additionalProperties"] is False
    for name, key in schema["properties"].items():
        assert len(key.get("description", "")) > 10, f"{path}: {name} has no description"
    assert "required" not in schema  # the other keys may be in defaults.yaml


@pytest.mark.parametrize(
    "data", [pytest.param(WHOLE, id="the whole file"), pytest.param({}, id="nothing yet")]
)
def test_valid_files_match_the_schema(data):
    assert complaints(data) == []


def test_the_loader_accepts_the_file_with_every_key():
    config = parse_pipeline(WHOLE, options_model=options_model)
    assert config.warnings == ()
    assert config.source.type == "elasticsearch"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_pipelines_match_the_schema(path):
    text = path.read_text()
    reference = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert reference is not None, "the first line tells editors the schema"
    assert (path.parent / reference[1]).resolve() == (
        ROOT / "airflow_pipeline_provider" / "config" / SCHEMA_FILE
    )
    tree = read_yaml(text.encode())
    assert tree is not None
    assert complaints(as_written(plain(tree))) == []
    if path.name != "defaults.yaml":
        assert load_pipeline(path, options_model=options_model).warnings == ()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"granularty": "2h"}, id="unknown key"),
        pytest.param({"granularity": "2 hours"}, id="no duration"),
        pytest.param({"granularity": 2}, id="number as duration"),
        pytest.param({"settle": ""}, id="empty duration"),
        pytest.param({"pipeline_id": "a/b"}, id="bad id"),
        pytest.param({"backlog": "drian"}, id="no choice"),
        pytest.param({"max_attempts": 0}, id="out of bounds"),
        pytest.param({"max_attempts": "5"}, id="text as number"),
        pytest.param({"source": {"type": "elasticsaerch"}}, id="unknown connector"),
        pytest.param({"source": {"type": "elasticsearch", "indx": "a"}}, id="unknown key of a connector"),
        pytest.param({"source": {"type": "elasticsearch", "page_size": 0}}, id="out of a connector's bounds"),
        pytest.param({"source": {"type": "sql", "index": "a"}}, id="key of another connector"),
        pytest.param({"stage": {"type": "object_store", "part_size": "large"}}, id="no size"),
        pytest.param({"state": {"type": "sql", "lease": 120}}, id="lease without a unit"),
        pytest.param({"audit": {"on_empty": "ignore"}}, id="choice in a section"),
        pytest.param({"airflow": {"tags": "a"}}, id="text as list"),
        pytest.param({"record_functions": {"A": 5}}, id="number as path"),
    ],
)
def test_the_loader_rejects_what_the_schema_rejects(change):
    data = WHOLE | change
    assert complaints(data)
    with pytest.raises(ConfigFileError):
        parse_pipeline(data, options_model=options_model)
