"""Read pipeline files, and the files that they include."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from airflow_pipeline_provider.config.problems import ConfigFileError, Problem, format_value
from airflow_pipeline_provider.config.variables import Scalar, Variable, expand
from airflow_pipeline_provider.config.yaml_tree import MAX_BYTES, Node, YamlError, read_yaml


def read_file(path: Path) -> bytes:
    """Return the content of a file; raise ConfigFileError if it cannot be read or is too large."""
    try:
        if not path.is_file():
            what = (
                "is a folder"
                if path.is_dir()
                else "is not a regular file"
                if path.exists()
                else "does not exist"
            )
            raise ConfigFileError([Problem("", what, str(path))], str(path))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigFileError([Problem("", f"cannot be read: {reason}", str(path))], str(path)) from None
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES:,} bytes: split it into several files"
        raise ConfigFileError([Problem("", message, str(path))], str(path))
    return data


def read_mapping(path: Path) -> Node:
    """Return the mapping in a file, an empty mapping for an empty file."""
    try:
        tree = read_yaml(read_file(path), str(path))
    except YamlError as error:
        raise ConfigFileError(error.problems, str(path)) from None
    if tree is None or tree.value is None:
        return Node({}, 1, str(path))
    if not isinstance(tree.value, dict):
        what = "a list" if isinstance(tree.value, list) else "a single value"
        message = f"must contain a mapping (lines of 'key: value'), got {what}"
        raise ConfigFileError([Problem("", message, str(path), tree.line)], str(path))
    return tree


def include_columns(
    tree: Node, pipeline_file: Path, values: Mapping[str, Scalar] | None = None
) -> tuple[Node, list[Variable]]:
    """Replace `columns: {include: PATH}` with the list in that file; return its variables too.

    The path is relative to the file that has the key, which may be `defaults.yaml`; `values` are those of the
    variant.  Raises ConfigFileError.
    """
    columns = tree.value.get("columns")
    if columns is None or not isinstance(columns.value, dict) or set(columns.value) != {"include"}:
        return tree, []
    include: Node = columns.value["include"]
    if not isinstance(include.value, str):
        return tree, []  # reported with the other wrong values
    folder = Path(include.file or pipeline_file).parent
    file = folder / include.value
    if problem := _include_problem(folder, include.value):
        raise _at_include(include, problem, pipeline_file)
    try:
        listed = read_yaml(read_file(file), str(file))
    except ConfigFileError as error:
        message = error.problems[0].message
        hint = ": create it; it may be empty" if message == "does not exist" else ""
        raise _at_include(include, f"{include.value} {message}{hint}", pipeline_file) from None
    except YamlError as error:
        found = [problem._replace(place=include.value) for problem in error.problems]
        raise ConfigFileError(found, str(pipeline_file)) from None
    if listed is None or listed.value is None:
        listed = Node([], 1, str(file))
    if not isinstance(listed.value, list):
        message = (
            f"must contain a list of columns (lines of '- {{name: …}}'), got {format_value(listed.value)}"
        )
        raise ConfigFileError(
            [Problem("columns", message, str(file), listed.line, place=include.value)], str(pipeline_file)
        )
    whole, used, problems = expand(Node({"columns": listed}, 1, str(file)), os.environ, values)
    if problems:
        found = [problem._replace(place=include.value) for problem in problems]
        raise ConfigFileError(found, str(pipeline_file))
    return Node({**tree.value, **whole.value}, tree.line, tree.file), used


def _include_problem(folder: Path, path: str) -> str | None:
    """Return why the path may not be included, None if it may.

    A file elsewhere must not be read: errors show parts of it.  A file next to the pipeline would be one.
    """
    parts = Path(path).parts
    if Path(path).is_absolute() or ".." in parts or len(parts) < 2:
        return (
            "must be a file in a folder below that of the pipeline file, such as columns/flights.yaml, got "
            f"{format_value(path)}"
        )
    place = os.path.realpath(folder / path)
    inside = Path(place).is_relative_to(os.path.realpath(folder))
    return None if inside else f"{format_value(path)} leads out of the folder of the pipeline file"


def _at_include(include: Node, message: str, pipeline_file: Path) -> ConfigFileError:
    return ConfigFileError(
        [Problem("columns.include", message, include.file, include.line)], str(pipeline_file)
    )
