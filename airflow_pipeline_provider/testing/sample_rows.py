"""Provide the day of the kits and tests (25 hours, in New York), and rows to stage and to load."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

import pyarrow as pa

from airflow_pipeline_provider.config.options import Compression
from airflow_pipeline_provider.connectors.base import LoadResult, Stage, Target
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.limits import NO_LIMITS, TargetLimits
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.envelope.parts import write_parts
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from airflow_pipeline_provider.exceptions import TransientError

MakeTarget = Callable[[str], Target]


class Row(NamedTuple):
    """A row to load."""

    record_id: str
    event_time: datetime
    body: str = "{}"


def rows(interval: Interval, count: int, prefix: str = "r") -> list[Row]:
    """Return evenly spaced rows, the first at the start; ids contain the time, so windows share no ids."""
    step = (interval.end - interval.start) / max(count, 1)
    return [
        Row(f"{prefix}/{(interval.start + i * step):%H%M%S%f}", interval.start + i * step, f'{{"i":{i}}}')
        for i in range(count)
    ]


class Loader:
    """Stage and load rows like the phases, and retry after transient errors."""

    def __init__(self, make_target: MakeTarget, stage: Stage) -> None:
        self._make_target, self._stage = make_target, stage

    def manifest(
        self,
        interval: Interval,
        of: Iterable[Row],
        *,
        token: int,
        pipeline_id: str = "flights",
        part_bytes: int = 10**6,
        limits: TargetLimits = NO_LIMITS,
        compression: Compression | None = None,
    ) -> Manifest:
        """Write the rows to part files, and those that exceed the limits to files of quarantined rows.

        Without `compression`, the stage's option decides.
        """
        folder = f"{pipeline_id}/{hashlib.sha256(str(interval).encode()).hexdigest()[:8]}/{token}"
        written = write_parts(
            _batches(list(of)),
            open_write=self._stage.open_write,
            folder=folder,
            index=0,
            interval=interval,
            part_bytes=part_bytes,
            limits=limits,
            on_reject="quarantine",
            compression=compression or self._stage.options.compression,
        )
        parts, quarantined = tuple(written.parts), tuple(written.quarantined)
        return Manifest(pipeline_id, interval, f"a{token}", token, parts=parts, quarantined=quarantined)

    def load(self, manifest: Manifest) -> LoadResult:
        target = self._make_target(manifest.pipeline_id)
        try:
            return retry_transient(lambda: target.load(manifest, self._stage))
        finally:
            target.close()

    def __call__(
        self, interval: Interval, of: Iterable[Row], *, token: int, pipeline_id: str = "flights"
    ) -> LoadResult:
        return self.load(self.manifest(interval, of, token=token, pipeline_id=pipeline_id))


def retry_transient(call: Callable[[], LoadResult]) -> LoadResult:
    """Return the result of the call; retry up to 100 times after a TransientError, every 50 ms."""
    for _ in range(100):
        try:
            return call()
        except TransientError:
            time.sleep(0.05)
    return call()


def _batches(of: list[Row]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(of), 1000):
        some = of[start : start + 1000]
        columns = [[r[0] for r in some], [r[1] for r in some], ["kit"] * len(some), [r[2] for r in some]]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, ENVELOPE, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)


ZONE = "America/New_York"
DAY = date(2013, 11, 3)
MIDNIGHT = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
MICRO = timedelta(microseconds=1)


def hours(start: float, end: float) -> Interval:
    """Return the interval between two numbers of hours since the start of the day."""
    return Interval(MIDNIGHT + timedelta(hours=start), MIDNIGHT + timedelta(hours=end))
