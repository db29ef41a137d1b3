"""What most people write: `elasticsearch.helpers.scan`, `json.dumps`, gzip; 10,000 documents a page."""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from benchmarks.contestants.timing import Timing
from benchmarks.documents import time_query


def write(url: str, index: str, docs: int, path: Path, page: int = 10_000) -> int:
    """Rows written."""
    client, rows = Elasticsearch(url, request_timeout=60), 0
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for hit in scan(client, index=index, query={"query": time_query(docs)}, size=page):
            file.write(json.dumps(hit, ensure_ascii=False))
            file.write("\n")
            rows += 1
    client.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--index", default="bench")
    parser.add_argument("--docs", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with Timing() as timing:
        rows = write(given.url, given.index, given.docs, given.out / "hits.json.gz")
    print(json.dumps({"rows": rows, **timing.figures}))


if __name__ == "__main__":
    main()
