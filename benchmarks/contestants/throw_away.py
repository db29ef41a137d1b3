"""The limit: what ours asks for in pages of 5,000 documents, received by a plain transport and thrown away.

Of a page only the sort values of its last hit are looked at, to ask for the next one.
"""

from __future__ import annotations

import argparse
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from elastic_transport import NodeConfig, Serializer, Transport, client_utils

from benchmarks.contestants.timing import Timing
from benchmarks.documents import time_query
from benchmarks.shapes import TIME_FIELD

LAST_SORT = re.compile(rb'.*"sort":(\[[^\]]*\])', re.DOTALL)
SORTS: dict[str, list[dict[str, str]]] = {
    "cheapest": [{"_shard_doc": "asc"}],
    "time": [{TIME_FIELD: "asc"}, {"_shard_doc": "asc"}],
}


class Verbatim(Serializer):
    """Bodies as they are."""

    mimetype = "application/json"

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> bytes:
        return bytes(data)


def node(url: str, connections: int) -> NodeConfig:
    return client_utils.url_to_node_config(url).replace(connections_per_node=connections)


class Reader:
    """One server, one point in time."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._transport = Transport(
            [node(given.url, given.slices)], serializers={Verbatim.mimetype: Verbatim()}, max_retries=0
        )
        self._pit = json.loads(self._ask("POST", f"/{given.index}/_pit?keep_alive=5m"))["id"]

    def read(self, part: int) -> tuple[int, int]:
        """(documents, bytes of the pages) of one slice."""
        given = self._given
        asked: dict[str, Any] = {
            "size": given.page_size,
            "query": {"bool": {"filter": [time_query(given.docs)]}},
            "sort": SORTS[given.sort],
            "track_total_hits": False,
            "pit": {"id": self._pit, "keep_alive": "5m"},
        }
        if not given.bare:  # the event time beside the document, as ours asks for it
            asked["docvalue_fields"] = [{"field": TIME_FIELD, "format": "epoch_millis"}]
        if given.slices > 1:
            asked["slice"] = {"id": part, "max": given.slices}
        rows = size = 0
        while True:
            page = self._ask("POST", "/_search?allow_partial_search_results=false", asked)
            size += len(page)
            last = LAST_SORT.match(page, max(0, len(page) - 2000))
            hits = page.count(b'"_index":"')
            rows += hits
            if hits < given.page_size or last is None:
                return rows, size
            asked["search_after"] = json.loads(last[1])

    def close(self) -> None:
        self._ask("DELETE", "/_pit", {"id": self._pit})
        self._transport.close()

    def _ask(self, method: str, target: str, asked: dict[str, Any] | None = None) -> bytes:
        headers = {"accept": "application/json"}
        body = None
        if asked is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(asked).encode()
        answer = self._transport.perform_request(method, target, body=body, headers=headers)
        if answer.meta.status != 200:
            raise SystemExit(f"{method} {target}: {answer.meta.status} {answer.body!r:.500}")
        return bytes(answer.body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--index", default="bench")
    parser.add_argument("--docs", type=int, required=True)
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--page-size", type=int, default=5000)
    parser.add_argument("--sort", choices=SORTS, default="cheapest")
    parser.add_argument(
        "--bare", action="store_true", help="do not ask for the event time beside the document"
    )
    given = parser.parse_args()
    with Timing() as timing:
        reader = Reader(given)
        with ThreadPoolExecutor(given.slices) as pool:
            parts = list(pool.map(reader.read, range(given.slices)))
        reader.close()
    rows, size = (sum(column) for column in zip(*parts, strict=True))
    print(json.dumps({"rows": rows, "bytes": size, "readers": given.slices, **timing.figures}))


if __name__ == "__main__":
    main()
