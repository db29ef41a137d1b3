"""`source.fields` and `source.redact` in a pipeline file: what is accepted, refused and warned of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import load_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import ConfigError

FILE = """\
pipeline_id: flights
stage: {type: object_store, path: /tmp/x}
target: {type: duckdb, path: /tmp/x.duckdb, table: main.flights}
columns: [{name: EMAIL, path: user.email, type: text}]
source:
  type: elasticsearch
  index: flights
"""
SQL = {
    "type": "sql",
    "conn_id": "db",
    "table": "t",
    "time_column": "at",
    "key_columns": ["id"],
    "index": None,
}
KEY = {"redact_conn_id": "redact_key"}


def load(folder: Path, source: dict[str, Any]) -> Any:
    path = folder / "flights.yaml"
    text = FILE
    if source.get("type") == "sql":
        text = FILE.replace("  type: elasticsearch\n  index: flights\n", "")
    lines = [f"  {key}: {json.dumps(value)}\n" for key, value in source.items() if value is not None]
    path.write_text(text + "".join(lines))
    return load_pipeline(path, options_model=options_model)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"redact": [{"path": "a", "hwo": "drop"}]}, "unknown key; did you mean 'how'? (flights.yaml:8)"),
        (
            {"redact": [{"path": "a", "how": "hsah"}]},
            "redact[0].how: must be one of drop, hash, mask (did you mean 'hash'?)",
        ),
        ({"redact": [{"path": "a..b", "how": "drop"}]}, "source.redact[0].path: must be keys with dots"),
        ({"redact": [{"path": "a.**", "how": "drop"}]}, "must not end with **"),
        (
            {"redact": [{"path": "a", "how": "hash"}]},
            "source.redact: needs source.redact_conn_id with how: hash",
        ),
        ({"redact": [{"path": "a", "how": "drop", "keep": 2}]}, "keep is for how: mask only, got how: drop"),
        (
            {"redact": [{"path": "_id", "how": "drop"}]},
            "the record id _id must stay unique, so it can only be hashed",
        ),
        (
            {"redact": [{"path": "a", "how": "drop"}, {"path": "a", "how": "mask"}]},
            "source.redact[1].path: a has a rule",
        ),
        (
            {**KEY, "history": "changes", "redact": [{"path": "_id", "how": "hash"}]},
            "must not be _id with history",
        ),
        ({"redact": {"path": "a"}}, "source.redact: must be a list, got a mapping (flights.yaml:8)"),
        ({"fields": {"includes": ["a"]}}, "source.fields.includes: unknown key; did you mean 'include'?"),
        ({"fields": {}}, "source.fields: needs include or exclude"),
        ({"fields": {"include": [" a"]}}, "must be a field such as user.email"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, source)
    assert message in str(caught.value)
    assert "flights.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "warnings"),
    [
        ({"fields": {"include": ["user.*"], "exclude": "note"}}, []),
        ({"fields": {"exclude": ["user"]}}, ["columns[0].path: user.email is left out by source.fields"]),
        ({"redact": [{"path": "name", "how": "mask", "keep": 4}]}, []),
        ({**KEY, "redact": [{"path": "user.*", "how": "hash"}]}, ["columns[0].path: user.email is redacted"]),
        ({**KEY, "redact": [{"path": "a", "how": "drop"}]}, ["source.redact_conn_id: is not used"]),
        ({"redact": [{"path": "@timestamp", "how": "drop"}]}, ["EVENT_TIME still shows it"]),
        ({**SQL, "redact": [{"path": "id", "how": "drop"}]}, ["RECORD_ID still shows it"]),
        (
            {**SQL, "change_column": "c", "redact": [{"path": "c", "how": "drop"}]},
            ["the ledger still shows it"],
        ),
        ({**SQL, **KEY, "redact": [{"path": "id", "how": "drop"}, {"path": "_id", "how": "hash"}]}, []),
        ({**SQL, **KEY, "redact": [{"path": "_id", "how": "hash"}]}, ["BODY still shows id"]),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(
    tmp_path: Path, source: dict[str, Any], warnings: list[str]
) -> None:
    found = [str(one) for one in load(tmp_path, source).warnings]
    assert len(found) == len(warnings), found
    assert all(expected in one for expected, one in zip(warnings, found, strict=True))


def test_a_source_that_cannot_leave_fields_out_refuses_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_pipeline_provider.connectors.elasticsearch.options import ElasticsearchOptions

    monkeypatch.setattr(ElasticsearchOptions, "takes_fields", False)
    with pytest.raises(ConfigError, match=r"source\.type elasticsearch cannot leave fields out.*redact"):
        load(tmp_path, {"fields": {"include": ["a"]}})
