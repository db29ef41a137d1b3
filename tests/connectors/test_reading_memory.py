"""Every path that reads parts is bounded by bytes: 250 documents of 1 MB in a file of some kilobytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import BinaryIO

import pyarrow as pa
import pytest

from airflow_pipeline_provider.connectors.postgres.copy import CHUNK_BYTES, copy_rows, copy_stream
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.manifest import Part
from airflow_pipeline_provider.envelope.part_writer import ROW_GROUP_BYTES
from airflow_pipeline_provider.envelope.parts import count_rows, iter_part, repeated_ids, write_parts
from airflow_pipeline_provider.envelope.schema import ENVELOPE

START = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
WINDOW = Interval(START, START + timedelta(hours=2))
DOCUMENTS = 250
MEGABYTE = 1_000_000
FEW_GROUPS = 6 * ROW_GROUP_BYTES  # less than half of the documents
Staged = tuple[Part, bytes]


@pytest.fixture(scope="module")
def staged() -> Staged:
    files = {}

    @contextmanager
    def open_write(path: str) -> Iterator[BinaryIO]:
        buffer = io.BytesIO()
        yield buffer
        files[path] = buffer.getvalue()

    def batches() -> Iterator[pa.RecordBatch]:
        for n in range(DOCUMENTS):
            key, body = f"{n % 249}{'k' * 100_000}", f'{{"n":{n},"t":"{"x" * MEGABYTE}"}}'
            columns = ([key], [START + timedelta(seconds=n)], ["flights"], [body])
            arrays = [pa.array(values, one.type) for values, one in zip(columns, ENVELOPE, strict=True)]
            yield pa.record_batch(arrays, schema=ENVELOPE)

    written = write_parts(
        batches(), open_write=open_write, folder="f", index=0, interval=WINDOW, part_bytes=128 * MEGABYTE
    )
    [part] = written.parts
    assert part.bytes < MEGABYTE
    return part, files[part.path]


def copied(part: Part, data: bytes) -> int:
    stamps = ("flights", WINDOW.start, WINDOW.end, 1, START)
    with io.BytesIO(data) as file:
        sizes = [len(chunk) for chunk in copy_stream(copy_rows(iter_part(file), stamps))]
    assert max(sizes) <= CHUNK_BYTES
    return sum(sizes) // MEGABYTE - 25  # the keys


def counted(part: Part, data: bytes) -> int:
    half = Interval(START, START + timedelta(seconds=DOCUMENTS // 2))
    rest = Interval(half.end, WINDOW.end)
    return sum(count_rows([part], [half, rest], lambda path: io.BytesIO(data)))


def repeated(part: Part, data: bytes) -> int:
    found = repeated_ids([part], lambda path: io.BytesIO(data))
    assert [name[:2] for name in found] == ["0k"]
    return DOCUMENTS


@pytest.mark.parametrize("read", [copied, counted, repeated])
def test_memory_is_bounded_by_bytes(staged: Staged, read: Callable[[Part, bytes], int]) -> None:
    part, data = staged
    usual = pa.default_memory_pool()
    watched = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(watched)
    try:
        assert read(part, data) == DOCUMENTS
    finally:
        pa.set_memory_pool(usual)
    assert 0 < (watched.max_memory() or 0) < FEW_GROUPS
