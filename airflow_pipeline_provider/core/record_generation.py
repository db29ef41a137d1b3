"""From a pipeline's configuration and a reference time to the record of the window that is to be moved.

A record is a plain mapping: the pipeline's `default_record`, the window, and UPPERCASE fields for queries,
paths and tags.  Nothing here reads a clock or a store: both are passed in.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta, tzinfo
from typing import Any, NamedTuple, TypeAlias

import pendulum

from airflow_pipeline_provider.core.days import UTC, day_interval, day_of, window_end, zone_of
from airflow_pipeline_provider.core.durations import Duration, parse_duration, quote, seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.record_json import json_safe
from airflow_pipeline_provider.core.time_utils import (
    calculate_day_from_timestamp,
    convert_to_pendulum,
    shown_in,
)
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.exceptions import ConfigError

__all__ = [
    "MIN_GRANULARITY_SECONDS",
    "build_complete_pipeline_record",
    "build_window_record",
    "calculate_time_window",
    "generate_pipeline_time_window_record",
    "json_safe",
]

log = logging.getLogger(__name__)

TimeWindow: TypeAlias = tuple[pendulum.DateTime, pendulum.DateTime, str]
LatestTimestamp: TypeAlias = Callable[[pendulum.DateTime], object]
RecordFunction: TypeAlias = Callable[[dict[str, Any]], "str | int | None"]

MIN_GRANULARITY_SECONDS = 60
# Each field that a window adds to `default_record`, with its meaning
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
_FIELD_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_OWN_FIELDS = frozenset(
    {"TARGET_DAY", "WINDOW_START_TIME", "WINDOW_END_TIME", "TIME_INTERVAL", "PIPELINE_ID", "WINDOW_ID"}
    | {"STAGE_PATH"}
)


def calculate_time_window(
    target_day: object, granularity: str, continuation_timestamp: object = None
) -> TimeWindow | None:
    """Return `(start, end, actual interval)` of the next window of a day, or None when the day has none left.

    `target_day` is an instant of the day, its first one usually, in the zone that the day is of; naive means
    UTC.  The window starts at `continuation_timestamp` (naive: wall time of that zone), without one at the
    day's first instant, and ends one granularity later, at the latest with the day.  Start and end are shown
    in the day's zone; the actual interval is elapsed time, floored to seconds: `"30m"`.

    A continuation before the day, at its end or later gives None, and the reason is logged.  Raises
    ValueError or TypeError that names field and value.
    """
    first = convert_to_pendulum(target_day, name="target_day")
    timezone = zone_of(first.tzinfo or UTC)
    step = _positive(parse_duration(granularity, "granularity"), granularity)
    day = day_interval(day_of(first, timezone), timezone)
    start = day.start
    if continuation_timestamp is not None:
        shown = convert_to_pendulum(continuation_timestamp, timezone, name="continuation_timestamp")
        start = Interval(shown, shown).start
    if start < day.start:
        log.info("No window: before_target_day; %s is before the day %s", iso_utc(start), day)
        return None
    if start >= day.end:
        log.info("No window: complete; %s is at or after the end of the day %s", iso_utc(start), day)
        return None
    return _time_window(Interval(start, window_end(start, day, step)), timezone)


def generate_pipeline_time_window_record(
    final_config: Mapping[str, Any], *, reference_time: object, latest_timestamp_available: LatestTimestamp
) -> dict[str, Any] | None:
    """Return the next window of the target day, or None when the day has none left (the reason is logged).

    `final_config` holds `timezone`, `x_time_back` and `granularity` (at least 1m).  The target day is the
    local day of `reference_time` less `x_time_back`.  `latest_timestamp_available` is called with the target
    day's first instant and returns how far the day is done, as a timestamp of any kind, or None.

    Keys: `target_day`, `window_start_time`, `window_end_time` (pendulum DateTimes in `timezone`),
    `target_day_str` (`2013-11-03`) and `time_interval` (`2h`).  Raises ConfigError naming key and value;
    ValueError or TypeError for a bad `reference_time` or answer of `latest_timestamp_available`.
    """
    settings = _settings_of(final_config)
    if not callable(latest_timestamp_available):
        raise TypeError(
            f"latest_timestamp_available: expected a callable, got {quote(latest_timestamp_available)}"
        )
    reference = convert_to_pendulum(reference_time, settings.timezone, name="reference_time")
    try:
        target_day = calculate_day_from_timestamp(reference, settings.x_time_back, settings.timezone)
    except ValueError as error:
        raise ConfigError(f"x_{error}") from error  # it begins with `time_back: `
    latest = latest_timestamp_available(target_day)
    if latest is not None:
        name = f"latest_timestamp_available({target_day.to_date_string()})"
        latest = convert_to_pendulum(latest, settings.timezone, name=name)
    window = calculate_time_window(target_day, settings.granularity, latest)
    return None if window is None else _window_fields(window, settings.timezone)


def build_complete_pipeline_record(
    final_config: Mapping[str, Any],
    *,
    reference_time: object,
    latest_timestamp_available: LatestTimestamp,
    record_functions: Mapping[str, RecordFunction] | None = None,
) -> dict[str, Any] | None:
    """Return the complete record of the next window of the target day, or None when the day has none left.

    Like `generate_pipeline_time_window_record`, and completed like `build_window_record`.
    """
    _default_record(final_config)
    functions = _functions_of(final_config, record_functions)
    fields = generate_pipeline_time_window_record(
        final_config, reference_time=reference_time, latest_timestamp_available=latest_timestamp_available
    )
    return None if fields is None else _complete(final_config, fields, functions)


def build_window_record(
    final_config: Mapping[str, Any],
    interval: Interval,
    day: Interval | None = None,
    *,
    record_functions: Mapping[str, RecordFunction] | None = None,
) -> dict[str, Any]:
    """Return the complete record of a known window inside of `day` (default: the day of its start).

    It is a deep copy of `default_record`, the keys of `generate_pipeline_time_window_record`, and the fields
    `TARGET_DAY` (date), `WINDOW_START_TIME`, `WINDOW_END_TIME` (ISO 8601 with offset), `TIME_INTERVAL`; with
    a `pipeline_id` also `PIPELINE_ID`, `WINDOW_ID`, `STAGE_PATH`; then the fields of the record functions,
    those of `final_config` first: UPPERCASE name -> callable(copy of the record so far) -> str, int or None.

    Raises ConfigError that names the key or the field and its function, ValueError for a window that does not
    lie inside of the day.
    """
    settings = _settings_of(final_config)
    functions = _functions_of(final_config, record_functions)
    if day is None:
        day = day_interval(day_of(interval.start, settings.timezone), settings.timezone)
    if interval.is_empty or not day.covers(interval):
        raise ValueError(f"interval: expected a window inside of the day {day}, got {interval}")
    window = _time_window(interval, zone_of(settings.timezone))
    return _complete(final_config, _window_fields(window, settings.timezone), functions)


# --- configuration ------------------------------------------------------------------------------------------


class _Settings(NamedTuple):
    timezone: str
    x_time_back: str
    granularity: str


def _settings_of(final_config: Mapping[str, Any]) -> _Settings:
    timezone, x_time_back, granularity = (
        _value(final_config, key) for key in ("timezone", "x_time_back", "granularity")
    )
    if not isinstance(timezone, str):
        raise ConfigError(f"timezone: expected a name such as 'America/New_York', got {quote(timezone)}")
    try:
        zone_of(timezone)
        parse_duration(x_time_back, "x_time_back")
        step = parse_duration(granularity, "granularity")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if step.elapsed_seconds < MIN_GRANULARITY_SECONDS:
        raise ConfigError(f"granularity: expected at least 1m, got {granularity!r}")
    return _Settings(timezone, x_time_back, granularity)


def _value(final_config: Mapping[str, Any], key: str) -> Any:
    if not isinstance(final_config, Mapping):
        raise ConfigError(f"final_config: expected a mapping, got {quote(final_config)}")
    if key not in final_config:
        raise ConfigError(
            f"{key}: this key is missing in the configuration, which has {_names(final_config)}"
        )
    return final_config[key]


def _names(mapping: Iterable[object]) -> str:
    return ", ".join(str(key) for key in mapping) or "no keys"


def _default_record(final_config: Mapping[str, Any]) -> dict[str, Any]:
    record = _value(final_config, "default_record")
    if not isinstance(record, Mapping) or not all(isinstance(key, str) for key in record):
        raise ConfigError(f"default_record: expected a mapping with text keys, got {quote(record)}")
    return {key: _copy(key, value) for key, value in record.items()}


def _copy(key: str, value: object) -> object:
    try:
        return copy.deepcopy(value)
    except (TypeError, copy.Error) as error:  # an open file, a lock
        raise ConfigError(
            f"default_record.{key}: expected a plain value, got {quote(value)}: {error}"
        ) from error


def _functions_of(
    final_config: Mapping[str, Any], registered: Mapping[str, RecordFunction] | None
) -> dict[str, RecordFunction]:
    """Return the configuration's functions, then the registered ones; a registered one replaces the same name."""
    _settings_of(final_config)
    merged: dict[str, RecordFunction] = {}
    for functions in (final_config.get("record_functions"), registered):
        if functions is None:
            continue
        if not isinstance(functions, Mapping):
            raise ConfigError(f"record_functions: expected a mapping of fields, got {quote(functions)}")
        merged.update(functions)
    for field, function in merged.items():
        if not isinstance(field, str) or not _FIELD_NAME.fullmatch(field):
            raise ConfigError(f"record_functions: expected an UPPERCASE field name, got {quote(field)}")
        if field in _OWN_FIELDS:
            raise ConfigError(
                f"record_functions.{field}: this field has a meaning already, choose another name"
            )
        if not callable(function):
            raise ConfigError(f"record_functions.{field}: expected a callable, got {quote(function)}")
    return merged


def _positive(duration: Duration, text: str) -> Duration:
    if not duration.elapsed_seconds:
        raise ValueError(f"granularity: expected more than 0s, got {text!r}")
    return duration


# --- building -----------------------------------------------------------------------------------------------


def _time_window(interval: Interval, timezone: tzinfo) -> TimeWindow:
    seconds = (interval.end - interval.start) // timedelta(seconds=1)
    start, end = shown_in(interval.start, timezone), shown_in(interval.end, timezone)
    return start, end, seconds_to_time_string(seconds)


def _window_fields(window: TimeWindow, timezone: str) -> dict[str, Any]:
    start, end, actual_interval = window
    day = day_of(start, timezone)
    return {
        "target_day": shown_in(day_interval(day, timezone).start, timezone),
        "target_day_str": day.isoformat(),
        "window_start_time": start,
        "window_end_time": end,
        "time_interval": actual_interval,
    }


def _complete(
    final_config: Mapping[str, Any], fields: dict[str, Any], functions: Mapping[str, RecordFunction]
) -> dict[str, Any]:
    start, end = fields["window_start_time"], fields["window_end_time"]
    day = date.fromisoformat(fields["target_day_str"])
    record = {
        **_default_record(final_config),
        **fields,
        "TARGET_DAY": day,
        "WINDOW_START_TIME": start.isoformat(),
        "WINDOW_END_TIME": end.isoformat(),
        "TIME_INTERVAL": fields["time_interval"],
    }
    pipeline_id = final_config.get("pipeline_id")
    if pipeline_id is not None:
        if not isinstance(pipeline_id, str) or not pipeline_id:
            raise ConfigError(f"pipeline_id: expected a name, got {quote(pipeline_id)}")
        window = Window(pipeline_id, Interval(start, end), day)
        record |= {
            "PIPELINE_ID": pipeline_id,
            "WINDOW_ID": window.window_id,
            "STAGE_PATH": window.stage_path,
        }
    for field, function in functions.items():
        record[field] = _call(field, function, copy.deepcopy(record))
    return record


def _call(field: str, function: RecordFunction, record: dict[str, Any]) -> str | int | None:
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', quote(function))}"
    try:
        value = function(record)
    except Exception as error:
        raise ConfigError(
            f"record_functions.{field}: {name} failed with {type(error).__name__}: {error}; fix the "
            "function or take the field out"
        ) from error
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise ConfigError(
            f"record_functions.{field}: expected a str, int or None of {name}, got {quote(value)}"
        )
    return value
