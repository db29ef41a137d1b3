"""pydantic's errors as plain sentences: what was expected, what was seen, what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from airflow_pipeline_provider.config.problems import CrossFieldError, shown

MAX_ERRORS = 200  # of one section; nobody reads more
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


def problems_of(
    error: ValidationError, data: Any, model: type[BaseModel], prefix: Sequence[str | int] = ()
) -> list[tuple[tuple[str | int, ...], str]]:
    """(path, sentence) of every error; `data` is what was validated, `prefix` where it stands in the file.

    Alternatives of one place (`text or a list`) become one sentence.
    """
    told: dict[tuple[str | int, ...], list[str]] = {}
    expected: dict[tuple[str | int, ...], list[str]] = {}
    for item in error.errors(include_url=False)[:MAX_ERRORS]:
        path = _real_path(item["loc"], data, item["type"])
        whole = (*prefix, *path)
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, CrossFieldError):
            for problem in cause.problems:
                told.setdefault((*whole, *problem.path.split(".")), []).append(problem.message)
            continue
        expectation = _expectation(item, path, model)
        if expectation is None:
            told.setdefault(whole, []).append(_sentence(item, path, model))
        elif expectation not in expected.setdefault(whole, []):
            expected[whole].append(expectation)
    for whole, expectations in expected.items():
        if any(len(deeper) > len(whole) and deeper[: len(whole)] == whole for deeper in (*told, *expected)):
            continue  # another alternative took the value, and says what is wrong inside of it
        seen = _value_at(data, whole[len(prefix) :])
        told.setdefault(whole, []).insert(0, _must_be(expectations, seen, whole[-1] if whole else ""))
    return [(path, sentence) for path, sentences in told.items() for sentence in sentences]


def _must_be(expectations: list[str], seen: Any, key: str | int) -> str:
    sentence = f"must be {' or '.join(expectations)}, got {shown(seen, key)}"
    is_number = isinstance(seen, int | float) and not isinstance(seen, bool)
    return sentence + (" (put it in quotes)" if "text" in expectations and is_number else "")


def unknown_key(key: str, known: Iterable[str]) -> str:
    import difflib  # only for somebody who misspelled something

    known = sorted(known)
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known: {', '.join(known)}" if known else "unknown key"


def _real_path(loc: tuple[str | int, ...], data: Any, kind: str) -> tuple[str | int, ...]:
    """pydantic names the members of a union in the path too: leave out what the data does not have."""
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
    """What stands at a key of a mapping or an index of a list, None where nothing does."""
    if isinstance(value, dict):
        return value.get(part)
    inside = isinstance(value, list | tuple) and isinstance(part, int) and 0 <= part < len(value)
    return value[part] if inside else None


def _value_at(data: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        data = data[part]
    return data


def _expectation(item: Any, path: tuple[str | int, ...], model: type[BaseModel]) -> str | None:
    """What comes after "must be"; None where the sentence has another shape."""
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
        return f"{comparison} {ctx.get(name)} {unit} long"
    if kind == "string_pattern_mismatch":
        return f"text that matches {ctx.get('pattern')}"
    return None


def _choice(expected: str, seen: Any) -> str:
    import difflib  # only for somebody who misspelled something

    words = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(str(seen).lower(), words, n=1) if words else []
    listed = " or ".join(words) if len(words) < 3 else f"one of {', '.join(words)}"
    return (listed or expected) + (f" (did you mean {near[0]}?)" if near and len(words) > 2 else "")


def _bound(kind: str, ctx: dict[str, Any]) -> str:
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
    found: dict[str, Any] = {}
    for part in (schema, *schema.get("anyOf", ())):
        found.update({key: part[key] for key in _BOUND_KEYS if key in part})
    low, high = found.get("minimum"), found.get("maximum")
    return f"between {low} and {high}" if low is not None and high is not None else None


def _sentence(item: Any, path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    kind = item["type"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return unknown_key(str(path[-1]), _schema_at(model, path[:-1]).get("properties", {}))
    cause = item.get("ctx", {}).get("error")
    if cause is not None:
        return str(cause)
    # a kind of error that has no sentence of its own: pydantic's words, without its idiom
    words = str(item["msg"]).replace("Input should be", "must be").replace("Input", "the value")
    return f"{words[:1].lower()}{words[1:]}, got {shown(item['input'], path[-1] if path else '')}"


@lru_cache(maxsize=64)
def _root_schema(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except Exception:  # noqa: BLE001  a connector's own types may have no schema; the sentence then says less
        return {}


def _schema_at(model: type[BaseModel], path: Sequence[str | int]) -> dict[str, Any]:
    """The JSON Schema of one place, {} where there is none: only asked once something is wrong."""
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


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return root.get("$defs", {}).get(reference.rpartition("/")[2], {}) if reference else schema
