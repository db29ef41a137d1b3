"""A page of hits to a batch of the envelope by spans.c, which is compiled on first use.

ctypes releases Python's lock while C code runs, so the whole page is scanned and copied outside of it.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from airflow_pipeline_provider.connectors.elasticsearch.pages import decode_page
from airflow_pipeline_provider.envelope.schema import ENVELOPE

CODE = Path(__file__).with_name("spans.c")
MOST_HITS = 10_000

_BUFFERS = ("bodies", "names", "indices", "body_ends", "name_ends", "index_ends", "millis")


class Columns(ctypes.Structure):
    """`Columns` of spans.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _BUFFERS),
        *((name, ctypes.c_int64) for name in ("capacity", "first", "last", "sort_first", "sort_last")),
    )


@cache
def library() -> ctypes.CDLL:
    """Compile spans.c and load it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spans.so"
        command = [os.environ.get("CC", "cc"), "-O3", "-shared", "-fPIC", "-o", str(path), str(CODE)]
        subprocess.run(command, check=True)
        loaded = ctypes.CDLL(str(path))
    loaded.scan.restype = ctypes.c_int64
    loaded.scan.argtypes = (
        ctypes.c_char_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_int64, ctypes.POINTER(Columns),
    )  # fmt: skip
    return loaded


def to_batch(page: bytes, time_field: str, hits: int = MOST_HITS) -> pa.RecordBatch | None:
    """Return the batch that `pages.to_batch` returns; None for a page that spans.c does not understand.

    `hits` is the most that the page can hold.
    """
    prefix = f'{{{json.dumps(time_field, ensure_ascii=False)}:["'.encode()
    sizes = (len(page), len(page), len(page), *[4 * (hits + 1)] * 3, 8 * hits)
    made = {name: pa.allocate_buffer(size) for name, size in zip(_BUFFERS, sizes, strict=True)}
    columns = Columns(**{name: buffer.address for name, buffer in made.items()}, capacity=hits)
    rows = library().scan(page, len(page), prefix, len(prefix), ctypes.byref(columns))
    if rows < 0:
        return None
    decode_page(page[: columns.first] + page[columns.last :], "page")  # whether it is complete
    millis = pa.Array.from_buffers(pa.timestamp("ms", tz="UTC"), rows, [None, made["millis"]])
    texts = [
        pa.Array.from_buffers(pa.string(), rows, [None, made[ends], made[data]])
        for ends, data in (
            ("name_ends", "names"),
            ("index_ends", "indices"),
            ("body_ends", "bodies"),
        )
    ]
    for text in texts:
        text.validate(full=True)  # UTF-8
    arrays: list[Any] = [texts[0], millis.cast(pa.timestamp("us", tz="UTC")), *texts[1:]]
    return pa.record_batch(arrays, schema=ENVELOPE)
