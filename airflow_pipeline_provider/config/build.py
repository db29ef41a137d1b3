"""Build a `PipelineConfig` from a tree of values, or report every problem with its file, line and path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath

from pydantic import BaseModel, ValidationError

from airflow_pipeline_provider.config.checks import COMPARED_FIELDS
from airflow_pipeline_provider.config.column_checks import validate_columns
from airflow_pipeline_provider.config.messages import child_at, validation_messages
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.options import (
    Options,
    SourceOptions,
    StageOptions,
    StateOptions,
    TargetOptions,
)
from airflow_pipeline_provider.config.problems import ConfigFileError, Problem, dotted, format_value
from airflow_pipeline_provider.config.yaml_tree import MAX_PROBLEMS, Node, plain
from airflow_pipeline_provider.exceptions import PipelineError

_SECTIONS: dict[str, type[Options]] = {
    "source": SourceOptions,
    "stage": StageOptions,
    "target": TargetOptions,
    "state": StateOptions,
}
_DEFAULT_STATE = {"type": "variable"}
SECTIONS_WITH_DEFAULTS = (
    "state",
    "columns",
    "validate",
    "audit",
    "expect",
    "airflow",
    "own_tasks",
    "default_record",
    "record_functions",
)
"""Keys that mean their defaults without a value, such as `audit:`."""

Path = tuple[str | int, ...]
Found = list[tuple[Path, str]]


def build_config(
    tree: Node, file: str | None, options_model: Callable[[str, str], type[BaseModel]]
) -> PipelineConfig:
    """Validate the whole tree and raise ConfigFileError with all problems of it.

    `file` is the pipeline's own file; nodes of the tree may come from another file (`defaults.yaml`).
    """
    data = plain(tree)
    found: Found = []
    for name in SECTIONS_WITH_DEFAULTS:
        if name in data and data[name] is None:
            del data[name]
    data.setdefault("state", _DEFAULT_STATE)
    for kind, base in _SECTIONS.items():
        if data.get(kind) is None:
            data.pop(kind, None)
        else:
            data[kind] = _validate_section(kind, data[kind], base, options_model, found)
    if "columns" in data:
        data["columns"], problems = validate_columns(
            data["columns"],
            data.get("target", TargetOptions.model_construct(type="")),
            lambda path: _node_at(tree, path).line,
        )
        found += problems
    config = _validate_pipeline(data, found)
    if config is None or found:
        raise ConfigFileError(_sorted(located_in(tree, file, *item) for item in found), file)
    config._warnings = tuple(
        located_in(tree, file, tuple(warning.path.split(".")), warning.message)._replace(severity="warning")
        for warning in config.warnings
    )
    return config


def _validate_section(
    kind: str,
    data: object,
    base: type[Options],
    options_model: Callable[[str, str], type[BaseModel]],
    found: Found,
) -> Options:
    """Return the connector's options, or an empty placeholder if they are invalid.

    The placeholder allows validation of the rest of the file.
    """
    placeholder = base.model_construct(type="")
    if not isinstance(data, dict):
        found.append(((kind,), f"must be a mapping with a type and its keys, got {format_value(data)}"))
        return placeholder
    name = data.get("type")
    if not isinstance(name, str):
        missing = name is None
        found.append(((kind, "type"), "is missing" if missing else f"must be text, got {format_value(name)}"))
        return placeholder
    try:
        model = options_model(kind, name)
        options = model.model_validate_json(json.dumps(data), strict=True)
        if isinstance(options, base):
            return options
        found.append(
            (
                (kind, "type"),
                f"the connector {name!r} cannot be used: its Options must be a subclass of {base.__name__}",
            )
        )
    except ValidationError as error:
        found.extend(validation_messages(error, data, model, (kind,)))
    except PipelineError as error:
        found.append(((kind, "type"), error.message.removeprefix(f"{kind}.type: ")))
    except Exception as error:  # noqa: BLE001  a connector of another package must not break the other pipelines
        what = f"{type(error).__name__}: {error}"
        found.append(((kind, "type"), f"the connector {name!r} cannot be used: {what}"))
    return placeholder


def _validate_pipeline(data: dict[str, object], found: Found) -> PipelineConfig | None:
    try:
        return PipelineConfig.model_validate(data)
    except ValidationError as error:
        found.extend(validation_messages(error, data, PipelineConfig))
    _check_across_valid_fields(data, found)
    return None


def _check_across_valid_fields(data: dict[str, object], found: Found) -> None:
    """Run the cross-field checks without the invalid fields; pydantic runs them only if all fields are valid."""
    invalid = {path[0] for path, _ in found if path}
    rest = {key: value for key, value in data.items() if key not in invalid or key in _SECTIONS}
    rest.setdefault("pipeline_id", "unknown")
    for kind, base in _SECTIONS.items():
        rest.setdefault(kind, base.model_construct(type=""))
    try:
        PipelineConfig.model_validate(rest)
    except ValidationError as error:
        for path, message in validation_messages(error, rest, PipelineConfig):
            compared = COMPARED_FIELDS.get(str(path[0]) if path else "", ())
            if compared and not invalid.intersection(compared) and (path, message) not in found:
                found.append((path, message))


# --- positions ----------------------------------------------------------------------------------------------------


def _node_at(tree: Node, path: Path) -> Node:
    """Return the value at the path, or the mapping that lacks it."""
    node = tree
    for part in path:
        child = child_at(node.value, part)
        if child is None:
            break
        node = child
    return node


def located_in(tree: Node, file: str | None, path: Path, message: str) -> Problem:
    """Return the problem with file and line of its value, or of the mapping that lacks it."""
    node = _node_at(tree, path)
    if node is tree:
        return Problem(dotted(path), message, file)
    return Problem(dotted(path), message, node.file, node.line or None, place=shown_file(node.file, file))


def shown_file(file: str | None, pipeline_file: str | None) -> str | None:
    """Return a file's path from the folder of the pipeline file, for messages."""
    if file is None or pipeline_file is None:
        return None
    try:
        return str(PurePath(file).relative_to(PurePath(pipeline_file).parent))
    except ValueError:
        return None


def _sorted(problems: Iterable[Problem]) -> Sequence[Problem]:
    """Sort by file and line, problems of the whole file first; remove duplicates and limit the number."""
    found = sorted(dict.fromkeys(problems), key=lambda problem: (problem.file or "", problem.line or 0))
    if len(found) > MAX_PROBLEMS:
        rest = Problem("", f"and {len(found) - MAX_PROBLEMS} or more problems after these", found[0].file)
        return [*found[:MAX_PROBLEMS], rest]
    return found
