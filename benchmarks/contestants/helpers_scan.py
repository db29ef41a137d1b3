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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--index", default="bench")
    parser.add_argument("--docs", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = 0
    with Timing() as timing:
        client = Elasticsearch(given.url, request_timeout=60)
        with gzip.open(given.out / "hits.json.gz", "wt", encoding="utf-8") as file:
            for hit in scan(client, index=given.index, query={"query": time_query(given.docs)}, size=10_000):
                file.write(json.dumps(hit, ensure_ascii=False))
                file.write("\n")
                rows += 1
        client.close()
    print(json.dumps({"rows": rows, **timing.figures}))


if __name__ == "__main__":
    main()
