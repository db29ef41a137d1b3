"""The audit's arithmetic: source = manifest = target = distinct ids; else which differ, how far, and why.

Rows that the target cannot take are quarantined instead of loaded: then source = manifest + quarantined.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Difference(str, Enum):
    """What a count comparison found; the weightiest one when there are several."""

    NONE = "none"
    UNVERIFIABLE = "unverifiable"  # a count is missing or contradicts itself: a failure, never a pass
    DUPLICATES = "duplicates"
    LOAD_LOST_ROWS = "load_lost_rows"
    LOAD_ADDED_ROWS = "load_added_rows"
    SOURCE_GREW = "source_grew"
    SOURCE_SHRANK = "source_shrank"


@dataclass(frozen=True)
class Counts:
    """Rows of one window, counted after the load.

    `source` is a fresh count (None: the source could not say), `manifest` what was staged, `target` the rows
    that the target holds for the window, `distinct` how many different record ids they have.  `quarantined` rows were
    extracted and kept from the load.
    """

    source: int | None
    manifest: int
    target: int
    distinct: int
    quarantined: int = 0

    def __post_init__(self) -> None:
        for name in ("source", "manifest", "target", "distinct", "quarantined"):
            value = getattr(self, name)
            if value is None and name == "source":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name}: expected a count of 0 or more, got {value!r}")

    def __str__(self) -> str:
        source = "unknown" if self.source is None else f"{self.source:,}"
        aside = f", quarantined {self.quarantined:,}" if self.quarantined else ""
        rest = f"target {self.target:,}, distinct ids {self.distinct:,}"
        return f"source {source}, manifest {self.manifest:,}{aside}, {rest}"

    @property
    def extracted(self) -> int:
        return self.manifest + self.quarantined


@dataclass(frozen=True)
class Reconciliation:
    """The verdict.  `sentence` has no full stop.

    `shortfall` is how many records the target lacks, `excess` how many rows it holds too many (repeated ids
    included), both against the source without the quarantined rows, or against the manifest where the source is
    unknown: `target = source - quarantined - shortfall + excess`.
    """

    ok: bool
    sentence: str
    shortfall: int
    excess: int
    kind: Difference


def reconcile(counts: Counts, *, keeps_history: bool = False) -> Reconciliation:
    """Compare the counts of one window; only equal numbers pass.

    With `keeps_history` (`source.history: changes`) the source may have fewer rows than were extracted: records were
    updated since and moved to a later window.
    """
    findings = [
        found for found in _findings(counts) if not (keeps_history and found[0] is Difference.SOURCE_SHRANK)
    ]
    expected = counts.manifest if counts.source is None else counts.source - counts.quarantined
    distinct = min(counts.distinct, counts.target)
    shortfall = max(0, expected - distinct)
    excess = counts.target - distinct + max(0, distinct - expected)
    if not findings and counts.source != counts.extracted:
        left = counts.extracted - (counts.source or 0)
        loaded = f"manifest = target = distinct ids = {counts.target:,}"
        sentence = f"{loaded}, and {_rows(left)} left the source's window since"
        return Reconciliation(True, sentence, shortfall, excess, Difference.NONE)
    if not findings:
        sentence = f"source = manifest = target = distinct ids = {counts.target:,}"
        if counts.quarantined:
            sentence = (
                f"source {counts.source:,} = manifest {counts.manifest:,} + quarantined {counts.quarantined:,}, "
                "and manifest = target = distinct ids"
            )
        return Reconciliation(True, sentence, shortfall, excess, Difference.NONE)
    reasons = "; ".join(reason for _, reason in findings)
    return Reconciliation(
        False, f"the counts differ ({counts}): {reasons}", shortfall, excess, findings[0][0]
    )


def _findings(counts: Counts) -> list[tuple[Difference, str]]:
    """Every difference with its likely cause, the weightiest first."""
    source, manifest, target, distinct = counts.source, counts.manifest, counts.target, counts.distinct
    extracted = counts.extracted
    found = []
    if source is None:
        found.append(
            (
                Difference.UNVERIFIABLE,
                "the source could not be counted, so nothing proves the window complete",
            )
        )
    if distinct > target:
        found.append(
            (
                Difference.UNVERIFIABLE,
                f"the target reports {_rows(distinct - target, 'distinct id')} more than it has rows, so its "
                "two counts do not speak of the same moment",
            )
        )
    if target > distinct:
        cause = (
            "the load wrote them twice, or rows of an earlier attempt were not deleted"
            if target > manifest
            else "the extract read them twice, or the source's record ids are not unique"
        )
        found.append(
            (Difference.DUPLICATES, f"{_rows(target - distinct)} in the target repeat a record id: {cause}")
        )
    if target < manifest:
        found.append((Difference.LOAD_LOST_ROWS, f"the load lost {_rows(manifest - target)} of the manifest"))
    if target > manifest:
        found.append(
            (
                Difference.LOAD_ADDED_ROWS,
                f"the target holds {_rows(target - manifest)} that the manifest does not list: something "
                "else wrote into the window",
            )
        )
    if source is not None and source > extracted:
        found.append(
            (
                Difference.SOURCE_GREW,
                f"the source has {_rows(source - extracted)} more than were extracted: it grew after the "
                "extraction, or the extract missed some",
            )
        )
    if source is not None and source < extracted:
        found.append(
            (
                Difference.SOURCE_SHRANK,
                f"the source has {_rows(extracted - source)} fewer than were extracted: it shrank after the "
                "extraction, or the extract read some twice",
            )
        )
    return found


def _rows(number: int, noun: str = "row") -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
