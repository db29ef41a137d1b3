"""Coverage: what planning needs of a ledger, computed from its entries and small enough to store.

`Coverage().after(entries)` equals `ledger.committed`, `ledger.waived` and `ledger.blocked` of all entries.  Entries
are only ever appended, so `Coverage().after(first).after(rest)` equals `Coverage().after(first + rest)`.  A store can
therefore keep the coverage up to one entry and read only the entries after it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from airflow_pipeline_provider.core.intervals import Interval, merge
from airflow_pipeline_provider.core.ledger import Entry, Kind, blocked_of, failures_after

COUNTED = (Kind.COMMITTED, Kind.WAIVED, Kind.FAILED)
"""Kinds of entries that change the coverage."""


class Coverage(msgspec.Struct, frozen=True):
    """Coverage of a ledger.

    `done` was committed at any time, or waived: sorted and disjoint.  `failures` maps an interval to its number of
    failures on data since the last commit or waiver that overlaps it, 0 for what such a one left of a failed window;
    its order has no meaning.
    """

    done: tuple[Interval, ...] = ()
    failures: tuple[tuple[Interval, int], ...] = ()

    def after(self, entries: Iterable[Entry]) -> Coverage:
        """Return the coverage extended by entries that were written later."""
        written = [entry for entry in entries if entry.kind in COUNTED]
        if not written:
            return self
        new = (entry.interval for entry in written if entry.kind is not Kind.FAILED)
        failures = failures_after(dict(self.failures), written)
        return Coverage(tuple(merge([*self.done, *new])), tuple(failures.items()))

    def blocked(self, max_attempts: int) -> list[Interval]:
        """Return windows that failed on their data `max_attempts` times; raise ConfigError for a number below 1."""
        return blocked_of(dict(self.failures), max_attempts)

    def dump(self) -> str:
        """Return `{"done": [[start, end], ...], "failures": [[[start, end], n], ...]}`."""
        return msgspec.json.encode(self).decode()

    @property
    def failed(self) -> tuple[Interval, ...]:
        """Return where a window failed, or was part of a larger one that did, and is not done since."""
        return tuple(window for window, _ in self.failures)

    @classmethod
    def parse(cls, text: str) -> Coverage:
        """Parse what `dump` wrote; raise ValueError for anything else."""
        stored = msgspec.json.decode(text, type=_Stored)
        return cls(stored.done, stored.failures)


class _Stored(msgspec.Struct):
    """The same without defaults: text that lacks a key was not written by `dump`."""

    done: tuple[Interval, ...]
    failures: tuple[tuple[Interval, int], ...]
