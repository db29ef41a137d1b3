"""`cleanup PIPELINE [--older-than 7d] [--dry-run]`: remove what dead attempts left behind.

JSON: `{"pipeline_id", "dry_run", "kept", "files", "bytes", "attempts": [{"folder", "attempt", "start", "end",
"files", "bytes", "why"}], "leases": [{"start", "end", "owner", "installation" | null, "since",
"until"}], "unfinished": [text]}`.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.arguments import read_seconds
from airflow_pipeline_provider.cli.find import load_one
from airflow_pipeline_provider.cli.localtime import whole_second
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.core.intervals import iso_utc
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases.cleanup import Cleaned
from airflow_pipeline_provider.phases.cleanup import cleanup as clean
from airflow_pipeline_provider.phases.runtime import open_runtime


def cleanup(args: Namespace, screen: Screen) -> int:
    """The command."""
    safe_age = read_seconds(args.older_than, "--older-than")
    config = load_one(args.pipeline, args.folder).config
    with open_runtime(config) as runtime:
        done = clean(runtime, safe_age_seconds=safe_age, dry_run=args.dry_run)
    if screen.as_json:
        screen.answer({"pipeline_id": config.pipeline_id, **_json(done)})
    else:
        _print(done, config.timezone, screen)
    return exits.OK


def _print(done: Cleaned, zone: str, screen: Screen) -> None:
    rows = [
        (local_window(a.interval, zone), a.attempt, str(len(a.files)), f"{a.size_bytes:,}", a.why)
        for a in done.attempts
    ]
    if rows:
        columns = ("window", "attempt", "files", "bytes", "why")
        screen.table(columns, rows, right=("files", "bytes"))
    for lease in done.leases:
        screen.say(
            f"expired lease of {lease.holder} on {local_window(lease.interval, zone)}, until "
            f"{whole_second(lease.until, zone)}"
        )
    for what in done.unfinished:
        screen.say(what)
    verb = "would be removed" if done.dry_run else "removed"
    screen.say(
        f"{verb}: {counted(done.files, 'file')} of {counted(len(done.attempts), 'dead attempt')} "
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
        "leases": [
            {
                "start": iso_utc(lease.interval.start),
                "end": iso_utc(lease.interval.end),
                "owner": lease.owner,
                "installation": lease.installation,
                "since": iso_utc(lease.since),
                "until": iso_utc(lease.until),
            }
            for lease in done.leases
        ],
        "unfinished": list(done.unfinished),
    }
