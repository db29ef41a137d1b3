"""Signals that end a process, as an exception: so that what is held can be given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ended(BaseException):
    """The process was told to end by a signal; no `except Exception` stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, as shells count."""
        return 128 + self.number


@contextmanager
def signals_end_the_block() -> Iterator[None]:
    """The first signal raises `Ended` inside the block; after the block signals do what they did before.

    A hang-up stays ignored where it is (nohup).  Only the main thread is told of signals: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal told
        if not told:  # a second one must not interrupt the cleaning up that the first began
            told = True
            raise Ended(number)

    before = {}
    for number in _ENDING:
        handler = signal.getsignal(number)
        if not (number != signal.SIGINT and handler is signal.SIG_IGN):
            before[number] = handler
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
