"""Find the files of attempts in the stage, and delete them under the right to do so.

A file is deleted only if its name is one that this pipeline gives, and only by a process that has the right to:

- after a commit: attempts whose entry in the ledger precedes that commit, once the lease was renewed;
- by `cleanup`: attempts that a newer commit overtook, and under a lease on their window abandoned ones and the part
  files of old commits (`phases/retention.py`).

A stale task deletes no file of an attempt that began after its lease expired.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from airflow_pipeline_provider.connectors.base import StageFile
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.core.windows import parse_window_id
from airflow_pipeline_provider.exceptions import LeaseHeldError, PipelineError
from airflow_pipeline_provider.phases.leases import renew
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Staged

logger = logging.getLogger(__name__)

_PATH = re.compile(r"(\d{4,}-\d\d-\d\d/([^/]+)/([0-9a-f]{12}))/.+")
_MANIFEST = re.compile(r"manifest-([0-9a-f]{64})\.json")


@dataclass(frozen=True)
class AttemptFiles:
    """The files of one attempt in the stage.

    `why` is the reason to delete them, without a full stop; `overtaken`: a newer commit made them useless.
    """

    folder: str
    interval: Interval
    attempt: str
    files: tuple[StageFile, ...] = ()
    why: str = ""
    overtaken: bool = False

    @property
    def size_bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.size for file in self.files)

    @property
    def newest(self) -> datetime:
        """Return the time of the newest file, by the stage's clock."""
        return max(file.modified for file in self.files)

    @property
    def manifests(self) -> set[str]:
        """Return the SHA-256 of each manifest in the folder."""
        names = (file.path.rpartition("/")[2] for file in self.files)
        return {match[1] for name in names if (match := _MANIFEST.fullmatch(name))}


def attempt_of(pipeline_id: str, path: str) -> AttemptFiles | None:
    """Return the attempt, without its files, that a path of this pipeline belongs to; None for any other path."""
    match = _PATH.fullmatch(path)
    window = parse_window_id(match[2]) if match else None
    if match is None or window is None or window[0] != pipeline_id:
        return None
    return AttemptFiles(match[1], window[1], match[3])


def find_attempts(pipeline_id: str, files: Iterable[StageFile]) -> list[AttemptFiles]:
    """Return the attempts of this pipeline among the files; a stage may be shared, and other files are left alone."""
    attempts: dict[str, AttemptFiles] = {}
    folders: dict[str, list[StageFile]] = {}
    for file in files:
        attempt = attempt_of(pipeline_id, file.path)
        if attempt is not None:
            attempts[attempt.folder] = attempt
            folders.setdefault(attempt.folder, []).append(file)
    return [replace(attempts[folder], files=tuple(found)) for folder, found in sorted(folders.items())]


def in_idle_window(runtime: Runtime) -> Callable[[str], bool]:
    """Return a predicate for paths: of this pipeline, in a window that no run holds now."""
    held = [lease.interval for lease in runtime.state.leases()]

    def idle(path: str) -> bool:
        attempt = attempt_of(runtime.config.pipeline_id, path)
        return attempt is not None and not any(interval.overlaps(attempt.interval) for interval in held)

    return idle


# --- deleting


def remove_older_attempts(runtime: Runtime, claim: Claim, staged: Staged) -> None:
    """Delete the files of attempts that the commit of `staged` made useless, except `stage.keep_attempts` of them.

    Errors are logged: the window is committed, and `cleanup` deletes what stays.
    """
    if staged.attempt is None:
        return
    interval = claim.interval
    try:
        entries = runtime.state.entries(interval)
        own = (Kind.COMMITTED, interval, staged.token)
        commit = next(
            n for n, entry in enumerate(entries) if (entry.kind, entry.interval, entry.token) == own
        )
        before = {entry.attempt for entry in entries[:commit]} - {staged.attempt, None}
        if not before:  # the usual case: the stage is not opened
            return
        renew(runtime, claim.run, interval)
        files = runtime.stage.list(claim.stage_path)
        found = [a for a in find_attempts(runtime.config.pipeline_id, files) if a.attempt in before]
        found.sort(key=lambda attempt: attempt.newest, reverse=True)
        older = found[runtime.config.stage.keep_attempts :]
        runtime.stage.delete([file.path for attempt in older for file in attempt.files])
    except LeaseHeldError as error:
        logger.warning("files of older attempts are left to the run that took the window: %s", error)
    except PipelineError as error:
        logger.warning("files of older attempts stay behind: %s", error)


def remove_abandoned(runtime: Runtime, attempt: AttemptFiles, judged: datetime) -> bool:
    """Delete the files of an abandoned attempt; return False if a run used its window since `judged`.

    `judged` is an instant of the state's clock.
    """
    if attempt.overtaken:
        runtime.stage.delete([file.path for file in attempt.files])
        return True
    with hold_idle_window(runtime, attempt.interval) as free:
        idle = free and not any(entry.at > judged for entry in runtime.state.entries(attempt.interval))
        if idle:
            runtime.stage.delete([file.path for file in attempt.files])
    return idle


@contextmanager
def hold_idle_window(runtime: Runtime, interval: Interval) -> Iterator[bool]:
    """Hold the window as if to move it; yield False if a run holds it."""
    owner = f"cleanup/{uuid.uuid4()}"
    try:
        runtime.state.acquire(interval, owner, runtime.config.state.lease_seconds)
    except LeaseHeldError:
        yield False
        return
    try:
        yield True
    finally:
        runtime.state.release(interval, owner)
