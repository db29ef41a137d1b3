"""A server that answers like Elasticsearch, or as it is told to."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_pipeline_provider.testing.source_kit import START

DOCUMENTS = 95
PAGES = 6  # a first one of 10 documents, then 20
DROP = b"DROP"  # the connection ends without an answer
CUT = b"CUT"  # the answer ends before its announced length

AGGREGATIONS = {"found": {"value": None, "values": []}}  # of any kind

Fault = tuple[int, "dict[str, Any] | bytes"]


def error(kind: str, reason: str = "because", **more: Any) -> dict[str, Any]:
    """As Elasticsearch nests them: the cause is inside."""
    cause = {"type": kind, "reason": reason, **more}
    return {
        "error": {
            "root_cause": [cause],
            "type": "search_phase_execution_exception",
            "reason": "all shards failed",
        }
    }


def whole(count: int, **more: Any) -> dict[str, Any]:
    """As a search without hits is answered."""
    hits = {"total": {"value": count, "relation": "eq"}, "hits": []}
    return {"timed_out": False, "_shards": {"total": 1, "failed": 0}, "hits": hits, **more}


class Replay(ThreadingHTTPServer):
    """One index of DOCUMENTS documents, one a second; `faults` stand in for the next pages."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[Fault | None] = []  # None: the page itself
        self.answers: dict[str, Fault] = {}  # by "METHOD /path", for good
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.received: list[tuple[str, str, bytes, dict[str, str]]] = []  # method, target, body, headers
        self.unknown_keys: set[str] = set()  # of a search, refused
        self.pages = 0
        self.new_pit_ids = False
        self.clusters: dict[str, Any] | None = None  # what searches say of remote ones
        self.chunked = False
        self.encoding: str | None = None  # that answers are compressed with: gzip or deflate
        self.encodings: dict[str, str] = {}  # of `answers`, which are sent as they are
        self.padding = ""  # makes documents large
        self.location: str | None = None  # of a redirect
        self.content_type = "text/html"  # of what is not JSON
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is no error here."""

    def searches(self) -> list[dict[str, Any]]:
        return [body for method, path, body in self.asked if path == "/_search"]

    def closed(self) -> list[dict[str, Any]]:
        return [body for method, path, body in self.asked if method == "DELETE"]

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Fault:
        with self.lock:
            self.asked.append((method, path, body))
            if f"{method} {path}" in self.answers:
                return self.answers[f"{method} {path}"]
            fault = self.faults.pop(0) if path == "/_search" and self.faults else None
            if fault is not None:
                return fault
        if self.unknown_keys & set(body):
            return 400, error(
                "parsing_exception", f"Unknown key for {sorted(self.unknown_keys & set(body))}."
            )
        if path == "/":
            return 200, {"version": {"number": "9.1.0"}, "tagline": "You Know, for Search"}
        if path.endswith("/_field_caps"):
            caps = {"searchable": True, "aggregatable": True}
            indices = path.split("/")[1].replace("*", "far").split(",")
            return 200, {"indices": indices, "fields": {"ts": {"date": caps}}}
        if path.endswith(("/_mapping", "/_settings")):
            return 200, {}
        if path.endswith("/_pit"):
            return 200, {"id": "pit-0"} if method == "POST" else {"succeeded": True}
        found = self.page(body) if "pit" in body else whole(DOCUMENTS, aggregations=AGGREGATIONS)
        return 200, found | ({"_clusters": self.clusters} if self.clusters else {})

    def page(self, body: dict[str, Any]) -> dict[str, Any]:
        start = body["search_after"][0] + 1 if "search_after" in body else 0
        numbers = range(start, min(DOCUMENTS, start + body["size"]))
        self.pages += 1
        pit_id = f"pit-{self.pages}" if self.new_pit_ids else body["pit"]["id"]
        return {"pit_id": pit_id, "timed_out": False, "_shards": {"total": 1, "failed": 0}, "hits": {"hits": [
            {"_index": "i", "_id": str(n), "_source": {"n": n, "p": self.padding}, "sort": [n],
             "fields": {"ts": [str(int((START + n * timedelta(seconds=1)).timestamp() * 1000))]}}
            for n in numbers
        ]}}  # fmt: skip


@contextmanager
def serving() -> Iterator[Replay]:
    """A running server."""
    server = Replay()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replay

    def respond(self) -> None:
        length = int(self.headers.get("content-length", 0))
        raw = self.rfile.read(length)
        if self.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.headers_seen.append(headers)
        self.server.received.append((self.command, self.path, raw, headers))
        path = self.path.partition("?")[0]
        status, body = self.server.answer(self.command, path, json.loads(raw or "{}"))
        if body == DROP:
            self.close_connection = True
            return
        cut = body == CUT
        if cut:
            body = self.server.page(json.loads(raw))
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/json" if data[:1] == b"{" else self.server.content_type
        encoding = self.server.encoding or self.server.encodings.get(f"{self.command} {path}")
        if self.server.encoding:
            data = gzip.compress(data) if encoding == "gzip" else zlib.compress(data)
        self.send_response(status)
        self.send_header("content-type", kind)
        if encoding:
            self.send_header("content-encoding", encoding)
        if self.server.location is not None and 300 <= status < 400:
            self.send_header("location", self.server.location)
        chunked = self.server.chunked and not cut
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(len(data)))
        if self.path == "/" and status == 403 and b"elastic" in data:
            self.send_header("x-elastic-product", "Elasticsearch")
        self.end_headers()
        try:
            for start in range(0, len(data), 1 << 16) if chunked else ():
                piece = data[start : start + (1 << 16)]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n" if chunked else data[: len(data) // 2] if cut else data)
        except ConnectionError:  # the client has enough
            self.close_connection = True
        if cut:
            self.close_connection = True

    do_GET = do_POST = do_DELETE = respond

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
