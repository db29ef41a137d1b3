"""A tree of values → `PipelineConfig`, or every problem of it with its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from airflow_pipeline_provider.config.checks import INVOLVED
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.options import (
    Options,
    SourceOptions,
    StageOptions,
    StateOptions,
    TargetOptions,
)
from airflow_pipeline_provider.config.problems import ConfigFileError, Problem, dotted, shown
from airflow_pipeline_provider.config.sentences import child_at, problems_of
from airflow_pipeline_provider.config.yaml_tree import MAX_PROBLEMS, Node, plain
from airflow_pipeline_provider.exceptions import PipelineError

_SECTIONS: dict[str, type[Options]] = {
    "source": SourceOptions,
    "stage": StageOptions,
    "target": TargetOptions,
    "state": StateOptions,
}
_DEFAULT_STATE = {"type": "variable"}
_EMPTY_MEANS_DEFAULT = ("state", "validate", "audit", "airflow", "default_record", "record_functions")

Path = tuple[str | int, ...]
Found = list[tuple[Path, str]]


def build_config(
    tree: Node, file: str | None, options_model: Callable[[str, str], type[BaseModel]]
) -> PipelineConfig:
    """Validate everything, then report everything; `file` is the pipeline's own (nodes may be of another)."""
    data = plain(tree)
    found: Found = []
    for name in _EMPTY_MEANS_DEFAULT:  # "audit:" with nothing below it
        if name in data and data[name] is None:
            del data[name]
    data.setdefault("state", _DEFAULT_STATE)
    for kind, base in _SECTIONS.items():
        if data.get(kind) is None:
            data.pop(kind, None)
        else:
            data[kind] = _section(kind, data[kind], base, options_model, found)
    config = _pipeline(data, found)
    if config is None or found:
        raise ConfigFileError(_in_order(_problem(tree, file, *item) for item in found), file)
    config._warnings = tuple(
        _problem(tree, file, tuple(warning.path.split(".")), warning.message)._replace(severity="warning")
        for warning in config.warnings
    )
    return config


def _section(
    kind: str,
    data: Any,
    base: type[Options],
    options_model: Callable[[str, str], type[BaseModel]],
    found: Found,
) -> Options:
    """The connector's options; after a problem a stand-in, so that the rest of the file is still checked."""
    stand_in = base.model_construct(type="")
    if not isinstance(data, dict):
        found.append(((kind,), f"must be a mapping with a type and its keys, got {shown(data)}"))
        return stand_in
    name = data.get("type")
    if not isinstance(name, str):
        missing = name is None
        found.append(((kind, "type"), "is missing" if missing else f"must be text, got {shown(name)}"))
        return stand_in
    try:
        model = options_model(kind, name)
        return _checked(model.model_validate_json(json.dumps(data), strict=True), base)
    except ValidationError as error:
        found.extend(problems_of(error, data, model, (kind,)))
    except PipelineError as error:
        found.append(((kind, "type"), error.message.removeprefix(f"{kind}.type: ")))
    except Exception as error:  # noqa: BLE001  somebody else's connector must not take the other pipelines with it
        what = f"{type(error).__name__}: {error}"
        found.append(((kind, "type"), f"the connector {name!r} cannot be used: {what}"))
    return stand_in


def _checked(options: BaseModel, base: type[Options]) -> Options:
    if not isinstance(options, base):
        raise TypeError(f"its Options must be a subclass of {base.__name__}")
    return options


def _pipeline(data: dict[str, Any], found: Found) -> PipelineConfig | None:
    try:
        return PipelineConfig.model_validate(data)
    except ValidationError as error:
        found.extend(problems_of(error, data, PipelineConfig))
    _check_the_rest(data, found)
    return None


def _check_the_rest(data: dict[str, Any], found: Found) -> None:
    """pydantic looks across fields only when each is valid alone: look again without those that are not."""
    broken = {path[0] for path, _ in found if path}
    rest = {key: value for key, value in data.items() if key not in broken or key in _SECTIONS}
    rest.setdefault("pipeline_id", "unknown")
    for kind, base in _SECTIONS.items():
        rest.setdefault(kind, base.model_construct(type=""))
    try:
        PipelineConfig.model_validate(rest)
    except ValidationError as error:
        for path, message in problems_of(error, rest, PipelineConfig):
            involved = INVOLVED.get(str(path[0]) if path else "", ())
            if involved and not broken.intersection(involved) and (path, message) not in found:
                found.append((path, message))


# --- places -------------------------------------------------------------------------------------------------------


def _problem(tree: Node, file: str | None, path: Path, message: str) -> Problem:
    """With file and line of the value; what is missing is placed at the mapping that lacks it."""
    node = tree
    for part in path:
        child = child_at(node.value, part)
        if child is None:
            break
        node = child
    whole_file = node is tree
    return Problem(
        dotted(path), message, file if whole_file else node.file, None if whole_file else node.line or None
    )


def _in_order(problems: Iterable[Problem]) -> Sequence[Problem]:
    """By file and line, what belongs to the whole file first; one problem once."""
    found = sorted(dict.fromkeys(problems), key=lambda problem: (problem.file or "", problem.line or 0))
    if len(found) > MAX_PROBLEMS:
        rest = Problem("", f"and {len(found) - MAX_PROBLEMS} or more problems after these", found[0].file)
        return [*found[:MAX_PROBLEMS], rest]
    return found
