"""Compute the record of a window, from the window that the planner chose or from a mapping of settings.

A record is a plain mapping: the pipeline's `default_record`, the window, and UPPERCASE fields for queries,
paths and tags.  `window_record` computes it; the other functions read their settings from texts, and call it.
Nothing here reads a clock or a store: both are passed in.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple, TypeAlias

import pendulum

from airflow_pipeline_provider.core.days import UTC, day_interval, day_of, shift_back, window_end, zone_of
from airflow_pipeline_provider.core.durations import Duration, parse_duration, quote, seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval, iso_utc, to_utc
from airflow_pipeline_provider.core.record_json import WINDOW_FIELDS, json_safe
from airflow_pipeline_provider.core.time_utils import convert_to_pendulum, shown_in
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.exits import exits_as_errors

__all__ = [
    "MIN_GRANULARITY_SECONDS",
    "build_complete_pipeline_record",
    "build_window_record",
    "calculate_time_window",
    "generate_pipeline_time_window_record",
    "json_safe",
    "window_record",
]

log = logging.getLogger(__name__)

TimeWindow: TypeAlias = tuple[pendulum.DateTime, pendulum.DateTime, str]
LatestTimestamp: TypeAlias = Callable[[pendulum.DateTime], object]
RecordFunction: TypeAlias = Callable[[dict[str, Any]], "str | int | None"]

MIN_GRANULARITY_SECONDS = 60
_FIELD_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


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
    zone = zone_of(first.tzinfo or UTC)
    step = _positive(parse_duration(granularity, "granularity"), granularity)
    latest = continuation_timestamp
    if latest is not None:
        latest = convert_to_pendulum(latest, zone, name="continuation_timestamp")
    interval = _next_interval(day_of(first, zone), zone, step, latest)
    return None if interval is None else _shown(interval, zone)


def generate_pipeline_time_window_record(
    final_config: Mapping[str, object], *, reference_time: object, latest_timestamp_available: LatestTimestamp
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
    found = _next_window(settings, reference_time, latest_timestamp_available)
    return None if found is None else _window_fields(*found, settings.zone)


def build_complete_pipeline_record(
    final_config: Mapping[str, object],
    *,
    reference_time: object,
    latest_timestamp_available: LatestTimestamp,
    record_functions: Mapping[str, RecordFunction] | None = None,
) -> dict[str, Any] | None:
    """Return the complete record of the next window of the target day, or None when the day has none left.

    Like `generate_pipeline_time_window_record`, and completed like `build_window_record`.
    """
    default_record = _default_record(final_config)
    settings = _settings_of(final_config)
    functions = _functions_of(final_config, record_functions)
    found = _next_window(settings, reference_time, latest_timestamp_available)
    if found is None:
        return None
    return window_record(
        *found,
        settings.zone,
        pipeline_id=_pipeline_id(final_config),
        default_record=default_record,
        functions=functions,
    )


def build_window_record(
    final_config: Mapping[str, object],
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
    zone = _settings_of(final_config).zone
    functions = _functions_of(final_config, record_functions)
    local_day = day_of(interval.start, zone)
    whole = day_interval(local_day, zone) if day is None else day
    if interval.is_empty or not whole.covers(interval):
        raise ValueError(f"interval: expected a window inside of the day {whole}, got {interval}")
    return window_record(
        interval,
        local_day,
        zone,
        pipeline_id=_pipeline_id(final_config),
        default_record=_default_record(final_config),
        functions=functions,
    )


def window_record(
    interval: Interval,
    day: date,
    zone: tzinfo,
    *,
    pipeline_id: str | None,
    default_record: Mapping[str, object],
    functions: Mapping[str, RecordFunction],
) -> dict[str, Any]:
    """Compute the complete record of a window of the local `day`, as `build_window_record` describes it.

    The settings are valid already, and the record shares the values of `default_record`.  Raises ConfigError that
    names a record function that fails.
    """
    fields = _window_fields(interval, day, zone)
    record = {
        **default_record,
        **fields,
        "TARGET_DAY": day,
        "WINDOW_START_TIME": fields["window_start_time"].isoformat(),
        "WINDOW_END_TIME": fields["window_end_time"].isoformat(),
        "TIME_INTERVAL": fields["time_interval"],
    }
    if pipeline_id is not None:
        window = Window(pipeline_id, interval, day)
        record |= {
            "PIPELINE_ID": pipeline_id,
            "WINDOW_ID": window.window_id,
            "STAGE_PATH": window.stage_path,
        }
    for field, function in functions.items():
        record[field] = _call(field, function, copy.deepcopy(record))
    return record


# --- configuration ------------------------------------------------------------------------------------------


class _RecordSettings(NamedTuple):
    zone: tzinfo
    x_time_back: Duration
    granularity: Duration


def _settings_of(final_config: Mapping[str, object]) -> _RecordSettings:
    timezone, x_time_back, granularity = (
        _value(final_config, key) for key in ("timezone", "x_time_back", "granularity")
    )
    if not isinstance(timezone, str):
        raise ConfigError(f"timezone: expected a name such as 'America/New_York', got {quote(timezone)}")
    try:
        zone = zone_of(timezone)
        back = parse_duration(x_time_back, "x_time_back")
        step = parse_duration(granularity, "granularity")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if step.elapsed_seconds < MIN_GRANULARITY_SECONDS:
        raise ConfigError(f"granularity: expected at least 1m, got {granularity!r}")
    return _RecordSettings(zone, back, step)


def _pipeline_id(final_config: Mapping[str, object]) -> str | None:
    pipeline_id = final_config.get("pipeline_id")
    if pipeline_id is not None and (not isinstance(pipeline_id, str) or not pipeline_id):
        raise ConfigError(f"pipeline_id: expected a name, got {quote(pipeline_id)}")
    return pipeline_id


def _value(final_config: Mapping[str, object], key: str) -> Any:
    if not isinstance(final_config, Mapping):
        raise ConfigError(f"final_config: expected a mapping, got {quote(final_config)}")
    if key not in final_config:
        raise ConfigError(
            f"{key}: this key is missing in the configuration, which has {_names(final_config)}"
        )
    return final_config[key]


def _names(mapping: Iterable[object]) -> str:
    return ", ".join(str(key) for key in mapping) or "no keys"


def _default_record(final_config: Mapping[str, object]) -> dict[str, object]:
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
    final_config: Mapping[str, object], registered: Mapping[str, RecordFunction] | None
) -> dict[str, RecordFunction]:
    """Return the configuration's functions, then the registered ones; a registered one replaces the same name."""
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
        if field in WINDOW_FIELDS:
            raise ConfigError(
                f"record_functions.{field}: every window record has this field, choose another name"
            )
        if not callable(function):
            raise ConfigError(f"record_functions.{field}: expected a callable, got {quote(function)}")
    return merged


def _positive(duration: Duration, text: str) -> Duration:
    if not duration.elapsed_seconds:
        raise ValueError(f"granularity: expected more than 0s, got {text!r}")
    return duration


# --- the next window ----------------------------------------------------------------------------------------


def _next_window(
    settings: _RecordSettings, reference_time: object, latest_timestamp_available: LatestTimestamp
) -> tuple[Interval, date] | None:
    """Return the next window of the target day with the day, or None when the day has none left."""
    zone = settings.zone
    if not callable(latest_timestamp_available):
        raise TypeError(
            f"latest_timestamp_available: expected a callable, got {quote(latest_timestamp_available)}"
        )
    reference = convert_to_pendulum(reference_time, zone, name="reference_time")
    try:
        day = day_of(shift_back(reference, settings.x_time_back, zone), zone)
    except ValueError as error:
        raise ConfigError(f"x_time_back: {error}") from error
    latest = latest_timestamp_available(shown_in(day_interval(day, zone).start, zone))
    if latest is not None:
        latest = convert_to_pendulum(latest, zone, name=f"latest_timestamp_available({day})")
    interval = _next_interval(day, zone, settings.granularity, latest)
    return None if interval is None else (interval, day)


def _next_interval(day: date, zone: tzinfo, step: Duration, latest: datetime | None) -> Interval | None:
    """Return the window of the day from `latest`, or None, and log the reason."""
    whole = day_interval(day, zone)
    start = whole.start if latest is None else to_utc(latest, "latest")
    if start < whole.start:
        log.info("No window: before_target_day; %s is before the day %s", iso_utc(start), whole)
        return None
    if start >= whole.end:
        log.info("No window: complete; %s is at or after the end of the day %s", iso_utc(start), whole)
        return None
    return Interval(start, window_end(start, whole, step))


# --- fields -------------------------------------------------------------------------------------------------


def _shown(interval: Interval, zone: tzinfo) -> TimeWindow:
    seconds = (interval.end - interval.start) // timedelta(seconds=1)
    return shown_in(interval.start, zone), shown_in(interval.end, zone), seconds_to_time_string(seconds)


def _window_fields(interval: Interval, day: date, zone: tzinfo) -> dict[str, Any]:
    start, end, actual_interval = _shown(interval, zone)
    return {
        "target_day": shown_in(day_interval(day, zone).start, zone),
        "target_day_str": day.isoformat(),
        "window_start_time": start,
        "window_end_time": end,
        "time_interval": actual_interval,
    }


def _call(field: str, function: RecordFunction, record: dict[str, object]) -> str | int | None:
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', quote(function))}"
    try:
        with exits_as_errors():
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
