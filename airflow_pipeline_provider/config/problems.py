"""What is wrong with a pipeline file: where, what was expected, what was seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from airflow_pipeline_provider.escaping import visible
from airflow_pipeline_provider.exceptions import ConfigError

_SECRET_KEY = re.compile(
    r"password|passwd|passphrase|secret|token|credential|authorization|api_?key|private_?key", re.I
)
_CREDENTIALS_IN_URL = re.compile(r"(://[^\s:/@]*):\S+@")
_LONGEST_VALUE = 60


class Problem(NamedTuple):
    """One problem of one file.

    `path` is dotted (`source.page_size`, `airflow.tags[1]`, empty for the whole file), `line` counts from 1;
    `severity` is "error" or "warning".
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None
    severity: str = "error"

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        if self.file is None:
            return text
        place = PurePath(self.file).name
        return f"{text} ({place}:{self.line})" if self.line else f"{text} ({place})"


class ConfigFileError(ConfigError):
    """Every problem of one file at once, in the order of the file's lines."""

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
    """Carries the problems between fields out of a pydantic validator."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


def looks_secret(name: str) -> bool:
    """Return whether a key or a variable of this name may hold a secret."""
    return _SECRET_KEY.search(name) is not None


def dotted(path: Sequence[str | int]) -> str:
    """`("airflow", "tags", 1)` -> `airflow.tags[1]`; a key that would break the line is shown with escapes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{brief(visible(part))}" if text else brief(visible(part))
    return text


def brief(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def shown(value: Any, key: str | int = "") -> str:
    """A value as an error message may show it: short, on one line, never a secret, never a whole section."""
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
    return repr(brief(text)) if isinstance(value, str) else brief(text)
