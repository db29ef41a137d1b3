"""Turn pydantic's errors into plain messages: what was expected, what was found, what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from airflow_pipeline_provider.config.problems import CrossFieldError, format_value
from airflow_pipeline_provider.suggestions import did_you_mean

MAX_ERRORS = 200  # per section; more are not useful to a reader
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_sub_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "null",
    "date_type": "a day such as 2013-11-01",
    "date_parsing": "a day such as 2013-11-01",
    "date_from_datetime_parsing": "a day such as 2013-11-01",
    "date_from_datetime_inexact": "a day such as 2013-11-01",
    "datetime_type": "a date and time such as 2013-11-01T04:00:00Z",
    "datetime_parsing": "a date and time such as 2013-11-01T04:00:00Z",
    "datetime_from_date_parsing": "a date and time such as 2013-11-01T04:00:00Z",
    "timezone_aware": "a date and time with an offset such as 2013-11-01T04:00:00Z",
    "url_type": "a URL",
    "url_parsing": "a URL",
}
_BOUND_KEYS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_LENGTHS = {
    "string_too_short": ("min_length", "at least", "characters"),
    "string_too_long": ("max_length", "at most", "characters"),
    "too_short": ("min_length", "at least", "entries"),
    "too_long": ("max_length", "at most", "entries"),
}


def validation_messages(
    error: ValidationError, data: object, model: type[BaseModel], prefix: Sequence[str | int] = ()
) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the path and the message of every error.

    `data` is the validated value and `prefix` its path in the file. The expectations of a union (`text or a list`)
    are joined into one message.
    """
    messages: dict[tuple[str | int, ...], list[str]] = {}
    expected: dict[tuple[str | int, ...], list[str]] = {}
    for item in error.errors(include_url=False)[:MAX_ERRORS]:
        path = _data_path(item["loc"], data, item["type"])
        full_path = (*prefix, *path)
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, CrossFieldError):
            for problem in cause.problems:
                messages.setdefault((*full_path, *problem.path.split(".")), []).append(problem.message)
            continue
        expectation = _expectation(item, path, model)
        if expectation is None:
            messages.setdefault(full_path, []).append(_message(item, path, model))
        elif expectation not in expected.setdefault(full_path, []):
            expected[full_path].append(expectation)
    for full_path, expectations in expected.items():
        depth = len(full_path)
        if any(len(other) > depth and other[:depth] == full_path for other in (*messages, *expected)):
            continue  # another member of the union accepted the value and reports an error inside it
        value = _value_at(data, full_path[len(prefix) :])
        key = full_path[-1] if full_path else ""
        messages.setdefault(full_path, []).insert(0, _must_be(expectations, value, key))
    return [(path, message) for path, found in messages.items() for message in found]


def _must_be(expectations: list[str], value: object, key: str | int) -> str:
    message = f"must be {' or '.join(expectations)}, got {format_value(value, key)}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return message + (" (put it in quotes)" if "text" in expectations and is_number else "")


def _unknown_key(key: str, known: Iterable[str]) -> str:
    known = sorted(known)
    hint = did_you_mean(key, known) or (f"known: {', '.join(known)}" if known else None)
    return f"unknown key; {hint}" if hint else "unknown key"


def _data_path(loc: tuple[str | int, ...], data: object, kind: str) -> tuple[str | int, ...]:
    """Return the path without the union members that pydantic adds to it and that the data does not contain."""
    path: list[str | int] = []
    at = data
    for position, part in enumerate(loc):
        child = child_at(at, part)
        if child is not None or (isinstance(at, dict) and part in at):
            at = child
        elif not (kind == "missing" and position == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def child_at(value: Any, part: str | int) -> Any:
    """Return the value at a key of a mapping or an index of a list, None if it does not exist."""
    if isinstance(value, dict):
        return value.get(part)
    inside = isinstance(value, list | tuple) and isinstance(part, int) and 0 <= part < len(value)
    return value[part] if inside else None


def _value_at(data: Any, path: Sequence[str | int]) -> object:
    for part in path:
        data = data[part]
    return data


def _expectation(item: Any, path: tuple[str | int, ...], model: type[BaseModel]) -> str | None:
    """Return the text after "must be", None for an error with a message of another form."""
    kind, ctx = item["type"], item.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in ("literal_error", "enum", "literal_error_multi"):
        return _choice(ctx.get("expected", ""), item["input"])
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        return _bounds(_schema_at(model, path)) or _bound(kind, ctx)
    if kind in _LENGTHS:
        name, comparison, unit = _LENGTHS[kind]
        if ctx.get(name) == 1 and comparison == "at least":
            return "given, not empty"
        unit = "characters" if isinstance(item["input"], str) else unit
        return f"{comparison} {ctx.get(name)} {unit} long"
    if kind == "string_pattern_mismatch":
        return f"text that matches {ctx.get('pattern')}"
    return None


def _choice(expected: str, value: object) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    if len(choices) < 3:
        return " or ".join(choices) or expected
    hint = did_you_mean(str(value), choices)
    return f"one of {', '.join(choices)}" + (f" ({hint})" if hint else "")


def _bound(kind: str, ctx: dict[str, object]) -> str:
    comparisons = {
        "greater_than_equal": "ge",
        "less_than_equal": "le",
        "greater_than": "gt",
        "less_than": "lt",
    }
    words = {"ge": "at least", "le": "at most", "gt": "more than", "lt": "less than"}
    short = comparisons[kind]
    limit = ctx.get(short)
    return f"{words[short]} {f'{limit:g}' if isinstance(limit, float) else limit}"


def _bounds(schema: dict[str, Any]) -> str | None:
    found: dict[str, object] = {}
    for part in (schema, *schema.get("anyOf", ())):
        found.update({key: part[key] for key in _BOUND_KEYS if key in part})
    low, high = found.get("minimum"), found.get("maximum")
    return f"between {low} and {high}" if low is not None and high is not None else None


def _message(item: Any, path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    kind = item["type"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), _keys_at(model, path[:-1]))
    cause = item.get("ctx", {}).get("error")
    if cause is not None:
        return str(cause)
    # an error type without a message above: pydantic's text in the style of the others
    text = str(item["msg"]).replace("Input should be", "must be").replace("Input", "the value")
    return f"{text[:1].lower()}{text[1:]}, got {format_value(item['input'], path[-1] if path else '')}"


@lru_cache(maxsize=64)
def _root_schema(model: type[BaseModel]) -> dict[str, object]:
    try:
        return model.model_json_schema()
    except Exception:  # noqa: BLE001  a connector's own types may have no schema; the message is then less specific
        return {}


def _schema_at(model: type[BaseModel], path: Sequence[str | int]) -> dict[str, Any]:
    """Return the JSON Schema of one path, {} if it has none; only called for an error, because it is slow."""
    root = _root_schema(model)
    at = _resolve(root, root)
    for part in path:
        children = [at, *(_resolve(part_of, root) for part_of in at.get("anyOf", ()))]
        step = "items" if isinstance(part, int) else None
        found = [
            child["items"]
            if step
            else child.get("properties", {}).get(part, child.get("additionalProperties"))
            for child in children
            if not step or "items" in child
        ]
        at = next((_resolve(schema, root) for schema in found if isinstance(schema, dict)), {})
    return at


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the keys of the section at one path, which may be optional (`anyOf` with null)."""
    root, at = _root_schema(model), _schema_at(model, path)
    members = [at, *(_resolve(member, root) for member in at.get("anyOf", ()))]
    return [key for member in members for key in member.get("properties", {})]


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return root.get("$defs", {}).get(reference.rpartition("/")[2], {}) if reference else schema
