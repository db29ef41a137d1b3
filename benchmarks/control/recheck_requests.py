"""What a recheck of 30 days of hourly windows asks Elasticsearch about documents that changed in place.

    python -m benchmarks.control.recheck_requests --url http://127.0.0.1:39200 --case unchanged [--shards 3]

Cases: `unchanged`; `changed`, one document of each window was updated; `counted`, each window is counted, as for
windows without a change marker.  `requests` and `seconds` are those of the questions alone.  The index is made for
the run and removed at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import urllib.request
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.elasticsearch.client import Client
from airflow_pipeline_provider.connectors.elasticsearch.options import ElasticsearchOptions
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.core.change_markers import MarkedWindow, Seen
from airflow_pipeline_provider.core.intervals import Interval
from benchmarks.contestants.ours import connection

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
WINDOWS = [Interval(START + n * HOUR, START + (n + 1) * HOUR) for n in range(30 * 24)]
CASES = ("unchanged", "changed", "counted")
DOCUMENTS = 20  # of each window


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--shards", type=int, default=3)
    args = parser.parse_args()
    os.environ["AIRFLOW_CONN_ELASTICSEARCH_DEFAULT"] = connection(args.url)
    index = f"recheck-{os.getpid()}"
    ask(args.url, "PUT", f"/{index}", index_of(args.shards))
    options = ElasticsearchOptions.model_validate(
        {"type": "elasticsearch", "index": index, "time_field": "ts"}
    )
    source = ElasticsearchSource(options, Identity("bench", "UTC"))
    try:
        write(args.url, index, range(DOCUMENTS), version=1)
        source.check()
        marker = source.change_marker()
        if args.case == "changed":
            write(args.url, index, [0], version=2)
        requests = count_requests()
        begun = time.perf_counter()
        if args.case == "counted":
            rows = sum(source.count(window) for window in WINDOWS)
            assert rows == DOCUMENTS * len(WINDOWS)
        else:
            found = source.changes([MarkedWindow(window, marker) for window in WINDOWS])
            expected = Seen.UNCHANGED if args.case == "unchanged" else Seen.COUNTED
            assert {one.seen for one in found} == {expected}
            rows = sum(one.changed for one in found)
            assert rows == (len(WINDOWS) if args.case == "changed" else 0)
        seconds = time.perf_counter() - begun
    finally:
        source.close()
        ask(args.url, "DELETE", f"/{index}")
    print(json.dumps({"rows": rows, "requests": len(requests), "seconds": seconds}))


def count_requests() -> list[str]:
    """Return a list that gets the method of each request from now on."""
    sent: list[str] = []
    send = Client._once

    def counted(self: Client, method: str, *rest: Any, **named: Any) -> bytes | bytearray:
        sent.append(method)
        return send(self, method, *rest, **named)

    Client._once = counted  # type: ignore[method-assign]
    return sent


def index_of(shards: int) -> bytes:
    """Return the settings and mapping of the index."""
    settings = {"number_of_shards": shards, "number_of_replicas": 0}
    return json.dumps({"settings": settings, "mappings": {"properties": {"ts": {"type": "date"}}}}).encode()


def write(url: str, index: str, numbers: Iterable[int], *, version: int) -> None:
    """Write the documents of these numbers into each window."""
    lines = []
    for window in WINDOWS:
        for number in numbers:
            at = window.start + timedelta(minutes=number)
            lines.append(json.dumps({"index": {"_id": f"{at:%Y%m%d%H%M}"}}))
            lines.append(json.dumps({"ts": at.isoformat(), "version": version}))
    body = ("\n".join(lines) + "\n").encode()
    answer = ask(url, "POST", f"/{index}/_bulk?refresh=true", body, "application/x-ndjson")
    assert not answer["errors"], answer


def ask(url: str, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    """Send a request to the server, and return its JSON answer."""
    request = urllib.request.Request(url + path, body, {"content-type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    main()
