"""Hostile names in a pipeline file with the real connectors are kept unchanged, or refused on one line.

docs/reliability.md describes the same table. Hostile YAML syntax is in test_config_yaml and
test_config_problems.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_pipeline_provider.config.loader import ConfigFileError, load_pipeline
from airflow_pipeline_provider.config.yaml_tree import YamlError, read_yaml
from airflow_pipeline_provider.connectors.registry import options_model

HOSTILE = {
    "quote": "a'b",
    "double quote": 'a"b',
    "backslash": "a\\b",
    "parent": "../x",
    "percent": "a%b",
    "placeholder": "%s",
    "newline": "a\nb",
    "newline at the end": "ab\n",
    "SQL": "x; DROP TABLE y --",
    "template": "{{ 7 * 7 }}",
    "look-alike": "flіghts",  # its third letter is Cyrillic
    "full width": "ｆlights",
    "combining": "e\u0301",
    "emoji": "✈",
    "right to left": "a\u202eb",
    "zero width": "a\u200bb",
    "no-break space": "a\u00a0b",
    "line separator": "a\u2028b",
    "escape sequence": "\x1b[31mred",
    "NUL": "a\0b",
    "300 characters": "a" * 300,
}
HIDDEN = {
    "newline",
    "newline at the end",
    "right to left",
    "zero width",
    "no-break space",
    "line separator",
    "escape sequence",
    "NUL",
}
CONTROL = {"newline", "newline at the end", "escape sequence", "NUL"}
ALL = set(HOSTILE)
LEAST: dict[str, Any] = {
    "pipeline_id": "flights",
    "source": {"type": "elasticsearch", "index": "flights", "time_field": "at"},
    "stage": {"type": "object_store", "path": "/data/stage"},
    "target": {"type": "duckdb", "path": "/data/lake.duckdb", "table": "main.flights"},
    "state": {"type": "sql", "conn_id": "state"},
}
SQL = {"type": "sql", "conn_id": "lake", "table": "t", "time_column": "at", "key_columns": ["id"]}
# field -> (path in the file, other changes of the file, refused names; all others are kept)
PLACES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "pipeline id": ("pipeline_id", {}, ALL),
    "timezone": ("timezone", {}, ALL),
    "granularity": ("granularity", {}, ALL),
    "start day": ("start_day", {}, ALL),
    "schedule": ("schedule", {}, ALL),
    "index": ("source.index", {}, HIDDEN | {"double quote", "backslash", "parent", "SQL", "template"}),
    "time field": ("source.time_field", {}, HIDDEN | {"template"}),
    "connection": (
        "source.conn_id",
        {},
        ALL - {"parent", "backslash", "look-alike", "full width"},
    ),
    "state's connection": ("state.conn_id", {}, ALL - {"parent", "backslash", "look-alike", "full width"}),
    "DuckDB table": ("target.table", {}, ALL),
    "PostgreSQL table": ("target.table", {"target": {"type": "postgres"}}, ALL),
    "Snowflake table": ("target.table", {"target": {"type": "snowflake"}}, ALL),
    "Snowflake stage": ("target.external_stage", {"target": {"type": "snowflake", "table": "T"}}, ALL),
    "source table": ("source.table", {"source": SQL}, HIDDEN | {"double quote", "parent"}),
    "source column": ("source.time_column", {"source": SQL}, {"NUL"}),
    "pool": ("airflow.pool", {}, HIDDEN | {"300 characters"}),
    "owner": ("airflow.owner", {}, HIDDEN),
    "tag": ("airflow.tags.0", {"airflow": {"tags": [""]}}, HIDDEN | {"300 characters"}),
    "value of the record": ("default_record.note", {}, {"NUL"}),
    "record function": ("record_functions.PARTNER", {}, ALL),
}  # fmt: skip
# the value is part of a path: (template, refused names)
PATHS: dict[str, tuple[str, dict[str, Any], str, set[str]]] = {
    "local stage": ("stage.path", {}, "/data/{}/x", CONTROL | {"parent", "backslash"}),
    "object's prefix": ("stage.path", {}, "s3://lake@bucket/{}/x", CONTROL | {"parent", "backslash"}),
    "stage's connection": ("stage.path", {}, "s3://{}@bucket/x", ALL - {"300 characters"}),
    "DuckDB file": ("target.path", {}, "/data/{}.duckdb", {"NUL"}),
}


def file_with(path: str, changes: dict[str, Any], value: str) -> dict[str, Any]:
    file = {**copy.deepcopy(LEAST), **copy.deepcopy(changes)}
    *above, last = path.split(".")
    at: Any = file
    for key in above:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    at[int(last) if isinstance(at, list) else last] = value
    return file


def outcome(folder: Path, content: dict[str, Any]) -> str | Any:
    """Return the configuration, or the message that refuses it, after checking its form."""
    file = folder / "flights.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        return load_pipeline(file, options_model=options_model)
    except ConfigFileError as error:
        text = str(error)
        assert text.isprintable(), "one line, nothing hidden in it"
        assert len(text) < 700
        assert "flights.yaml" in text
        return text


def carried(config: Any, path: str) -> Any:
    at = config.model_dump(by_alias=True)
    for key in path.split("."):
        at = at[int(key)] if isinstance(at, list | tuple) else at[key]
    return at


PLAIN = [(place, path, changes, "{}", refused) for place, (path, changes, refused) in PLACES.items()]
INSIDE = [(place, path, changes, text, refused) for place, (path, changes, text, refused) in PATHS.items()]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    ("place", "path", "changes", "template", "refused"), PLAIN + INSIDE, ids=[*PLACES, *PATHS]
)
def test_a_hostile_name_is_kept_unchanged_or_refused_by_field(
    tmp_path: Path,
    place: str,
    path: str,
    changes: dict[str, Any],
    template: str,
    refused: set[str],
    name: str,
) -> None:
    value = template.format(HOSTILE[name])
    found = outcome(tmp_path, file_with(path, changes, value))
    if name in refused:
        assert isinstance(found, str), f"{place} took it"
        assert found.startswith(f"{path.replace('.0', '[0]')}: " if "tags" not in path else "airflow.tags")
    else:
        assert not isinstance(found, str), found
        seen = carried(found, path)
        assert seen in (value, (value,))


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "NUL"])
@pytest.mark.parametrize("section", ["", "source", "airflow", "record_functions"])
def test_a_hostile_key_is_refused_and_shown_with_escapes(tmp_path: Path, section: str, name: str) -> None:
    content = copy.deepcopy(LEAST)
    (content.setdefault(section, {}) if section else content)[HOSTILE[name]] = "a.b"
    found = outcome(tmp_path, content)
    assert isinstance(found, str)
    assert found.startswith(f"{section}." if section else "")


@pytest.mark.parametrize("name", sorted(HIDDEN - {"NUL"}))
def test_hidden_characters_of_a_value_are_shown_with_escapes(tmp_path: Path, name: str) -> None:
    found = outcome(tmp_path, file_with("source.index", {}, HOSTILE[name]))
    assert repr(HOSTILE[name]) in found


KEYS = 9_000
MANY = "a: &a {" + ", ".join(f"k{i}: 1" for i in range(KEYS)) + "}\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(MANY + "b: {<<: [" + "*a," * KEYS + "]}\n", id="one mapping merged again and again"),
        pytest.param(MANY + "".join(f"b{i}: {{<<: *a}}\n" for i in range(KEYS)), id="merged everywhere"),
        pytest.param(
            "a0: &a0 {k: 1}\n"
            + "".join(f"a{i}: &a{i} {{<<: [{f'*a{i - 1},' * 20}], x{i}: 1}}\n" for i in range(1, 900)),
            id="merges of merges",
        ),
    ],
)
def test_merge_keys_cannot_expand_without_limit(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(YamlError, match="more than 20000 keys") as caught:
        read_yaml(text.encode(), "flights.yaml")
    assert len(str(caught.value)) < 200
    assert time.process_time() - begun < 2, "CPU-seconds; unbounded it is minutes and gigabytes"
