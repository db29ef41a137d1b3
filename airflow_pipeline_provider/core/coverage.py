"""What planning needs to know of a ledger, small enough to be kept: the fold of its entries in the order of writing.

`Coverage().after(entries)` says the same as `ledger.committed`, `ledger.waived` and `ledger.blocked` of all entries.
And since entries are only ever appended, `Coverage().after(first).after(rest)` is `Coverage().after(first + rest)`.
So a store may keep the fold of the first so many entries, with which one was the last of them, and read only those
that were written since.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from airflow_pipeline_provider.core.intervals import Interval, merge
from airflow_pipeline_provider.core.ledger import Entry, Kind, blocked_of, failures_after

COUNTED = (Kind.COMMITTED, Kind.WAIVED, Kind.FAILED)
"""Entries of other kinds change nothing here."""


class Coverage(msgspec.Struct, frozen=True):
    """`done` was committed at any time or waived: sorted, disjoint.  `failures`: how often each interval failed on
    its data since a commit or waive last touched it, in any order."""

    done: tuple[Interval, ...] = ()
    failures: tuple[tuple[Interval, int], ...] = ()

    def after(self, entries: Iterable[Entry]) -> Coverage:
        """The same with what these entries say, which were written later."""
        written = [entry for entry in entries if entry.kind in COUNTED]
        if not written:
            return self
        new = (entry.interval for entry in written if entry.kind is not Kind.FAILED)
        failures = failures_after(dict(self.failures), written)
        return Coverage(tuple(merge([*self.done, *new])), tuple(failures.items()))

    def blocked(self, max_attempts: int) -> list[Interval]:
        """Windows that failed on their data `max_attempts` times; ConfigError for a number below 1."""
        return blocked_of(dict(self.failures), max_attempts)

    def dump(self) -> str:
        """Return `{"done": [[start, end], ...], "failures": [[[start, end], n], ...]}`."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> Coverage:
        """Parse what `dump` wrote; raise ValueError for anything else."""
        return msgspec.json.decode(text, type=cls)
