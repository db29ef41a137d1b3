"""Rows to part files and back: checked on the way in, verified and counted without reading the bodies.

A part holds row groups of at most `part_writer.ROW_GROUP_BYTES` of uncompressed rows, and its footer holds the
smallest and the largest EVENT_TIME, so that it can be checked without reading the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import BinaryIO, Literal, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.envelope.limits import NO_LIMITS, TargetLimits
from airflow_pipeline_provider.envelope.manifest import Part
from airflow_pipeline_provider.envelope.part_writer import (
    OpenWrite,
    PartWriter,
    from_micros,
    micros,
    min_max,
)
from airflow_pipeline_provider.envelope.refusals import refusals, split
from airflow_pipeline_provider.envelope.schema import ENVELOPE, QUARANTINE
from airflow_pipeline_provider.exceptions import DataError

ROWS_A_BATCH = 10_000  # when parts are read back
BLOCK_BYTES = 2**20

_NAMES = tuple(ENVELOPE.names)


class Written(NamedTuple):
    """Files of one call: `parts` to load, and what the target cannot take."""

    parts: list[Part]
    quarantined: list[Part]


def write_parts(
    batches: Iterable[pa.RecordBatch],
    *,
    open_write: OpenWrite,
    folder: str,
    index: int,
    interval: Interval,
    part_bytes: int,
    limits: TargetLimits = NO_LIMITS,
    on_reject: Literal["fail", "quarantine"] = "fail",
    writers: int = 1,
) -> Written:
    """Write the batches of slice `index` as parts `<folder>/part-<index>-<n>-<unique>.parquet`.

    A new part begins once the compressed size has reached `part_bytes`; no rows, no part.  `unique` differs
    from call to call.  So many `writers` work at the same time and share the memory for rows.  A row that is beyond
    the target's `limits` is a DataError, or with `quarantine` it goes, with its REASON, into
    `<folder>/quarantine-<index>-<n>-<unique>.parquet`.  DataError in any case: a row outside of the interval or
    without one of its values, a batch of another schema; those are faults of the source, not of a row.
    Whatever goes wrong, the part being written is not published (parts finished before it are; they belong to nobody
    until a receipt lists them).
    """
    unique = uuid4().hex
    load = PartWriter(open_write, f"{folder}/part-{index}", unique, ENVELOPE, part_bytes, writers)
    keep = PartWriter(open_write, f"{folder}/quarantine-{index}", unique, QUARANTINE, part_bytes, writers)
    with load, keep:
        for batch in batches:
            _check(batch, interval)
            refused = refusals(batch, limits)
            if not refused:
                load.add(batch)
                continue
            if on_reject == "fail":
                raise _rejected(batch, refused)
            taken, left = split(batch, refused)
            load.add(taken)
            keep.add(left)
    return Written(load.parts, keep.parts)


def _rejected(batch: pa.RecordBatch, refused: dict[int, str]) -> DataError:
    row, reason = next(iter(refused.items()))
    return DataError(
        f"record {_record(batch, row)}: {reason}; correct the document at the source, or set audit.on_reject to "
        "quarantine to load the others without it"
    )


def _check(batch: pa.RecordBatch, interval: Interval) -> None:
    if not batch.schema.equals(ENVELOPE):
        raise DataError(f"rows: expected the columns {_shape(ENVELOPE)}, got {_shape(batch.schema)}")
    if not batch.num_rows:
        return
    for name in _NAMES:
        column = batch.column(name)
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise DataError(
                f"record {_record(batch, row)}: {name} is missing; every row needs all of {_NAMES}, so this is a "
                "fault of the source connector, and no row is quarantined for it"
            )
    times = batch.column("EVENT_TIME")
    low, high = micros(interval.start), micros(interval.end)
    smallest, largest = min_max(times)
    if smallest < low or largest >= high:
        epochs = times.cast(pa.int64())
        outside = pc.or_(pc.less(epochs, low), pc.greater_equal(epochs, high))
        row = pc.index(outside, True).as_py()
        raise DataError(
            f"record {_record(batch, row)}: its event time {iso_utc(from_micros(epochs[row].as_py()))} lies "
            f"outside of {interval}; the source's time range and the time of its rows disagree, so "
            "no row is quarantined for it: look at time_field and the source's mapping of it"
        )


def verify_part(part: Part, file: BinaryIO, size: int | None) -> None:
    """DataError naming everything that differs between what the receipt says and the file.

    `size` is the file's size in the stage, None when it is not there.  The file is read once, for its hash; of one
    that was written before parts had a hash the footer alone is.
    """
    if size is None:
        raise DataError(f"part {part.path}: the file is gone; extract the window again")
    wrong = []
    if size != part.bytes:
        wrong.append(f"size: expected {counted(part.bytes, 'byte')}, got {size:,}")
    elif part.sha256 is not None and (content := _content(file)) != part.sha256:
        wrong.append(f"content: expected the sha256 {part.sha256}, got {content}")
    if wrong:
        raise _changed(part, wrong)
    try:
        metadata = pq.read_metadata(file)
        rows, smallest, largest = _footer(metadata)
    except (pa.ArrowException, KeyError, ValueError) as error:
        wrong.append(f"footer: expected a Parquet file of {_NAMES}, got {error}")
    else:
        if rows != part.rows:
            wrong.append(f"rows: expected {part.rows:,}, got {rows:,}")
        for name, expected, seen in (
            ("smallest EVENT_TIME", part.min_event_time, smallest),
            ("largest EVENT_TIME", part.max_event_time, largest),
        ):
            if seen != expected:
                wrong.append(f"{name}: expected {iso_utc(expected)}, got {iso_utc(seen) if seen else 'none'}")
    if wrong:
        raise _changed(part, wrong)


def _changed(part: Part, wrong: Sequence[str]) -> DataError:
    return DataError(
        f"part {part.path} is not what was extracted ({'; '.join(wrong)}); extract the window again, and "
        "find out who else writes to the stage"
    )


def _content(file: BinaryIO) -> str:
    """The sha256 of the whole file, which is at its beginning again afterwards."""
    content = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        content.update(block)
    file.seek(0)
    return content.hexdigest()


def _footer(metadata: pq.FileMetaData) -> tuple[int, datetime | None, datetime | None]:
    """Rows, smallest and largest EVENT_TIME (None without statistics); KeyError when a column is missing."""
    columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
    for name in _NAMES:
        if name not in columns:
            raise KeyError(f"a file without the column {name}")
    times: list[int] = []
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(columns["EVENT_TIME"]).statistics
        if statistics is None or not statistics.has_min_max:
            return metadata.num_rows, None, None
        times += [statistics.min_raw, statistics.max_raw]
    if not times:
        return metadata.num_rows, None, None
    return metadata.num_rows, from_micros(min(times)), from_micros(max(times))


def iter_part(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """Yield the part's rows in batches of `ENVELOPE`, each from one row group, which bounds its memory.

    Row groups are read one by one: over several, `iter_batches` fills a batch up to its number of rows, which is
    gigabytes where documents are large and compress well. Raises DataError for what is not a readable part.
    """
    try:
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            for batch in parquet.iter_batches(ROWS_A_BATCH, row_groups=[group], columns=list(_NAMES)):
                yield batch.cast(ENVELOPE)
    except pa.ArrowException as error:
        raise DataError(f"a part is not a readable Parquet file of {_NAMES}: {error}") from error


def count_rows(
    parts: Sequence[Part],
    intervals: Sequence[Interval],
    open_read: Callable[[str], AbstractContextManager[BinaryIO]],
) -> list[int]:
    """How many of the parts' rows lie in each interval.

    A part that lies inside of one interval, or outside of all, is not read; of the others the column EVENT_TIME is,
    batch by batch.  The intervals do not overlap.
    """
    counts = [0] * len(intervals)
    for part in parts:
        low, high = micros(part.min_event_time), micros(part.max_event_time)
        near = _near(intervals, low, high)
        if not near:
            continue
        if _holds_all(intervals[near[0]], low, high):
            counts[near[0]] += part.rows
            continue
        with open_read(part.path) as file:
            for times in _iter_times(file):
                for number in _near(intervals, *min_max(times)):
                    counts[number] += _inside(times, intervals[number])
    return counts


def _near(intervals: Sequence[Interval], low: int, high: int) -> list[int]:
    """Numbers of the intervals that may hold a time between `low` and `high`, both included."""
    return [n for n, i in enumerate(intervals) if micros(i.start) <= high and low < micros(i.end)]


def _holds_all(interval: Interval, low: int, high: int) -> bool:
    return micros(interval.start) <= low and high < micros(interval.end)


def _inside(times: pa.Array, interval: Interval) -> int:
    inside = pc.and_(pc.greater_equal(times, micros(interval.start)), pc.less(times, micros(interval.end)))
    return int(pc.sum(inside, min_count=0).as_py())


def _iter_times(file: BinaryIO) -> Iterator[pa.Array]:
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS_A_BATCH, columns=["EVENT_TIME"]):
            if batch.num_rows:
                yield batch.column("EVENT_TIME").cast(pa.int64())
    except pa.ArrowException as error:
        raise DataError(f"a part is not a readable Parquet file of {_NAMES}: {error}") from error


def _record(batch: pa.RecordBatch, row: int) -> str:
    return repr(batch.column("RECORD_ID")[row].as_py())


def _shape(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}{'' if f.nullable else ' not null'}" for f in schema)
