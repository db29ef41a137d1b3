"""What is known of the rows of a COPY when they were sent: whether ids are distinct, and times in the window."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.part_writer import micros, min_max
from airflow_pipeline_provider.envelope.schema import integer_scalar

MOST_ROWS = 8_000_000  # hashes that are kept, 64 MB; the rows of a larger load are counted in the table
_ROWS_AT_ONCE = 2**18  # hashes that are compared at once, which needs some 10 MB more


class SentRows:
    """The rows that pass through `watch`.

    Of each record id a 64-bit hash is kept.  Different hashes prove different ids; equal ones prove nothing, so ids
    of which two have the same hash are not reported as distinct.
    """

    def __init__(self, interval: Interval) -> None:
        self.rows = 0
        self._hashes = array("q")
        self._low, self._high = micros(interval.start), micros(interval.end)
        self._all_inside = True

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches unchanged, and keep what their rows prove."""
        for batch in batches:
            if batch.num_rows:
                self._add(batch)
            yield batch

    def are_distinct_inside(self) -> bool:
        """Return whether all record ids are proven to be distinct, and all times to be in the window."""
        if not self._all_inside or len(self._hashes) != self.rows:
            return False
        hashes = pa.Array.from_buffers(pa.int64(), self.rows, [None, pa.py_buffer(self._hashes)])
        return all(len(pc.unique(group)) == len(group) for group in _by_their_lowest_bits(hashes))

    def _add(self, batch: pa.RecordBatch) -> None:
        smallest, largest = min_max(batch.column("EVENT_TIME"))
        self._all_inside &= self._low <= smallest and largest < self._high
        self.rows += batch.num_rows
        if self.rows > MOST_ROWS:
            self._hashes = array("q")
        else:
            # the bytes, as the server stores them; Python hashes them with a secret key
            self._hashes.extend(map(hash, batch.column("RECORD_ID").cast(pa.binary()).to_pylist()))


def _by_their_lowest_bits(hashes: pa.Array) -> Iterator[pa.Array]:
    """Yield all hashes, in groups of about `_ROWS_AT_ONCE`, of which no two have a hash in common."""
    groups = 1
    while groups * _ROWS_AT_ONCE < len(hashes):
        groups *= 2
    if groups == 1:
        yield hashes
        return
    bits = pc.bit_wise_and(hashes, integer_scalar(groups - 1))
    for group in range(groups):
        yield hashes.filter(pc.equal(bits, integer_scalar(group)))
