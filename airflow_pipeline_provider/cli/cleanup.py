"""Run `cleanup`, which removes what crashed attempts left behind, and `unlock`, which removes leases."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_person, read_seconds, read_window_option
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.time_format import interval_json, lease_json, local_second_text
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.core.wording import counted, held_lease, local_window
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.phases.cleanup import Cleaned
from airflow_pipeline_provider.phases.cleanup import cleanup as clean
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.unlock import Unlocked
from airflow_pipeline_provider.phases.unlock import unlock as remove_leases
from airflow_pipeline_provider.state.base import Lease


def cleanup(args: Namespace, screen: Screen) -> int:
    """Remove files of replaced and abandoned attempts, unfinished uploads and expired leases.

    JSON: `{"pipeline_id", "dry_run", "kept", "files", "bytes", "attempts": [{"folder", "attempt", "start", "end",
    "files", "bytes", "why"}], "leases": [{"start", "end", "owner", "installation" | null, "since", "until"}],
    "unfinished": [text]}`.
    """
    safe_age = read_seconds(args.older_than, "--older-than")
    config = load_one(args.pipeline, args.folder).config
    with open_runtime(config) as runtime:
        done = clean(runtime, safe_age_seconds=safe_age, dry_run=args.dry_run)
    if screen.as_json:
        screen.print_json({"pipeline_id": config.pipeline_id, **_json(done)})
    else:
        _print(done, config.timezone, screen)
    return exit_codes.OK


def _print(done: Cleaned, zone: str, screen: Screen) -> None:
    rows = [
        (local_window(a.interval, zone), a.attempt, str(len(a.files)), f"{a.size_bytes:,}", a.why)
        for a in done.attempts
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
    verb = "would be removed" if done.dry_run else "removed"
    screen.print_line(
        f"{verb}: {counted(done.files, 'file')} of {counted(len(done.attempts), 'abandoned attempt')} "
        f"({counted(done.size_bytes, 'byte')}), "
        f"{counted(len(done.leases), 'expired lease')}, {counted(len(done.unfinished), 'unfinished upload')}; "
        f"{counted(done.kept, 'attempt')} kept"
    )


def _json(done: Cleaned) -> dict[str, Any]:
    return {
        "dry_run": done.dry_run,
        "kept": done.kept,
        "files": done.files,
        "bytes": done.size_bytes,
        "attempts": [
            {
                "folder": a.folder,
                "attempt": a.attempt,
                "start": iso_utc(a.interval.start),
                "end": iso_utc(a.interval.end),
                "files": len(a.files),
                "bytes": a.size_bytes,
                "why": a.why,
            }
            for a in done.attempts
        ],
        "leases": [lease_json(lease) for lease in done.leases],
        "unfinished": list(done.unfinished),
    }


FORCED_NOTE = (
    "a live run takes its lease again at its next renewal, unless another run takes the window first; then it ends "
    "as superseded. The target stays correct: it rejects a load with an older token. Only the work of one of the two "
    "runs may be lost"
)
_STYLES = {"unlocked": "green", "forced": "yellow", "held": "red"}


def unlock(args: Namespace, screen: Screen) -> int:
    """Remove expired leases, with `--force` live ones too.

    A planner skips a live lease, and a run takes over an expired one itself: an expired lease blocks nothing.

    JSON: `{"pipeline_id", "timezone", "leases": [interval + {"owner", "installation" | null, "since", "until",
    "status"}]}`; an interval is `{"day", "start", "end", "local_start", "local_end"}`; `status` is unlocked (it had
    expired), forced (it had not) or held (kept).

    Exit code 1 when a live lease was kept.
    """
    by = read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    within = None if args.window is None else read_window_option(args.window, config)
    with open_runtime(config) as runtime:
        try:
            leases = remove_leases(runtime.state, within, by=by, force=args.force)
        except PipelineError as error:
            error.add_context(f"pipeline {config.pipeline_id}, unlock")
            raise
    _report_leases(config, leases, screen)
    if any(status == "forced" for _, status in leases):
        screen.print_note(FORCED_NOTE, "yellow")
    held = [lease for lease, status in leases if status == "held"]
    for lease in held:
        zone = config.timezone
        screen.print_error(
            f"{local_window(lease.interval, zone)} {held_lease(lease.holder, lease.since, lease.until, zone)}: wait, "
            "or use --force"
        )
    return exit_codes.CHECK_FAILED if held else exit_codes.OK


def _report_leases(config: PipelineConfig, leases: list[Unlocked], screen: Screen) -> None:
    zone = config.timezone
    if screen.as_json:
        screen.print_json(
            {
                "pipeline_id": config.pipeline_id,
                "timezone": zone,
                "leases": [_lease_status_json(lease, status, zone) for lease, status in leases],
            }
        )
    elif not leases:
        screen.print_line("no lease to unlock")
    else:
        rows = [
            (
                local_window(lease.interval, zone),
                lease.holder,
                local_second_text(lease.since, zone),
                local_second_text(lease.until, zone),
                status,
            )
            for lease, status in leases
        ]
        styles = [_STYLES[status] for _, status in leases]
        screen.print_table(("window", "held by", "since", "until", "status"), rows, styles=styles)


def _lease_status_json(lease: Lease, status: str, zone: str) -> dict[str, Any]:
    return {
        **interval_json(lease.interval, zone),
        **lease_json(lease),
        "status": status,
    }
