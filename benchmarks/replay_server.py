"""A server that answers searches as Elasticsearch 9 does, from memory: the client is what is measured.

`python -m benchmarks.replay_server --docs 1000000` prints one JSON line with its URL.  It knows one index, `bench`,
with the first `docs` of benchmarks/documents.py in the order of their numbers, and honours what a reader may ask:
size, search_after, slice, the range of times, points in time and scrolls.  Anything else is refused, never guessed.
A thread a connection; a page is a copy and two replacements of bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import socketserver
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from benchmarks.documents import SAME_TIME, START_MILLIS
from benchmarks.replay_search import RefusedError, Search, Views, parse_search, time_range
from benchmarks.shapes import SHAPES, TIME_FIELD, USUAL

INDEX = "bench"
VERSION = {"number": "9.5.3", "build_flavor": "default", "lucene_version": "10.5.1"}
INFO = {"name": "replay", "cluster_name": "replay", "version": VERSION, "tagline": "You Know, for Search"}
ANY_JSON = re.compile(r"application/(?:vnd\.elasticsearch\+)?json[^,]*")


class Replay:
    """Requests to answers, without the network.  Safe for several threads."""

    def __init__(
        self,
        docs: int,
        delay_seconds: float = 0.0,
        padding: int = 0,
        breaker_bytes: int = 0,
        shape: str = USUAL,
        shards: int = 2,
    ) -> None:
        self.docs, self.delay = docs, delay_seconds
        self.views = Views(padding, shape)
        self._shards = {"total": shards, "successful": shards, "skipped": 0, "failed": 0}
        self._breaker = breaker_bytes
        self._scrolls: dict[str, Search] = {}

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, list[bytes]]:
        """(status, pieces of the body)"""
        url = urlsplit(target)
        params = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            asked = json.loads(body) if body else {}
            found = self._answer(method, url.path.rstrip("/"), params, asked)
        except RefusedError as error:
            problem = {"type": error.kind, "reason": str(error), "durability": "TRANSIENT"}
            return error.status, [
                _json({"error": {**problem, "root_cause": [problem]}, "status": error.status})
            ]
        return 200, found if isinstance(found, list) else [_json(found)]

    def _answer(self, method: str, path: str, params: dict[str, str], asked: Any) -> Any:
        if not path:
            return INFO
        *index, action = path.strip("/").split("/")
        if action == "_pit":
            return (
                {"succeeded": True, "num_freed": 2}
                if method == "DELETE"
                else {"id": _new_id(), "_shards": self._shards}
            )
        if action == "scroll":
            return self._scroll(method, params, asked)
        if index and index[0] not in (INDEX, "_all"):
            raise RefusedError(f"no such index [{index[0]}]", 404, "index_not_found_exception")
        if action == "_field_caps":
            caps = {"type": "date", "metadata_field": False, "searchable": True, "aggregatable": True}
            return {"indices": [INDEX], "fields": {TIME_FIELD: {"date": caps}}}
        if action in ("_mapping", "_settings"):
            return {}
        if action == "_count":
            low, high = time_range(asked.get("query"), self.docs)
            return {"count": high - low, "_shards": self._shards}
        if action == "_search":
            return self._search(params, asked)
        if action == INDEX and method in ("GET", "HEAD"):
            return {INDEX: {"aliases": {}, "mappings": {}, "settings": {}}}
        raise RefusedError(f"no handler found for {method} {path}")

    def _search(self, params: dict[str, str], asked: dict[str, Any]) -> Any:
        search = parse_search(asked, params, self.docs)
        if search.aggregations:
            found = {name: _aggregate(spec, search) for name, spec in search.aggregations.items()}
            return {**self._without_hits(search), "aggregations": found}
        if search.size == 0 and "pit" not in asked:
            return self._without_hits(search)
        extra = b""
        if "pit" in asked:
            extra = b'"pit_id":%b,' % _json(asked["pit"]["id"])
        if "scroll" in params:
            name = _new_id()
            self._scrolls[name] = search
            return self._next(name)
        return self._page(search, extra)

    def _scroll(self, method: str, params: dict[str, str], asked: dict[str, Any]) -> Any:
        names = asked.get("scroll_id", params.get("scroll_id")) if isinstance(asked, dict) else None
        if method == "DELETE":
            freed = [
                self._scrolls.pop(name, None) for name in ([names] if isinstance(names, str) else names or [])
            ]
            return {"succeeded": True, "num_freed": len(freed)}
        if names not in self._scrolls:
            raise RefusedError("No search context found", 404, "search_context_missing_exception")
        return self._next(names)

    def _next(self, name: str) -> list[bytes]:
        search = self._scrolls[name]
        self._scrolls[name] = replace(search, first=min(search.end, search.first + search.size))
        return self._page(search, b'"_scroll_id":%b,' % _json(name))

    def _page(self, search: Search, extra: bytes) -> list[bytes]:
        if self.delay:
            time.sleep(self.delay)
        count = max(0, min(search.size, search.end - search.first))
        lines = self.views.lines(search.view)
        if self._breaker and count * lines.mean_bytes > self._breaker:
            raise RefusedError("[request] Data too large", 429, "circuit_breaking_exception")
        total = b""
        if search.total:
            total = b'"total":{"value":%d,"relation":"eq"},' % (search.high - search.low)
        head = b'{%b"took":1,"timed_out":false,"_shards":%b,"hits":{%b"max_score":null,"hits":[' % (
            extra, _json(self._shards), total,
        )  # fmt: skip
        hits = list(lines.write(search.first, count))
        if hits:
            hits[-1] = hits[-1][:-1]  # the last comma
        return [head, *hits, b"]}}"]

    def _without_hits(self, search: Search) -> dict[str, Any]:
        total = {"total": {"value": search.high - search.low, "relation": "eq"}} if search.total else {}
        return {"took": 1, "timed_out": False, "_shards": self._shards, "hits": {**total, "hits": []}}


def _aggregate(spec: dict[str, Any], search: Search) -> dict[str, Any]:
    """Of the time: exact, since a document's time is its number."""
    kind, settings = next(iter(spec.items()))
    rows = search.high - search.low
    if settings.get("field") != TIME_FIELD or kind not in ("percentiles", "max", "min"):
        raise RefusedError(f"unknown aggregation {json.dumps(spec)}")

    def millis(row: int) -> float:
        return float(START_MILLIS + row - row % SAME_TIME)

    if kind == "percentiles":
        places = [(percent, search.low + int(rows * percent / 100)) for percent in settings["percents"]]
        values = [{"key": percent, "value": millis(row) if rows else None} for percent, row in places]
        return {"values": values}
    return {"value": (millis(search.high - 1) if kind == "max" else millis(search.low)) if rows else None}


def _new_id() -> str:
    return uuid4().hex * 4  # about as long as the real ones


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


class Handler(socketserver.StreamRequestHandler):
    """Keeps a connection until the client closes it."""

    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            method, target, _ = line.decode().split(" ", 2)
            headers = dict(self._headers())
            body = self.rfile.read(int(headers.get("content-length", 0)))
            status, pieces = self.server.replay.answer(method, target, body)
            accepted = headers.get("accept", "")
            kind = accepted if ANY_JSON.fullmatch(accepted) else "application/json"
            head = (
                f"HTTP/1.1 {status} X\r\nX-elastic-product: Elasticsearch\r\ncontent-type: {kind}\r\n"
                f"content-length: {sum(map(len, pieces))}\r\n\r\n"
            )
            self.request.sendall(head.encode())
            if method != "HEAD":
                for piece in pieces:
                    self.request.sendall(piece)

    def _headers(self) -> Iterator[tuple[str, str]]:
        while (line := self.rfile.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            yield name.lower(), value.strip()


class Server(socketserver.ThreadingTCPServer):
    """`with Server(Replay(5000)) as server:` serves from another thread once `serve_forever` is called in it."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, replay: Replay, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.replay = replay

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--docs", type=int, default=1_000_000)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before every page")
    parser.add_argument("--padding", type=int, default=0, help="bytes added to each document")
    parser.add_argument("--shape", choices=SHAPES, default=USUAL, help="of the documents")
    parser.add_argument("--shards", type=int, default=2, help="that the index is said to have")
    parser.add_argument(
        "--breaker-bytes", type=int, default=0, help="a page above it is refused with a 429; 0: none"
    )
    given = parser.parse_args()
    replay = Replay(
        given.docs, given.delay_ms / 1000, given.padding, given.breaker_bytes, given.shape, given.shards
    )
    with Server(replay, given.port) as server:
        print(json.dumps({"url": server.url}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
