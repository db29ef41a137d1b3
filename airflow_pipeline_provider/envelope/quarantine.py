"""Read the files of quarantined rows: record id, event time and reason of each row, and on demand its document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.manifest import Part
from airflow_pipeline_provider.envelope.part_writer import from_micros
from airflow_pipeline_provider.exceptions import DataError

ROWS_PER_BATCH = 10_000
ROWS_WITH_BODY = 16  # a document may have hundreds of megabytes
_COLUMNS = ("RECORD_ID", "EVENT_TIME", "REASON")

OpenRead = Callable[[str], AbstractContextManager[BinaryIO]]


class RejectedRow(NamedTuple):
    r"""A row of a file of quarantined rows; `record_id` has the six characters `\u0000` for each NUL character.

    `body` is None where it was not asked for.
    """

    record_id: str
    event_time: datetime
    reason: str
    body: str | None = None


def iter_rejected(
    parts: Sequence[Part], pieces: Sequence[Interval], open_read: OpenRead
) -> Iterator[tuple[Part, RejectedRow]]:
    """Yield the rows of the files that are in one of the intervals, without their documents."""
    for part in parts:
        with open_read(part.path) as file:
            for row in read_rejected(file):
                if any(piece.holds(row.event_time) for piece in pieces):
                    yield part, row


def read_rejected(file: BinaryIO, *, with_body: bool = False) -> Iterator[RejectedRow]:
    """Yield the rows of one file; raise DataError if it is not a readable file of quarantined rows.

    Documents are read only with `with_body`, a few at a time.
    """
    columns = [*_COLUMNS, *(["BODY"] if with_body else [])]
    try:
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            size = ROWS_WITH_BODY if with_body else ROWS_PER_BATCH
            for batch in parquet.iter_batches(size, row_groups=[group], columns=columns):
                yield from _rows(batch)
    except (pa.ArrowException, KeyError) as error:
        raise DataError(
            f"a file of quarantined rows is not a readable Parquet file of {', '.join(columns)}: {error}; load the "
            "window again"
        ) from error


def _rows(batch: pa.RecordBatch) -> Iterator[RejectedRow]:
    times = batch.column("EVENT_TIME").cast(pa.int64()).to_pylist()
    ids, reasons = batch.column("RECORD_ID").to_pylist(), batch.column("REASON").to_pylist()
    bodies = batch.column("BODY").to_pylist() if "BODY" in batch.schema.names else [None] * batch.num_rows
    for record_id, time, reason, body in zip(ids, times, reasons, bodies, strict=True):
        yield RejectedRow(record_id.replace("\0", r"\u0000"), from_micros(time), reason, body)
