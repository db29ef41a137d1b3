"""Make pieces in a thread, one ahead of the caller, so that producer and consumer work at the same time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def one_ahead(pieces: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """Yield the same pieces in the same order; an error is raised in place of its piece.

    Leaving the block waits for the piece that is being made, and closes the generator.
    """
    end = object()
    with closing(pieces), ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:

        def made() -> Iterator[T]:
            coming = pool.submit(next, pieces, end)
            while (piece := coming.result()) is not end:
                coming = pool.submit(next, pieces, end)
                yield piece  # type: ignore[misc]

        yield made()
