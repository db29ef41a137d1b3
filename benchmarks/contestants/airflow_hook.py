"""Airflow's own `ElasticsearchPythonHook` in a loop over `search_after`, each page written as it comes.

As the provider's documentation uses it: `hook.search(query=..., index=...)` gives the hits of one page.  Written as
NDJSON and gzipped, 10,000 documents a page, sorted by a unique field that the documents have.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

from airflow.providers.elasticsearch.hooks.elasticsearch import ElasticsearchPythonHook

from benchmarks.contestants.arguments import parser
from benchmarks.contestants.timing import Timing
from benchmarks.documents import time_query
from benchmarks.shapes import SEQUENCE_FIELD

PAGE = 10_000


def main() -> None:
    given = parser(__doc__).parse_args()
    query: dict[str, Any] = {
        "query": time_query(given.docs),
        "sort": [{SEQUENCE_FIELD: "asc"}],
        "size": PAGE,
        "track_total_hits": False,
    }
    rows = 0
    with Timing() as timing:
        hook = ElasticsearchPythonHook(hosts=[given.url], es_conn_args={"request_timeout": 60})
        with gzip.open(given.out / "hits.json.gz", "wt", encoding="utf-8") as file:
            while True:
                hits = hook.search(query=query, index=given.index)["hits"]
                for hit in hits:
                    file.write(json.dumps(hit, ensure_ascii=False))
                    file.write("\n")
                rows += len(hits)
                if len(hits) < PAGE:
                    break
                query["search_after"] = hits[-1]["sort"]
        hook.get_conn.close()
    print(json.dumps({"rows": rows, **timing.figures}))


if __name__ == "__main__":
    main()
