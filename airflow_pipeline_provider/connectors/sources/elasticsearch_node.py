"""`elastic_transport`'s node with a deadline and a largest size for the whole of an answer.

Its own time-out bounds each wait for the next bytes; an answer that trickles would be waited for without end.  Its
answers have any size; a page of huge documents would fill the memory.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import urllib3
from elastic_transport import NodeConfig, TransportError, Urllib3HttpNode
from urllib3.util import make_headers, parse_url

from airflow_pipeline_provider.connectors.deadlines import Watch
from airflow_pipeline_provider.connectors.sources.elasticsearch_connection import PROXY

SLACK = 1.5  # a silence is noticed after `request_timeout` by the library, which says more about it
READ_AT_ONCE = 1 << 20
_here = threading.local()  # of the request that this thread makes: .watch, .most_bytes


class TooSlowError(TransportError):
    """The answer was not whole when its time was over."""


class TooLongError(TransportError):
    """The answer has more bytes than the caller takes."""


@contextmanager
def at_most(most_bytes: int | None) -> Iterator[None]:
    """Answers to this thread's requests in the block are not received beyond so many bytes (as they are sent)."""
    _here.most_bytes = most_bytes
    try:
        yield
    finally:
        _here.most_bytes = None


class BoundedNode(Urllib3HttpNode):
    """`request_timeout` of the configuration bounds the whole request."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._seconds = (config.request_timeout or 60) * SLACK
        if proxy := config._extras.get(PROXY):
            self._use_proxy(proxy)
        self.pool.ConnectionCls = _watched(self.pool.ConnectionCls)

    def _use_proxy(self, url: str) -> None:
        """Send every request through the proxy: by CONNECT for https, with the whole URL for http."""
        written = parse_url(url)
        headers = make_headers(proxy_basic_auth=unquote(written.auth)) if written.auth else {}
        through = urllib3.ProxyManager(url, proxy_headers=headers)
        proxy = through.proxy or written  # with the port that its scheme stands for
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

    def perform_request(self, *args: Any, **named: Any) -> Any:
        _here.watch = watch = Watch(None, self._seconds)
        watch.start()
        try:
            answer = super().perform_request(*args, **named)
            if watch.fired:  # an answer that was cut in its headers passes for one without a body
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
    """Connections to a proxy, which is asked for other hosts' URLs."""

    def is_same_host(self, url: str) -> bool:  # noqa: ARG002
        return True


class _TooLong(Exception):
    pass


class _BoundedResponse(http.client.HTTPResponse):
    def read(self, amt: int | None = None) -> bytes:
        most: int | None = getattr(_here, "most_bytes", None)
        if amt is not None or most is None:
            return super().read(amt)
        if self.length is not None:  # announced; otherwise it comes in chunks
            if self.length > most:
                raise _TooLong
            return super().read()
        pieces, size = [], 0
        while piece := super().read(READ_AT_ONCE):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise _TooLong
        return b"".join(pieces)


def _watched(connection_class: Any) -> Any:
    class Watched(connection_class):  # type: ignore[misc]
        """Shows its socket to the watch of the thread that uses it."""

        response_class = _BoundedResponse

        def request(self, *args: Any, **named: Any) -> Any:
            super().request(*args, **named)
            watch: Watch | None = getattr(_here, "watch", None)
            if watch is not None:
                watch.connection = self.sock

    return Watched
