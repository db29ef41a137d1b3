"""What travels with the serialized DAG and the state instead of the pipeline file."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import load_pipeline, parse_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.state.facts import facts_of, read_facts

PIPELINE: dict[str, Any] = {
    "pipeline_id": "flights",
    "timezone": "America/New_York",
    "granularity": "2h",
    "x_time_back": "1d2h",
    "settle": "30m",
    "start_day": "2013-11-01",
    "end_day": "2013-11-30",
    "source": {
        "type": "elasticsearch",
        "conn_id": "search",
        "index": "flights-*",
        "time_field": "at",
        "query": {"term": {"secret_field": "hunter2"}},
    },
    "stage": {"type": "object_store", "path": "s3://lake@bucket/flights"},
    "target": {"type": "snowflake", "conn_id": "warehouse", "table": "A.B.C"},
    "state": {"type": "sql", "conn_id": "pipeline_state", "schema": "pipelines", "lease": "5m"},
    "default_record": {"TEAM": "hunter2"},
    "on_blocked": "stop",
    "max_attempts": 3,
}


@pytest.mark.parametrize("form", ["dump", "dump_json"])
def test_views_get_the_same_from_facts_as_from_the_file(form: str) -> None:
    config = parse_pipeline(PIPELINE, options_model=options_model)
    facts = read_facts(getattr(facts_of(config), form)())
    assert facts.rules == config.rules
    for name in ("pipeline_id", "timezone", "max_attempts", "backlog", "schedule", "start_day", "end_day"):
        assert getattr(facts, name) == getattr(config, name)
    assert facts.start_day == date(2013, 11, 1)
    again = options_model("state", "sql").model_validate(facts.state)
    assert again == config.state


def test_facts_hold_names_and_no_content() -> None:
    text = facts_of(parse_pipeline(PIPELINE, options_model=options_model)).dump_json()
    assert "hunter2" not in text
    assert "secret_field" not in text
    assert json.loads(text)["source"] == {
        "type": "elasticsearch",
        "conn_id": "search",
        "index": ["flights-*"],
        "time_field": "at",
        "history": "events",
    }
    assert len(text) < 1000


def test_facts_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "flights.yaml"
    file.write_text(json.dumps(PIPELINE))
    assert facts_of(load_pipeline(file, options_model=options_model)).file == "flights.yaml"


def test_facts_of_a_newer_version_are_read() -> None:
    stored = facts_of(parse_pipeline(PIPELINE, options_model=options_model)).dump()
    assert read_facts({**stored, "of_a_newer_version": 1}).pipeline_id == "flights"


@pytest.mark.parametrize("stored", ["{", "[]", {"pipeline_id": "x"}, {"pipeline_id": 1}, None])
def test_anything_else_is_refused(stored: Any) -> None:
    with pytest.raises(ValueError):
        read_facts(stored)
