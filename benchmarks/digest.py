"""One number for a set of documents, whatever their order: `python -m benchmarks.digest FORMAT FOLDER`.

The sum of the hashes of (id, document), each document as its JSON value: key order, spaces and escapes do not matter.
Formats: `parquet` (ours), `dlt` (Parquet with the hit's columns), `hits` (NDJSON of hits, may be gzipped), and
`truth`, which needs no folder but the number of documents, and may be given their padding and shape.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from benchmarks.documents import Lines
from benchmarks.shapes import USUAL

Document = tuple[str, "bytes | str"]  # id, JSON


def digest(documents: Iterable[Document]) -> tuple[int, str, int]:
    """(rows, digest, bytes of the documents)"""
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder(order="deterministic").encode
    rows = total = size = 0
    for name, text in documents:
        value = blake2b(name.encode() + b"\0" + encode(decode(text)), digest_size=16)
        total += int.from_bytes(value.digest(), "big")
        rows += 1
        size += len(text)
    return rows, f"{total % 2**128:032x}", size


def truth(docs: int, padding: int = 0, shape: str = USUAL) -> Iterator[Document]:
    lines = Lines(lambda number, _, source: b"log-" + number + b"\t" + source + b"\n", shape, padding=padding)
    step = 1 if padding else 1000
    for first in range(0, docs, step):
        text = b"".join(lines.write(first, min(step, docs - first)))
        for line in text.splitlines():
            name, _, source = line.partition(b"\t")
            yield name.decode(), source


def from_parquet(folder: Path) -> Iterator[Document]:
    """Our parts; RECORD_ID is `<index>/<id>`."""
    for record, body in _columns(folder, ["RECORD_ID", "BODY"]):
        yield record.partition("/")[2], body


def from_dlt(folder: Path) -> Iterator[Document]:
    """The table `hits`, and none of dlt's own."""
    yield from _columns(folder, ["_id", "_source"], "hits/*.parquet")


def _columns(folder: Path, names: list[str], pattern: str = "*.parquet") -> Iterator[Document]:
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob(pattern)):
        if ".incomplete" in path.parts:
            continue
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=2000, columns=names):
                yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


class _Hit(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")


def from_hits(folder: Path) -> Iterator[Document]:
    decode = msgspec.json.Decoder(_Hit).decode
    for path in sorted(folder.rglob("*.json*")):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                hit = decode(line)
                yield hit.id, bytes(hit.source)


READERS = {"parquet": from_parquet, "dlt": from_dlt, "hits": from_hits}


def main(form: str, where: str, padding: str = "0", shape: str = USUAL) -> None:
    found = truth(int(where), int(padding), shape) if form == "truth" else READERS[form](Path(where))
    rows, value, size = digest(found)
    print(json.dumps({"rows": rows, "digest": value, "document_bytes": size}))


if __name__ == "__main__":
    main(*sys.argv[1:])
