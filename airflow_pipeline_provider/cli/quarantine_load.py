"""Run `quarantine load` and `quarantine rebuild`: load windows with quarantined rows again, restore the table."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_reference_time
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import ErrorText, Screen
from airflow_pipeline_provider.cli.quarantine import read_selection
from airflow_pipeline_provider.cli.reload import (
    ReloadResult,
    print_reload_result,
    read_reload_options,
    reload_windows,
    require_airflow,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.days import days_in
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.phases.quarantine import QuarantinedLoad, find_loads, restore
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.views.reprocess import PreviewedWindow, preview_window


class ReloadedWindow(PreviewedWindow, frozen=True):
    """A window, and what was done with it; `status` is null where nothing was done.

    `quarantined` is the number of rows that were rejected before, null where the ledger does not know it.
    """

    quarantined: int | None = None
    run_id: str | None = None
    status: str | None = None
    reason: str | None = None
    token: int | None = None


class QuarantineLoaded(Struct, frozen=True):
    """The windows with quarantined rows, and what `quarantine load` did with them.

    `still_quarantined` counts the rows that were rejected again; null where no window was moved in this process.
    """

    pipeline_id: str
    timezone: str
    dry_run: bool
    windows: tuple[ReloadedWindow, ...]
    still_quarantined: int | None
    error: ErrorText | None


class RestoredWindow(Struct, frozen=True):
    """A load; `rows` were written, or `why` says why none were."""

    start: datetime
    end: datetime
    token: int
    rows: int
    why: str


class QuarantineRebuilt(Struct, frozen=True):
    """What `quarantine rebuild` wrote to the table; loads that it has whole are not listed."""

    pipeline_id: str
    timezone: str
    table: str
    written: tuple[RestoredWindow, ...]
    left_out: tuple[RestoredWindow, ...]


def load_windows(args: Namespace, screen: Screen) -> int:
    """Move the windows with quarantined rows again, and print what was started or moved."""
    options = read_reload_options(args, dry_run=args.dry_run)
    config = load_one(args.pipeline, args.folder).config
    within = read_selection(args, config)
    if not args.here and not args.dry_run:
        require_airflow(getattr(args, "in_airflow", False))
    done = ReloadResult()
    with open_runtime(config) as runtime:
        found = _preview(runtime, within)
        windows = [one.interval for one in found if one.action != "leave_out"]
        if not screen.as_json:
            _print_preview(found, config.timezone, screen)
        if windows and not args.dry_run:
            done = reload_windows(runtime, windows, screen, options, "quarantine", read_reference_time(None))
    committed = [result.audited for result in done.results if result.audited is not None]
    left = sum(audited.quarantined_rows for audited in committed) if committed else None
    result = QuarantineLoaded(
        config.pipeline_id, config.timezone, args.dry_run, done.reported(found), left, done.error
    )
    screen.print_result(result, lambda shown, to: _print_end(shown, done, to))
    if not windows:
        screen.print_error(
            "no window with quarantined rows to move there: `quarantine list` shows where they are"
        )
        return exit_codes.CHECK_FAILED
    return max(done.exit_code(screen), exit_codes.CHECK_FAILED if left else exit_codes.OK)


def _preview(runtime: Runtime, within: Interval | None) -> list[ReloadedWindow]:
    """Preview each effective interval of the loads with quarantined rows; one that crosses midnight is cut there."""
    config, at, leases = runtime.config, runtime.now(), runtime.state.leases()
    found = []
    for load in find_loads(runtime, within):
        parts = [part for piece in load.pieces for _, part in days_in(piece, config.timezone)]
        for part in parts:
            one = preview_window(config, part, at, runtime.state.entries(part), leases)
            rows = load.rows if load.rows is not None else load.in_table
            values = {name: getattr(one, name) for name in one.__struct_fields__}
            found.append(ReloadedWindow(**values, quarantined=rows if len(parts) == 1 else None))
    return found


def _print_preview(found: list[ReloadedWindow], zone: str, screen: Screen) -> None:
    if found:
        screen.print_table(
            ("window", "now", "rows", "quarantined", "what", "detail"),
            [
                (
                    local_window(one.interval, zone),
                    one.now,
                    "-" if one.rows is None else f"{one.rows:,}",
                    "-" if one.quarantined is None else f"{one.quarantined:,}",
                    one.action.replace("_", " "),
                    one.detail or "-",
                )
                for one in found
            ],
            right=("rows", "quarantined"),
            styles=["yellow" if one.action == "leave_out" else None for one in found],
        )


def _print_end(result: QuarantineLoaded, done: ReloadResult, screen: Screen) -> None:
    print_reload_result(done, result.timezone, screen)
    if result.still_quarantined is not None:
        style = "yellow" if result.still_quarantined else "green"
        screen.print_line(f"{counted(result.still_quarantined, 'row')} still quarantined", style)
    windows = [one for one in result.windows if one.action != "leave_out"]
    if result.dry_run and windows:
        screen.print_line(
            f"dry run: {len(windows):,} of {counted(len(result.windows), 'window')} would be moved, "
            "nothing was changed"
        )


def rebuild_table(args: Namespace, screen: Screen) -> int:
    """Write the rows that the target's table of quarantined rows lacks from the files of the stage."""
    return restore_rows(load_one(args.pipeline, args.folder).config, screen)


def restore_rows(config: PipelineConfig, screen: Screen) -> int:
    """Write the rows that the table lacks; print and return as `quarantine rebuild`."""
    with open_runtime(config) as runtime:
        done = restore(runtime)
        table = runtime.target.quarantine_table() or ""
    result = QuarantineRebuilt(
        config.pipeline_id,
        config.timezone,
        table,
        tuple(_restored(load, rows, "") for load, rows in done.written),
        tuple(_restored(load, 0, why) for load, why in done.left_out),
    )
    screen.print_result(result, _print_rebuilt)
    for one in result.left_out:
        window = local_window(Interval(one.start, one.end), config.timezone)
        screen.print_error(
            f"{window} was left out: {one.why}; `quarantine load` loads it again from the source"
        )
    return exit_codes.CHECK_FAILED if done.left_out else exit_codes.OK


def _restored(load: QuarantinedLoad, rows: int, why: str) -> RestoredWindow:
    return RestoredWindow(load.interval.start, load.interval.end, load.token, rows, why)


def _print_rebuilt(result: QuarantineRebuilt, screen: Screen) -> None:
    for one in result.written:
        window = local_window(Interval(one.start, one.end), result.timezone)
        screen.print_line(f"{window}: {counted(one.rows, 'row')} written")
    rows = sum(one.rows for one in result.written)
    screen.print_line(
        f"{result.table}: {counted(rows, 'row')} of {counted(len(result.written), 'window')} written, all others "
        "were there",
        "green",
    )
