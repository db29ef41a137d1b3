"""Remove the files of abandoned attempts, and old part files, once that is safe, never those of a live attempt.

An attempt's folder may be removed in two cases:

- a newer commit overlaps its window: the target would refuse its token, and stage its receipts;
- no run holds a lease there, and for the safe age neither ledger nor stage changed.  The safe age is long, because a
  run that waits for its retry holds no lease and needs its files.

The files of effective commits stay, found by attempt, or by the manifest's name where the attempt is unknown; their
part files as long as `stage.keep` says (`phases/retention.py`).  An age is measured on one clock: of entries and
leases on the state's, of files on the stage's.  Cleanup can be interrupted anywhere and repeated, also by two
processes at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, effective
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.attempt_files import (
    AttemptFiles,
    find_attempts,
    in_idle_window,
    remove_abandoned,
)
from airflow_pipeline_provider.phases.commit_rows import effective_rows
from airflow_pipeline_provider.phases.fallback import check_current
from airflow_pipeline_provider.phases.retention import find_expired, remove_expired
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.base import Lease

SAFE_AGE_SECONDS = 7 * 86_400

_CLOCK = re.compile(r"clock-[0-9a-f]{32}/now")  # what a killed process of an earlier version left


@dataclass(frozen=True)
class Cleaned:
    """What was removed, or would be with `dry_run`; `kept` counts the attempts whose files stay.

    `expired` are committed attempts with the part files that `stage.keep` no longer keeps; their other files stay.
    `unfinished` names incomplete files: parts of multipart uploads, half-written local files.
    """

    dry_run: bool
    attempts: tuple[AttemptFiles, ...] = ()
    expired: tuple[AttemptFiles, ...] = ()
    leases: tuple[Lease, ...] = ()
    unfinished: tuple[str, ...] = ()
    kept: int = 0

    @property
    def files(self) -> int:
        """Return the number of files."""
        return sum(len(attempt.files) for attempt in (*self.attempts, *self.expired))

    @property
    def size_bytes(self) -> int:
        """Return the size of all files."""
        return sum(attempt.size_bytes for attempt in (*self.attempts, *self.expired))


def cleanup(
    runtime: Runtime, *, safe_age_seconds: float = SAFE_AGE_SECONDS, dry_run: bool = False
) -> Cleaned:
    """Remove files of abandoned attempts, part files older than `stage.keep`, unfinished uploads and expired leases.

    The newest `stage.keep_attempts` abandoned attempts of each window stay.  Raises the errors of stage, state and
    target.
    """
    try:
        return _cleanup(runtime, timedelta(seconds=safe_age_seconds), dry_run)
    except PipelineError as error:
        error.add_context(f"pipeline {runtime.config.pipeline_id}, cleanup")
        raise


def _cleanup(runtime: Runtime, safe_age: timedelta, dry_run: bool) -> Cleaned:
    check_current(runtime)  # an older ledger does not know which attempts are alive
    files = runtime.stage.list(
        ""
    )  # before the ledger: an attempt that is missing there then began without it
    found = find_attempts(runtime.config.pipeline_id, files)
    stage_now, judged = runtime.stage.now(), runtime.state.now()
    entries = _entries(runtime, found)
    removable = _removable(runtime, found, entries, stage_now, safe_age)
    gone = {attempt.folder for attempt in removable}
    left = [attempt for attempt in found if attempt.folder not in gone]
    expired = find_expired(runtime, left, entries, runtime.state.leases(), judged)
    unfinished = runtime.stage.remove_unfinished(
        stage_now - safe_age, in_idle_window(runtime), dry_run=dry_run
    )
    if dry_run:
        live = runtime.state.leases()
        leases = [lease for lease in runtime.state.leases(expired=True) if lease not in live]
    else:
        leases = runtime.state.drop_expired()
        removable = [attempt for attempt in removable if remove_abandoned(runtime, attempt, judged)]
        expired = [
            (attempt, commit) for attempt, commit in expired if remove_expired(runtime, attempt, commit)
        ]
        probes = [f.path for f in files if _CLOCK.fullmatch(f.path) and f.modified < stage_now - safe_age]
        runtime.stage.delete(probes)
    return Cleaned(
        dry_run,
        tuple(removable),
        tuple(attempt for attempt, _ in expired),
        tuple(leases),
        tuple(unfinished),
        len(found) - len(removable),
    )


def _entries(runtime: Runtime, found: list[AttemptFiles]) -> list[Entry]:
    """Return the ledger's entries of the attempts' windows."""
    if not found:
        return []
    return runtime.state.entries(
        Interval(min(a.interval.start for a in found), max(a.interval.end for a in found))
    )


# --- which attempts are abandoned


@dataclass
class _Known:
    """The ledger's entries, indexed for lookups."""

    pieces: list[tuple[Interval, Entry, int]]
    of_attempt: dict[str, list[tuple[int, Entry]]] = field(default_factory=dict)
    last_of_run: dict[tuple[str, Interval], datetime] = field(default_factory=dict)
    loaded: set[str] | None = None

    @classmethod
    def read(cls, entries: list[Entry]) -> _Known:
        known = cls(effective(entries))
        for number, entry in enumerate(entries):
            if entry.attempt is not None:
                known.of_attempt.setdefault(entry.attempt, []).append((number, entry))
            if entry.run is not None:
                key = (entry.run, entry.interval)
                known.last_of_run[key] = max(entry.at, known.last_of_run.get(key, entry.at))
        return known


def _removable(
    runtime: Runtime,
    found: list[AttemptFiles],
    entries: list[Entry],
    stage_now: datetime,
    safe_age: timedelta,
) -> list[AttemptFiles]:
    if not found:
        return []
    now, leases = runtime.state.now(), runtime.state.leases()
    known = _Known.read(entries)
    effective_commits = [entry for _, entry, _ in known.pieces]
    attempts = {commit.attempt for commit in effective_commits}
    manifests = {commit.manifest for commit in effective_commits}
    by_day = _EffectiveCommits(known.pieces)
    removable = []
    for attempt in found:
        if attempt.attempt in attempts or attempt.manifests & manifests:
            continue
        why = by_day.replaced(attempt, known.of_attempt.get(attempt.attempt, []))
        overtaken = why is not None
        if why is None and not any(lease.interval.overlaps(attempt.interval) for lease in leases):
            why = _abandoned(runtime, attempt, known, now, stage_now, safe_age)
        if why is not None:
            removable.append(replace(attempt, why=why, overtaken=overtaken))
    return _without_kept(removable, runtime.config.stage.keep_attempts)


class _EffectiveCommits:
    """Effective commits, searchable by interval; the pieces are disjoint and in order."""

    def __init__(self, pieces: list[tuple[Interval, Entry, int]]) -> None:
        self._by_day: dict[int, list[tuple[Interval, Entry, int]]] = {}
        for piece in pieces:
            for day in _days(piece[0]):
                self._by_day.setdefault(day, []).append(piece)

    def replaced(self, attempt: AttemptFiles, mine: list[tuple[int, Entry]]) -> str | None:
        """Return the reason if a commit that overlaps the window is newer than the attempt, else None."""
        if not mine:
            return None
        began = mine[0][0]
        token = max((entry.token or 0 for _, entry in mine), default=0)
        for day in _days(attempt.interval):
            for piece, commit, number in self._by_day.get(day, []):
                newer = (commit.token or 0) > token if token else number > began
                if newer and piece.overlaps(attempt.interval):
                    return f"{commit.interval} was committed with the newer token {commit.token}"
        return None


def _days(interval: Interval) -> range:
    return range(interval.start.toordinal(), interval.end.toordinal() + 1)


def _abandoned(
    runtime: Runtime,
    attempt: AttemptFiles,
    known: _Known,
    now: datetime,
    stage_now: datetime,
    safe_age: timedelta,
) -> str | None:
    if stage_now - attempt.newest < safe_age:
        return None
    mine = known.of_attempt.get(attempt.attempt, [])
    signs = [entry.at for _, entry in mine]
    signs += [known.last_of_run[entry.run, entry.interval] for _, entry in mine if entry.run is not None]
    if not mine:
        if known.loaded is None:
            known.loaded = {row.manifest_sha for _, row in effective_rows(runtime.target.commits())}
        return None if attempt.manifests & known.loaded else "the ledger does not know it, and it is old"
    if now - max(signs) < safe_age:
        return None
    return f"no run has continued it since {max(signs):%Y-%m-%d %H:%M}Z, and no run holds its window"


def _without_kept(removable: list[AttemptFiles], keep: int) -> list[AttemptFiles]:
    """Drop the newest `stage.keep_attempts` attempts of each window from the attempts to remove."""
    windows: dict[str, list[AttemptFiles]] = {}
    for attempt in removable:
        windows.setdefault(attempt.folder.rpartition("/")[0], []).append(attempt)
    left = []
    for attempts in windows.values():
        left += sorted(attempts, key=lambda attempt: attempt.newest, reverse=True)[keep:]
    return sorted(left, key=lambda attempt: attempt.folder)
