"""Choose sizes of requests: documents per page, and readers per window."""

from __future__ import annotations

import threading

FIRST_PAGE = 10  # documents, of unknown size
PAGE_BYTES = 4_000_000  # aim for a page: larger ones are hardly faster and cost memory
SHARED_PAGE_BYTES = (
    8_000_000  # of a page of each reader together, so that memory does not grow with the readers
)
LARGEST_PAGE_BYTES = 16_000_000  # the rest of a larger answer is not even received
LARGEST_DOCUMENT_BYTES = 512 * 2**20  # a page of one document; no target stores more
LARGEST_ANSWER_BYTES = 64 * 2**20  # of anything but documents
_GROWTH = 32  # at most, from a page to the next

ROWS_A_READER, MOST_READERS = 25_000, 8  # with fewer rows, another reader costs more than it brings


class PageSizes:
    """The number of documents of the next page: few at first, then as many as make about `PAGE_BYTES`.

    With many readers pages are smaller (`SHARED_PAGE_BYTES`).  It is shared by the readers of a slice, from any
    thread.  A size that the server could not answer (a time-out, a circuit breaker) is not used again; one whose
    response was too long may be, once documents are smaller.
    """

    def __init__(self, most: int, readers: int = 1) -> None:
        self._most = most
        self._page_bytes = min(PAGE_BYTES, SHARED_PAGE_BYTES // readers)
        self._next = min(FIRST_PAGE, most)
        self._lock = threading.Lock()

    def next(self) -> int:
        """Return the number of documents to ask for."""
        return self._next

    def record(self, documents: int, answer_bytes: int) -> None:
        """Adapt the size to a page that was received."""
        if documents:
            fitting = self._page_bytes * documents // max(1, answer_bytes)
            with self._lock:
                self._next = max(1, min(self._most, fitting, _GROWTH * documents))

    def too_large(self, size: int, *, for_server: bool) -> None:
        """Halve the size after a page of `size` documents that could not be received."""
        half = max(1, size // 2)
        with self._lock:
            self._next = min(self._next, half)
            if for_server:
                self._most = min(self._most, half)


def readers_for(rows: int, shards: int) -> int:
    """Return the number of readers that `slices: auto` means.

    Each has enough work, and there is one per shard; a large window has at least two, so that one works while the
    other waits for the server.
    """
    return max(1, min(MOST_READERS, max(2, shards), rows // ROWS_A_READER))
