"""Run `reprocess`: move windows again, including committed ones."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import asdict

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import read_reference_time, read_span
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import ErrorText, Screen
from airflow_pipeline_provider.cli.reload import (
    MOST_RUNS,
    ReloadOptions,
    ReloadResult,
    print_reload_result,
    read_reload_options,
    reload_windows,
    require_airflow,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.adopt import begin_all
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.views.reprocess import PreviewedWindow, preview_committed, preview_span


class ReprocessedWindow(PreviewedWindow, frozen=True):
    """A window, and what was done with it; `status` is null where nothing was done.

    Of a window that was moved in this process, `rows` and `detail` are those of its load.
    """

    run_id: str | None = None
    status: str | None = None
    reason: str | None = None
    token: int | None = None


class Reprocessed(Struct, frozen=True):
    """The windows that `reprocess` found, and what it did with them."""

    pipeline_id: str
    timezone: str
    dry_run: bool
    windows: tuple[ReprocessedWindow, ...]
    error: ErrorText | None


def reprocess(args: Namespace, screen: Screen) -> int:
    """Move windows again, including committed ones, by DAG runs or with `--here` in this process.

    The windows are those of the day plan, cut to the given range: a load replaces all rows of its window, whatever
    windows they were loaded in before. With `--all` they are the committed windows as they were loaded, and a
    source or target that changed in the file is accepted; after an interruption the same command moves those that
    are left.

    Exit code 1 when there is nothing to move, or a window was skipped.
    """
    options = read_reload_options(args, dry_run=args.dry_run)
    if args.all != (args.first is None) or args.all != (args.last is None):
        raise ConfigError("--from: expected --from and --to, or --all for every committed window")
    config = load_one(args.pipeline, args.folder).config
    span = None if args.all else read_span(args.first, args.last, config.timezone)
    if not args.here and not args.dry_run:
        require_airflow(getattr(args, "in_airflow", False))
    return reload_span(config, span, options, screen, dry_run=args.dry_run)


def reload_span(
    config: PipelineConfig,
    span: Interval | None,
    options: ReloadOptions,
    screen: Screen,
    *,
    dry_run: bool = False,
) -> int:
    """Move the windows of the span again (None: every committed one); print and return as `reprocess`."""
    done = ReloadResult()
    with open_runtime(config) as runtime:
        if span is None:
            found = preview_committed(runtime)
        else:
            found = preview_span(config, runtime.state, runtime.now(), span)
        windows = [one.interval for one in found if one.action != "leave_out"]
        if not screen.as_json:
            _print_preview(found, config.timezone, screen)
        if span is None and not options.here and len(windows) > MOST_RUNS:
            raise ConfigError(
                f"--all: {len(windows):,} windows need more DAG runs than the limit of {MOST_RUNS:,}: add --here"
            )
        if windows and not dry_run:
            if span is None:
                begin_all(runtime, options.by)
            done = reload_windows(runtime, windows, screen, options, "reprocess", read_reference_time(None))
    result = Reprocessed(
        config.pipeline_id,
        config.timezone,
        dry_run,
        done.reported(ReprocessedWindow(**asdict(one)) for one in found),
        done.error,
    )
    screen.print_result(result, partial(_print_end, done))
    if not windows:
        screen.print_error("no window to move: choose other days")
        return exit_codes.CHECK_FAILED
    return done.exit_code(screen)


def _print_end(done: ReloadResult, result: Reprocessed, screen: Screen) -> None:
    """Print what follows the preview, which was printed before the windows were moved."""
    print_reload_result(done, result.timezone, screen)
    windows = [one for one in result.windows if one.action != "leave_out"]
    if result.dry_run and windows:
        screen.print_line(
            f"dry run: {len(windows):,} of {counted(len(result.windows), 'window')} would be moved, "
            "nothing was changed"
        )


def _print_preview(found: Sequence[PreviewedWindow], zone: str, screen: Screen) -> None:
    if not found:
        return
    screen.print_table(
        ("window", "now", "rows", "what", "detail"),
        [
            (
                local_window(one.interval, zone),
                one.now,
                "-" if one.rows is None else f"{one.rows:,}",
                one.action.replace("_", " "),
                one.detail or "-",
            )
            for one in found
        ],
        right=("rows",),
        styles=["yellow" if one.action == "leave_out" else None for one in found],
    )
