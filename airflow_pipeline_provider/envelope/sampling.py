"""Read some documents of a part file, spread over its row groups, without reading the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_pipeline_provider.exceptions import DataError

MOST_GROUPS = 4  # row groups of one part; each is decompressed as a whole


def sample_bodies(file: BinaryIO, rows: int) -> Iterator[bytes]:
    """Yield up to `rows` documents of the part, at even distances; raise DataError if it is not a readable part."""
    try:
        parquet = pq.ParquetFile(file)
        groups = evenly(parquet.num_row_groups, min(MOST_GROUPS, max(1, rows)))
        for number, group in enumerate(groups):
            wanted = rows * (number + 1) // len(groups) - rows * number // len(groups)
            bodies = parquet.read_row_group(group, columns=["BODY"]).column("BODY")
            for row in evenly(len(bodies), wanted):
                yield bodies[row].as_py().encode()
    except (pa.ArrowException, KeyError) as error:
        raise DataError(f"a part is not a readable Parquet file with the column BODY: {error}") from error


def evenly(number: int, wanted: int) -> list[int]:
    """Return up to `wanted` of the numbers from 0 to `number` - 1, at even distances, the last one included."""
    if wanted <= 0:
        return []
    if number <= wanted:
        return list(range(number))
    return [(n + 1) * number // wanted - 1 for n in range(wanted)]
