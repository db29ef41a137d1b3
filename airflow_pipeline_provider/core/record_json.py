"""The form of a record that travels: between Airflow's tasks, into logs, into files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from airflow_pipeline_provider.core.durations import quote
from airflow_pipeline_provider.exceptions import ConfigError


def json_safe(record: Mapping[str, object]) -> dict[str, Any]:
    """Return a JSON-safe copy: datetimes as ISO 8601 with offset, dates as ISO 8601.

    Raises ConfigError that names the key (`owner.since`, `tags[0]`) of what JSON cannot hold: naive
    datetimes, NaN, sets, bytes, objects, keys that are no text.
    """
    if not isinstance(record, Mapping):
        raise ConfigError(f"record: expected a mapping, got {quote(record)}")
    try:
        return _mapping(record, "")
    except RecursionError:
        raise ConfigError("record: expected values that JSON can hold, got one that holds itself") from None


def _mapping(value: Mapping[str, object], path: str) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{path or 'record'}: expected text keys only, got {quote(key)}")
    return {key: _safe(item, f"{path}.{key}" if path else key) for key, item in value.items()}


def _safe(value: object, path: str) -> object:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ConfigError(f"{path}: expected a datetime with a timezone, got {value!r}")
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return _mapping(value, path)
    if isinstance(value, list | tuple):
        return [_safe(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise ConfigError(
        f"{path}: expected a value that JSON can hold, got {quote(value)} ({type(value).__name__})"
    )
