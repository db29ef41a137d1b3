"""Find record ids that several rows of a manifest share, after a target counted fewer ids than rows."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_pipeline_provider.envelope.manifest import Part

_ROWS_PER_BATCH = 10_000
_HASHES_KEPT = 1_000


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
    counted = pc.value_counts(column)
    repeated = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")[:_HASHES_KEPT]
    wanted = set(repeated.to_pylist())
    seen = Counter(one for ids in _iter_ids(parts, open_read) for one in ids if hash(one) in wanted)
    return sorted(one for one, rows in seen.items() if rows > 1)[:most]


def _iter_ids(
    parts: Sequence[Part], open_read: Callable[[str], AbstractContextManager[BinaryIO]]
) -> Iterator[list[str]]:
    for part in parts:
        with open_read(part.path) as file:
            for batch in pq.ParquetFile(file).iter_batches(_ROWS_PER_BATCH, columns=["RECORD_ID"]):
                yield batch.column(0).to_pylist()
