"""Probes of `check --connect`: small requests to a service that leave nothing behind in it.

A connector lists them in its method `probes`: pairs of a description and a function that runs it. The function
returns an `Answer`, or raises the PipelineError that a run would meet.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from airflow_pipeline_provider.connectors.values import Body, Slice
from airflow_pipeline_provider.core.durations import seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted, local_time
from airflow_pipeline_provider.exceptions import FatalError, TransientError

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.base import Source, Stage, Target

Status = Literal["ok", "warning", "error", "unknown"]
CLOCK_TOLERANCE = timedelta(seconds=5)


class Answer(NamedTuple):
    """The result of a probe; `unknown` when only a lasting change could find it out."""

    status: Status
    detail: str


Probes = Iterator[tuple[str, Callable[[], Answer]]]


# --- sources


def source_probes(source: Source) -> Probes:
    """Yield checks whether the source can be read by time, under one view, and what it holds."""

    def readable() -> Answer:
        source.check()
        return Answer("ok", "exists and can be read by time")

    def view() -> Answer:
        now = datetime.now(timezone.utc)
        with source.open(Slice(0, 1, Interval(now, now + timedelta(seconds=1)))):
            return Answer("ok", "a consistent view was opened and closed")

    def newest() -> Answer:
        moment = source.newest_event_time()
        if moment is None:
            return Answer("warning", "the source is empty, or cannot report its newest time")
        return Answer("ok", local_time(moment, source.identity.timezone))

    def untimed() -> Answer:
        rows = count_unusable(source, datetime.now(timezone.utc))
        if rows is None:
            return Answer("unknown", "this source cannot count them")
        if rows:
            return Answer("warning", f"{counted(rows, 'row')} without a usable time, in no window")
        return Answer("ok", "none")

    def body() -> Answer:
        report = source.body_report()
        if report is None:
            return Answer("ok", "built by the connector")
        status: dict[Body, Status] = {Body.FILTERED: "warning", Body.UNKNOWN: "unknown"}
        detail = "; ".join((report.kind.value, *report.reasons))
        return Answer(status.get(report.kind, "ok"), detail)

    yield "read", readable
    yield "consistent view", view
    yield "newest event", newest
    yield "rows without a time", untimed
    yield "BODY", body


# --- stages


def stage_probes(stage: Stage) -> Probes:
    """Yield checks that write, list, read and delete one small file, and compare the clocks."""

    def files() -> Answer:
        stage_clock(stage)
        return Answer("ok", f"a file was written, listed, read and deleted below {stage.base}")

    def clock() -> Answer:
        return clock_answer(stage_clock(stage))

    yield "write, read, delete", files
    yield "clock", clock


def stage_clock(stage: Stage) -> datetime:
    """Return the store's clock, as the modification time of a file that is written, read back and deleted."""
    folder, content = f"clock-{uuid.uuid4().hex}", b"clock probe\n"
    path = f"{folder}/now"
    try:
        stage.write(path, content)
        found = stage.list(folder)
        seen = stage.read(path)
    finally:
        stage.delete([path])
    if [file.path for file in found] != [path] or seen != content:
        raise TransientError(
            f"{stage.url(path)} was written and is not listed or not read back as it was: try again; if it stays so, "
            "the store does not read its own writes and cannot be a stage"
        )
    if stage.list(folder):
        raise FatalError(
            f"{stage.url(path)} was deleted and is still listed: permit deletion, or switch off versioned listings"
        )
    return found[0].modified


# --- targets


def target_probes(target: Target) -> Probes:
    """Yield a check that reads the newest token, as each load does first."""

    def newest() -> Answer:
        token = target.newest_token()
        return Answer("ok", f"newest token {token}" if token else "nothing loaded yet by this pipeline")

    yield "connect", newest


# --- what several need


def clock_answer(theirs: datetime) -> Answer:
    """Return the difference of a service's clock to this machine's; over `CLOCK_TOLERANCE` it is a warning."""
    difference = theirs - datetime.now(timezone.utc)
    seconds = abs(difference).total_seconds()
    if abs(difference) <= CLOCK_TOLERANCE:
        return Answer("ok", f"within {CLOCK_TOLERANCE.seconds} s of this machine's")
    direction = "ahead of" if difference > timedelta() else "behind"
    return Answer("warning", f"{seconds_to_time_string(round(seconds))} {direction} this machine's")


def writable_path(path: Path) -> Answer:
    """Return whether the file, or the nearest existing folder above it, may be written; nothing is opened."""
    if path.is_dir():
        raise FatalError(f"{path} is a folder, expected a file: correct the path")
    return _writable(path)


def writable_folder(path: Path) -> Answer:
    """Return whether the folder, or the nearest existing one above it, may be written."""
    if path.exists() and not path.is_dir():
        raise FatalError(f"{path} is a file, expected a folder: correct the path")
    return _writable(path)


def _writable(path: Path) -> Answer:
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if place != path and not place.is_dir():
        raise FatalError(f"{place} is a file, expected a folder above {path}: correct the path")
    if not os.access(place, os.W_OK):
        raise FatalError(f"{place} may not be written by this user: change its permissions, or the path")
    return Answer("ok", "may be written" if place == path else f"is created in {place} by the first run")


EPOCH_SECONDS = Interval(
    datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(1970, 2, 20, tzinfo=timezone.utc)
)
"""Contains 0, and seconds since 1970 that were read as milliseconds."""


def count_unusable(source: Source, first: datetime) -> int | None:
    """Count the rows that are in no day from `first` on; None when the source cannot."""
    rows = source.count_untimed()
    if rows is None or first < EPOCH_SECONDS.end:
        return rows
    return rows + source.count(EPOCH_SECONDS)
