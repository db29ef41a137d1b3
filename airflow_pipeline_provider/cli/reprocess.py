"""`reprocess PIPELINE --from D --to D`: move windows again, committed ones too; by Airflow runs, or `--here`.

The windows are those of the day plan, cut to what was asked for: a load replaces whatever stood in its window,
however it was cut before.  With `--all` they are the committed windows as they were cut, and a source or target that
changed in the file is accepted; cut off, the command again moves those that are left.

JSON: `{"pipeline_id", "timezone", "dry_run", "windows": [piece + {"window_id", "now", "rows" | null, "action",
"detail", "run_id" | null, "status" | null, "reason" | null, "token" | null}], "error" | null}`; a piece is `{"day",
"start", "end", "local_start", "local_end"}`; `now` is committed, partly, waived, unverified or missing; `action` is
replace, load or leave_out; `status` is started, committed, skipped or failed, null where nothing was done.

Exit code 1 when there is nothing to move, or a window was skipped.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from datetime import date
from typing import Any

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.arguments import read_count, read_person, read_reference_time, read_seconds
from airflow_pipeline_provider.cli.find import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.reload import (
    MOST_RUNS,
    Reloaded,
    accepting_shrink,
    moved_json,
    print_reloaded,
    refuse_outside_of_airflow,
    reload_here,
    start_runs,
)
from airflow_pipeline_provider.cli.spans import piece_json, read_span
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_of, days_in
from airflow_pipeline_provider.core.intervals import Interval, common, gaps, intersect
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.planning import day_plan, plan_window
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.observability.redaction import redact_values
from airflow_pipeline_provider.phases.adopt import begin_all, committed_windows
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.state.base import Lease


@dataclass(frozen=True)
class Step:
    """What is to be done with one window; `detail` says why it is left out, or who holds it."""

    interval: Interval
    now: str
    rows: int | None
    action: str
    detail: str


def reprocess(args: Namespace, screen: Screen) -> int:
    """The command."""
    wait, retries = (
        read_seconds(args.wait, "--wait"),
        read_count(args.retries, "--retries", least=0, most=1000),
    )
    if args.accept_shrink and not args.here and not args.dry_run:
        raise ConfigError(
            "--accept-shrink: a run of the DAG follows the pipeline file, which one word cannot change; add --here"
        )
    by = read_person(args.by)
    if args.all != (args.first is None) or args.all != (args.last is None):
        raise ConfigError("--from: expected --from and --to, or --all for every committed window")
    config = load_one(args.pipeline, args.folder).config
    span = None if args.all else read_span(args.first, args.last, config.timezone)
    if not args.here and not args.dry_run:
        refuse_outside_of_airflow(getattr(args, "in_airflow", False))
    now = read_reference_time(None)
    done = Reloaded()
    with open_runtime(config) as runtime:
        steps = plan(runtime, span) if span is not None else plan_all(runtime)
        windows = [step.interval for step in steps if step.action != "leave_out"]
        if not screen.as_json:
            _print_plan(config, steps, screen)
        if args.all and not args.here and len(windows) > MOST_RUNS:
            raise ConfigError(
                f"--all: {len(windows):,} windows are more runs than the {MOST_RUNS:,} that are started at once: add "
                "--here"
            )
        if windows and not args.dry_run:
            if args.all:
                begin_all(runtime, by)
            if args.here:
                done = reload_here(
                    accepting_shrink(runtime) if args.accept_shrink else runtime,
                    windows,
                    screen,
                    reference_time=now,
                    wait_seconds=wait,
                    retries=retries,
                    verbose=args.verbose,
                    by=by,
                )
            else:
                done = start_runs(runtime, windows, "reprocess", now, by)
        if screen.as_json:
            screen.answer(_json(runtime, steps, done, dry_run=args.dry_run))
    print_reloaded(done, config.timezone, screen)
    if not windows:
        screen.error("no window to move")
        return exits.NO
    if args.dry_run:
        screen.say(
            f"dry run: {len(windows):,} of {counted(len(steps), 'window')} would be moved, nothing was done"
        )
    return done.exit_code(screen)


def plan(runtime: Runtime, span: Interval) -> list[Step]:
    """The day plan's windows, cut to the span, in order."""
    leases, steps = runtime.state.leases(), []
    for day, part in days_in(span, runtime.config.timezone):
        entries = runtime.state.entries(part)
        pieces = (intersect(window, part) for window in day_plan(runtime.config.rules, day))
        steps += [_step(runtime, piece, entries, leases) for piece in pieces if piece is not None]
    return steps


def plan_all(runtime: Runtime) -> list[Step]:
    """Return a step for each committed window, in order."""
    entries, leases = runtime.state.entries(), runtime.state.leases()
    by_day: dict[date, list[Entry]] = {}
    zone = runtime.config.timezone
    for entry in entries:
        for day, _ in days_in(entry.interval, zone):
            by_day.setdefault(day, []).append(entry)
    return [
        _step(runtime, window, by_day[day_of(window.start, zone)], leases)
        for window in committed_windows(runtime)
    ]


def _step(runtime: Runtime, piece: Interval, entries: list[Entry], leases: list[Lease]) -> Step:
    stands, rows = _stands(entries, piece)
    may = plan_window(runtime.config.rules, piece, runtime.clock(), cut=False)
    if may.reason is not None:
        return Step(piece, stands, rows, "leave_out", f"{may.reason.value}: {may.detail}")
    holders = [lease.holder for lease in leases if lease.interval.overlaps(piece)]
    action = "replace" if common([piece], ledger.committed(entries)) else "load"
    return Step(piece, stands, rows, action, f"held by {holders[0]} now: waits for it" if holders else "")


def _stands(entries: list[Entry], piece: Interval) -> tuple[str, int | None]:
    """How the window stands now, and its rows where the ledger knows them."""
    committed = ledger.committed(entries)
    rows, exact = ledger.rows_inside(entries, piece)
    if common([piece], ledger.unverified(entries)):
        return "unverified", None
    if not gaps(piece, committed):
        return "committed", rows if exact else None
    if common([piece], committed):
        return "partly", None
    return ("waived" if common([piece], ledger.waived(entries)) else "missing"), None


def _print_plan(config: PipelineConfig, steps: list[Step], screen: Screen) -> None:
    zone = config.timezone
    if not steps:
        return
    screen.table(
        ("window", "now", "rows", "what", "detail"),
        [
            (
                local_window(step.interval, zone),
                step.now,
                "-" if step.rows is None else f"{step.rows:,}",
                step.action.replace("_", " "),
                step.detail or "-",
            )
            for step in steps
        ],
        right=("rows",),
        styles=[{"leave_out": "yellow"}.get(step.action) for step in steps],
    )


def _json(runtime: Runtime, steps: list[Step], done: Reloaded, *, dry_run: bool) -> dict[str, Any]:
    zone = runtime.config.timezone
    moved = {one.interval: one for one in done.moved}
    started = dict(done.started)
    windows = []
    for step in steps:
        value: dict[str, Any] = {
            **piece_json(step.interval, zone),
            "window_id": runtime.window(step.interval).window_id,
            "now": step.now,
            "rows": step.rows,
            "action": step.action,
            "detail": step.detail,
            "run_id": started.get(step.interval),
            "status": "started" if step.interval in started else None,
            "reason": None,
            "token": None,
        }
        windows.append({**value, **moved_json(moved.get(step.interval))})
    errors = [{"kind": type(error).__name__, "message": redact_values(str(error))} for error in done.errors]
    return {
        "pipeline_id": runtime.config.pipeline_id,
        "timezone": zone,
        "dry_run": dry_run,
        "windows": windows,
        "error": errors[0] if errors else None,
    }
