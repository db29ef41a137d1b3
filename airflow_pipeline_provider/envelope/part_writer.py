"""Write row batches to compressed Parquet files of limited size, in bounded memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_pipeline_provider.envelope.manifest import Part

ROW_GROUP_BYTES = 16 * 2**20  # uncompressed, shared by all concurrent writers, so that memory is bounded

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_LEVELS = {"zstd": 1, "lz4": None}  # None: the codec's only one

OpenWrite = Callable[[str], AbstractContextManager[BinaryIO]]


class PartWriter:
    """Write files `<prefix>-<n>-<unique>.parquet`; use it as a context manager, after which `parts` is complete.

    Without rows no file is written. `writers` is the number of concurrent writers that share the memory. If the block
    raises, the current file is not published; files completed before it are, but no receipt lists them.
    """

    def __init__(
        self,
        open_write: OpenWrite,
        prefix: str,
        unique: str,
        schema: pa.Schema,
        part_bytes: int,
        writers: int = 1,
        compression: str = "zstd",
    ) -> None:
        self.parts: list[Part] = []
        self._open_write, self._prefix, self._unique = open_write, prefix, unique
        self._schema, self._part_bytes, self._compression = schema, part_bytes, compression
        self._bound = max(1, min(ROW_GROUP_BYTES // writers, part_bytes))
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._file: _PartFile | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Collect rows into groups of about `ROW_GROUP_BYTES` (more only for one larger row), and write them."""
        for piece in _split(batch, self._bound):
            if self._waiting and self._waiting_bytes + piece.nbytes > self._bound:
                self._write_group()
            self._waiting.append(piece)
            self._waiting_bytes += piece.nbytes

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._waiting:
                    self._write_group()
                self._finish()
        except BaseException as late:
            self._abandon(late)
            raise
        if error is not None:
            self._abandon(error)

    def _write_group(self) -> None:
        group = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting, self._waiting_bytes = [], 0
        if self._file is None:
            path = f"{self._prefix}-{len(self.parts)}-{self._unique}.parquet"
            self._file = _PartFile(path, self._open_write, self._schema, self._compression)
        self._file.write(group)
        if self._file.size >= self._part_bytes:
            self._finish()

    def _finish(self) -> None:
        if self._file is not None:
            self.parts.append(self._file.finish())
            self._file = None

    def _abandon(self, error: BaseException) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.abandon(error)


class _PartFile:
    """A file that is being written."""

    def __init__(self, path: str, open_write: OpenWrite, schema: pa.Schema, compression: str) -> None:
        self.path, self.rows = path, 0
        self._times: list[int] = []
        self._opened = ExitStack()
        self._file = self._opened.enter_context(open_write(path))
        self._sink = _Sink(self._file)
        try:
            # no statistics or dictionary of bodies: they would be copied into the footer
            self._writer = pq.ParquetWriter(
                self._sink,
                schema,
                compression=compression,
                compression_level=_LEVELS[compression],
                use_dictionary=["SOURCE_NAME"],
                write_statistics=["EVENT_TIME"],
            )
        except BaseException as error:  # the constructor already writes to the file
            self._opened.__exit__(type(error), error, error.__traceback__)
            raise

    @property
    def size(self) -> int:
        """Return the bytes written so far."""
        return self._sink.written

    def write(self, group: pa.Table) -> None:
        self._writer.write_table(group, row_group_size=group.num_rows)
        self.rows += group.num_rows
        self._times.extend(min_max(group.column("EVENT_TIME")))

    def finish(self) -> Part:
        """Publish the file."""
        self._writer.close()
        self._opened.close()
        return Part(
            self.path,
            self.rows,
            self.size,
            from_micros(min(self._times)),
            from_micros(max(self._times)),
            self._sink.content.hexdigest(),
            getattr(self._file, "upload", None),
        )

    def abandon(self, error: BaseException) -> None:
        """Pass the error to the stage, so that it does not publish the file."""
        # ParquetWriter writes a footer on close, which __del__ calls too
        self._sink.void = True
        try:
            self._writer.close()
        finally:
            self._opened.__exit__(type(error), error, error.__traceback__)


class _Sink(io.RawIOBase):
    """Count and hash the bytes of a part file; once `void` is set, discard further bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.written = 0
        self.content = hashlib.sha256()
        self.void = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.written

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if not self.void:
            self._file.write(data)
            self.content.update(data)
        self.written += size
        return size


def _split(batch: pa.RecordBatch, bound: int) -> Iterator[pa.RecordBatch]:
    """Yield slices of at most `bound` bytes, or of one row; halving suits rows of very different sizes."""
    if batch.num_rows <= 1 or batch.nbytes <= bound:
        if batch.num_rows:
            yield batch
        return
    half = batch.num_rows // 2
    yield from _split(batch.slice(0, half), bound)
    yield from _split(batch.slice(half), bound)


def min_max(times: object) -> tuple[int, int]:
    """Return the smallest and the largest EVENT_TIME of a column, in microseconds since 1970."""
    found = pc.min_max(times)
    return found["min"].cast(pa.int64()).as_py(), found["max"].cast(pa.int64()).as_py()


def micros(value: datetime) -> int:
    """Return the microseconds since 1970 of an aware datetime."""
    return (value - _EPOCH) // timedelta(microseconds=1)


def from_micros(value: int) -> datetime:
    """Return the UTC datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)
