"""Ways to find the fields of every document of a page, each as CPU nanoseconds a document.

`python -m benchmarks.columns.mechanisms` prints one JSON line.  Each way gets the documents as the
page decoder leaves them.  The smallest of `--repeats` is shown, since other processes disturb it least.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw, defstruct, field
from msgspec.json import Decoder

from airflow_pipeline_provider.connectors.elasticsearch.pages import page_decoder, to_batch
from airflow_pipeline_provider.envelope import field_kinds
from benchmarks.columns.contract import columns
from benchmarks.documents import Lines
from benchmarks.shapes import TIME_FIELD

DOCS = 10_000  # a page
HIT = b'{"_index":"bench","_id":"log-%b","_score":null,"_source":%b,"fields":{"@timestamp":["%b"]},"sort":[%b]},'
HEAD = b'{"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"hits":['


def ways() -> dict[str, Callable[[], Any]]:
    """Return each way by its name."""
    lines = Lines(lambda number, millis, source: HIT % (number, source, millis, number))
    page = HEAD + b"".join(lines.write(0, DOCS))[:-1] + b"]}}"
    hits = page_decoder().decode(page).hits.hits
    batch = to_batch(hits, TIME_FIELD)
    bodies, table = batch.column("BODY"), pa.table({"body": batch.column("BODY")})
    joined = b"[" + b",".join(hit.source for hit in hits) + b"]"
    top = sorted({key for hit in hits for key in Decoder(dict[str, Raw]).decode(hit.source)})
    raw = _decoder([(f"f{n}", Raw, field(name=key, default=None)) for n, key in enumerate(top)])
    scan = _decoder([])
    names = Decoder(list[dict[str, Raw]])
    database = duckdb.connect(config={"threads": 1})
    structures = "SELECT DISTINCT json_structure(body) FROM documents"
    database.register("documents", table)

    def gather(every: int) -> Callable[[], Any]:
        def run() -> None:
            field_kinds.EVERY, before = every, field_kinds.EVERY
            try:
                found = field_kinds.FieldKinds(columns())
                found._documents = field_kinds.ALL_UP_TO
                found.add(batch)
            finally:
                field_kinds.EVERY = before

        return run

    return {
        "decode the page (for comparison)": lambda: page_decoder().decode(page),
        "msgspec: scan each document, note nothing": lambda: scan.decode(joined),
        "msgspec: known names, values raw": lambda: raw.decode(joined),
        "msgspec: names and raw values": lambda: names.decode(joined),
        "msgspec: names, kinds, levels of the columns": gather(1),
        "pyarrow: a kernel that counts one character": lambda: pc.count_substring(bodies, "{"),
        "pyarrow: a regular expression (RE2) over each": lambda: pc.match_substring_regex(
            bodies, '"no such ke[y]":'
        ),
        "re: keys by a regular expression": lambda: set(re.findall(rb'[{,]"([^"\\]*)":', joined)),
        "DuckDB: json_structure": lambda: database.execute(structures).fetchall(),
        f"ours: one document in {field_kinds.EVERY}": gather(field_kinds.EVERY),
    }


def _decoder(fields: list[Any]) -> Decoder[Any]:
    return Decoder(list[defstruct("Document", fields, gc=False)])  # type: ignore[misc]


def measure(run: Callable[[], Any], repeats: int) -> float:
    """Return the CPU nanoseconds for each document."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken) / DOCS * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    found = {name: round(measure(run, given.repeats)) for name, run in ways().items()}
    print(json.dumps({"rows": DOCS, **found}))


if __name__ == "__main__":
    main()
