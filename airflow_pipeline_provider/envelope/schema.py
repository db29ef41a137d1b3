"""Define the columns of every row, from source to target, and build them from the buffers of Python values.

============ ======================== =========================================================
RECORD_ID    string                   unique in the source (Elasticsearch: ``_index/_id``)
EVENT_TIME   timestamp(us, UTC)       truncated to microseconds, never rounded
SOURCE_NAME  string                   origin of the row (Elasticsearch: the index)
BODY         string                   the document as JSON text, byte for byte as in the source
============ ======================== =========================================================

`pa.array` and `pa.scalar` build columns too, but import pandas where it is installed: 60 MB and half a second of CPU
for each task of a pipeline.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ENVELOPE = pa.schema(
    [
        pa.field("RECORD_ID", pa.string(), nullable=False),
        pa.field("EVENT_TIME", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("SOURCE_NAME", pa.string(), nullable=False),
        pa.field("BODY", pa.string(), nullable=False),
    ]
)

IDS = pa.schema([ENVELOPE.field("RECORD_ID"), ENVELOPE.field("EVENT_TIME")])
"""Columns of a row that is only compared by its id and time."""

QUARANTINE = ENVELOPE.append(pa.field("REASON", pa.string(), nullable=False))
"""Columns of a row that the target cannot accept: all of its values, and the reason."""


_INSTANT = pa.timestamp("us", tz="UTC")


def utf8(values: Sequence[object]) -> pa.StringArray:
    """Return a string column of bytes-like values, copied once.

    Raise pa.ArrowInvalid if they are not UTF-8, or have more than 2 GiB together.
    """
    column = _variable(values, pa.string())
    column.validate(full=True)
    return column


def text(values: Iterable[str]) -> pa.StringArray:
    """Return a string column; raise UnicodeEncodeError for a lone surrogate."""
    values = list(values)
    joined = "".join(values)
    if joined.isascii():  # faster: one call encodes all values
        return _column(map(len, values), joined.encode(), pa.string())
    return _variable([value.encode() for value in values], pa.string())


def binary(values: Sequence[object]) -> pa.BinaryArray:
    """Return a binary column of bytes-like values, copied once."""
    return _variable(values, pa.binary())


def integers(values: Iterable[int]) -> pa.Int64Array:
    """Return an int64 column; raise OverflowError beyond 64 bits."""
    return _numbers(array("q", values), pa.int64())


def instants(micros: Iterable[int]) -> pa.TimestampArray:
    """Return a timestamp column of microseconds since 1970, in UTC."""
    return integers(micros).view(_INSTANT)


def integer_scalar(value: int) -> pa.Int64Scalar:
    """Return an argument for a kernel, which would convert a Python number by `pa.scalar`."""
    return integers([value])[0]


def binary_scalar(value: bytes) -> pa.BinaryScalar:
    """Return an argument for a kernel, like `integer_scalar`."""
    return binary([value])[0]


def _variable(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    data = (
        values[0] if len(values) == 1 else b"".join(values)
    )  # a single value, possibly large, is not copied
    return _column(map(len, values), data, kind)


def _column(lengths: Iterable[int], data: object, kind: pa.DataType) -> pa.Array:
    sizes = array("i", [0, *lengths])  # much faster from a list than from an iterator
    offsets = pc.cumulative_sum_checked(_numbers(sizes, pa.int32()))
    return pa.Array.from_buffers(kind, len(sizes) - 1, [None, offsets.buffers()[1], pa.py_buffer(data)])


def _numbers(values: array[int], kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
