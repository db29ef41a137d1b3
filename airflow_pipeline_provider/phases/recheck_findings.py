"""Values that a recheck returns: windows that were counted again, and intervals that were not compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from enum import Enum

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Check


class Left(str, Enum):
    """Reason why an interval was not compared."""

    LEASED = "leased"
    UNVERIFIED = "unverified"
    NOT_SETTLED = "not_settled"
    CHANGED = "changed"  # by a run, while it was counted


@dataclass(frozen=True)
class RecheckedWindow:
    """One effective interval, counted at both ends.

    `target`: its rows; where it keeps history, those of the effective load without a later version of their record.
    `kept`: more rows in the target than in the source, waived since the commit.  `known`: the ledger has it.
    `by_this_run`: the ledger has it from an earlier try of the run that asks.  `changed` rows of the source were
    written since the extraction.  `not_seen` is why rows that were updated in place may be missing from these,
    without a full stop; None if every one was seen.
    """

    interval: Interval
    source: int
    target: int
    verdict: Check
    kept: bool = False
    known: bool = False
    by_this_run: bool = False
    changed: int = 0
    not_seen: str | None = None

    @property
    def detail(self) -> dict[str, object]:
        """Return the detail for the ledger."""
        counts: dict[str, object] = {"source": self.source, "target": self.target}
        changed = {"changed": self.changed} if self.verdict is Check.CHANGED else {}
        return {**counts, "verdict": self.verdict.value, **changed}


@dataclass(frozen=True)
class NotCompared:
    """An interval that was not compared; `detail` is a sentence without a full stop."""

    interval: Interval
    reason: Left
    detail: str


@dataclass(frozen=True)
class RecheckReport:
    """Result of a recheck; findings in order of time, equal ones included."""

    days: tuple[date, ...]
    findings: tuple[RecheckedWindow, ...]
    left_out: tuple[NotCompared, ...]

    @property
    def grown(self) -> tuple[RecheckedWindow, ...]:
        """Return the findings with rows that the target lacks."""
        return tuple(found for found in self.findings if found.verdict is Check.GREW)

    @property
    def changed(self) -> tuple[RecheckedWindow, ...]:
        """Return the findings with equal counts and rows that were written since the extraction."""
        return tuple(found for found in self.findings if found.verdict is Check.CHANGED)

    @property
    def stale(self) -> tuple[RecheckedWindow, ...]:
        """Return the findings to load again, in order of time."""
        return tuple(found for found in self.findings if found.verdict in (Check.GREW, Check.CHANGED))

    @property
    def shrunk(self) -> tuple[RecheckedWindow, ...]:
        """Return the findings that need review."""
        return tuple(found for found in self.findings if found.verdict is Check.SHRANK and not found.kept)

    @property
    def stale_kept(self) -> tuple[RecheckedWindow, ...]:
        """Return the findings that a waiver keeps although rows of theirs were written since the extraction."""
        return tuple(found for found in self.findings if found.kept and found.changed)

    @property
    def new(self) -> tuple[RecheckedWindow, ...]:
        """Return the differences that this run was the first to find."""
        found = (*self.stale, *self.shrunk)
        return tuple(
            sorted((one for one in found if not one.known or one.by_this_run), key=lambda one: one.interval)
        )

    @property
    def not_seen(self) -> dict[str, int]:
        """Map each reason why updates in place are not seen to its number of windows."""
        return dict(Counter(found.not_seen for found in self.findings if found.not_seen is not None))

    def unanswered(self, on_shrink: str) -> tuple[RecheckedWindow, ...]:
        """Return what shrank and must be reported as a failure.

        With `audit.on_shrink: accept` a finding is a failure only the first time.
        """
        return tuple(found for found in self.shrunk if on_shrink != "accept" or not found.known)
