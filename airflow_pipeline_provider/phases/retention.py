"""Remove the part files of windows that were committed longer ago than `stage.keep`.

Manifest, receipts and quarantined rows stay: `state rebuild` reads the manifest, and quarantined rows are in no other
place than the source.  A window whose part files are gone is read from the source when it is moved again.

The ledger's entry `files_removed` is written before the first file is deleted.  After a crash between the two the
files exist although the ledger records them as removed; the next cleanup deletes them and writes no second entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from airflow_pipeline_provider.core.durations import seconds_to_time_string
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.retention import removal_of
from airflow_pipeline_provider.core.wording import local_time
from airflow_pipeline_provider.phases.attempt_files import AttemptFiles, hold_idle_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.state.base import Lease

_PART = re.compile(r"part-[^/]+\.parquet")


def find_expired(
    runtime: Runtime,
    found: Iterable[AttemptFiles],
    entries: Iterable[Entry],
    leases: Sequence[Lease],
    now: datetime,
) -> list[tuple[AttemptFiles, Entry]]:
    """Return the attempts with the part files that `stage.keep` no longer keeps, and their commits.

    `entries` are those of the attempts' windows; `leases` are held, and `now` is the state's clock.
    """
    keep = runtime.config.stage.keep
    if keep is None:
        return []
    commits = _Commits(entries)
    expired = []
    for attempt in found:
        commit = commits.of(attempt)
        if commit is None or now - commit.at < timedelta(seconds=keep):
            continue
        parts = tuple(file for file in attempt.files if _PART.fullmatch(file.path.rpartition("/")[2]))
        if parts and not any(lease.interval.overlaps(attempt.interval) for lease in leases):
            since = local_time(commit.at.replace(microsecond=0), runtime.config.rules.zone)
            why = f"committed at {since}, and stage.keep is {seconds_to_time_string(keep)}"
            expired.append((replace(attempt, files=parts, why=why), commit))
    return expired


def remove_expired(runtime: Runtime, attempt: AttemptFiles, commit: Entry) -> bool:
    """Record that the part files go, then delete them; return False if a run holds the window now."""
    with hold_idle_window(runtime, attempt.interval) as free:
        if not free:
            return False
        entries = runtime.state.entries(attempt.interval)
        if commit not in entries:  # the state was replaced by another one meanwhile
            return False
        if removal_of(entries, commit.manifest) is None:
            runtime.state.append(_removal(runtime, attempt, commit))
        runtime.stage.delete([file.path for file in attempt.files])
    return True


def _removal(runtime: Runtime, attempt: AttemptFiles, commit: Entry) -> Entry:
    return Entry(
        Kind.FILES_REMOVED,
        commit.interval,
        runtime.state.now(),
        attempt=attempt.attempt,
        manifest=commit.manifest,
        detail={
            "keep": seconds_to_time_string(runtime.config.stage.keep or 0),
            "files": len(attempt.files),
            "bytes": attempt.size_bytes,
        },
    )


class _Commits:
    """Commits by attempt, and by manifest where a rebuilt ledger knows no attempt; of several the newest."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._of_attempt: dict[str, Entry] = {}
        self._of_manifest: dict[str, Entry] = {}
        for entry in entries:
            if entry.kind is not Kind.COMMITTED or entry.manifest is None:
                continue
            self._of_manifest[entry.manifest] = entry
            if entry.attempt is not None:
                self._of_attempt[entry.attempt] = entry

    def of(self, attempt: AttemptFiles) -> Entry | None:
        """Return the newest commit of the attempt's files, None if they were never committed."""
        found = [self._of_attempt.get(attempt.attempt)]
        found += [self._of_manifest.get(manifest) for manifest in attempt.manifests]
        commits = [entry for entry in found if entry is not None and entry.interval == attempt.interval]
        return max(commits, key=lambda entry: entry.at, default=None)
