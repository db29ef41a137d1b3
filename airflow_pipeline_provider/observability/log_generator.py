"""Log one line per event, as `key=value` fields or as JSON.

::

    with phase_log(
        logger, pipeline="flights", window=interval, timezone=zone, attempt=attempt, phase="extract"
    ) as record:
        record.counts.update(rows=1200, parts=2)

logs a line with `status=started`, then one with `status=ok` (or `skipped`, `waiting`, `failed`)::

    phase=extract status=ok rows=1200 parts=2 seconds=3.25 window="2013-11-03 [06:00, 08:00) EST" pipeline=flights …

`AIRFLOW_PIPELINES_LOG_FORMAT=json` (or `as_json=True`) writes the same keys as one JSON object per line, with the
window in UTC, and the time in front. Secrets are masked (`redaction`), and line ends in values are escaped, so an
event is always one line.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from enum import Enum

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.escaping import visible_json
from airflow_pipeline_provider.exceptions import LeaseHeldError, SupersededError, TransientError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.observability.redaction import redact, redact_text, register_secret

__all__ = ["PhaseRecord", "event_fields", "log_event", "phase_log", "register_secret", "render"]

FORMAT_VARIABLE = "AIRFLOW_PIPELINES_LOG_FORMAT"
LONGEST_VALUE = 2_000  # characters; a log line must not contain a whole document
_BARE = re.compile(r"[^\s\"'=\\{}\[\]]+")


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class PhaseRecord:
    """The fields of a phase's last log line, which the block may change.

    `status` becomes ok, skipped, waiting or failed; `reason` explains skipped and waiting; `counts` are whole numbers
    by name.
    """

    pipeline: str
    phase: str
    window: Interval | str | None = None
    timezone: str | None = None
    attempt: str | None = None
    status: str = "started"
    reason: str | None = None
    counts: dict[str, int] = field(default_factory=dict)


@contextmanager
def phase_log(
    logger: logging.Logger,
    *,
    pipeline: str,
    window: Interval | str | None,
    attempt: str | None,
    phase: str,
    timezone: str | None = None,
    as_json: bool | None = None,
    clock: Callable[[], datetime] = _now,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[PhaseRecord]:
    """Log the start and the end of the block; log an error of the block in one line and raise it again.

    A text line shows the window in `timezone`, in UTC without one.

    After an error the status is `failed`, unless the block has set it to skipped before. After SupersededError it is
    `skipped` with the reason `superseded`, after LeaseHeldError `waiting` with the reason `leased`.
    """
    record = PhaseRecord(pipeline, phase, window, timezone, attempt)
    begun = monotonic()
    as_json = _is_json(as_json)

    def log_line(level: int, **more: object) -> None:
        log_event(logger, _fields(record, as_json, more), level=level, as_json=as_json, clock=clock)

    log_line(logging.INFO)
    record.status = "ok"
    try:
        yield record
    except BaseException as error:
        if isinstance(error, SupersededError):
            record.status, record.reason = "skipped", record.reason or "superseded"
        elif isinstance(error, LeaseHeldError):
            record.status, record.reason = "waiting", record.reason or "leased"
        elif record.status != "skipped":
            record.status = "failed"
        level = logging.INFO if record.status in ("skipped", "waiting") else logging.ERROR
        if isinstance(error, TransientError) and level == logging.ERROR:
            level = logging.WARNING  # a retry follows
        seconds = monotonic() - begun
        log_line(level, seconds=seconds, error=type(error).__name__, message=_message(error))
        metrics.phase_ended(pipeline, phase, seconds, record.counts)
        raise
    seconds = monotonic() - begun
    log_line(logging.INFO, seconds=seconds)
    metrics.phase_ended(pipeline, phase, seconds, record.counts)


def _fields(record: PhaseRecord, as_json: bool, more: Mapping[str, object]) -> dict[str, object]:
    first = {"phase": record.phase, "status": record.status, "reason": record.reason}
    last = {
        **more,
        "window": _window(record, as_json),
        "pipeline": record.pipeline,
        "attempt": record.attempt,
    }
    # a count must not replace a field such as the status
    counts = {
        f"{key}_" if key in first or key in last else key: value for key, value in record.counts.items()
    }
    return {key: value for key, value in {**first, **counts, **last}.items() if value is not None}


def _window(record: PhaseRecord, as_json: bool) -> str | None:
    if not isinstance(record.window, Interval):
        return record.window
    if as_json or record.timezone is None:
        return str(record.window)
    return local_window(record.window, record.timezone)


def log_event(
    logger: logging.Logger,
    fields: Mapping[str, object],
    *,
    level: int = logging.INFO,
    as_json: bool | None = None,
    clock: Callable[[], datetime] = _now,
) -> None:
    """Log the fields as one line; None for `as_json` reads the environment variable.

    A JSON line starts with the time. A text line has none, because Airflow's log shows one in front of each line.
    """
    if logger.isEnabledFor(level):
        as_json = _is_json(as_json)
        if as_json:
            stamp = clock().astimezone(timezone.utc).isoformat(timespec="milliseconds")
            fields = {"at": stamp.replace("+00:00", "Z"), **fields}
        # %(funcName)s is the caller's function, not this one
        line = _EventLine(render(fields, as_json=as_json))
        line.fields = fields
        logger.log(level, "%s", line, stacklevel=2)


class _EventLine(str):
    """The text of an event with its fields, so that a handler in this process need not parse the text."""

    fields: Mapping[str, object]


def event_fields(record: logging.LogRecord) -> Mapping[str, object] | None:
    """Return the fields that `log_event` logged, with secrets unmasked, or None for any other record."""
    for line in record.args if isinstance(record.args, tuple) else ():
        if isinstance(line, _EventLine):
            return line.fields
    return None


def _is_json(as_json: bool | None) -> bool:
    if as_json is None:
        return os.environ.get(FORMAT_VARIABLE, "").strip().lower() == "json"
    return as_json


def render(fields: Mapping[str, object], *, as_json: bool | None = None) -> str:
    """Return the line, with secrets masked."""
    as_json = _is_json(as_json)
    clean = {redact_text(str(key)): _loggable(redact(value, str(key))) for key, value in fields.items()}
    if as_json:
        return visible_json(json.dumps(clean, ensure_ascii=False, allow_nan=False))
    return " ".join(f"{_format_key(key)}={_format_value(value)}" for key, value in clean.items())


def _loggable(value: object) -> object:
    """Return a JSON value: floats rounded to three digits, long texts cut, other types as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _loggable(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _loggable(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_loggable(child) for child in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return _cut(value if isinstance(value, str) else redact_text(_text(value)))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  a value that cannot be logged must not fail the phase
        return f"<{type(value).__name__} that cannot be shown>"


def _message(error: BaseException) -> str | None:
    return _text(error) or None


def _cut(text: str) -> str:
    # a lone surrogate cannot be written to a log file
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)"


def _format_key(key: str) -> str:
    return key if _BARE.fullmatch(key) and key.isprintable() else _format_value(key)


def _format_value(value: object) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and value.isprintable():
        return value
    return visible_json(
        json.dumps(value, ensure_ascii=False)
    )  # JSON does not escape all unprintable characters
