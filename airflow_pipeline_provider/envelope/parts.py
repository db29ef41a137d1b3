"""Validate rows and write them to part files; verify, count and read part files.

A part file has row groups of at most `part_writer.ROW_GROUP_BYTES` uncompressed bytes. Its footer contains the
smallest and the largest EVENT_TIME, so that they can be verified without reading the rows.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
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
from airflow_pipeline_provider.envelope.field_kinds import FieldKinds
from airflow_pipeline_provider.envelope.limits import NO_LIMITS, TargetLimits
from airflow_pipeline_provider.envelope.manifest import Part
from airflow_pipeline_provider.envelope.part_writer import (
    OpenWrite,
    PartWriter,
    from_micros,
    micros,
    min_max,
)
from airflow_pipeline_provider.envelope.rejections import rejections, split
from airflow_pipeline_provider.envelope.schema import ENVELOPE, QUARANTINE
from airflow_pipeline_provider.exceptions import DataError

ROWS_PER_BATCH = 10_000  # when parts are read
BLOCK_BYTES = 2**20
_HASHES_KEPT = 1_000

_NAMES = tuple(ENVELOPE.names)


class Written(NamedTuple):
    """Files of one call: `parts` to load, and `quarantined` rows that the target cannot accept."""

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
    fields: FieldKinds | None = None,
    compression: Literal["zstd", "lz4"] = "zstd",
) -> Written:
    """Write the batches of slice `index` as parts `<folder>/part-<index>-<n>-<unique>.parquet`.

    A new part starts when the compressed size reaches `part_bytes`; without rows there is no part. `<unique>` differs
    between calls. `writers` is the number of concurrent writers that share the memory for rows.

    For a row that exceeds the target's `limits`, raise DataError, or with `on_reject="quarantine"` write it with its
    REASON to `<folder>/quarantine-<index>-<n>-<unique>.parquet`. For a row outside the interval, a row with a missing
    value or a batch with another schema, always raise DataError: these are faults of the source connector.

    `fields` gathers the fields of all documents, quarantined ones included. `compression` is `stage.compression`;
    readers find the codec in each file, so parts of both may be in one window.

    After an error the current part is not published. Parts completed before it are, but no receipt lists them.
    """
    unique = uuid4().hex
    options = part_bytes, writers, compression
    load = PartWriter(open_write, f"{folder}/part-{index}", unique, ENVELOPE, *options)
    keep = PartWriter(open_write, f"{folder}/quarantine-{index}", unique, QUARANTINE, *options)
    with load, keep:
        for batch in batches:
            _check(batch, interval)
            if fields is not None:
                fields.add(batch)
            rejected = rejections(batch, limits)
            if not rejected:
                load.add(batch)
                continue
            if on_reject == "fail":
                raise _rejected_error(batch, rejected)
            accepted, quarantined = split(batch, rejected)
            load.add(accepted)
            keep.add(quarantined)
    return Written(load.parts, keep.parts)


def _rejected_error(batch: pa.RecordBatch, rejected: dict[int, str]) -> DataError:
    row, reason = next(iter(rejected.items()))
    return DataError(
        f"record {_record(batch, row)}: {reason}; correct the document at the source, or set audit.on_reject to "
        "quarantine to load the other documents without it"
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
                f"record {_record(batch, row)}: {name} is missing, but every row needs all of {_NAMES}; this is a "
                "fault of the source connector, so the row is not quarantined: correct the connector"
            )
    times = batch.column("EVENT_TIME")
    low, high = micros(interval.start), micros(interval.end)
    smallest, largest = min_max(times)
    if smallest < low or largest >= high:
        epochs = times.cast(pa.int64())
        outside = pc.or_(pc.less(epochs, low), pc.greater_equal(epochs, high))
        row = pc.index(outside, True).as_py()
        raise DataError(
            f"record {_record(batch, row)}: its event time {iso_utc(from_micros(epochs[row].as_py()))} is outside "
            f"{interval}, although the source was asked for this interval only, so the row is not quarantined: "
            "check time_field and its mapping in the source"
        )


def verify_part(part: Part, file: BinaryIO, size: int | None) -> None:
    """Raise DataError with every difference between the file and its entry in the receipt.

    `size` is the file's size in the stage, None if the file is missing. The whole file is read once, to compute its
    hash; of a file from a version that stored no hash, only the footer is read.
    """
    if size is None:
        raise DataError(f"part {part.path}: the file is missing; extract the window again")
    differences = []
    if size != part.bytes:
        differences.append(f"size: expected {counted(part.bytes, 'byte')}, got {size:,}")
    elif part.sha256 is not None and (sha256 := _sha256(file)) != part.sha256:
        differences.append(f"content: expected the sha256 {part.sha256}, got {sha256}")
    if differences:
        raise _changed_error(part, differences)
    try:
        metadata = pq.read_metadata(file)
        rows, smallest, largest = _footer(metadata)
    except (pa.ArrowException, KeyError, ValueError) as error:
        differences.append(f"footer: expected a Parquet file of {_NAMES}, got {error}")
    else:
        if rows != part.rows:
            differences.append(f"rows: expected {part.rows:,}, got {rows:,}")
        for name, expected, found in (
            ("smallest EVENT_TIME", part.min_event_time, smallest),
            ("largest EVENT_TIME", part.max_event_time, largest),
        ):
            if found != expected:
                got = iso_utc(found) if found else "none"
                differences.append(f"{name}: expected {iso_utc(expected)}, got {got}")
    if differences:
        raise _changed_error(part, differences)


def _changed_error(part: Part, differences: Sequence[str]) -> DataError:
    return DataError(
        f"part {part.path} changed after it was extracted ({'; '.join(differences)}); extract the window again, and "
        "find the process that writes to the stage"
    )


def _sha256(file: BinaryIO) -> str:
    """Return the SHA-256 of the whole file, and seek to its start."""
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def _footer(metadata: pq.FileMetaData) -> tuple[int, datetime | None, datetime | None]:
    """Return the rows, and the smallest and largest EVENT_TIME (None without statistics).

    Raise KeyError if a column is missing.
    """
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

    Row groups are read one by one: across groups, `iter_batches` fills each batch up to its number of rows, which is
    gigabytes if documents are large and compress well. Raise DataError if the file is not a readable part.
    """
    try:
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            for batch in parquet.iter_batches(ROWS_PER_BATCH, row_groups=[group], columns=list(_NAMES)):
                yield batch.cast(ENVELOPE)
    except pa.ArrowException as error:
        raise _unreadable(error) from error


def iter_parts(
    parts: Sequence[Part], open_read: Callable[[str], AbstractContextManager[BinaryIO]]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all parts in batches of `ENVELOPE`; memory is bounded by a row group of a part."""
    for part in parts:
        with open_read(part.path) as file:
            yield from iter_part(file)


def count_rows(
    parts: Sequence[Part],
    intervals: Sequence[Interval],
    open_read: Callable[[str], AbstractContextManager[BinaryIO]],
) -> list[int]:
    """Count the rows of the parts in each interval; the intervals must not overlap.

    A part inside one interval, or outside all, is not read. Of other parts, the column EVENT_TIME is read batch by
    batch.
    """
    counts = [0] * len(intervals)
    for part in parts:
        low, high = micros(part.min_event_time), micros(part.max_event_time)
        touched = _overlapping(intervals, low, high)
        if not touched:
            continue
        if _contains(intervals[touched[0]], low, high):
            counts[touched[0]] += part.rows
            continue
        with open_read(part.path) as file:
            for times in _iter_times(file):
                for number in _overlapping(intervals, *min_max(times)):
                    counts[number] += _count_inside(times, intervals[number])
    return counts


def _overlapping(intervals: Sequence[Interval], low: int, high: int) -> list[int]:
    """Return the indexes of the intervals that overlap the range from `low` to `high`, both included."""
    return [n for n, i in enumerate(intervals) if micros(i.start) <= high and low < micros(i.end)]


def _contains(interval: Interval, low: int, high: int) -> bool:
    return micros(interval.start) <= low and high < micros(interval.end)


def _count_inside(times: pa.Array, interval: Interval) -> int:
    inside = pc.and_(pc.greater_equal(times, micros(interval.start)), pc.less(times, micros(interval.end)))
    return int(pc.sum(inside, min_count=0).as_py())


def _iter_times(file: BinaryIO) -> Iterator[pa.Array]:
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS_PER_BATCH, columns=["EVENT_TIME"]):
            if batch.num_rows:
                yield batch.column("EVENT_TIME").cast(pa.int64())
    except pa.ArrowException as error:
        raise _unreadable(error) from error


def _unreadable(error: pa.ArrowException) -> DataError:
    return DataError(f"a part is not a readable Parquet file of {_NAMES}: {error}; extract the window again")


def _record(batch: pa.RecordBatch, row: int) -> str:
    return repr(batch.column("RECORD_ID")[row].as_py())


def _shape(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} {f.type}{'' if f.nullable else ' not null'}" for f in schema)


def repeated_ids(
    parts: Sequence[Part], open_read: Callable[[str], AbstractContextManager[BinaryIO]], most: int = 5
) -> list[str]:
    """Return up to `most` record ids that several rows of the parts share, sorted.

    Read the column RECORD_ID twice, batch by batch. Memory holds eight bytes per row and the ids whose hashes repeat.
    """
    hashes = array("q")
    for ids in _iter_ids(parts, open_read):
        hashes.extend(map(hash, ids))
    column = pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])
    tally = pc.value_counts(column)
    repeated = tally.filter(pc.greater(tally.field("counts"), 1)).field("values")[:_HASHES_KEPT]
    wanted = set(repeated.to_pylist())
    seen = Counter(one for ids in _iter_ids(parts, open_read) for one in ids if hash(one) in wanted)
    return sorted(one for one, rows in seen.items() if rows > 1)[:most]


def _iter_ids(
    parts: Sequence[Part], open_read: Callable[[str], AbstractContextManager[BinaryIO]]
) -> Iterator[list[str]]:
    for part in parts:
        with open_read(part.path) as file:
            for batch in pq.ParquetFile(file).iter_batches(ROWS_PER_BATCH, columns=["RECORD_ID"]):
                yield batch.column(0).to_pylist()
