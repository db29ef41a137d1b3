"""Write columns as YAML text for a pipeline file, one line per column, with comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow_pipeline_provider.config.yaml_tree import plain_value
from airflow_pipeline_provider.core.columns import Column, format_path
from airflow_pipeline_provider.escaping import visible

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.@/-]*", re.ASCII)
_YAML_1_1 = {"y", "n", "yes", "no", "on", "off"}  # booleans to tools that read YAML 1.1


class Commented(NamedTuple):
    """A column with the comment behind it, and those of its columns."""

    column: Column
    comment: str | None = None
    columns: tuple[Commented, ...] = ()


def column_lines(columns: Sequence[Commented]) -> Iterator[str]:
    """Yield the lines of the list, without indentation of the whole."""
    for column, comment, inner in columns:
        behind = f"  # {visible(comment)}" if comment else ""
        if not inner:
            yield f"- {{{', '.join(f'{key}: {value}' for key, value in _entries(column))}}}{behind}"
            continue
        first, *others = [f"{key}: {value}" for key, value in _entries(column)]
        yield f"- {first}{behind}"
        yield from (f"  {line}" for line in (*others, "columns:"))
        yield from (f"    {line}" for line in column_lines(inner))


def _entries(column: Column) -> Iterator[tuple[str, str]]:
    yield "name", _scalar(column.name)
    yield "path", _scalar(format_path(column.path))
    yield "type", _scalar(str(column.type))
    if column.formats:
        yield "format", _scalar("||".join(column.formats))


def _scalar(text: str) -> str:
    """Return the text as YAML inside of `{ }`, quoted where a reader could take it for something else."""
    if _PLAIN.fullmatch(text) and isinstance(plain_value(text), str) and text.lower() not in _YAML_1_1:
        return text
    quoted = json.dumps(text.replace("${", "$${"), ensure_ascii=False)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in quoted)
