"""`python -m benchmarks.staged FOLDER DOCS`: a window's parts and their manifest, as extract and stage leave them.

FOLDER/stage holds the parts, FOLDER/manifest.json the manifest, and FOLDER/rows.copy the same rows rendered for
PostgreSQL's binary COPY, stamps included.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from airflow_pipeline_provider.connectors.postgres.copy import copy_rows, copy_stream
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.envelope.parts import iter_part, write_parts
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from benchmarks.documents import SAME_TIME, START, START_MILLIS, Lines, interval

ROWS_A_BATCH = 10_000
PART_BYTES = 128_000_000
PIPELINE, TOKEN, INDEX = "bench", 1, "bench"


def batches(docs: int) -> Iterator[pa.RecordBatch]:
    lines = Lines(lambda number, _, source: number + b"\t" + source + b"\n")
    for first in range(0, docs, ROWS_A_BATCH):
        text = b"".join(lines.write(first, min(ROWS_A_BATCH, docs - first))).decode()
        rows = [line.partition("\t") for line in text.splitlines()]
        passed = (int(number) - START_MILLIS for number, _, _ in rows)
        times = [START + timedelta(milliseconds=millis - millis % SAME_TIME) for millis in passed]
        yield pa.record_batch(
            [
                pa.array([f"{INDEX}/log-{number}" for number, _, _ in rows], pa.string()),
                pa.array(times, pa.timestamp("us", tz="UTC")),
                pa.array([INDEX] * len(rows), pa.string()),
                pa.array([source for _, _, source in rows], pa.string()),
            ],
            schema=ENVELOPE,
        )


def build(folder: Path, docs: int) -> None:
    stage, window = folder / "stage", Interval(*interval(docs))

    @contextmanager
    def open_write(path: str) -> Iterator[BinaryIO]:
        with (stage / path).open("wb") as file:
            yield file

    (stage / "parts").mkdir(parents=True)
    written = write_parts(
        batches(docs), open_write=open_write, folder="parts", index=0, interval=window, part_bytes=PART_BYTES
    )
    manifest = Manifest(PIPELINE, window, "attempt", TOKEN, parts=tuple(written.parts))
    with (folder / "rows.copy").open("wb") as rendered:
        stamps = (PIPELINE, window.start, window.end, TOKEN, window.end)
        rendered.writelines(copy_stream(copy_rows(_read(stage, manifest), stamps)))
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    size = sum(len(column) for column in _read_bodies(stage, manifest))
    (folder / "facts.json").write_text(json.dumps({"rows": manifest.rows, "document_bytes": size}))


def _read(stage: Path, manifest: Manifest) -> Iterator[pa.RecordBatch]:
    for part in manifest.parts:
        with (stage / part.path).open("rb") as file:
            yield from iter_part(file)


def _read_bodies(stage: Path, manifest: Manifest) -> Iterator[memoryview]:
    for batch in _read(stage, manifest):
        yield memoryview(batch.column("BODY").buffers()[2])


if __name__ == "__main__":
    build(Path(sys.argv[1]), int(sys.argv[2]))
