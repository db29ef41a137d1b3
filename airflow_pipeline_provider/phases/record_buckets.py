"""Keep any number of rows in bounded memory, in buckets by their record ids, so that two sides can be compared.

A few rows stay in memory.  More go to a temporary file that has no name, so the operating system removes it even if
the process is killed.
"""

from __future__ import annotations

import errno
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import IO
from zlib import crc32

import msgspec

from airflow_pipeline_provider.core.comparison import Row
from airflow_pipeline_provider.exceptions import FatalError, TransientError

BUCKETS = 256
BUFFERED_ROWS = 50_000  # of one side, before they are written
BUFFERED_CHARACTERS = 8_000_000  # of their record ids
COMPARED_ROWS = 50_000  # of one side that are in memory at once, about

_LENGTH = 4  # bytes in front of a block, which hold its length


class RecordBuckets:
    """The rows of one side; close it to remove its file."""

    def __init__(self) -> None:
        self._waiting: list[list[Row]] = [[] for _ in range(BUCKETS)]
        self._sizes = [0] * BUCKETS
        self._blocks = [array("Q") for _ in range(BUCKETS)]
        self._rows = self._characters = 0
        self._file: IO[bytes] | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[tuple[str, int, bytes | None, bool]])

    def __enter__(self) -> RecordBuckets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file; may be called twice."""
        if self._file is not None:
            self._file.close()

    def size(self, bucket: int) -> int:
        """Return the number of rows of a bucket."""
        return self._sizes[bucket]

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows, and write all that wait once they are too many for the memory."""
        waiting, sizes = self._waiting, self._sizes
        for row in rows:
            record_id = row[0]
            bucket = _hash(record_id) % BUCKETS
            waiting[bucket].append(row)
            sizes[bucket] += 1
            self._rows += 1
            self._characters += len(record_id)
            if self._rows >= BUFFERED_ROWS or self._characters >= BUFFERED_CHARACTERS:
                self._write()

    def seal(self) -> None:
        """Write what still waits, if anything was written before: the memory is for the other side then."""
        if self._file is not None:
            self._write()

    def rows(self, bucket: int, part: int, parts: int) -> list[Row]:
        """Return the rows of one of the parts into which the record ids of a bucket are divided."""
        found: list[Row] = []
        for block in self._read(bucket):
            found += block if parts == 1 else (row for row in block if _part(row, parts) == part)
        return found

    def _read(self, bucket: int) -> Iterator[list[Row]]:
        if self._file is not None:
            for offset in self._blocks[bucket]:
                self._file.seek(offset)
                length = int.from_bytes(self._file.read(_LENGTH), "big")
                yield self._decoder.decode(self._file.read(length))
        yield self._waiting[bucket]

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="airflow-pipelines-diff-")  # noqa: SIM115
            self._file.seek(0, 2)
            for bucket, rows in enumerate(self._waiting):
                if rows:
                    block = self._encoder.encode(rows)
                    self._blocks[bucket].append(self._file.tell())
                    self._file.write(len(block).to_bytes(_LENGTH, "big") + block)
                    rows.clear()
            self._file.flush()
        except OSError as error:
            raise _no_room(error) from error
        self._rows = self._characters = 0


def _hash(record_id: str) -> int:
    """Return the same number in every process, so that records come in the same order each time."""
    return crc32(record_id.encode())


def _part(row: Row, parts: int) -> int:
    return (_hash(row[0]) // BUCKETS) % parts


def _no_room(error: OSError) -> FatalError | TransientError:
    kind = TransientError if error.errno in (errno.ENOSPC, errno.EDQUOT) else FatalError
    return kind(
        f"the temporary folder {tempfile.gettempdir()} cannot hold the record ids to compare "
        f"({error.strerror or error}): free space in it, or name another one in the environment variable TMPDIR"
    )


def paired(*sides: RecordBuckets) -> Iterator[list[list[Row]]]:
    """Yield the rows of all sides for one set of record ids after the other; each id is in one set."""
    for bucket in range(BUCKETS):
        parts = 1 + max(side.size(bucket) for side in sides) // COMPARED_ROWS
        for part in range(parts):
            yield [side.rows(bucket, part, parts) for side in sides]
