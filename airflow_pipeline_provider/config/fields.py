"""Validate single values: return the parsed value, or raise a ValueError that states what was expected."""

from __future__ import annotations

import itertools
import re
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from airflow_pipeline_provider.config.options import MAX_DAYS, printable
from airflow_pipeline_provider.config.policy import module_problem
from airflow_pipeline_provider.config.problems import CrossFieldError, Problem, format_value
from airflow_pipeline_provider.core.durations import SECONDS_OF_DAY, Duration
from airflow_pipeline_provider.core.record_json import WINDOW_FIELDS
from airflow_pipeline_provider.suggestions import did_you_mean

DEFAULT_BACKLOG_DAYS = 31
LONGEST_ID = 120
LONGEST_TAG = 100
FIRST_YEAR, LAST_YEAR = 1900, 2199
PIPELINE_ID = re.compile(r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_\-])*$")
CRON_PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}
_ABBREVIATION = re.compile(r"[A-Z]{3,5}", re.ASCII)  # CEST, PDT
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FIELD = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_NAME = r"[^\W\d]\w*"
FUNCTION = re.compile(rf"{_NAME}(?:\.{_NAME})*(?:\.|:){_NAME}(?:\.{_NAME})*")
# files in the system's tz folder that are not zones of a place: leap seconds, templates, links to the local zone
_NOT_A_ZONE = ("right/", "posix/", "posixrules", "localtime", "Factory")


def validate_pipeline_id(value: object) -> str:
    """Return a valid `pipeline_id`."""
    if not isinstance(value, str):
        hint = " (put it in quotes)" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise ValueError(f"must be text, got {format_value(value)}{hint}")
    if not PIPELINE_ID.fullmatch(value):
        raise ValueError(
            "must start with a letter or digit and contain only letters, digits, '_', '-' and single '.' between "
            f"them, got {format_value(value)}"
        )
    if len(value) > LONGEST_ID:
        raise ValueError(f"must be at most {LONGEST_ID} characters long, got {len(value)}")
    return value


def validate_timezone(value: object) -> str:
    """Return the name of an IANA timezone that this system knows."""
    expected = "must be an IANA timezone such as America/New_York"
    if not isinstance(value, str):
        raise ValueError(f"{expected}, got {format_value(value)}")
    if not _is_zone(value):
        hint = _zone_hint(value)
        raise ValueError(f"{expected}, got {format_value(value)}" + (f"; {hint}" if hint else ""))
    return value


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    if not name or name.startswith(_NOT_A_ZONE):
        return False
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown, a path outside the folder, a folder
        return False
    return True


def _zone_hint(name: str) -> str | None:
    """Suggest the zone of a place, never an abbreviation, because another abbreviation has another offset."""
    if _ABBREVIATION.fullmatch(name):
        return "an abbreviation is a fixed offset and has no clock changes"
    return did_you_mean(name, (z for z in available_timezones() if "/" in z or z == "UTC"), cutoff=0.7)


def without_default(schema: dict[str, Any]) -> None:
    """Remove the default from the JSON Schema of a field whose default depends on another field."""
    schema.pop("default", None)


def validate_length(value: Duration, *, shortest_seconds: int) -> Duration:
    """Return a duration between `shortest_seconds` (0 or 60) and the longest supported number of days."""
    if value.elapsed_seconds < shortest_seconds:
        raise ValueError(f"must be 1m or more, got '{value}'")
    if value.elapsed_seconds > MAX_DAYS * SECONDS_OF_DAY:
        raise ValueError(f"must be at most {MAX_DAYS}d, got {format_value(str(value))}")
    return value


def validate_day(value: object) -> date:
    """Return the day of a text such as 2013-11-01, or of a date."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"must be a day of the calendar such as 2013-11-01, got {format_value(value)}"
            ) from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"must be a day such as 2013-11-01, got {format_value(value)}")
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"must be a day of the years {FIRST_YEAR} to {LAST_YEAR}, got {value}")
    return value


def validate_schedule(value: object) -> str:
    """Return `auto` or a cron expression that fires."""
    expected = "must be auto, null or a cron expression with five fields such as '0 * * * *'"
    if not isinstance(value, str):
        raise ValueError(f"{expected}, got {format_value(value)}")
    if value == "auto":
        return value
    if (expression := cron_expression(value)) is None or not _ever_fires(expression):
        reason = "" if expression is None else ", which is not valid or never fires"
        raise ValueError(f"{expected}, got {format_value(value)}{reason}")
    return value.strip()


def cron_expression(value: str) -> str | None:
    """Return the five fields of a cron expression or of a preset such as @daily; None for anything else."""
    value = value.strip()
    expression = CRON_PRESETS.get(value, value)
    return expression if len(expression.split()) == 5 else None


@lru_cache(maxsize=1024)
def shortest_tick_seconds(expression: str) -> float:
    """Return the shortest time between two of ten consecutive ticks of a cron expression."""
    from croniter import croniter

    ticks = croniter(expression, datetime(2024, 1, 1))  # noqa: DTZ001  wall-clock times, not yet in a zone
    times: list[float] = [ticks.get_next(float) for _ in range(10)]
    return min(later - earlier for earlier, later in itertools.pairwise(times))


def _ever_fires(expression: str) -> bool:
    try:
        return shortest_tick_seconds(expression) > 0
    except (ValueError, KeyError, AttributeError):  # croniter's own errors are subclasses of ValueError
        return False


def validate_names(value: object) -> object:
    """Return the distinct names of a list, in its order."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of text such as [a, b], got {format_value(value)}")
    for name in value:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"must be a list of text such as [a, b], got {format_value(name)} in it")
        printable(name)
        if len(name) > LONGEST_TAG:
            raise ValueError(f"must contain names of at most {LONGEST_TAG} characters, got {len(name)}")
    return tuple(dict.fromkeys(value))


def validate_function_paths(value: dict[str, str]) -> dict[str, str]:
    """Return the paths of functions by record field; nothing is imported.

    Raise CrossFieldError with every field name and path that is invalid or not allowed.
    """
    problems = [
        Problem(field, message)
        for field, path in value.items()
        if (message := _function_problem(field, path))
    ]
    if problems:
        raise CrossFieldError(problems)
    return value


def _function_problem(field: str, path: str) -> str | None:
    if not _FIELD.fullmatch(field):
        return "the field's name must be UPPERCASE letters, digits and '_'"
    if field in WINDOW_FIELDS:
        return "is set from the window: choose another name"
    if not FUNCTION.fullmatch(path):
        return (
            "must be the dotted path of a function such as mycompany.records.partner_of, got "
            f"{format_value(path)}"
        )
    return module_problem(module_and_attribute(path)[0])


def module_and_attribute(path: str) -> tuple[str, str]:
    """Split `package.module.function` or `package.module:Class.function` into module and attribute."""
    module, _, attribute = path.partition(":") if ":" in path else path.rpartition(".")
    return module, attribute
