"""Parse the values of command-line arguments; each invalid value raises a ConfigError that names the argument."""

from __future__ import annotations

import os
import pwd
import re
from datetime import datetime, timedelta, timezone

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.days import day_interval, parse_day
from airflow_pipeline_provider.core.durations import parse_duration, quote
from airflow_pipeline_provider.core.intervals import Interval, iso_utc, parse_instant
from airflow_pipeline_provider.core.windows import parse_window_id
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.state.about import LONGEST_NAME, is_name

_LONGEST_SECONDS = 10_000 * 86_400


def read_reference_time(text: str | None) -> datetime:
    """Parse `--reference-time`; without it return the current time."""
    if text is None:
        return datetime.now(timezone.utc).replace(microsecond=0)
    return parse_instant(text, "--reference-time")


def read_past_time(text: str | None) -> datetime:
    """Parse `--reference-time` of a command that writes: now by default, and never later than now."""
    at, now = read_reference_time(text), read_reference_time(None)
    if at > now:
        raise ConfigError(
            f"--reference-time: expected an instant up to now, {iso_utc(now)}, got {quote(text or '')}: "
            "a command that writes must not treat future days as past"
        )
    return at


def read_seconds(text: str, name: str) -> int:
    """Parse a duration such as `30s`, `10m` or `1d6h` into elapsed seconds."""
    try:
        seconds = parse_duration(text, name).elapsed_seconds
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if seconds > _LONGEST_SECONDS:
        raise ConfigError(f"{name}: expected at most 10000d, got {quote(text)}")
    return seconds


LONGEST_REASON = 500


def read_person(text: str | None) -> str:
    """Parse `--by`, the author of a manual change; by default the process's effective user.

    The environment variables `USER` and `LOGNAME` are not read: any process can change them.
    """
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
    """Parse `--reason` into one line."""
    reason = " ".join((text or "").split())
    if not reason or len(reason) > LONGEST_REASON:
        raise ConfigError(
            f"--reason: expected a sentence of 1 to {LONGEST_REASON} characters, got {len(reason)} characters"
        )
    if not reason.isprintable():
        raise ConfigError(
            f"--reason: expected printable text, got {reason!a}: remove the characters that are not printable"
        )
    return reason


def read_count(text: str, name: str, *, least: int, most: int) -> int:
    """Parse a whole number between two bounds."""
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and least <= int(text) <= most:
        return int(text)
    raise ConfigError(f"{name}: expected a whole number between {least} and {most}, got {quote(text)}")


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
LONGEST_DAYS = 3_660


def read_span(first: str, last: str, timezone: str) -> Interval:
    """Parse `--from` and `--to`: local days, the last one included, or instants."""
    start = _bound(first, "--from", timezone).start if _is_day(first) else parse_instant(first, "--from")
    end = _bound(last, "--to", timezone).end if _is_day(last) else parse_instant(last, "--to")
    if end <= start:
        raise ConfigError(
            f"--to: expected a time after --from {local_time(start, timezone)}, got {local_time(end, timezone)}"
        )
    if end - start > timedelta(days=LONGEST_DAYS):
        raise ConfigError(f"--to: expected at most {LONGEST_DAYS} days after --from, got {first} to {last}")
    return Interval(start, end)


def _is_day(text: str) -> bool:
    return _DAY.fullmatch(text.strip()) is not None


def _bound(text: str, name: str, timezone: str) -> Interval:
    """Parse a local day into its interval."""
    day = parse_day(text.strip(), name)
    try:
        return day_interval(day, timezone)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


WINDOW_FORMS = "a window id, or PIPELINE and a window id, a day (2013-11-03), or two instants with offsets"


def split_window_words(words: list[str]) -> tuple[str, list[str]]:
    """Split the arguments of `history` into the pipeline and the words that name the window."""
    if len(words) == 1:
        found = parse_window_id(words[0])
        if found is None:
            raise ConfigError(f"WINDOW: expected {WINDOW_FORMS}; got {words[0]!r}")
        return found[0], words
    if len(words) > 3:
        raise ConfigError(f"WINDOW: expected {WINDOW_FORMS}; got {len(words)} arguments")
    return words[0], words[1:]


def read_window_words(words: list[str], config: PipelineConfig) -> Interval:
    """Parse a window id, a local day, or two instants."""
    if len(words) == 2:
        start, end = parse_instant(words[0], "start"), parse_instant(words[1], "end")
        if end <= start:
            raise ConfigError(f"end: expected an instant after {words[0]}, got {words[1]}")
        return Interval(start, end)
    found = parse_window_id(words[0])
    if found is None:
        try:
            return day_interval(parse_day(words[0], "WINDOW"), config.timezone)
        except (ConfigError, ValueError):
            raise ConfigError(f"WINDOW: expected {WINDOW_FORMS}; got {words[0]!r}") from None
    if found[0] != config.pipeline_id:
        raise ConfigError(f"WINDOW: {words[0]!r} is a window of {found[0]}, not of {config.pipeline_id}")
    return found[1]


def read_window_option(text: str, config: PipelineConfig) -> Interval:
    """Parse `--window`: a window id, a local day, or two instants separated by a slash."""
    found = parse_window_id(text)
    if found is not None:
        if found[0] != config.pipeline_id:
            raise ConfigError(
                f"--window: expected a window of {config.pipeline_id!r}, got {text!r}, a window of {found[0]!r}"
            )
        return found[1]
    first, slash, second = text.partition("/")
    if slash:
        start, end = parse_instant(first, "--window"), parse_instant(second, "--window")
        if end <= start:
            raise ConfigError(f"--window: expected an end after its start, got {text!r}")
        return Interval(start, end)
    try:
        return day_interval(parse_day(text, "--window"), config.timezone)
    except ConfigError:
        raise ConfigError(
            "--window: expected a window id, a day such as 2013-11-03, or two instants with offsets and a slash "
            f"between them, got {text!r}"
        ) from None
