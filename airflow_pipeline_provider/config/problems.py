"""Describe problems of a pipeline file: where, what was expected, what was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from airflow_pipeline_provider.escaping import visible
from airflow_pipeline_provider.exceptions import ConfigError

_SECRET_KEY = re.compile(
    r"password|passwd|passphrase|secret|token|credential|authorization|api_?key|private_?key", re.I
)
_CREDENTIALS_IN_URL = re.compile(r"(://[^\s:/@]*):\S+@")
_LONGEST_VALUE = 60


class Problem(NamedTuple):
    """One problem of one file.

    `path` is dotted: `source.page_size`, `airflow.tags[1]`, empty for the whole file. `line` counts from 1.
    `severity` is "error" or "warning".  `place` is the file as messages show it, by default its name.
    `variants` names the variants of a file with `matrix` that have the problem: "in variant flights_us of line 4".
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None
    severity: str = "error"
    place: str | None = None
    variants: str | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        if self.file is None:
            return text
        place = self.place or PurePath(self.file).name
        text = f"{text} ({place}:{self.line})" if self.line else f"{text} ({place})"
        return f"{text}, {self.variants}" if self.variants else text


class ConfigFileError(ConfigError):
    """All problems of one file, in the order of its lines."""

    def __init__(self, problems: Sequence[Problem], file: str | None = None) -> None:
        self.problems = list(problems)
        self.file = file
        lines = [str(problem) for problem in self.problems]
        if len(lines) > 1:
            name = PurePath(file).name if file else "the pipeline"
            lines = [f"{name} has {len(lines)} problems:", *(f"  {line}" for line in lines)]
        super().__init__("; ".join(lines))
        self.message = "\n".join(map(visible, lines))


class CrossFieldError(ValueError):
    """Problems that concern several fields, raised by a pydantic validator."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


def looks_secret(name: str) -> bool:
    """Return whether the name of a key or a variable suggests a secret."""
    return _SECRET_KEY.search(name) is not None


def dotted(path: Sequence[str | int]) -> str:
    """Return `airflow.tags[1]` for `("airflow", "tags", 1)`; unprintable characters of a key are escaped."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shorten(visible(part))}" if text else shorten(visible(part))
    return text


def shorten(text: str) -> str:
    """Return the text, cut to 60 characters with an ellipsis at the end."""
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def format_value(value: object, key: str | int = "") -> str:
    """Return a value for an error message: short, on one line, without secrets and without the content of sections.

    The value of a key whose name suggests a secret is not included.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if looks_secret(str(key)):
        return "a value that is not shown"
    text = _CREDENTIALS_IN_URL.sub(r"\1:***@", value if isinstance(value, str) else str(value))
    return repr(shorten(text)) if isinstance(value, str) else shorten(text)
