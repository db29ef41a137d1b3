"""Stretches of time as people name them: days, instants, window ids; and how they stand in tables and JSON."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from airflow_pipeline_provider.cli.arguments import read_day, read_instant
from airflow_pipeline_provider.cli.localtime import local_iso
from airflow_pipeline_provider.core.days import day_interval, day_of
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.exceptions import ConfigError

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
LONGEST_DAYS = 3_660


def read_span(first: str, last: str, timezone: str) -> Interval:
    """`--from` and `--to`: a local day from its first instant, up to and with the other day; or instants."""
    start = _bound(first, "--from", timezone).start if _is_day(first) else read_instant(first, "--from")
    end = _bound(last, "--to", timezone).end if _is_day(last) else read_instant(last, "--to")
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
    day = read_day(text.strip(), name)
    try:
        return day_interval(day, timezone)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def day_text(instant: datetime, timezone: str) -> str:
    """The local day that holds the instant."""
    return day_of(instant, timezone).isoformat()


def piece_json(piece: Interval, timezone: str) -> dict[str, Any]:
    """`{"day", "start", "end", "local_start", "local_end"}`: instants in UTC, and with the zone's offset."""
    return {
        "day": day_text(piece.start, timezone),
        "start": iso_utc(piece.start),
        "end": iso_utc(piece.end),
        "local_start": local_iso(piece.start, timezone),
        "local_end": local_iso(piece.end, timezone),
    }
