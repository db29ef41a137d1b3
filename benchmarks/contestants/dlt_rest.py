"""dlt: its REST client pages through a point in time, its filesystem destination writes Parquet.

As its documentation shows a resource with `RESTClient`.  The documents stay whole (`max_table_nesting=0` and the
column `_source` as JSON), which is less work than its default, one column or table a key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.destinations import filesystem
from dlt.sources.helpers.requests import Response
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.paginators import BasePaginator
from requests import Request

from benchmarks.contestants.arguments import parser
from benchmarks.contestants.timing import Timing
from benchmarks.documents import time_query

PAGE = 10_000


class SearchAfter(BasePaginator):
    """The next page begins after the last hit's sort values."""

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:  # noqa: ARG002
        self._has_next_page = len(data or []) == PAGE
        self._after = data[-1]["sort"] if data else None

    def update_request(self, request: Request) -> None:
        if self._after is not None:
            body: Any = request.json
            body["search_after"] = self._after


@dlt.resource(
    name="hits",
    max_table_nesting=0,
    columns={
        "_source": {"data_type": "json"},
        "sort": {"data_type": "json"},
        "_score": {"data_type": "double"},
    },
)
def hits(url: str, index: str, docs: int) -> Iterator[list[dict[str, Any]]]:
    client = RESTClient(base_url=url)
    point_in_time = client.post(f"/{index}/_pit?keep_alive=5m").json()["id"]
    search = {
        "size": PAGE,
        "query": time_query(docs),
        "sort": [{"_shard_doc": "asc"}],
        "track_total_hits": False,
        "pit": {"id": point_in_time, "keep_alive": "5m"},
    }
    yield from client.paginate(
        "/_search", method="POST", json=search, paginator=SearchAfter(), data_selector="hits.hits"
    )
    client.session.delete(f"{url}/_pit", json={"id": point_in_time})


def main() -> None:
    given = parser(__doc__).parse_args()
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    with Timing() as timing:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=str(given.out / ".dlt"),
            destination=filesystem((given.out / "lake").as_uri()),
            dataset_name="bench",
        )
        pipeline.run(hits(given.url, given.index, given.docs), loader_file_format="parquet")
    rows = pipeline.last_trace.last_normalize_info.row_counts["hits"]
    print(json.dumps({"rows": rows, **timing.figures}))


if __name__ == "__main__":
    main()
