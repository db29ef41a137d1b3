"""How much is asked for at once: documents a page, readers a window."""

from __future__ import annotations

import threading

FIRST_PAGE = 10  # documents, whose size nobody knows yet
PAGE_BYTES = 4_000_000  # what a page is meant to have: larger ones are hardly faster and cost memory
LARGEST_PAGE_BYTES = 16_000_000  # the rest of a larger answer is not even received
LARGEST_DOCUMENT_BYTES = 512 * 2**20  # a page of one document; no target takes as much
LARGEST_ANSWER_BYTES = 64 * 2**20  # of anything but documents
_GROWTH = 32  # at most, from a page to the next

ROWS_A_READER, MOST_READERS = 25_000, 8  # with fewer rows, another reader costs more than it brings


class PageSizes:
    """Documents that the next page is asked for: few at first, then as many as make about `PAGE_BYTES`.

    Shared by the readers of a slice, from any thread.  What the server cannot answer (a time-out, a circuit breaker)
    is not asked for again; what was too long an answer may be, once the documents are smaller.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = min(FIRST_PAGE, most)
        self._lock = threading.Lock()

    def next(self) -> int:
        return self._next

    def saw(self, documents: int, answer_bytes: int) -> None:
        """A page came."""
        if documents:
            fitting = PAGE_BYTES * documents // max(1, answer_bytes)
            with self._lock:
                self._next = max(1, min(self._most, fitting, _GROWTH * documents))

    def too_large(self, size: int, *, for_server: bool) -> None:
        """A page of `size` documents did not come; half of them may."""
        half = max(1, size // 2)
        with self._lock:
            self._next = min(self._next, half)
            if for_server:
                self._most = min(self._most, half)


def readers_for(rows: int, shards: int) -> int:
    """What `slices: auto` means: enough work for each, one for each shard, and at least two for what is large: one
    waits for the server while the other works."""
    return max(1, min(MOST_READERS, max(2, shards), rows // ROWS_A_READER))
