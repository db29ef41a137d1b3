"""Limit every wait for a server.

Time-outs of vendors' clients limit a silence.  A slow response, or a proxy that stays up while the server behind it
is gone, would keep them waiting forever, so the whole of a response has a deadline here.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Protocol, TypeVar

from airflow_pipeline_provider.exceptions import TransientError

log = logging.getLogger(__name__)

T = TypeVar("T")


class HasFileno(Protocol):
    """A socket, or a driver's connection over one."""

    def fileno(self) -> int: ...


class Watch:
    """A timer that cuts the connection unless it is stopped in time, so that the waiting call raises an error."""

    def __init__(self, connection: HasFileno | None, seconds: float) -> None:
        self.connection, self.seconds, self.fired = connection, seconds, False
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Start the timer."""
        self._timer = threading.Timer(self.seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        self.fired = True
        if self.connection is None:  # it is still being opened, which the client bounds by itself
            return
        try:
            with socket.socket(fileno=os.dup(self.connection.fileno())) as twin:
                twin.shutdown(socket.SHUT_RDWR)
        except Exception as error:  # noqa: BLE001  (the connection ended at this very moment)
            log.debug("the connection is gone already: %s", error)


def within(seconds: float, doing: str, call: Callable[[], T]) -> T:
    """Return or raise what the call does; raise TransientError if it takes longer.

    It is for clients whose connection cannot be cut.  The call continues in a daemon thread whose result is ignored,
    so it must do no harm when it ends late.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
            answer.set_exception(error)

    threading.Thread(target=run, name="bounded-call", daemon=True).start()
    wait([answer], timeout=seconds)
    if not answer.done():
        raise TransientError(f"{doing}: expected an answer within {seconds:.0f} s, got none that is whole")
    return answer.result()
