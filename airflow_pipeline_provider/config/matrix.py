"""Read `matrix`, which makes several pipelines of one file: each of its variants gives values to `{{ name }}`.

A list holds a mapping for each variant. A mapping of lists stands for every combination of their values.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from airflow_pipeline_provider.config.problems import ConfigFileError, Problem, dotted, format_value, shorten
from airflow_pipeline_provider.config.variables import Scalar
from airflow_pipeline_provider.config.yaml_tree import MAX_PROBLEMS, Node, Template

KEY = "matrix"
MAX_VARIANTS = 5_000
SEPARATOR = "::"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_EXAMPLE = "{region: us, index: flights-us-*}"
_MOST_NAMES = 5


class Variant(NamedTuple):
    """One variant: its values by name, its line in the file, and its number, from 1."""

    values: Mapping[str, Scalar]
    line: int
    number: int

    def __str__(self) -> str:
        return ", ".join(f"{name}: {_text(value)}" for name, value in self.values.items())


class _Report(Protocol):
    """A function that records a problem of the value at a path below `matrix`."""

    def __call__(self, message: str, at: Node, *path: str | int) -> None: ...


class Matrix(NamedTuple):
    """The variants of a file; `lines` are the first of the key and of the next one, None for the end."""

    variants: tuple[Variant, ...]
    lines: tuple[int, int | None]


class OfFile(NamedTuple):
    """Which variant of how many a pipeline is, and which lines of the file hold all of them."""

    variant: Variant
    total: int
    lines: tuple[int, int | None]


def read_matrix(tree: Node, file: str | None) -> Matrix:
    """Return the variants of a file that has `matrix`; raise ConfigFileError with every problem of the key."""
    node: Node = tree.value[KEY]
    problems: list[Problem] = []

    def report(message: str, at: Node, *path: str | int) -> None:
        problems.append(Problem(dotted((KEY, *path)), message, file, at.line))

    if isinstance(node.value, dict):
        found = _combinations(node, report)
    elif isinstance(node.value, list):
        found = _listed(node, report)
    else:
        found = []
        report(f"must be a list of mappings such as [{_EXAMPLE}], got {format_value(node.value)}", node)
    if not problems and not found:
        report("has no variant: add one, or remove the key", node)
    if problems:
        raise ConfigFileError(problems[:MAX_PROBLEMS], file)
    after = [child.line for key, child in tree.value.items() if key != KEY and child.line >= node.line]
    return Matrix(tuple(found), (node.line, min(after, default=None)))


def _listed(node: Node, report: _Report) -> list[Variant]:
    found = []
    if len(node.value) > MAX_VARIANTS:
        report(f"must have at most {MAX_VARIANTS:,} variants, got {len(node.value):,}", node)
        return []
    for n, item in enumerate(node.value):
        if not isinstance(item.value, dict) or not item.value:
            report(f"must be a mapping such as {_EXAMPLE}, got {format_value(item.value)}", item, n)
            continue
        for name, value in item.value.items():
            _check(name, value, report, n, name)
        found.append(Variant({name: value.value for name, value in item.value.items()}, item.line, n + 1))
    return found


def _combinations(node: Node, report: _Report) -> list[Variant]:
    count = 1
    for name, values in node.value.items():
        if not isinstance(values.value, list) or not values.value:
            message = f"must be a list of values such as [us, eu], got {format_value(values.value)}"
            report(message, values, name)
            continue
        count *= len(values.value)
        for n, value in enumerate(values.value):
            _check(name, value, report, name, n)
    if count > MAX_VARIANTS:
        report(f"must have at most {MAX_VARIANTS:,} variants, got {count:,} combinations", node)
        return []
    if not node.value or any(not isinstance(values.value, list) for values in node.value.values()):
        return []
    names = list(node.value)
    every = itertools.product(*(values.value for values in node.value.values()))
    return [
        Variant({name: value.value for name, value in zip(names, chosen, strict=True)}, chosen[0].line, n)
        for n, chosen in enumerate(every, 1)
    ]


def _check(name: str, value: Node, report: _Report, *path: str | int) -> None:
    if not NAME.fullmatch(name):
        report("must be a name of letters, digits and '_', which does not start with a digit", value, *path)
    elif isinstance(value.value, Template):
        message = f"must be a plain value, got {format_value(value.value.text)}: write variables where {name} is used"
        report(message, value, *path)
    elif isinstance(value.value, dict | list):
        report(f"must be text, a number, true, false or null, got {format_value(value.value)}", value, *path)


def in_variants(found: Iterable[tuple[str, Variant, Problem]], count: int) -> list[Problem]:
    """Return the problems of a file's variants, each once, with the names of the variants that have it."""
    where: dict[Problem, list[tuple[str, Variant]]] = defaultdict(list)
    for name, variant, problem in found:
        where[problem].append((name, variant))
    return [problem._replace(variants=_named(named, count)) for problem, named in where.items()]


def _named(named: Sequence[tuple[str, Variant]], count: int) -> str:
    if len(named) == 1:
        (name, variant), *_ = named
        return f"in variant {shorten(name)} of line {variant.line}"
    if len(named) == count:
        return f"in each of the {count:,} variants"
    names = ", ".join(shorten(name) for name, _ in named[:_MOST_NAMES])
    more = f" and {len(named) - _MOST_NAMES:,} more" if len(named) > _MOST_NAMES else ""
    return f"in {len(named):,} variants: {names}{more}"


def _text(value: Scalar) -> str:
    return format_value(value).strip("'") if isinstance(value, str) else format_value(value)
