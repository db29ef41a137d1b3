"""Load pipeline files as `PipelineConfig`; report all problems of a file at once, with file and line.

A file describes one pipeline, or several with `matrix` (`config.matrix`); then `FILE::ID` names one of them.

Each file inherits from the `defaults.yaml` in its folder: mappings are merged recursively, lists are replaced, and a
`null` in the file overrides a default. A section whose `type` differs from the one in `defaults.yaml` inherits
nothing, because those keys belong to another connector.

`options_model(kind, name)` returns the pydantic model of a section (`connectors.registry.options_model`) and raises
ConfigError for an unknown name. This module reads no Airflow variable, no connection and nothing from the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_pipeline_provider.config.build import build_config, located_in
from airflow_pipeline_provider.config.fields import PIPELINE_ID
from airflow_pipeline_provider.config.files import read_mapping
from airflow_pipeline_provider.config.matrix import (
    KEY,
    SEPARATOR,
    in_variants,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.notices import validate_notices
from airflow_pipeline_provider.config.one_file import (
    DEFAULTS,
    SUFFIXES,
    OptionsModel,
    PipelinesOfFile,
    defaults_of,
    ids_of,
    load_all,
    load_one,
    load_variants,
    merge_defaults,
    needs_variant,
    no_such_variant,
)
from airflow_pipeline_provider.config.problems import ConfigFileError, Problem
from airflow_pipeline_provider.config.variables import expand
from airflow_pipeline_provider.config.yaml_tree import Node, from_plain, plain
from airflow_pipeline_provider.exceptions import ConfigError

__all__ = [
    "DEFAULTS",
    "ConfigFileError",
    "OptionsModel",
    "PipelineFolder",
    "Problem",
    "add_problem",
    "default_notices",
    "find_file",
    "load_file",
    "load_folder",
    "load_pipeline",
    "located",
    "parse_pipeline",
    "pipeline_files",
    "split_name",
    "used_id_problem",
]


@dataclass(frozen=True)
class PipelineFolder:
    """The pipelines of a folder by id, each with its file, and the errors of the other files."""

    pipelines: dict[str, tuple[Path, PipelineConfig]] = field(default_factory=dict)
    errors: dict[Path, ConfigFileError] = field(default_factory=dict)


def split_name(name: str) -> tuple[str, str | None]:
    """Return the path and the id of `FILE::ID`, None as the id of `FILE`."""
    path, found, pipeline_id = name.rpartition(SEPARATOR)
    return (path, pipeline_id) if found and path.endswith(SUFFIXES) else (name, None)


def load_pipeline(
    path: str | Path, *, options_model: OptionsModel, pipeline_id: str | None = None
) -> PipelineConfig:
    """Load one file with the `defaults.yaml` of its folder; raise ConfigFileError with all problems.

    :param pipeline_id: the variant to load, for a file with `matrix`; problems of its other variants are ignored.
    """
    path = Path(path)
    tree = read_mapping(path)
    if KEY not in tree.value:
        config = load_one(path, tree, defaults_of(path.parent), options_model)
        if pipeline_id in (None, config.pipeline_id):
            return config
        raise no_such_variant(path, str(pipeline_id), [config.pipeline_id])
    if pipeline_id is None:
        raise needs_variant(path, tree)
    loaded = load_variants(path, tree, defaults_of(path.parent), options_model, pipeline_id)
    if loaded.error is not None:
        raise loaded.error
    return loaded.pipelines[0]


def load_file(path: str | Path, *, options_model: OptionsModel) -> PipelinesOfFile:
    """Load every pipeline of one file with the `defaults.yaml` of its folder."""
    path = Path(path)
    try:
        return load_all(path, defaults_of(path.parent), options_model)
    except ConfigFileError as error:
        return PipelinesOfFile((), error)


def parse_pipeline(data: Mapping[str, object], *, options_model: OptionsModel) -> PipelineConfig:
    """Load a pipeline from a mapping with the content of a file; no `defaults.yaml`, no lines in errors."""
    if KEY in data:
        raise ConfigFileError([Problem(KEY, "describes several pipelines: it must be in a file")])
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
        defaults = defaults_of(Path(folder))
    except ConfigFileError as error:
        defaults = error
        loaded.errors[Path(error.file or folder)] = error
    for path in files:
        try:
            if isinstance(defaults, ConfigFileError):
                raise ConfigFileError(defaults.problems, str(path))
            of_file = load_all(path, defaults, options_model)
        except ConfigFileError as error:
            loaded.errors[path] = error
            continue
        if of_file.error is not None:
            loaded.errors[path] = of_file.error
        for config in of_file.pipelines:
            found.setdefault(config.pipeline_id, []).append((path, config))
    for pipeline_id, claims in found.items():
        first = next((claim for claim in claims if claim[0].stem == pipeline_id), claims[0])
        loaded.pipelines[pipeline_id] = first
        for path, config in claims:
            if path != first[0]:
                add_problem(loaded.errors, path, used_id_problem(path, config, first[0].name))
    return loaded


def used_id_problem(path: Path, config: PipelineConfig, other: str) -> Problem:
    """Return the problem of a pipeline whose id another file uses."""
    line = read_mapping(path).value["pipeline_id"].line
    what = "one of the two files" if config.variant is None else "the variant"
    message = f"{config.pipeline_id!r} is used by {other}: choose another id, or remove {what}"
    return _in_variant(config, Problem("pipeline_id", message, str(path), line))


def add_problem(errors: dict[Path, ConfigFileError], path: Path, problem: Problem) -> None:
    """Add a problem to those of a file."""
    before = errors[path].problems if path in errors else []
    errors[path] = ConfigFileError([*before, problem], str(path))


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
        if path.name not in DEFAULTS and pipeline_id in ids_of(path):
            return path
    return next(
        (path for path in pipeline_files(folder) if path not in named and pipeline_id in ids_of(path)), None
    )


def located(path: str | Path, config: PipelineConfig, where: Sequence[str | int], message: str) -> Problem:
    """Return a problem of a valid pipeline, with the file and line of the value at `where`."""
    path = Path(path)
    tree, defaults = read_mapping(path), defaults_of(path.parent)
    merged = tree if defaults is None else merge_defaults(defaults, tree)
    return _in_variant(config, located_in(merged, str(path), tuple(where), message))


def _in_variant(config: PipelineConfig, problem: Problem) -> Problem:
    if config.variant is None:
        return problem
    return in_variants([(config.pipeline_id, config.variant.variant, problem)], config.variant.total)[0]


def default_notices(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Return `airflow.on_failure` of the folder's `defaults.yaml`, for files that cannot be loaded.

    Raise ConfigFileError if the file, or that key, is invalid.
    """
    defaults = defaults_of(Path(folder))
    node: Node | None = defaults
    for key in ("airflow", "on_failure"):
        node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
    if defaults is None or node is None or node.value is None:
        return {}
    found, _, problems = expand(node, os.environ)
    where = f"{defaults.file or folder}"
    if not problems:
        try:
            return validate_notices(plain(found))
        except ValueError as error:
            problems = [Problem("airflow.on_failure", str(error), where, node.line)]
    raise ConfigFileError(problems, where)
