"""Pieces made by a thread, one ahead of the caller, so that two machines work at the same time and not in turn."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def one_ahead(pieces: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """The same pieces in the same order; an error comes where its piece would have.

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
