"""Reconcile the counts of a window: source = manifest = target = distinct ids, or how they differ and why.

Rows that the target cannot take are quarantined instead of loaded: then source = manifest + quarantined.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_pipeline_provider.core.wording import counted


@dataclass(frozen=True)
class Counts:
    """Rows of one window, counted after the load.

    `source` is a fresh count (None: the source did not respond), `manifest` what was staged, `target` the rows
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
        """Return the rows that were extracted, quarantined ones included."""
        return self.manifest + self.quarantined


@dataclass(frozen=True)
class Reconciliation:
    """Verdict on the counts of a window; `sentence` has no full stop."""

    ok: bool
    sentence: str


def reconcile(counts: Counts, *, keeps_history: bool = False) -> Reconciliation:
    """Compare the counts of one window; only equal numbers pass.

    With `keeps_history` (`source.history: changes`) the source may have fewer rows than were extracted: records were
    updated since and moved to a later window.
    """
    findings = _findings(counts, may_shrink=keeps_history)
    if findings:
        return Reconciliation(False, f"the counts differ ({counts}): {'; '.join(findings)}")
    if counts.source != counts.extracted:
        left = counts.extracted - (counts.source or 0)
        loaded = f"manifest = target = distinct ids = {counts.target:,}"
        return Reconciliation(True, f"{loaded}, and {counted(left, 'row')} left the source's window since")
    if counts.quarantined:
        return Reconciliation(
            True,
            f"source {counts.source:,} = manifest {counts.manifest:,} + quarantined {counts.quarantined:,}, "
            "and manifest = target = distinct ids",
        )
    return Reconciliation(True, f"source = manifest = target = distinct ids = {counts.target:,}")


def _findings(counts: Counts, *, may_shrink: bool) -> list[str]:
    """Return each difference with its likely cause, the most severe first.

    A count that is missing, or that contradicts another, is a difference too.
    """
    source, manifest, target, distinct = counts.source, counts.manifest, counts.target, counts.distinct
    extracted = counts.extracted
    found = []
    if source is None:
        found.append("the source could not be counted, so nothing proves the window complete")
    if distinct > target:
        found.append(
            f"the target reports {counted(distinct - target, 'distinct id')} more than it has rows, so its two "
            "counts "
            "are of different moments"
        )
    if target > distinct:
        cause = (
            "the load wrote them twice, or rows of an earlier attempt were not deleted"
            if target > manifest
            else "the extract read them twice, or the source's record ids are not unique"
        )
        found.append(f"{counted(target - distinct, 'row')} in the target repeat a record id: {cause}")
    if target < manifest:
        found.append(f"the load lost {counted(manifest - target, 'row')} of the manifest")
    if target > manifest:
        found.append(
            f"the target holds {counted(target - manifest, 'row')} that the manifest does not list: something "
            "else wrote into "
            "the window"
        )
    if source is not None and source > extracted:
        found.append(
            f"the source has {counted(source - extracted, 'row')} more than were extracted: it grew after the "
            "extraction, or "
            "the extract missed some"
        )
    if source is not None and source < extracted and not may_shrink:
        found.append(
            f"the source has {counted(extracted - source, 'row')} fewer than were extracted: it shrank after "
            "the extraction, "
            "or the extract read some twice"
        )
    return found
