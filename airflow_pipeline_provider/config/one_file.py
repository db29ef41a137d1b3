"""Load the pipelines of one file, with the defaults of its folder: one, or one for each variant of `matrix`.

Only `loader` uses this module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from airflow_pipeline_provider.config.build import build_config, located_in
from airflow_pipeline_provider.config.files import include_columns, read_file, read_mapping
from airflow_pipeline_provider.config.matrix import (
    KEY,
    SEPARATOR,
    Matrix,
    OfFile,
    Variant,
    in_variants,
    read_matrix,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.config.problems import ConfigFileError, Problem, shorten
from airflow_pipeline_provider.config.variables import expand
from airflow_pipeline_provider.config.yaml_tree import Node, YamlError, read_yaml
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.suggestions import did_you_mean

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
class PipelinesOfFile:
    """The valid pipelines of one file, one for each variant of `matrix`, and the problems of the others."""

    pipelines: Sequence[PipelineConfig]
    error: ConfigFileError | None = None


def load_all(path: Path, defaults: Node | None, options_model: OptionsModel) -> PipelinesOfFile:
    """Load every pipeline of a file; raise ConfigFileError for a file that cannot be read."""
    tree = read_mapping(path)
    if KEY in tree.value:
        return load_variants(path, tree, defaults, options_model)
    return PipelinesOfFile((load_one(path, tree, defaults, options_model),))


def load_one(
    path: Path,
    tree: Node,
    defaults: Node | None,
    options_model: OptionsModel,
    of_file: OfFile | None = None,
) -> PipelineConfig:
    """Load a file without `matrix`, or one variant (`of_file`) of the rest of a file."""
    if not tree.value:
        message = "is empty: a pipeline needs at least pipeline_id, source, stage and target"
        raise ConfigFileError([Problem("", message, str(path))], str(path))
    values = of_file.variant.values if of_file is not None else None
    merged, used, problems = expand(
        tree if defaults is None else merge_defaults(defaults, tree), os.environ, values
    )
    if problems:
        raise ConfigFileError(problems, str(path))
    merged, more = include_columns(merged, path, values)
    config = build_config(merged, str(path), options_model)
    config._variables = (*used, *more)
    config._file = path.name
    config._folder = str(path.parent)
    wrong = list(config.own_tasks.file_problems(path.parent))
    if wrong:
        raise ConfigFileError(
            [located_in(merged, str(path), ("own_tasks", place), text) for place, text in wrong], str(path)
        )
    config._variant = of_file
    return config


def load_variants(
    path: Path, tree: Node, defaults: Node | None, options_model: OptionsModel, wanted: str | None = None
) -> PipelinesOfFile:
    """Load the variants of a file, or the wanted one; `error` has the problems of those that are not loaded."""
    matrix = read_matrix(tree, str(path))
    count = len(matrix.variants)
    body = Node({key: child for key, child in tree.value.items() if key != KEY}, tree.line, tree.file)
    first_of: dict[str, Variant] = {}
    configs: list[PipelineConfig] = []
    found: list[tuple[str, Variant, Problem]] = []
    ids = _variants_by_id(body, matrix)
    if count > 1 and isinstance(ids[0][0], str) and all(name == ids[0][0] for name, _ in ids):
        name = next(iter(matrix.variants[0].values))
        message = (
            f"must differ between the {count:,} variants of matrix, write a value of each in it, such as "
            f"{shorten(ids[0][0])}_{{{{ {name} }}}}"
        )
        node = body.value["pipeline_id"]
        raise ConfigFileError([Problem("pipeline_id", message, str(path), node.line)], str(path))
    if wanted is not None:
        ids = [pair for pair in ids if pair[0] == wanted]
    for pipeline_id, variant in ids:
        is_text = isinstance(pipeline_id, str)  # else `load_one` reports it, and it may have no hash
        name = str(pipeline_id) if is_text else str(variant.number)
        first = first_of.setdefault(name, variant) if is_text else variant
        if first is not variant:
            message = (
                f"is the same as that of the variant in line {first.line}: write a value of the variant in it"
            )
            problem = Problem("pipeline_id", message, str(path), body.value["pipeline_id"].line)
            found.append((name, variant, problem))
            continue
        try:
            configs.append(
                load_one(path, body, defaults, options_model, OfFile(variant, count, matrix.lines))
            )
        except ConfigFileError as error:
            found += [(name, variant, problem) for problem in error.problems]
    if not found and not configs:
        raise no_such_variant(path, str(wanted), [str(name) for name, _ in _variants_by_id(body, matrix)])
    problems = in_variants(found, count)
    return PipelinesOfFile(configs, ConfigFileError(problems, str(path)) if problems else None)


def _variants_by_id(tree: Node, matrix: Matrix) -> list[tuple[object, Variant]]:
    """Return each variant with its `pipeline_id`, None where that cannot be read."""
    node = tree.value.get("pipeline_id", Node(None, tree.line, tree.file))
    return [
        (
            expand(Node({"pipeline_id": node}, node.line, node.file), {}, variant.values)[0]
            .value["pipeline_id"]
            .value,
            variant,
        )
        for variant in matrix.variants
    ]


def needs_variant(path: Path, tree: Node) -> ConfigFileError:
    """Return the error of a file with several pipelines of which none was named."""
    names = [str(name) for name, _ in _variants_by_id(tree, read_matrix(tree, str(path)))]
    message = (
        f"describes {counted(len(names), 'pipeline')}: name one as {path.name}{SEPARATOR}{names[0]}, of "
        f"{shorten(', '.join(names))}"
    )
    return ConfigFileError([Problem(KEY, message, str(path), tree.value[KEY].line)], str(path))


def no_such_variant(path: Path, pipeline_id: str, known: Sequence[str]) -> ConfigFileError:
    """Return the error of a pipeline that its file does not describe."""
    hint = did_you_mean(pipeline_id, known, count=3) or f"it has {shorten(', '.join(known))}"
    return ConfigFileError([Problem("", f"has no pipeline {pipeline_id!r}; {hint}", str(path))], str(path))


# --- defaults -----------------------------------------------------------------------------------------------------


def defaults_of(folder: Path) -> Node | None:
    """Return the content of the folder's `defaults.yaml`, None without one."""
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
    message = "must be in each pipeline's own file: remove it from the defaults"
    if found := [key for key in ("pipeline_id", KEY) if key in tree.value]:
        problems = [Problem(key, message, str(path), tree.value[key].line) for key in found]
        raise ConfigFileError(problems, str(path))
    return tree


def merge_defaults(defaults: Node, node: Node, depth: int = 0) -> Node:
    """Return the node with the defaults that it does not override; each node keeps its own file and line."""
    if not (isinstance(defaults.value, dict) and isinstance(node.value, dict)):
        return node
    value = dict(defaults.value)
    for key, child in node.value.items():
        default = value.get(key)
        if default is None or (depth == 0 and key in SECTIONS and _types_differ(default, child)):
            value[key] = child
        else:
            value[key] = merge_defaults(default, child, depth + 1)
    return Node(value, node.line, node.file)


def _types_differ(default: Node, node: Node) -> bool:
    types = [
        n.value["type"].value for n in (default, node) if isinstance(n.value, dict) and "type" in n.value
    ]
    return len(types) == 2 and types[0] != types[1]


# --- ids ---


def ids_of(path: Path) -> Collection[str]:
    """Return the `pipeline_id` in a file, and of each variant; none if it has none or cannot be read."""
    try:
        data = read_file(path)
        lines = _ID_LINE.findall(data)
        if len(lines) == 1 and data.count(b"pipeline_id") == 1:
            return (str(lines[0][1].decode()),)
        tree = read_yaml(data)
        if tree is None or not isinstance(tree.value, dict) or "pipeline_id" not in tree.value:
            return ()
        if KEY in tree.value:
            return {str(name) for name, _ in _variants_by_id(tree, read_matrix(tree, str(path)))}
    except (ConfigFileError, YamlError):
        return ()
    value = tree.value["pipeline_id"].value
    return (value,) if isinstance(value, str) else ()
