"""Cut a connection of this process at the moment when COMMIT is on its way: the request or the reply is lost.

The connection's file descriptor is replaced by one end of a pair of sockets, and a thread forwards between the other
end and the network. It forwards bytes, so the client's library and TLS need not cooperate.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

Lost = Literal["request", "reply"]
_BLOCK = 65536
_SECONDS = 120.0  # the longest wait for a reply


def open_connections() -> set[tuple[int, str]]:
    """Return the TCP connections of this process: file descriptor, and both addresses."""
    found = set()
    for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # closed since it was listed, or not connected
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as twin:
                if twin.family in (socket.AF_INET, socket.AF_INET6) and twin.type == socket.SOCK_STREAM:
                    found.add((descriptor, f"{twin.getsockname()} {twin.getpeername()}"))
    return found


@contextmanager
def cutting(connections: set[tuple[int, str]], lost: Lost) -> Iterator[list[str]]:
    """Cut the first of the connections that sends something in the block; yield the list of those that were cut."""
    cut: list[str] = []
    with ExitStack() as stack:
        for descriptor, addresses in connections:
            splice = _Splice(descriptor, addresses, lost, cut)
            stack.callback(splice.close)
        yield cut


class _Splice:
    def __init__(self, descriptor: int, addresses: str, lost: Lost, cut: list[str]) -> None:
        self._addresses, self._lost, self._cut = addresses, lost, cut
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        self._network = socket.socket(fileno=os.dup(descriptor))
        self._network.setblocking(True)
        self._near, far = socket.socketpair()
        fcntl.fcntl(far.fileno(), fcntl.F_SETFL, flags)  # a client's own time-outs need O_NONBLOCK
        os.dup2(far.fileno(), descriptor, inheritable=False)
        far.close()
        threading.Thread(target=self._forward, daemon=True).start()

    def _forward(self) -> None:
        with suppress(OSError, ValueError):
            request = self._next_request()
            if request:
                self._cut.append(self._addresses)
                if self._lost == "reply":
                    self._network.sendall(request)
                    self._await_reply()
        self.close()

    def _next_request(self) -> bytes:
        """Return what the client sends next, empty if a side ends; forward the reply to what it had sent before."""
        while True:
            ready, _, _ = select.select([self._near, self._network], [], [])
            if self._near in ready:
                return self._near.recv(_BLOCK)
            reply = self._network.recv(_BLOCK)
            if not reply:
                return b""
            self._near.sendall(reply)

    def _await_reply(self) -> None:
        """Forward what else the client sends until the server replies."""
        while True:
            ready, _, _ = select.select([self._network, self._near], [], [], _SECONDS)
            if not ready or self._network in ready:
                return
            more = self._near.recv(_BLOCK)
            if not more:
                return
            self._network.sendall(more)

    def close(self) -> None:
        """Close both sides: the client sees a lost connection, the server a client that is gone."""
        for one in (self._near, self._network):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
