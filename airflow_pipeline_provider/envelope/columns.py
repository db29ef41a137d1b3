"""Arrow columns made of Python values by their buffers.

`pa.array` and `pa.scalar` do the same, and import pandas wherever it is installed: 60 MB and half a second of CPU for
each task of a pipeline.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa

_INSTANT = pa.timestamp("us", tz="UTC")


def utf8(values: Sequence[Any]) -> pa.StringArray:
    """Of bytes-like values, in one copy; pa.ArrowInvalid unless they are UTF-8, OverflowError beyond 2 GiB."""
    column = _variable(values, pa.string())
    column.validate(full=True)
    return column


def text(values: Iterable[str]) -> pa.StringArray:
    """UnicodeEncodeError for what UTF-8 cannot hold (half a surrogate pair)."""
    values = list(values)
    joined = "".join(values)
    if joined.isascii():  # one encoding for all
        return _column(map(len, values), joined.encode(), pa.string())
    return _variable([value.encode() for value in values], pa.string())


def binary(values: Sequence[Any]) -> pa.BinaryArray:
    """Of bytes-like values, in one copy."""
    return _variable(values, pa.binary())


def integers(values: Iterable[int]) -> pa.Int64Array:
    """OverflowError beyond 64 bits."""
    numbers = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def instants(micros: Iterable[int]) -> pa.TimestampArray:
    """Of microseconds since 1970, UTC."""
    return integers(micros).view(_INSTANT)


def integer(value: int) -> pa.Int64Scalar:
    """For kernels: a Python number there would become one by `pa.scalar`."""
    return integers([value])[0]


def piece(value: bytes) -> pa.BinaryScalar:
    """For kernels, like `integer`."""
    return binary([value])[0]


def _variable(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    data = values[0] if len(values) == 1 else b"".join(values)  # one that is large is not copied
    return _column(map(len, values), data, kind)


def _column(lengths: Iterable[int], data: Any, kind: pa.DataType) -> pa.Array:
    offsets = array("i", accumulate(lengths, initial=0))
    return pa.Array.from_buffers(kind, len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
