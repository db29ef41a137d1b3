"""Limit time and size of whole responses of `elastic_transport`, and sign requests.

The library's own time-out only limits each wait for the next bytes, so a slow response could take forever.  Its
responses have any size; a page of huge documents, or a small compressed one, would fill the memory.
"""

from __future__ import annotations

import http.client
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import urllib3
from elastic_transport import HttpHeaders, NodeConfig, TransportError, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT
from urllib3.util import make_headers, parse_url

from airflow_pipeline_provider.connectors.deadlines import Watch
from airflow_pipeline_provider.connectors.elasticsearch.connection import PROXY
from airflow_pipeline_provider.connectors.elasticsearch.credentials import SIGN

SLACK = 1.5  # after `request_timeout` the library itself reports a silence, in more detail
READ_AT_ONCE = 1 << 20
GZIP_OR_ZLIB = 47  # for zlib: 15 bits of window, the format by its first bytes
# of the request that this thread makes: .watch, .most_bytes; and .last_bytes, the size of the response before
_here = threading.local()


class TooSlowError(TransportError):
    """The response was incomplete when its time was over."""


class TooLongError(TransportError):
    """The response has more bytes than the caller accepts."""


@contextmanager
def at_most(most_bytes: int | None) -> Iterator[None]:
    """Receive at most so many (decompressed) bytes of each response to this thread's requests in the block."""
    _here.most_bytes = most_bytes
    try:
        yield
    finally:
        _here.most_bytes = None


class BoundedNode(Urllib3HttpNode):
    """A node whose `request_timeout` limits the whole request; `http_compress` asks for compressed responses.

    The configuration's extra `SIGN` is an `AwsSigner`, if requests are signed.
    """

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config.replace(http_compress=False))  # requests are small, and signed as they are
        if config.http_compress:
            self._headers["accept-encoding"] = "gzip"
        self._url, self._sign = self.base_url, config._extras.get(SIGN)
        self._seconds = (config.request_timeout or 60) * SLACK
        if proxy := config._extras.get(PROXY):
            self._use_proxy(proxy)
        self.pool.ConnectionCls = _watched(self.pool.ConnectionCls)

    def _use_proxy(self, url: str) -> None:
        """Send every request through the proxy: by CONNECT for https, with the whole URL for http."""
        written = parse_url(url)
        headers = make_headers(proxy_basic_auth=unquote(written.auth)) if written.auth else {}
        through = urllib3.ProxyManager(url, proxy_headers=headers)
        proxy = through.proxy or written  # with the default port of its scheme
        if self.scheme == "https":  # the pool keeps its TLS settings
            self.pool.proxy, self.pool.proxy_headers = proxy, through.proxy_headers
            self.pool.proxy_config = through.proxy_config
            self.pool.conn_kw.update(proxy=proxy, proxy_config=through.proxy_config)
            return
        self._path_prefix = self.base_url
        self.pool = _WholeUrls(
            proxy.host or "",
            proxy.port,
            timeout=self.pool.timeout,
            maxsize=self.config.connections_per_node,
            block=True,
            _proxy=proxy,
            _proxy_headers=through.proxy_headers,
            _proxy_config=through.proxy_config,
        )

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: Any = DEFAULT,
    ) -> Any:
        if self._sign is not None:
            headers = HttpHeaders(self._sign(method, self._url + target, body, dict(headers or {})))
        _here.watch = watch = Watch(None, self._seconds)
        watch.start()
        try:
            answer = super().perform_request(method, target, body, headers, request_timeout)
            if watch.fired:  # a response cut in its headers looks like one without a body
                raise TooSlowError("the answer was too slow")
            return answer
        except TooSlowError:
            raise
        except TransportError as error:
            if any(isinstance(inner, _TooLong) for inner in error.errors):
                raise TooLongError("the answer is too long", errors=(error,)) from error
            if watch.fired:
                raise TooSlowError("the answer was too slow", errors=(error,)) from error
            raise
        finally:
            watch.stop()
            _here.watch = None


class _WholeUrls(urllib3.HTTPConnectionPool):
    """Connections to a proxy, which is asked for the URLs of other hosts."""

    def is_same_host(self, url: str) -> bool:  # noqa: ARG002
        return True


class _TooLong(Exception):
    pass


class _BoundedResponse(http.client.HTTPResponse):
    """A response that decompresses in steps, so that the limit holds for what is in memory."""

    _compressed = False

    def begin(self) -> None:
        super().begin()
        encoding = (self.headers.get("content-encoding") or "identity").strip().lower()
        if encoding == "identity":
            return
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise http.client.HTTPException(f"expected gzip or no content-encoding, got {encoding[:40]!r}")
        self._compressed = True
        for name in ("content-encoding", "content-length"):  # of what is sent, not of what is read here
            del self.headers[name]

    def read(self, amt: int | None = None) -> bytes | bytearray:  # type: ignore[override]
        """Return the whole body, or `amt` bytes of it; a whole one that came uncompressed is a bytearray."""
        if amt is not None:
            return super().read(amt)
        most: int | None = getattr(_here, "most_bytes", None)
        if most is not None and self.length is not None and self.length > most:  # announced
            raise _TooLong
        if not self._compressed:
            return self._received(most)
        pieces, size = [], 0
        for piece in self._inflated():
            pieces.append(piece)
            size += len(piece)
            if most is not None and size > most:
                pieces.clear()  # the error keeps this frame
                raise _TooLong
        return b"".join(pieces)

    def _received(self, most: int | None) -> bytearray:
        """Receive into one buffer: Elasticsearch sends a page in chunks of a few KB, which are costly to join."""
        expected = self.length if self.length is not None else getattr(_here, "last_bytes", 0)
        body, size = bytearray(expected + READ_AT_ONCE // 16), 0
        while True:
            with memoryview(body) as view, view[size:] as free:
                received = self.readinto(free)
            if not received:
                break
            size += received
            if most is not None and size > most:
                body.clear()  # the error keeps this frame
                raise _TooLong
            if size == len(body):
                body.extend(bytes(max(size, READ_AT_ONCE)))
        if self.length:
            raise http.client.IncompleteRead(b"", self.length)
        del body[size:]
        _here.last_bytes = size
        return body

    def _pieces(self) -> Iterator[bytes]:
        while piece := super().read(READ_AT_ONCE):
            yield piece
        if self.length:
            raise http.client.IncompleteRead(b"", self.length)

    def _inflated(self) -> Iterator[bytes]:
        """Yield pieces of at most `READ_AT_ONCE` bytes; several compressed streams in a row are one text."""
        inflate = zlib.decompressobj(GZIP_OR_ZLIB)
        for piece in self._pieces():
            while piece:
                if inflate.eof:
                    inflate = zlib.decompressobj(GZIP_OR_ZLIB)
                yield inflate.decompress(piece, READ_AT_ONCE)
                piece = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        yield inflate.flush()
        if not inflate.eof:
            raise http.client.IncompleteRead(b"")


def _watched(connection_class: Any) -> Any:
    class Watched(connection_class):  # type: ignore[misc]
        """A connection that shows its socket to the watch of the thread that uses it."""

        response_class = _BoundedResponse

        def request(self, *args: object, **named: object) -> Any:
            super().request(*args, **named)
            watch: Watch | None = getattr(_here, "watch", None)
            if watch is not None:
                watch.connection = self.sock

    return Watched
