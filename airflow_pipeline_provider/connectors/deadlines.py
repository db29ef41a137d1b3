"""Limit every wait for a server.

Time-outs of vendors' clients limit a silence.  A slow response, or a proxy that stays up while the server behind it
is gone, would keep them waiting forever, so the whole of a response has a deadline here.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Protocol, TypeVar

from airflow_pipeline_provider.exceptions import TransientError

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0

T = TypeVar("T")


class HasFileno(Protocol):
    """A socket, or a driver's connection over one."""

    def fileno(self) -> int: ...


class Watch:
    """A deadline that cuts the connection unless it is stopped in time, so that the waiting call raises an error."""

    def __init__(self, connection: HasFileno | None, seconds: float) -> None:
        self.connection, self.seconds, self.fired = connection, seconds, False

    def start(self) -> None:
        """Start the deadline."""
        _watchdog.add(self)

    def stop(self) -> None:
        """Stop the deadline; afterwards the connection is not cut."""
        _watchdog.remove(self)

    def cut(self) -> None:
        """Shut the connection down."""
        self.fired = True
        if self.connection is None:  # it is still being opened, which the client bounds by itself
            return
        try:
            with socket.socket(fileno=os.dup(self.connection.fileno())) as twin:
                twin.shutdown(socket.SHUT_RDWR)
        except Exception as error:  # noqa: BLE001  (the connection ended at this very moment)
            log.debug("the connection is gone already: %s", error)


class _Watchdog:
    """One thread for the deadlines of all watches: a thread for each request takes a fifth of the request's CPU.

    It ends when it finds nothing to watch, at the latest after `IDLE_SECONDS`.
    """

    def __init__(self) -> None:
        self._due: dict[Watch, float] = {}
        self._changed = threading.Condition()
        self._wakes: float | None = None  # while the thread runs

    def add(self, watch: Watch) -> None:
        due = time.monotonic() + watch.seconds
        with self._changed:
            if self._wakes is None:
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()
                self._wakes = due
            elif due < self._wakes:
                self._changed.notify()
            self._due[watch] = due

    def remove(self, watch: Watch) -> None:
        with self._changed:
            self._due.pop(watch, None)

    def _run(self) -> None:
        with self._changed:
            while self._due:
                now = time.monotonic()
                for watch in [watch for watch, due in self._due.items() if due <= now]:
                    del self._due[watch]
                    watch.cut()
                self._wakes = min([now + IDLE_SECONDS, *self._due.values()])
                self._changed.wait(self._wakes - now)
            self._wakes = None


_watchdog = _Watchdog()


def _forget_parent() -> None:
    """Replace the watchdog in a forked process, which has no thread and may have a held lock of its parent."""
    global _watchdog
    _watchdog = _Watchdog()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


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
