"""Define the fields of a window's record, and convert a record to JSON for XComs, logs and files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime

from airflow_pipeline_provider.core.durations import quote
from airflow_pipeline_provider.exceptions import ConfigError

FIELDS = {
    "target_day": "first instant of the local day",
    "target_day_str": "local date of the day, `YYYY-MM-DD`",
    "window_start_time": "first instant of the window, in the pipeline's time zone",
    "window_end_time": "end of the window, exclusive, in the pipeline's time zone",
    "time_interval": "elapsed length of the window, such as `2h`",
    "TARGET_DAY": "local date of the day",
    "WINDOW_START_TIME": "first instant of the window, ISO 8601 with offset",
    "WINDOW_END_TIME": "end of the window, exclusive, ISO 8601 with offset",
    "TIME_INTERVAL": "elapsed length of the window, such as `2h`",
    "PIPELINE_ID": "`pipeline_id`",
    "WINDOW_ID": "`<pipeline_id>.<start>-<end>`, in UTC",
    "STAGE_PATH": "folder of the window below `stage.path`",
}
"""Each field that a window adds to `default_record`, with its meaning."""

WINDOW_FIELDS = frozenset(field for field in FIELDS if field.isupper())
"""The UPPERCASE fields, which no record function may replace."""


def json_safe(record: Mapping[str, object]) -> dict[str, object]:
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


def _mapping(value: Mapping[str, object], path: str) -> dict[str, object]:
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
