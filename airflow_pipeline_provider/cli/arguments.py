"""What people type as arguments, read with one clear sentence for each mistake."""

from __future__ import annotations

import os
import pwd
import re
from datetime import date, datetime, timezone

from airflow_pipeline_provider.core.durations import parse_duration, quote
from airflow_pipeline_provider.core.intervals import iso_utc, parse_utc
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.state.about import LONGEST_NAME, is_name

_OFFSET = re.compile(r"(Z|[+-][0-9]{2}(:?[0-9]{2})?(:?[0-9]{2})?)$", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1000, 9000  # what is counted back and forth from there stays inside of the calendar
_LONGEST_SECONDS = 10_000 * 86_400


def read_instant(text: str, name: str) -> datetime:
    """An aware UTC datetime; without an offset nobody can say which hour of a 25-hour day is meant."""
    given = text.strip().upper()
    time = given.replace(" ", "T").partition("T")[2]
    expected = (
        f"{name}: expected ISO 8601 with an offset such as 2013-11-03T01:00:00-04:00, got {quote(text)}"
    )
    try:
        instant = parse_utc(given)
    except (ValueError, OverflowError):
        if time and not _OFFSET.search(time):
            raise ConfigError(f"{expected} without one: add Z for UTC or the offset that you mean") from None
        raise ConfigError(expected) from None
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise ConfigError(f"{name}: expected a year from {_FIRST_YEAR} to {_LAST_YEAR}, got {quote(text)}")
    return instant


def read_reference_time(text: str | None) -> datetime:
    """The instant to reason from: now, unless it is given."""
    if text is None:
        return datetime.now(timezone.utc).replace(microsecond=0)
    return read_instant(text, "--reference-time")


def read_past_time(text: str | None) -> datetime:
    """Return `--reference-time` of a command that writes: at most now, which it is by default."""
    at, now = read_reference_time(text), read_reference_time(None)
    if at > now:
        raise ConfigError(
            f"--reference-time: expected an instant up to now, {iso_utc(now)}, got {quote(text or '')}: a command "
            "that writes must not treat later days as past"
        )
    return at


def read_day(text: str, name: str) -> date:
    """A calendar day as 2013-11-03."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ConfigError(f"{name}: expected a calendar day such as 2013-11-03, got {quote(text)}")


def read_seconds(text: str, name: str) -> int:
    """Elapsed seconds of `30s`, `10m`, `1d6h`."""
    try:
        seconds = parse_duration(text, name).elapsed_seconds
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if seconds > _LONGEST_SECONDS:
        raise ConfigError(f"{name}: expected at most 10000d, got {quote(text)}")
    return seconds


LONGEST_REASON = 500


def read_person(text: str | None) -> str:
    """Return who runs the command by hand: `--by`, or else the process's effective user, which the environment
    (`USER`, `LOGNAME`) cannot change."""
    if text is None:
        uid = os.geteuid()
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:  # a container's user without a name
            return f"uid {uid}"
    name = " ".join(text.split())
    if not is_name(name):
        raise ConfigError(
            f"--by: expected a name of 1 to {LONGEST_NAME} printable characters, got {quote(text)}"
        )
    return name


def read_reason(text: str | None) -> str:
    """Return `--reason` on one line."""
    reason = " ".join((text or "").split())
    if not reason or len(reason) > LONGEST_REASON:
        raise ConfigError(
            f"--reason: expected a sentence of 1 to {LONGEST_REASON} characters, got {len(reason)} characters"
        )
    if not reason.isprintable():
        raise ConfigError(
            f"--reason: expected text that can be read, got {reason!a}: remove the characters that are not printable"
        )
    return reason


def read_count(text: str, name: str, *, least: int, most: int) -> int:
    """A whole number between two bounds."""
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and least <= int(text) <= most:
        return int(text)
    raise ConfigError(f"{name}: expected a whole number between {least} and {most}, got {quote(text)}")
