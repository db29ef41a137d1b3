"""Load pipeline files as `PipelineConfig`; report all problems of a file at once, with file and line.

Each file inherits from the `defaults.yaml` in its folder: mappings are merged recursively, lists are replaced, and a
`null` in the file overrides a default. A section whose `type` differs from the one in `defaults.yaml` inherits
nothing, because those keys belong to another connector.

`options_model(kind, name)` returns the pydantic model of a section (`connectors.registry.options_model`) and raises
ConfigError for an unknown name. This module reads no Airflow variable, no connection and nothing from the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from airflow_pipeline_provider.config.build import build_config, located_in
from airflow_pipeline_provider.config.fields import PIPELINE_ID
from airflow_pipeline_provider.config.files import include_columns, read_file, read_mapping
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.problems import ConfigFileError, Problem
from airflow_pipeline_provider.config.variables import expand
from airflow_pipeline_provider.config.yaml_tree import Node, YamlError, from_plain, read_yaml
from airflow_pipeline_provider.exceptions import ConfigError

__all__ = [
    "ConfigFileError",
    "OptionsModel",
    "PipelineFolder",
    "Problem",
    "find_file",
    "load_folder",
    "load_pipeline",
    "located",
    "parse_pipeline",
    "pipeline_files",
]

OptionsModel = Callable[[str, str], type[BaseModel]]

DEFAULTS = ("defaults.yaml", "defaults.yml")
SUFFIXES = (".yaml", ".yml")
SECTIONS = ("source", "stage", "target", "state")
_ID_LINE = re.compile(
    rb"""^(?:pipeline_id|"pipeline_id"|'pipeline_id')[ \t]*:[ \t]+"""
    rb"""(["']?)([A-Za-z0-9_.\-]+)\1[ \t]*(?:[ \t]#.*)?\r?$""",
    re.M,
)


@dataclass(frozen=True)
class PipelineFolder:
    """The pipelines of a folder by id, each with its file, and the errors of the other files."""

    pipelines: dict[str, tuple[Path, PipelineConfig]] = field(default_factory=dict)
    errors: dict[Path, ConfigFileError] = field(default_factory=dict)


def load_pipeline(path: str | Path, *, options_model: OptionsModel) -> PipelineConfig:
    """Load one file with the `defaults.yaml` of its folder; raise ConfigFileError with all problems."""
    path = Path(path)
    return _load(path, _defaults_of(path.parent), options_model)


def parse_pipeline(data: Mapping[str, object], *, options_model: OptionsModel) -> PipelineConfig:
    """Load a pipeline from a mapping with the content of a file; no `defaults.yaml`, no lines in errors."""
    return build_config(from_plain(dict(data)), None, options_model)


def load_folder(folder: str | Path, *, options_model: OptionsModel) -> PipelineFolder:
    """Load every pipeline file of the folder, not of its subfolders; an invalid file does not affect the others.

    Of two files with the same id, the file named after the id is loaded, else the first by name; the other is
    reported as an error. Raise ConfigError if the folder cannot be read.
    """
    loaded = PipelineFolder()
    found: dict[str, list[tuple[Path, PipelineConfig]]] = {}
    files = pipeline_files(folder)
    defaults: Node | ConfigFileError | None
    try:
        defaults = _defaults_of(Path(folder))
    except ConfigFileError as error:
        defaults = error
        loaded.errors[Path(error.file or folder)] = error
    for path in files:
        try:
            if isinstance(defaults, ConfigFileError):
                raise ConfigFileError(defaults.problems, str(path))
            config = _load(path, defaults, options_model)
        except ConfigFileError as error:
            loaded.errors[path] = error
        else:
            found.setdefault(config.pipeline_id, []).append((path, config))
    for pipeline_id, claims in found.items():
        first = next((claim for claim in claims if claim[0].stem == pipeline_id), claims[0])
        loaded.pipelines[pipeline_id] = first
        for path, _ in claims:
            if path != first[0]:
                loaded.errors[path] = _duplicate_id_error(path, first[0], pipeline_id)
    return loaded


def pipeline_files(folder: str | Path) -> list[Path]:
    """List the YAML files of the folder by name, without `defaults.yaml` and hidden files.

    Raise ConfigError if the folder cannot be read.
    """
    try:
        entries = sorted(Path(folder).iterdir())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            f"folder: expected a folder of pipeline files, got {str(folder)!r}: {reason}"
        ) from None
    return [
        path
        for path in entries
        if path.suffix in SUFFIXES and not path.name.startswith(".") and path.name not in DEFAULTS
    ]


def find_file(folder: str | Path, pipeline_id: str) -> Path | None:
    """Return the file of a pipeline without loading the others, None if no file has the id.

    Look at the file named after the id first, then at the id of each other file. Choose the same file as
    `load_folder` if two files have the same id.
    """
    if not PIPELINE_ID.fullmatch(pipeline_id):
        return None
    named = [Path(folder) / f"{pipeline_id}{suffix}" for suffix in SUFFIXES]
    for path in named:  # usually one of these, so that no other file is read
        if path.name not in DEFAULTS and _id_of(path) == pipeline_id:
            return path
    return next(
        (path for path in pipeline_files(folder) if path not in named and _id_of(path) == pipeline_id), None
    )


def _id_of(path: Path) -> str | None:
    """Return the `pipeline_id` in a file, None if it has none or cannot be read."""
    try:
        data = read_file(path)
        lines = _ID_LINE.findall(data)
        if len(lines) == 1 and data.count(b"pipeline_id") == 1:
            return str(lines[0][1].decode())
        tree = read_yaml(data)
    except (ConfigFileError, YamlError):
        return None
    node = tree.value.get("pipeline_id") if tree is not None and isinstance(tree.value, dict) else None
    return node.value if node is not None and isinstance(node.value, str) else None


def located(path: str | Path, where: Sequence[str | int], message: str) -> Problem:
    """Return a problem of a valid file, with the file and line of the value at `where`."""
    path = Path(path)
    tree, defaults = read_mapping(path), _defaults_of(path.parent)
    return located_in(tree if defaults is None else _merge(defaults, tree), str(path), tuple(where), message)


# --- reading ------------------------------------------------------------------------------------------------------


def _load(path: Path, defaults: Node | None, options_model: OptionsModel) -> PipelineConfig:
    tree = read_mapping(path)
    if not tree.value:
        message = "is empty: a pipeline needs at least pipeline_id, source, stage and target"
        raise ConfigFileError([Problem("", message, str(path))], str(path))
    merged, used, problems = expand(tree if defaults is None else _merge(defaults, tree), os.environ)
    if problems:
        raise ConfigFileError(problems, str(path))
    merged, more = include_columns(merged, path)
    config = build_config(merged, str(path), options_model)
    config._variables = (*used, *more)
    config._file = path.name
    return config


# --- defaults -----------------------------------------------------------------------------------------------------


def _defaults_of(folder: Path) -> Node | None:
    for name in DEFAULTS:
        path = folder / name
        try:
            stat = path.stat()
        except OSError:
            continue
        return _read_defaults(path, stat.st_mtime_ns, stat.st_size)
    return None


@lru_cache(maxsize=8)
def _read_defaults(path: Path, _modified: int, _size: int) -> Node:
    tree = read_mapping(path)
    if "pipeline_id" in tree.value:
        message = "must be in each pipeline's own file: remove it from the defaults"
        raise ConfigFileError(
            [Problem("pipeline_id", message, str(path), tree.value["pipeline_id"].line)], str(path)
        )
    return tree


def _merge(defaults: Node, node: Node, depth: int = 0) -> Node:
    """Return the node with the defaults that it does not override; each node keeps its own file and line."""
    if not (isinstance(defaults.value, dict) and isinstance(node.value, dict)):
        return node
    value = dict(defaults.value)
    for key, child in node.value.items():
        default = value.get(key)
        if default is None or (depth == 0 and key in SECTIONS and _types_differ(default, child)):
            value[key] = child
        else:
            value[key] = _merge(default, child, depth + 1)
    return Node(value, node.line, node.file)


def _types_differ(default: Node, node: Node) -> bool:
    types = [
        n.value["type"].value for n in (default, node) if isinstance(n.value, dict) and "type" in n.value
    ]
    return len(types) == 2 and types[0] != types[1]


def _duplicate_id_error(path: Path, first: Path, pipeline_id: str) -> ConfigFileError:
    tree = read_mapping(path)
    line = tree.value["pipeline_id"].line
    message = f"{pipeline_id!r} is used by {first.name}: choose another id, or remove one of the two files"
    return ConfigFileError([Problem("pipeline_id", message, str(path), line)], str(path))
