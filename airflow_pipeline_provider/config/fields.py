"""Validators of single values: each returns what is meant, or says in a ValueError what was expected."""

from __future__ import annotations

import itertools
import re
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from airflow_pipeline_provider.config.options import MAX_DAYS, parse_duration, printable
from airflow_pipeline_provider.config.policy import module_problem
from airflow_pipeline_provider.config.problems import CrossFieldError, Problem, shown
from airflow_pipeline_provider.core.durations import SECONDS_OF_DAY, Duration

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
RECORD_FIELDS = frozenset(
    {
        "TARGET_DAY",
        "WINDOW_START_TIME",
        "WINDOW_END_TIME",
        "TIME_INTERVAL",
        "PIPELINE_ID",
        "WINDOW_ID",
        "STAGE_PATH",
    }
)
_ABBREVIATION = re.compile(r"[A-Z]{3,5}", re.ASCII)  # CEST, PDT
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FIELD = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_NAME = r"[^\W\d]\w*"
_FUNCTION = re.compile(rf"{_NAME}(?:\.{_NAME})*(?:\.|:){_NAME}(?:\.{_NAME})*")
# in the tz folder of a system, but no calendar of any place: leap seconds, templates, links to the machine's own zone
_NOT_A_ZONE = ("right/", "posix/", "posixrules", "localtime", "Factory")


def pipeline_id(value: Any) -> str:
    if not isinstance(value, str):
        hint = " (put it in quotes)" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise ValueError(f"must be text, got {shown(value)}{hint}")
    if not PIPELINE_ID.fullmatch(value):
        raise ValueError(
            "must start with a letter or digit and hold letters, digits, '_', '-' and single '.' between them "
            f"only, got {shown(value)}"
        )
    if len(value) > LONGEST_ID:
        raise ValueError(f"must be at most {LONGEST_ID} characters long, got {len(value)}")
    return value


def timezone(value: Any) -> str:
    expected = "must be an IANA timezone such as America/New_York"
    if not isinstance(value, str):
        raise ValueError(f"{expected}, got {shown(value)}")
    if not _is_zone(value):
        raise ValueError(f"{expected}, got {shown(value)}{_nearest_zone(value)}")
    return value


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    if not name or name.startswith(_NOT_A_ZONE):
        return False
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown, a path out of the folder, a folder
        return False
    return True


def _nearest_zone(name: str) -> str:
    """Return a hint; a place is suggested and never another abbreviation, whose offset would be another one."""
    import difflib  # only for somebody who misspelled something

    if _ABBREVIATION.fullmatch(name):
        return "; an abbreviation names an offset and not a place with its clock changes"
    known = {zone.lower(): zone for zone in available_timezones() if "/" in zone or zone == "UTC"}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), known, n=1, cutoff=0.7)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def without_default(schema: dict[str, Any]) -> None:
    """Remove the default from the JSON Schema of a field whose default depends on another one."""
    schema.pop("default", None)


def duration(value: Any) -> Duration:
    return parse_duration(value)


def bounded(value: Duration, *, shortest_seconds: int) -> Duration:
    if value.elapsed_seconds < shortest_seconds:
        raise ValueError(f"must be 1m or more, got '{value}'")
    if value.elapsed_seconds > MAX_DAYS * SECONDS_OF_DAY:
        raise ValueError(f"must be at most {MAX_DAYS}d, got {shown(str(value))}")
    return value


def day(value: Any) -> date:
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"must be a day of the calendar such as 2013-11-01, got {shown(value)}"
            ) from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"must be a day such as 2013-11-01, got {shown(value)}")
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"must be a day of the years {FIRST_YEAR} to {LAST_YEAR}, got {value}")
    return value


def schedule(value: Any) -> str:
    expected = "must be auto, null or a cron with five fields such as '0 * * * *'"
    if not isinstance(value, str):
        raise ValueError(f"{expected}, got {shown(value)}")
    if value == "auto":
        return value
    if (expression := cron_expression(value)) is None or not _ever_fires(expression):
        reason = "" if expression is None else ", which is not valid or never fires"
        raise ValueError(f"{expected}, got {shown(value)}{reason}")
    return value.strip()


def cron_expression(value: str) -> str | None:
    """The five fields of a cron or of a preset such as @daily; None for anything else."""
    value = value.strip()
    expression = CRON_PRESETS.get(value, value)
    return expression if len(expression.split()) == 5 else None


@lru_cache(maxsize=1024)
def shortest_tick_seconds(expression: str) -> float:
    """The shortest time between two of the next ten ticks."""
    from croniter import croniter

    ticks = croniter(expression, datetime(2024, 1, 1))  # noqa: DTZ001  a pattern of wall times, in no zone yet
    times: list[float] = [ticks.get_next(float) for _ in range(10)]
    return min(later - earlier for earlier, later in itertools.pairwise(times))


def _ever_fires(expression: str) -> bool:
    try:
        return shortest_tick_seconds(expression) > 0
    except (ValueError, KeyError, AttributeError):  # croniter's own errors are ValueErrors
        return False


def names(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of text such as [a, b], got {shown(value)}")
    for name in value:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"must be a list of text such as [a, b], got {shown(name)} in it")
        printable(name)
        if len(name) > LONGEST_TAG:
            raise ValueError(f"must hold names of at most {LONGEST_TAG} characters, got {len(name)}")
    return tuple(dict.fromkeys(value))


def function_paths(value: dict[str, str]) -> dict[str, str]:
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
    if field in RECORD_FIELDS:
        return "is filled by the window itself: choose another name"
    if not _FUNCTION.fullmatch(path):
        return (
            f"must be the dotted path of a function such as mycompany.records.partner_of, got {shown(path)}"
        )
    return module_problem(module_and_attribute(path)[0])


def module_and_attribute(path: str) -> tuple[str, str]:
    """Split `package.module.function` or `package.module:Class.function`."""
    module, _, attribute = path.partition(":") if ":" in path else path.rpartition(".")
    return module, attribute
