"""Convert rows to PostgreSQL's binary COPY format, column by column, one piece ahead of the server.

Nothing in it is quoted or parsed: bodies arrive byte for byte, an empty text is not a NULL, and neither DateStyle nor
time zone matters.  A row is a count of fields, then each field's length and bytes, all big-endian:
https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from airflow_pipeline_provider.envelope.schema import binary_scalar, integer_scalar
from airflow_pipeline_provider.exceptions import DataError

CHUNK_BYTES = 2**20  # what is handed to the driver at once
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_BETWEEN_EPOCHS = (_POSTGRES_EPOCH - _UNIX_EPOCH) // timedelta(microseconds=1)
_TEXTS = ("RECORD_ID", "SOURCE_NAME", "BODY")


def copy_rows(
    batches: Iterable[pa.RecordBatch], stamps: Sequence[str | int | datetime]
) -> Generator[pa.Buffer, None, None]:
    """Yield the rows of each batch: the columns of the envelope, then `stamps`, the same for all.

    Raise DataError for a text with a NUL character, which PostgreSQL cannot store.
    """
    constant = b"".join(_field(value) for value in stamps)
    for batch in batches:
        if batch.num_rows:
            _refuse_nul(batch)
            yield _rows(batch, constant, fields=batch.num_columns + len(stamps))


def copy_stream(rows: Iterable[pa.Buffer]) -> Iterator[bytes]:
    """Yield the whole input of a `COPY ... (FORMAT BINARY)`, in chunks of at most `CHUNK_BYTES`."""
    yield HEADER
    for some in rows:
        for start in range(0, some.size, CHUNK_BYTES):
            yield some[start : start + CHUNK_BYTES].to_pybytes()
    yield TRAILER


def _rows(batch: pa.RecordBatch, constant: bytes, fields: int) -> pa.Buffer:
    ids, sources, bodies = (batch.column(name) for name in _TEXTS)
    times = pc.subtract(batch.column("EVENT_TIME").cast(pa.int64()), integer_scalar(_BETWEEN_EPOCHS))
    pieces = [
        binary_scalar(struct.pack(">h", fields)),
        *_sized(ids),
        binary_scalar(struct.pack(">i", 8)),
        _big_endian(times, "q"),
        *_sized(sources),
        *_sized(bodies),
        binary_scalar(constant),
        binary_scalar(b""),  # the last argument is the separator
    ]
    joined = pc.binary_join_element_wise(*pieces)
    first, last = _bounds(joined)
    return joined.buffers()[2][first:last]


def _sized(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    return _big_endian(pc.binary_length(column), "i"), column.cast(pa.binary())


def _big_endian(values: pa.Array, code: str) -> pa.Array:
    """Return integers (`i`: 4 bytes, `q`: 8 bytes) as byte strings."""
    swapped = array(code)
    width = swapped.itemsize
    start = values.offset * width
    swapped.frombytes(values.buffers()[1][start : start + len(values) * width])
    if sys.byteorder == "little":
        swapped.byteswap()
    fixed = pa.Array.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(swapped)])
    return fixed.cast(pa.binary())


def _bounds(column: pa.Array) -> tuple[int, int]:
    """Return the start and the end of the column's bytes in its data buffer."""
    offsets = pa.Array.from_buffers(
        pa.int32(), len(column) + 1, [None, column.buffers()[1]], offset=column.offset
    )
    return offsets[0].as_py(), offsets[len(column)].as_py()


def _refuse_nul(batch: pa.RecordBatch) -> None:
    for name in _TEXTS:
        column = batch.column(name)
        first, last = _bounds(column)
        # the copy and memchr are many times faster than a kernel that looks into each row
        if last > first and b"\0" in column.buffers()[2][first:last].to_pybytes():
            row = pc.index(pc.match_substring(column, "\0"), True).as_py()
            raise DataError(
                f"record {batch.column('RECORD_ID')[row].as_py()!r}: its {name} contains a NUL character, which "
                "PostgreSQL cannot store in a text (written as \\u0000 in a document's JSON it can): correct it at "
                "the source, then extract the window again"
            )


def _field(value: str | int | datetime) -> bytes:
    """Return a text, a bigint or a timestamptz (aware) with its length."""
    if isinstance(value, datetime):
        value = (value - _POSTGRES_EPOCH) // timedelta(microseconds=1)
    data: bytes = value.encode() if isinstance(value, str) else struct.pack(">q", value)
    return struct.pack(">i", len(data)) + data


T = TypeVar("T")


@contextmanager
def one_ahead(pieces: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """Yield the same pieces in the same order; an error is raised in place of its piece.

    Leaving the block waits for the piece that is being made, and closes the generator.
    """
    end = object()
    with closing(pieces), ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:

        def made() -> Iterator[T]:
            coming = pool.submit(next, pieces, end)
            while (piece := coming.result()) is not end:
                coming = pool.submit(next, pieces, end)
                yield piece  # type: ignore[misc]

        yield made()
