"""Structured logs: one line an event, as `key=value` for people and as JSON on demand.

::

    with phase_log(logger, pipeline="flights", window=window.window_id, attempt=attempt, phase="extract") as record:
        record.counts.update(rows=1200, parts=2)

logs a line with `status=started` and one with `status=ok` (or `skipped`, `failed`), the seconds and the counts::

    at=2013-11-03T07:10:00.000Z pipeline=flights window=flights.2013… attempt=1f… phase=extract status=ok …

`AIRFLOW_PIPELINES_LOG_FORMAT=json` (or `as_json=True`) gives the same keys as one JSON object a line.  Everything
passes `redaction` first, and line ends inside of values are escaped: an event is always one line.
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
from typing import Any

from airflow_pipeline_provider.escaping import visible_json
from airflow_pipeline_provider.exceptions import LeaseHeldError, SupersededError, TransientError
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.observability.redaction import redact, redact_text, register_secret

__all__ = ["PhaseRecord", "log_event", "phase_log", "register_secret", "render"]

FORMAT_VARIABLE = "AIRFLOW_PIPELINES_LOG_FORMAT"
LONGEST_VALUE = 2_000  # characters; a log line is no place for a document
_BARE = re.compile(r"[^\s\"'=\\{}\[\]]+")


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class PhaseRecord:
    """What the finished line will say; the block may change any of it.

    `status` becomes ok, skipped or failed; `reason` goes with skipped; `counts` are whole numbers by name;
    `extra` is anything else.
    """

    pipeline: str
    phase: str
    window: str | None = None
    attempt: str | None = None
    status: str = "started"
    reason: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@contextmanager
def phase_log(
    logger: logging.Logger,
    *,
    pipeline: str,
    window: Any,
    attempt: str | None,
    phase: str,
    as_json: bool | None = None,
    clock: Callable[[], datetime] = _now,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[PhaseRecord]:
    """Log the block's start and end.  An error of the block is logged in one line and goes on, whatever it is.

    A block that raised is `failed`, unless it called itself skipped before; losing the window to a newer run is
    `skipped` with the reason `superseded`, finding another run's lease is `waiting` with the reason `leased`.
    """
    record = PhaseRecord(pipeline, phase, getattr(window, "window_id", window), attempt)
    begun = monotonic()

    def say(level: int, **more: Any) -> None:
        log_event(logger, _fields(record, more), level=level, as_json=as_json, clock=clock)

    say(logging.INFO)
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
        say(level, seconds=seconds, error=type(error).__name__, message=_message(error))
        metrics.phase_ended(pipeline, phase, seconds, record.counts)
        raise
    seconds = monotonic() - begun
    say(logging.INFO, seconds=seconds)
    metrics.phase_ended(pipeline, phase, seconds, record.counts)


def _fields(record: PhaseRecord, more: Mapping[str, Any]) -> dict[str, Any]:
    head = {
        "pipeline": record.pipeline,
        "window": record.window,
        "attempt": record.attempt,
        "phase": record.phase,
        "status": record.status,
        "reason": record.reason,
        **more,
    }
    known = {key: value for key, value in head.items() if value is not None}
    rest = {**record.counts, **record.extra}
    # a count must not pass itself off as the status
    return {**known, **{(f"{key}_" if key in head else key): value for key, value in rest.items()}}


def log_event(
    logger: logging.Logger,
    fields: Mapping[str, Any],
    *,
    level: int = logging.INFO,
    as_json: bool | None = None,
    clock: Callable[[], datetime] = _now,
) -> None:
    """Log the fields as one line with the time in front; `as_json` None asks the environment variable."""
    if logger.isEnabledFor(level):
        stamp = clock().astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # the caller's function stands in %(funcName)s, not this one
        logger.log(level, "%s", render({"at": stamp, **fields}, as_json=as_json), stacklevel=2)


def render(fields: Mapping[str, Any], *, as_json: bool | None = None) -> str:
    """The line, without secrets."""
    if as_json is None:
        as_json = os.environ.get(FORMAT_VARIABLE, "").strip().lower() == "json"
    clean = {redact_text(str(key)): _loggable(redact(value, str(key))) for key, value in fields.items()}
    if as_json:
        return visible_json(json.dumps(clean, ensure_ascii=False, allow_nan=False))
    return " ".join(f"{_word(key)}={_shown(value)}" for key, value in clean.items())


def _loggable(value: Any) -> Any:
    """What JSON can hold; numbers of seconds in milliseconds, long texts cut."""
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


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  a value that cannot be shown must not end the phase
        return f"<{type(value).__name__} that cannot be shown>"


def _message(error: BaseException) -> str | None:
    return _text(error) or None


def _cut(text: str) -> str:
    text = text.encode(
        "utf-8", "backslashreplace"
    ).decode()  # a lone surrogate cannot be written to a log file
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)"


def _word(key: str) -> str:
    return key if _BARE.fullmatch(key) and key.isprintable() else _shown(key)


def _shown(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and value.isprintable():
        return value
    return visible_json(json.dumps(value, ensure_ascii=False))  # JSON itself leaves some of them alone
