"""What most people write: `elasticsearch.helpers.scan`, `json.dumps`, gzip; 10,000 documents a page."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from benchmarks.contestants.arguments import parser
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
    given = parser(__doc__).parse_args()
    with Timing() as timing:
        rows = write(given.url, given.index, given.docs, given.out / "hits.json.gz")
    print(json.dumps({"rows": rows, **timing.figures}))


if __name__ == "__main__":
    main()
