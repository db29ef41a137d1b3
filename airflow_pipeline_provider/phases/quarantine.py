"""Find the quarantined rows of loads: their number in the ledger, the rows in the target's table and in the stage.

The ledger has the number of each commit.  The table has id, time and reason of each row; it may lack rows that were
loaded by an earlier version, or by a role that may not create it.  The files of the stage have the documents too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_pipeline_provider.connectors.values import QuarantinedCount
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, effective
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import ConfigError, DataError, PipelineError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import find_manifest

GONE = "the files of its quarantined rows are gone from the stage"


@dataclass(frozen=True)
class QuarantinedLoad:
    """A load with quarantined rows.

    `pieces` are its effective intervals.  `rows` is the ledger's number: None where the ledger does not know it,
    because only a part of the load is effective, it is not committed, or the state was rebuilt.  `in_table` is what
    the target's table has of it; None without a table.  `outdated` counts rows of older loads that are still in the
    table: a version without the table loaded the window again.
    """

    interval: Interval
    token: int
    pieces: tuple[Interval, ...]
    rows: int | None
    in_table: int | None
    reasons: tuple[tuple[str, int], ...] = ()
    manifest: str | None = None
    outdated: int = 0

    @property
    def is_whole(self) -> bool:
        """Return whether no newer load replaced a part of it."""
        return self.pieces == (self.interval,)

    @property
    def needs_stage(self) -> bool:
        """Return whether the table does not have all rows, as far as the ledger knows."""
        if self.in_table is None or self.rows is None:
            return not self.in_table
        return self.in_table < self.rows

    @property
    def differs(self) -> bool:
        """Return whether the table does not have exactly the load's rows, as far as the ledger knows."""
        return bool(self.outdated) or self.needs_stage or self.rows not in (None, self.in_table)


def find_loads(runtime: Runtime, within: Interval | None = None) -> list[QuarantinedLoad]:
    """Return the loads with quarantined rows that overlap `within` (None: all), in order of time."""
    entries = runtime.state.entries(within)
    if within is not None and entries:  # newer commits may have replaced what is outside
        hull = Interval(
            min(entry.interval.start for entry in entries), max(entry.interval.end for entry in entries)
        )
        entries = runtime.state.entries(hull)
    loads = compare(entries, runtime.target.quarantined())
    return [one for one in loads if within is None or any(piece.overlaps(within) for piece in one.pieces)]


def compare(entries: Iterable[Entry], counts: Sequence[QuarantinedCount] | None) -> list[QuarantinedLoad]:
    """Return the loads that have quarantined rows in the ledger or in the table, in order of time."""
    by_token = {count.token: count for count in counts or ()}
    pieces: dict[int, list[Interval]] = {}
    commits: dict[int, Entry] = {}
    for piece, entry, number in effective(entries):
        pieces.setdefault(number, []).append(piece)
        commits[number] = entry
    own = {number: by_token.pop(entry.token or 0, None) for number, entry in commits.items()}
    outdated: Counter[int] = Counter()
    for left in list(by_token.values()):
        for number, entry in commits.items():
            if (entry.token or 0) > left.token and any(p.overlaps(left.interval) for p in pieces[number]):
                outdated[number] += left.rows
                by_token.pop(left.token, None)
    loads = []
    for number, entry in commits.items():
        count, rows = own[number], entry.detail.get("quarantined")
        if not rows and count is None and not outdated[number]:
            continue
        mine = tuple(pieces[number])
        loads.append(
            QuarantinedLoad(
                entry.interval,
                entry.token or 0,
                mine,
                rows if mine == (entry.interval,) else None,
                None if counts is None else count.rows if count else 0,
                count.reasons if count else (),
                entry.manifest,
                outdated[number],
            )
        )
    loads += [
        QuarantinedLoad(one.interval, one.token, (one.interval,), None, one.rows, one.reasons)
        for one in by_token.values()
    ]
    return sorted(loads, key=lambda one: (one.interval, one.token))


def staged_manifest(runtime: Runtime, interval: Interval, sha256: str | None) -> Manifest | None:
    """Return the manifest of a load if it and all files of quarantined rows are in the stage, else None."""
    found = find_manifest(runtime, runtime.window(interval), sha256) if sha256 else None
    if found is None or any(runtime.stage.size(part.path) is None for part in found[1].quarantined):
        return None
    return found[1]


@dataclass(frozen=True)
class RestoredRows:
    """Loads whose rows were written to the table, with their numbers; and those left out, with the reason."""

    written: tuple[tuple[QuarantinedLoad, int], ...]
    left_out: tuple[tuple[QuarantinedLoad, str], ...]


def restore(runtime: Runtime) -> RestoredRows:
    """Write the rows that the table lacks from the files of the stage.

    Raises:
        ConfigError: The target has no table of quarantined rows.
        FatalError: The table is missing, and the role may not create it.
    """
    pipeline_id = runtime.config.pipeline_id
    try:
        if runtime.target.quarantine_table() is None:
            raise ConfigError(
                f"target {runtime.config.target.type!r} has no table of quarantined rows, so none can be rebuilt"
            )
        written, left_out = [], []
        for load in find_loads(runtime):
            if not load.differs:
                continue
            manifest = staged_manifest(runtime, load.interval, load.manifest)
            if manifest is None:
                left_out.append((load, GONE))
                continue
            try:
                written.append((load, runtime.target.restore_quarantine(manifest, runtime.stage)))
            except DataError as error:
                left_out.append((load, error.message))
        return RestoredRows(tuple(written), tuple(left_out))
    except PipelineError as error:
        error.add_context(f"pipeline {pipeline_id}, quarantine rebuild")
        raise
