"""Rows to part files and back: Parquet, zstd, in bounded memory.

A part holds row groups of at most `ROW_GROUP_BYTES` of uncompressed rows, and its footer holds the smallest
and the largest EVENT_TIME, so that it can be checked without reading the rows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.envelope.manifest import Part
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from airflow_pipeline_provider.exceptions import DataError

ROW_GROUP_BYTES = 16 * 2**20  # memory is flat: one group being written, one being gathered
ROWS_A_BATCH = 10_000  # when parts are read back

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NAMES = tuple(ENVELOPE.names)


class _Sink(io.RawIOBase):
    """Counts what goes into the part; once `void`, it swallows what the Parquet writer still has to say."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.written = 0
        self.void = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.written

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if not self.void:
            self._file.write(data)
        self.written += size
        return size


def write_parts(
    batches: Iterator[pa.RecordBatch],
    *,
    open_write: Callable[[str], AbstractContextManager[BinaryIO]],
    folder: str,
    index: int,
    interval: Interval,
    part_bytes: int,
    max_body_bytes: int | None,
) -> list[Part]:
    """Write the batches of slice `index` as parts `<folder>/part-<index>-<n>-<unique>.parquet`.

    A new part begins once the compressed size has reached `part_bytes`; no rows, no part.  `unique` differs
    from call to call.  DataError: a row outside of the interval, a body of more than `max_body_bytes` UTF-8
    bytes, a batch of another schema.  Whatever goes wrong, the part being written is not published (parts
    finished before it are; they belong to nobody until a receipt lists them).
    """
    unique = uuid4().hex
    groups = _row_groups(
        (_checked(batch, interval, max_body_bytes) for batch in batches),
        max(1, min(ROW_GROUP_BYTES, part_bytes)),
    )
    parts: list[Part] = []
    group = next(groups, None)
    while group is not None:
        path = f"{folder}/part-{index}-{len(parts)}-{unique}.parquet"
        with open_write(path) as file:
            part, group = _write_part(path, file, group, groups, part_bytes)
        parts.append(part)
    return parts


def _write_part(
    path: str, file: BinaryIO, group: pa.Table, groups: Iterator[pa.Table], part_bytes: int
) -> tuple[Part, pa.Table | None]:
    """Fill one file; also returns the first group of the next one."""
    sink = _Sink(file)
    # statistics and dictionaries only where they serve: bodies in the footer would make it as large as them
    writer = pq.ParquetWriter(
        sink,
        ENVELOPE,
        compression="zstd",
        compression_level=1,
        use_dictionary=["SOURCE_NAME"],
        write_statistics=["EVENT_TIME"],
    )
    rows = 0
    times: list[int] = []
    try:
        following: pa.Table | None = group
        while following is not None and (rows == 0 or sink.written < part_bytes):
            writer.write_table(following, row_group_size=following.num_rows)
            rows += following.num_rows
            times.extend(_min_max(following.column("EVENT_TIME")))
            following = next(groups, None)
        writer.close()
    except BaseException:
        sink.void = (
            True  # the writer writes a footer when it is closed, and it is closed at the latest by __del__
        )
        writer.close()
        raise
    return Part(path, rows, sink.written, _from_micros(min(times)), _from_micros(max(times))), following


def _row_groups(batches: Iterator[pa.RecordBatch], bound: int) -> Iterator[pa.Table]:
    """The same rows in the same order, in tables of about `bound` bytes (more only for a single huge row)."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        for piece in _split(batch, bound):
            if waiting and size + piece.nbytes > bound:
                yield pa.Table.from_batches(waiting, ENVELOPE)
                waiting, size = [], 0
            waiting.append(piece)
            size += piece.nbytes
    if waiting:
        yield pa.Table.from_batches(waiting, ENVELOPE)


def _split(batch: pa.RecordBatch, bound: int) -> Iterator[pa.RecordBatch]:
    """Halve until it fits: rows may be of very different sizes."""
    if batch.num_rows <= 1 or batch.nbytes <= bound:
        if batch.num_rows:
            yield batch
        return
    half = batch.num_rows // 2
    yield from _split(batch.slice(0, half), bound)
    yield from _split(batch.slice(half), bound)


def _checked(batch: pa.RecordBatch, interval: Interval, max_body_bytes: int | None) -> pa.RecordBatch:
    if not batch.schema.equals(ENVELOPE):
        raise DataError(f"rows: expected the columns {_shape(ENVELOPE)}, got {_shape(batch.schema)}")
    if not batch.num_rows:
        return batch
    for name in _NAMES:
        column = batch.column(name)
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise DataError(
                f"record {_record(batch, row)}: {name} is missing; every row needs all of {_NAMES}"
            )
    times = batch.column("EVENT_TIME")
    low, high = _micros(interval.start), _micros(interval.end)
    smallest, largest = _min_max(times)
    if smallest < low or largest >= high:
        micros = times.cast(pa.int64())
        outside = pc.or_(pc.less(micros, low), pc.greater_equal(micros, high))
        row = pc.index(outside, True).as_py()
        raise DataError(
            f"record {_record(batch, row)}: its event time {iso_utc(_from_micros(micros[row].as_py()))} lies "
            f"outside of {interval}; the source's time range and the time of its rows disagree"
        )
    if max_body_bytes is not None:
        lengths = pc.binary_length(batch.column("BODY"))
        if pc.max(lengths).as_py() > max_body_bytes:
            row = pc.index(pc.greater(lengths, max_body_bytes), True).as_py()
            raise DataError(
                f"record {_record(batch, row)}: its body has {lengths[row].as_py():,} bytes, the target takes "
                f"at most {max_body_bytes:,}; shorten the document at the source or load it elsewhere"
            )
    return batch


def verify_part(part: Part, file: BinaryIO, size: int | None) -> None:
    """DataError naming everything that differs between what the receipt says and the file.

    `size` is the file's size in the stage, None when it is not there.  Only the footer is read.
    """
    if size is None:
        raise DataError(f"part {part.path}: the file is gone; extract the window again")
    wrong = []
    if size != part.bytes:
        wrong.append(f"size: expected {part.bytes:,} bytes, got {size:,}")
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
        raise DataError(
            f"part {part.path} is not what was extracted ({'; '.join(wrong)}); extract the window again, and "
            "find out who else writes to the stage"
        )


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
    return metadata.num_rows, _from_micros(min(times)), _from_micros(max(times))


def iter_part(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The part's rows in batches of `ENVELOPE`; memory is bounded by a row group."""
    try:
        parquet = pq.ParquetFile(file)
        for batch in parquet.iter_batches(batch_size=ROWS_A_BATCH, columns=list(_NAMES)):
            yield batch.cast(ENVELOPE)
    except pa.ArrowException as error:
        raise DataError(f"a part is not a readable Parquet file of {_NAMES}: {error}") from error


def _min_max(column: Any) -> tuple[int, int]:
    found = pc.min_max(column.cast(pa.int64()))
    return found["min"].as_py(), found["max"].as_py()


def _record(batch: pa.RecordBatch, row: int) -> str:
    return repr(batch.column("RECORD_ID")[row].as_py())


def _shape(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}{'' if f.nullable else ' not null'}" for f in schema)


def _micros(value: datetime) -> int:
    return (value - _EPOCH) // timedelta(microseconds=1)


def _from_micros(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)
