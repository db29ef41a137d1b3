"""Build the JSON Schema of pipeline files, with which editors complete keys, show descriptions and find typos.

No key is required, because it may come from `defaults.yaml`; `airflow-pipelines check` reports missing keys. The
schema of the built-in connectors ships as `pipeline.schema.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from airflow_pipeline_provider.config.build import SECTIONS_WITH_DEFAULTS
from airflow_pipeline_provider.config.matrix import KEY
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.options import DURATION_PATTERN
from airflow_pipeline_provider.core.durations import Duration, seconds_to_time_string

SCHEMA_FILE = "pipeline.schema.json"
MATRIX = (
    "Variants of the file, each of which is a pipeline: a list of their values, or a mapping of lists, for every "
    "combination. {{ name }} in the other keys, also in pipeline_id, is a value of the variant."
)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def pipeline_schema(options: Mapping[str, Mapping[str, type[BaseModel]]]) -> dict[str, object]:
    """Return the schema; `options` maps section and type to a model: `{"source": {"elasticsearch": Model, …}, …}`."""
    definitions: dict[str, object] = {}
    root = _model_schema(PipelineConfig, "", definitions)
    for kind, models in options.items():
        references = []
        for name, model in sorted(models.items()):
            key = f"{kind}.{name}"
            definitions[key] = _connector(key, name, model, definitions)
            references.append({"$ref": f"#/$defs/{key}"})
        section = root["properties"][kind]
        root["properties"][kind] = {"description": section["description"], "anyOf": references}
    for name in SECTIONS_WITH_DEFAULTS:
        section = root["properties"][name]
        description = section.pop("description")
        section.pop("default", None)
        members = section.pop("anyOf", None) or [section]
        root["properties"][name] = {"description": description, "anyOf": [*members, {"type": "null"}]}
    _add_matrix(root["properties"])
    used = _reachable(root, definitions)
    head = {"$schema": _DIALECT, "title": "Pipeline", "description": "One pipeline: source, stage, target."}
    return {
        **head,
        **_without(root, "title", "description"),
        "$defs": {key: definitions[key] for key in sorted(used)},
    }


def _add_matrix(properties: dict[str, Any]) -> None:
    """Add the key `matrix`, which the model of one pipeline does not have, and its values in `pipeline_id`."""
    pipeline_id = properties["pipeline_id"]
    pattern = pipeline_id.pop("pattern")
    pipeline_id["anyOf"] = [{"type": "string", "pattern": pattern}, {"type": "string", "pattern": r"\{\{"}]
    del pipeline_id["type"]
    scalar = {"type": ["string", "number", "boolean", "null"]}
    properties[KEY] = {
        "description": MATRIX,
        "default": None,
        "anyOf": [
            {"type": "array", "minItems": 1, "items": {"type": "object", "additionalProperties": scalar}},
            {"type": "object", "additionalProperties": {"type": "array", "minItems": 1, "items": scalar}},
        ],
    }


def _connector(
    key: str, name: str, model: type[BaseModel], definitions: dict[str, object]
) -> dict[str, object]:
    schema = _model_schema(model, f"{key}.", definitions)
    properties = schema["properties"]
    properties["type"] = {"const": name, "description": f"The connector {name}."}
    order = ["type", *(field for field in properties if field != "type")]
    return {**_without(schema, "title"), "properties": {field: properties[field] for field in order}}


def _model_schema(model: type[BaseModel], prefix: str, definitions: dict[str, object]) -> dict[str, Any]:
    """Return the model's schema and add the schemas it refers to to `definitions`, with prefixed names."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{prefix}{name}"] = _tidy(definition)
    tidy: dict[str, object] = _tidy(schema)
    return tidy


def _tidy(value: object) -> Any:
    """Remove generated titles and `required` from a schema, but not from data in it such as defaults."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidy: dict[str, Any] = {}
    for key, item in value.items():
        if key == "properties":
            tidy[key] = {name: _tidy(schema) for name, schema in item.items()}
        elif key in ("default", "const", "enum", "examples"):
            tidy[key] = item
        elif key not in ("title", "required"):
            tidy[key] = _tidy(item)
    if tidy.get("pattern") == DURATION_PATTERN and "default" in tidy:
        default = tidy["default"]  # a Python value: seconds, or calendar days and seconds
        tidy["default"] = (
            seconds_to_time_string(default) if isinstance(default, int) else str(Duration(*default))
        )
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    return tidy


def _reachable(schema: object, definitions: Mapping[str, object]) -> set[str]:
    """Return the names of the definitions that the schema refers to, directly or through others."""
    found: set[str] = set()
    todo = [schema]
    while todo:
        at = todo.pop()
        if isinstance(at, list):
            todo.extend(at)
        elif isinstance(at, dict):
            todo.extend(at.values())
            name = str(at.get("$ref", "")).removeprefix("#/$defs/")
            if name in definitions and name not in found:
                found.add(name)
                todo.append(definitions[name])
    return found


def _without(schema: dict[str, object], *keys: str) -> dict[str, object]:
    return {key: value for key, value in schema.items() if key not in keys}
