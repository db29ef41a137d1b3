"""A TCP proxy that injects faults between the package and a server.

Small and our own, since the faults to be shown need more than bytes: toxiproxy knows neither HTTP (a storm of 503, an
answer cut off below its Content-Length, "the second page of the search") nor the statement that a connection carries
(the reply to COMMIT), and would have to be built from Go.

A fault waits for a request that matches `at`; what was sent before passes.  Requests are whole: an HTTP request with
its body, or what a client of PostgreSQL sends at a time.  Behind TLS the proxy has the server's own certificate.
"""

from __future__ import annotations

import gzip
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = ("refused", "reset", "black hole", "slow drip", "truncated", "429", "503", "lost reply")
DRIP_SECONDS = 0.05  # between two bytes
REFUSED_SECONDS = 0.3  # a refusal that is not an outage
_BLOCK = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: RST instead of FIN


@dataclass
class Fault:
    """What happens to the requests that match, and how often.

    `at` is searched in a request (decompressed); `skip` matching requests pass first.  `times` are hit and the rest
    passes; with None that request is where an outage begins: every later one is hit too, until the fault is lifted.
    """

    kind: str
    at: bytes = b""
    skip: int = 0
    times: int | None = None
    hits: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def strikes(self, request: bytes) -> bool:
        if self.times is None and self.hits:
            return True
        if not re.search(self.at, request, re.DOTALL):
            return False
        with self._lock:
            if self.skip:
                self.skip -= 1
                return False
            if self.times is not None and self.hits >= self.times:
                return False
            self.hits += 1
            return True


class Proxy:
    """Listens on `port` and forwards to the server; `fault` is the one that is injected."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        http: bool,
        certificate: Path | None = None,
        authority: str | None = None,
    ) -> None:
        self._upstream, self._http = (host, port), http
        self._server_tls = self._client_tls = None
        if certificate is not None:
            self._server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server_tls.load_cert_chain(certificate / "server.pem", certificate / "server.key")
            self._client_tls = ssl.create_default_context(cafile=authority)
        self.fault: Fault | None = None
        self.requests: list[bytes] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen_again()

    # --- what the tests do

    def inject(self, fault: Fault) -> Fault:
        """Inject the fault from now on; a fault of every request also affects open connections."""
        self.fault = fault
        return fault

    def lift(self) -> None:
        """Remove the fault, and cut connections that hang."""
        self.fault = None
        self._listen_again()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _reset(connection)

    def close(self) -> None:
        self.refuse()
        self.cut()

    # --- connections

    def _listen_again(self) -> None:
        with self._lock:
            if self._listener is not None:
                return
            self._listener = listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(128)
            self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Stop listening, so that the system refuses connections."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        server: socket.socket | None = None
        try:
            if self._server_tls:
                client = self._replace(client, self._server_tls.wrap_socket(client, server_side=True))
            server = socket.create_connection(self._upstream)
            if self._client_tls:
                server = self._client_tls.wrap_socket(server, server_hostname=self._upstream[0])
            with self._lock:
                self._open.add(server)
            (_Http if self._http else _Stream)(self, client, server).run()
        except (OSError, EOFError, ValueError):
            pass  # either side went away, or the fault did it
        finally:
            for connection in (client, server):
                if connection is not None:
                    with self._lock:
                        self._open.discard(connection)
                    _reset(connection)

    def _replace(self, old: socket.socket, new: socket.socket) -> socket.socket:
        with self._lock:
            self._open.discard(old)
            self._open.add(new)
        return new

    def strikes(self, request: bytes) -> str | None:
        """Return the kind of fault that this request meets."""
        self.requests.append(request[:3000])
        fault = self.fault
        if fault is None or not fault.strikes(request):
            return None
        if fault.kind == "refused":
            self.refuse()
            if fault.times is not None:
                threading.Timer(REFUSED_SECONDS, self._listen_again).start()
        return fault.kind

    def black_hole(self, client: socket.socket) -> None:
        """Receive without a response, until the client gives up or the fault is removed."""
        with suppress(OSError):
            while client.recv(_BLOCK):
                pass


class _Http:
    """Forward requests and replies in turn."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._from_client, self._from_server = client.makefile("rb"), server.makefile("rb")

    def run(self) -> None:
        while True:
            head, body = _message(self._from_client, self._client)
            kind = self._proxy.strikes(head + (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body))
            if kind in ("429", "503"):
                self._client.sendall(_STORM[kind])
                continue
            if kind in ("refused", "black hole"):
                if kind == "black hole":
                    self._proxy.black_hole(self._client)
                return
            self._server.sendall(head + body)
            reply, answer = _message(self._from_server, None, no_body=head.startswith(b"HEAD "))
            if kind is None:
                self._client.sendall(reply + answer)
                continue
            if kind == "lost reply":
                return
            if kind == "slow drip":
                _drip(self._client, reply + answer)
                continue
            self._client.sendall(reply + answer[: len(answer) // 2])
            if kind == "truncated":
                self._client.shutdown(socket.SHUT_WR)
                time.sleep(0.05)
            else:
                time.sleep(0.02)  # what was sent arrives before the reset
            return


class _Stream:
    """Forward bytes in both directions; a fault begins with what the client sends, and lasts for the connection."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._kind: str | None = None

    def run(self) -> None:
        back = threading.Thread(target=self._replies, daemon=True)
        back.start()
        try:
            while data := self._client.recv(_BLOCK):
                self._kind = self._kind or self._proxy.strikes(data)
                if self._kind == "refused":
                    return
                if self._kind == "black hole":
                    self._proxy.black_hole(self._client)
                    return
                self._server.sendall(data)
        finally:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            back.join(5)

    def _replies(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(_BLOCK):
                if self._kind is None:
                    self._client.sendall(data)
                elif self._kind == "slow drip":
                    _drip(self._client, data)
                else:
                    if self._kind != "lost reply":
                        self._client.sendall(data[: len(data) // 2])
                        time.sleep(0.02)
                    if self._kind == "truncated":
                        self._client.shutdown(socket.SHUT_WR)
                    else:
                        _reset(self._client)
                    return
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)


def _message(reader: Any, continue_to: socket.socket | None, *, no_body: bool = False) -> tuple[bytes, bytes]:
    """Return head and body (as transferred) of the next HTTP message."""
    lines = []
    while True:
        line = reader.readline()
        if not line:
            raise EOFError
        lines.append(line)
        if line == b"\r\n":
            break
    head = b"".join(lines)
    lower = head.lower()
    if continue_to is not None and b"expect: 100-continue" in lower:
        continue_to.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = re.sub(rb"(?i)expect: 100-continue\r\n", b"", head)
    status = lines[0].split(b" ")[1]
    if no_body or status in (b"204", b"304"):
        return head, b""
    if b"transfer-encoding: chunked" in lower:
        return head, b"".join(_chunks(reader))
    length = re.search(rb"content-length: *(\d+)", lower)
    body = reader.read(int(length[1])) if length else b""
    return head, body


def _chunks(reader: Any) -> Iterator[bytes]:
    while True:
        line = reader.readline()
        yield line
        size = int(line.split(b";")[0], 16)
        if not size:
            while (line := reader.readline()) not in (b"\r\n", b""):
                yield line
            yield line
            return
        yield reader.read(size + 2)


def _drip(client: socket.socket, data: bytes) -> None:
    for i in range(len(data)):
        client.sendall(data[i : i + 1])
        time.sleep(DRIP_SECONDS)


def _reset(connection: socket.socket) -> None:
    """Send RST, not FIN; wake a thread that waits in `recv` first, or the kernel keeps the connection for it."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RD)
    with suppress(OSError):
        os.close(connection.detach())


def _storm(status: str, text: str) -> bytes:
    body = f"<html>{text}</html>".encode()
    return (
        f"HTTP/1.1 {status} {text}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


_STORM = {"429": _storm("429", "Too Many Requests"), "503": _storm("503", "Service Unavailable")}
