"""Run `cleanup`, which removes what crashed attempts left behind, and `unlock`, which removes leases."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime
from functools import partial

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_person, read_seconds, read_window_option
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted, held_lease, lease_holder, local_window
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases import unlock as phase
from airflow_pipeline_provider.phases.attempt_files import AttemptFiles
from airflow_pipeline_provider.phases.cleanup import SAFE_AGE_SECONDS, Cleaned
from airflow_pipeline_provider.phases.cleanup import cleanup as clean
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.views.times import (
    HeldLease,
    LocalInterval,
    lease_row,
    local_fields,
    local_second_text,
)


class RemovedAttempt(Struct, frozen=True):
    """Attempt whose files were removed, all or the part files."""

    folder: str
    attempt: str
    start: datetime
    end: datetime
    files: int
    bytes: int
    why: str


class CleanupResult(Struct, frozen=True):
    """What `cleanup` removed, or with `--dry-run` would remove; `kept` counts the attempts whose files stay.

    `expired` are committed attempts whose part files are older than `stage.keep`; their manifest stays.
    """

    pipeline_id: str
    dry_run: bool
    kept: int
    files: int
    bytes: int
    attempts: tuple[RemovedAttempt, ...]
    expired: tuple[RemovedAttempt, ...]
    leases: tuple[HeldLease, ...]
    unfinished: tuple[str, ...]


def cleanup(args: Namespace, screen: Screen) -> int:
    """Remove files of replaced and abandoned attempts, old part files, unfinished uploads and expired leases."""
    safe_age = read_seconds(args.older_than, "--older-than")
    config = load_one(args.pipeline, args.folder).config
    return remove_files(config, screen, safe_age, dry_run=args.dry_run)


def remove_files(
    config: PipelineConfig, screen: Screen, safe_age: int = SAFE_AGE_SECONDS, *, dry_run: bool = False
) -> int:
    """Remove what attempts left behind that wrote nothing for `safe_age` seconds; print and return as `cleanup`."""
    with open_runtime(config) as runtime:
        done = clean(runtime, safe_age_seconds=safe_age, dry_run=dry_run)
    screen.print_result(_result(done, config), partial(_print, config.timezone))
    return exit_codes.OK


def _print(zone: str, done: CleanupResult, screen: Screen) -> None:
    rows = [
        (local_window(Interval(a.start, a.end), zone), a.attempt, str(a.files), f"{a.bytes:,}", a.why)
        for a in (*done.attempts, *done.expired)
    ]
    if rows:
        columns = ("window", "attempt", "files", "bytes", "why")
        screen.print_table(columns, rows, right=("files", "bytes"))
    for lease in done.leases:
        screen.print_line(
            f"expired lease of {lease.holder} on {local_window(lease.interval, zone)}, until "
            f"{local_second_text(lease.until, zone)}"
        )
    for what in done.unfinished:
        screen.print_line(what)
    old = f" and {counted(len(done.expired), 'old commit')}" if done.expired else ""
    verb = "would be removed" if done.dry_run else "removed"
    screen.print_line(
        f"{verb}: {counted(done.files, 'file')} of {counted(len(done.attempts), 'abandoned attempt')}{old} "
        f"({counted(done.bytes, 'byte')}), "
        f"{counted(len(done.leases), 'expired lease')}, {counted(len(done.unfinished), 'unfinished upload')}; "
        f"{counted(done.kept, 'attempt')} kept"
    )


def _result(done: Cleaned, config: PipelineConfig) -> CleanupResult:
    return CleanupResult(
        pipeline_id=config.pipeline_id,
        dry_run=done.dry_run,
        kept=done.kept,
        files=done.files,
        bytes=done.size_bytes,
        attempts=tuple(_removed(attempt) for attempt in done.attempts),
        expired=tuple(_removed(attempt) for attempt in done.expired),
        leases=tuple(lease_row(lease) for lease in done.leases),
        unfinished=tuple(done.unfinished),
    )


def _removed(a: AttemptFiles) -> RemovedAttempt:
    return RemovedAttempt(
        a.folder, a.attempt, a.interval.start, a.interval.end, len(a.files), a.size_bytes, a.why
    )


FORCED_NOTE = (
    "a live run takes its lease again at its next renewal, unless another run takes the window first; then it ends "
    "as superseded. The target stays correct: it rejects a load with an older token. Only the work of one of the two "
    "runs may be lost"
)
_STYLES = {"unlocked": "green", "forced": "yellow", "held": "red"}


class UnlockedLease(LocalInterval, frozen=True):
    """Lease; `status` is unlocked (it had expired), forced (it had not) or held (kept)."""

    owner: str
    installation: str | None
    since: datetime
    until: datetime
    status: str


class UnlockResult(Struct, frozen=True):
    """The leases that `unlock` found."""

    pipeline_id: str
    timezone: str
    leases: tuple[UnlockedLease, ...]


def unlock(args: Namespace, screen: Screen) -> int:
    """Remove expired leases, with `--force` live ones too.

    A planner skips a live lease, and a run takes over an expired one itself: an expired lease blocks nothing.

    Exit code 1 when a live lease was kept.
    """
    by = read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    within = None if args.window is None else read_window_option(args.window, config)
    return remove_leases(config, by, screen, within, force=args.force)


def remove_leases(
    config: PipelineConfig,
    by: str,
    screen: Screen,
    within: Interval | None = None,
    *,
    force: bool = False,
) -> int:
    """Remove leases that overlap `within` (None: all); print and return as `unlock`."""
    with open_runtime(config) as runtime:
        try:
            leases = phase.unlock(runtime.state, within, by=by, force=force)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, unlock")
            raise
    zone = config.timezone
    result = UnlockResult(
        config.pipeline_id, zone, tuple(_unlocked(lease, status, zone) for lease, status in leases)
    )
    screen.print_result(result, _print_leases)
    if any(status == "forced" for _, status in leases):
        screen.print_note(FORCED_NOTE, "yellow")
    held = [lease for lease, status in leases if status == "held"]
    for lease in held:
        screen.print_error(
            f"{local_window(lease.interval, zone)} {held_lease(lease.holder, lease.since, lease.until, zone)}: wait, "
            "or use --force"
        )
    return exit_codes.CHECK_FAILED if held else exit_codes.OK


def _print_leases(result: UnlockResult, screen: Screen) -> None:
    zone = result.timezone
    if not result.leases:
        screen.print_line("no lease to unlock")
        return
    rows = [
        (
            local_window(lease.interval, zone),
            lease_holder(lease.owner, lease.installation),
            local_second_text(lease.since, zone),
            local_second_text(lease.until, zone),
            lease.status,
        )
        for lease in result.leases
    ]
    styles = [_STYLES[lease.status] for lease in result.leases]
    screen.print_table(("window", "held by", "since", "until", "status"), rows, styles=styles)


def _unlocked(lease: Lease, status: str, zone: str) -> UnlockedLease:
    return UnlockedLease(
        **local_fields(lease.interval, zone),
        owner=lease.owner,
        installation=lease.installation,
        since=lease.since,
        until=lease.until,
        status=status,
    )
