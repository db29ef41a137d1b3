"""Replace variables in the values of pipeline files: `${NAME}` and `${NAME:-default}` of the environment.

In a file with `matrix`, `{{ name }}` is a value of the variant. A value that is only `{{ name }}` has its type.
In the arguments of notifiers (`airflow.on_failure`), other `{{ … }}` stay: they are templates of Airflow.

A value without quotes is parsed as YAML after its variables are replaced, so `page_size: ${SIZE}` is a number. A
variable cannot add a key, a list or another structure. `$${` is the text `${`, and `{{ "{{" }}` is the text `{{`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import NamedTuple

from airflow_pipeline_provider.config.problems import Problem, dotted, format_value, looks_secret, shorten
from airflow_pipeline_provider.config.yaml_tree import Node, Template, plain_value
from airflow_pipeline_provider.suggestions import did_you_mean

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_ENVIRONMENT = rf"\$\$\{{|\$\{{({_NAME})(?::-([^{{}}]*))?\}}|\$\{{[^}}]*\}}?"
_REFERENCE = re.compile(_ENVIRONMENT, re.ASCII)
_REFERENCE_OR_VALUE = re.compile(
    rf"""{_ENVIRONMENT}|\{{\{{\s*(?:({_NAME})|(["'])\{{\{{\4)\s*\}}\}}|\{{\{{.*?(?:\}}\}}|\Z)""",
    re.ASCII | re.S,
)
_VALUE = re.compile(rf"\{{\{{\s*({_NAME})\s*\}}\}}", re.ASCII)
# Airflow's connections and settings that contain passwords, although their names do not say so
_AIRFLOW = re.compile(r"AIRFLOW_CONN_|AIRFLOW__.*(?:KEY|CONN|RESULT_BACKEND|BROKER_URL)", re.I)
_PASSWORD_IN_URL = re.compile(r"://[^\s:/@]*:[^\s@]+@")

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None
"""A value of a variant."""


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


def expand(
    tree: Node, environ: Mapping[str, str], values: Mapping[str, Scalar] | None = None
) -> tuple[Node, list[Variable], list[Problem]]:
    """Return the tree with its variables replaced, those of the environment, and a problem for each not replaced.

    `values` are those of a variant; without them, `{{` is text.
    """
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
            only = _VALUE.fullmatch(node.value.text) if values is not None else None
            if values is not None and only and not _is_left_to_airflow(only[1], path, values):
                return Node(_value_of(only[1], values), node.line, node.file)
            text, origins = _substitute(node.value.text, path, environ, values)
        except _InvalidReference as error:
            problems.append(Problem(where, str(error), node.file, node.line))
            return Node(None, node.line, node.file)
        used.extend(Variable(name, origin, where, node.file, node.line) for name, origin in origins.items())
        return Node(plain_value(text) if node.value.plain else text, node.line, node.file)

    return expanded(tree, ()), used, problems


def _substitute(
    text: str, path: Path, environ: Mapping[str, str], values: Mapping[str, Scalar] | None
) -> tuple[str, dict[str, str]]:
    origins: dict[str, str] = {}

    def value_of(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if found[0] == "$${":
            return "${"
        if values is not None and found[0].startswith("{{"):
            if not found[4] and _is_left_to_airflow(found[3], path, values):
                return found[0]
            return "{{" if found[4] else _text_of(found[3], found[0], values)
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

    reference = _REFERENCE if values is None else _REFERENCE_OR_VALUE
    return reference.sub(value_of, text), origins


def _is_left_to_airflow(name: str | None, path: Path, values: Mapping[str, Scalar]) -> bool:
    """Return whether `{{ … }}` is a template that Airflow renders: of a notifier, and not a value of the variant."""
    is_notifier = len(path) > 1 and path[0] == "airflow" and str(path[1]).startswith("on_")
    return is_notifier and (name is None or name not in values)


def _value_of(name: str, values: Mapping[str, Scalar]) -> Scalar:
    if name in values:
        return values[name]
    hint = did_you_mean(name, values) or f"it has {', '.join(values)}"
    raise _InvalidReference(f"{{{{ {shorten(name)} }}}} is not a value of the variant; {hint}")


def _text_of(name: str | None, written: str, values: Mapping[str, Scalar]) -> str:
    """Return a value inside of a text, as it is written in `matrix`."""
    if name is None:
        raise _InvalidReference(
            f'{format_value(written)} is not a variable: write {{{{ name }}}}, or {{{{ "{{{{" }}}} for the text {{{{'
        )
    value = _value_of(name, values)
    if value is None or isinstance(value, float):  # 1.10 would become 1.1
        raise _InvalidReference(
            f"{{{{ {name} }}}} is {format_value(value)} in this variant, which cannot be a part of a text: put it in "
            "quotes in matrix"
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


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
