"""Replace environment variables in the values of pipeline files: `${NAME}` and `${NAME:-default}`.

A value without quotes is parsed as YAML after its variables are replaced, so `page_size: ${SIZE}` is a number. A
variable cannot add a key, a list or another structure. `$${` is the text `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import NamedTuple

from airflow_pipeline_provider.config.problems import Problem, dotted, format_value, looks_secret, shorten
from airflow_pipeline_provider.config.yaml_tree import Node, Template, plain_value

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{[^}]*\}?", re.ASCII)
# Airflow's connections and settings that contain passwords, although their names do not say so
_AIRFLOW = re.compile(r"AIRFLOW_CONN_|AIRFLOW__.*(?:KEY|CONN|RESULT_BACKEND|BROKER_URL)", re.I)
_PASSWORD_IN_URL = re.compile(r"://[^\s:/@]*:[^\s@]+@")

Path = tuple[str | int, ...]


class Variable(NamedTuple):
    """A variable that a file uses: `origin` is "environment" or "default"."""

    name: str
    origin: str
    path: str
    file: str | None
    line: int

    def __str__(self) -> str:
        origin = "from the environment" if self.origin == "environment" else "not set, using its default"
        return f"{self.name}: {origin} ({self.path}, {PurePath(self.file or '').name}:{self.line})"


class _InvalidReference(Exception):
    """A variable cannot be replaced, for the reason in the message."""


def expand(tree: Node, environ: Mapping[str, str]) -> tuple[Node, list[Variable], list[Problem]]:
    """Return the tree with its variables replaced, the variables, and a problem for each that is not replaced."""
    used: list[Variable] = []
    problems: list[Problem] = []

    def expanded(node: Node, path: Path) -> Node:
        if isinstance(node.value, dict):
            value = {key: expanded(child, (*path, key)) for key, child in node.value.items()}
            return Node(value, node.line, node.file)
        if isinstance(node.value, list):
            return Node(
                [expanded(child, (*path, i)) for i, child in enumerate(node.value)], node.line, node.file
            )
        if not isinstance(node.value, Template):
            return node
        where = dotted(path)
        try:
            text, origins = _substitute(node.value.text, path, environ)
        except _InvalidReference as error:
            problems.append(Problem(where, str(error), node.file, node.line))
            return Node(None, node.line, node.file)
        used.extend(Variable(name, origin, where, node.file, node.line) for name, origin in origins.items())
        return Node(plain_value(text) if node.value.plain else text, node.line, node.file)

    return expanded(tree, ()), used, problems


def _substitute(text: str, path: Path, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    origins: dict[str, str] = {}

    def value_of(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if found[0] == "$${":
            return "${"
        if name is None:
            raise _InvalidReference(
                f"{format_value(found[0])} is not a variable: write ${{NAME}} or ${{NAME:-default}}, or $${{ for "
                "the text ${"
            )
        _reject_ids_and_secrets(name, path)
        value = environ.get(name)
        origins[name] = "environment" if value or (value is not None and default is None) else "default"
        if origins[name] == "environment":
            if _PASSWORD_IN_URL.search(value or ""):
                raise _InvalidReference(
                    f"the environment variable {name} is a URL with a password: use an Airflow connection"
                )
            return value or ""
        if default is None:
            raise _InvalidReference(
                f"the environment variable {name} is not set: set it for every Airflow component, or write "
                f"${{{name}:-default}}"
            )
        return default

    return _REFERENCE.sub(value_of, text), origins


def _reject_ids_and_secrets(name: str, path: Path) -> None:
    if path[:1] == ("pipeline_id",):
        raise _InvalidReference(
            f"must not contain a variable, got ${{{shorten(name)}}}: it names the DAG and the state"
        )
    key = next((part for part in path if isinstance(part, str) and looks_secret(part)), None)
    if key is not None or looks_secret(name) or _AIRFLOW.match(name):
        what = f"the variable {name}" if key is None else "this key"
        raise _InvalidReference(
            f"{what} looks like a secret, which must not be in a pipeline file: put it in an Airflow connection "
            "and set conn_id to its id"
        )
