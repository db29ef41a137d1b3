"""Read `airflow.on_failure` and its siblings: which Airflow notifiers are called, with which arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from airflow_pipeline_provider.config.problems import CrossFieldError, Problem, format_value, looks_secret
from airflow_pipeline_provider.core.notices import NOTICE_NAMES
from airflow_pipeline_provider.suggestions import did_you_mean

SHORT_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
DOTTED_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_NOTICE = re.compile(r"\bnotice\.(\w+)")


def validate_notices(value: object) -> dict[str, dict[str, Any]]:
    """Return the arguments by notifier; raise CrossFieldError with everything that is wrong."""
    if not isinstance(value, dict):
        raise ValueError(
            f'must be a mapping of notifiers such as {{slack: {{channel: "#data"}}}}, got {format_value(value)}'
        )
    problems = [
        Problem(".".join(path), message)
        for name, arguments in value.items()
        for path, message in _problems(name, arguments)
    ]
    if about_classes := [problem.message for problem in problems if not problem.path]:
        raise ValueError("; ".join(about_classes))
    if problems:
        raise CrossFieldError(problems)
    return {name: dict(arguments or {}) for name, arguments in value.items()}


def _problems(name: str, arguments: object) -> Iterator[tuple[list[str], str]]:
    # a problem's path is split at its dots, so a dotted path is named in the message
    if not SHORT_NAME.fullmatch(name) and not DOTTED_PATH.fullmatch(name):
        yield (
            [],
            "must have names of notifiers such as slack, or the dotted path of a class such as "
            f"mycompany.notices.Pager, as keys, got {format_value(name)}",
        )
        return
    where = [name] if SHORT_NAME.fullmatch(name) else []
    about = "" if where else f"{name}: "
    if not isinstance(arguments, dict | None):
        yield where, f"{about}must be a mapping of arguments, got {format_value(arguments)}"
        return
    for key, value in (arguments or {}).items():
        path = [*where, key] if where else []
        about = "" if where else f"{name}: {key}: "
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            yield path, f"{about}must contain only values that JSON supports"
            continue
        if key == "context":
            yield (
                path,
                f"{about}is not an argument: Airflow's context is given to the notifier when it is called",
            )
        elif looks_secret(key) and isinstance(value, str) and not _TEMPLATE.search(value):
            yield (
                path,
                f"{about}must not be written here: put it into an Airflow connection, and write a template such "
                "as '{{ conn.pager.password }}'",
            )
        for used in _NOTICE.findall(" ".join(_TEMPLATE.findall(text))):
            if used not in NOTICE_NAMES:
                hint = did_you_mean(used, NOTICE_NAMES) or f"known: {', '.join(sorted(NOTICE_NAMES))}"
                yield path, f"{about}unknown notice.{used} in its template; {hint}"


Notices = Annotated[
    dict[str, dict[str, Any]],
    BeforeValidator(validate_notices),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "object"}, {"type": "null"}]}}
    ),
]
"""Arguments by notifier: a short name such as slack, or the dotted path of a class."""
