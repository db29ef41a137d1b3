"""Run `reprocess`, and move named windows again: in this process, or by runs of the pipeline's DAG."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_person,
    read_reference_time,
    read_seconds,
    read_span,
)
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import ErrorText, Screen, error_text
from airflow_pipeline_provider.cli.run import Display, log_to_display
from airflow_pipeline_provider.cli.runner import (
    EndedBySignal,
    Runner,
    RunOptions,
    WindowResult,
    signals_as_exceptions,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.airflow_connections import metadata_errors
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.windows import NamedRun
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, TransientError
from airflow_pipeline_provider.phases.adopt import begin_all
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
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
        tuple(_reprocessed(one, done) for one in found),
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


def _reprocessed(one: PreviewedWindow, done: ReloadResult) -> ReprocessedWindow:
    window = ReprocessedWindow(**asdict(one), run_id=done.run_id(one.interval))
    if window.run_id is not None:
        return replace(window, status="started")
    moved = done.result_of(one.interval)
    if moved is None:
        return window
    return replace(
        window,
        status=moved.status,
        reason=moved.reason,
        detail=moved.detail,
        rows=moved.rows,
        token=moved.token,
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


MOST_RUNS = 1000  # for more, use a backfill, which Airflow paces


@dataclass(frozen=True)
class ReloadOptions:
    """The options of a command that moves windows again."""

    by: str
    here: bool = True
    accept_shrink: bool = False
    wait_seconds: int = 600
    retries: int = 3


def read_reload_options(args: Namespace, *, dry_run: bool = False) -> ReloadOptions:
    """Parse the options of a command that moves windows again."""
    if args.accept_shrink and not args.here and not dry_run:
        raise ConfigError(
            "--accept-shrink: only works with --here, since DAG runs use the policy in the pipeline file: add --here"
        )
    return ReloadOptions(
        here=args.here,
        accept_shrink=args.accept_shrink,
        wait_seconds=read_seconds(args.wait, "--wait"),
        retries=read_count(args.retries, "--retries", least=0, most=1000),
        by=read_person(args.by),
    )


@dataclass
class ReloadResult:
    """The results of the windows: `results` of this process, `started` as (interval, run id) in Airflow."""

    results: list[WindowResult] = field(default_factory=list)
    started: list[tuple[Interval, str]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    @property
    def error(self) -> ErrorText | None:
        """Return the first error."""
        return error_text(self.errors[0]) if self.errors else None

    def run_id(self, interval: Interval) -> str | None:
        """Return the DAG run that was started for the window."""
        return next((run_id for started, run_id in self.started if started == interval), None)

    def result_of(self, interval: Interval) -> WindowResult | None:
        """Return the result of the window in this process, if it was moved here."""
        return next((one for one in self.results if one.interval == interval), None)

    def exit_code(self, screen: Screen) -> int:
        """Print each error. Return the highest exit code; a skipped window returns 1."""
        for error in self.errors:
            ended = isinstance(error, EndedBySignal)
            screen.print_error(f"ended by {error}; its leases were released" if ended else str(error))
        codes = [e.exit_code if isinstance(e, EndedBySignal) else exit_codes.code_of(e) for e in self.errors]
        skipped = any(result.status == "skipped" for result in self.results)
        return max(codes, default=exit_codes.CHECK_FAILED if skipped else exit_codes.OK)


def _accepting_shrink(runtime: Runtime) -> Runtime:
    """Return the runtime with `audit.on_shrink: accept`, for `--accept-shrink`."""
    audit = runtime.config.audit.model_copy(update={"on_shrink": "accept"})
    return with_fields(runtime, config=runtime.config.model_copy(update={"audit": audit}))


def reload_windows(
    runtime: Runtime,
    windows: Sequence[Interval],
    screen: Screen,
    options: ReloadOptions,
    command: str,
    reference_time: datetime,
) -> ReloadResult:
    """Move the windows again in this process, or start a run of the DAG for each."""
    if not options.here:
        return _start_runs(runtime, windows, command, options.by)
    if options.accept_shrink:
        runtime = _accepting_shrink(runtime)
    return _reload_here(runtime, windows, screen, options, reference_time)


def _reload_here(
    runtime: Runtime,
    windows: Sequence[Interval],
    screen: Screen,
    options: ReloadOptions,
    reference_time: datetime,
) -> ReloadResult:
    """Move each window in this process.

    A DataError concerns one window, so the others are still moved; any other error ends the command.
    """
    done = ReloadResult()
    display = Display(screen, runtime.config.pipeline_id, runtime.config.timezone)
    seconds = sum(window.seconds for window in windows)
    with ExitStack() as stack:
        stack.enter_context(log_to_display(display, screen.verbose))
        try:
            with signals_as_exceptions(), display.live(lambda: seconds):
                for window in windows:
                    run = RunOptions(
                        reference_time, window, False, options.wait_seconds, options.retries, options.by
                    )
                    runner = Runner(runtime, run, display.warn, display.window_ended, results=done.results)
                    _move_one(runner, window, done)
        except (Exception, EndedBySignal) as error:  # noqa: BLE001  (windows that were moved before are reported first)
            done.errors.append(error)
    return done


def _move_one(runner: Runner, window: Interval, done: ReloadResult) -> None:
    before = len(done.results)
    try:
        runner.move_windows()
    except DataError as error:
        runner.release(error)
        done.errors.append(error)
        return
    except BaseException as ending:
        runner.release(ending)
        raise
    if len(done.results) == before:  # the planner refused the window
        runner.results.append(WindowResult(window, "skipped", runner.reason, runner.detail, None, 0.0))
        runner.on_result(done.results[-1])


def require_airflow(in_airflow: bool) -> None:
    """Raise ConfigError in the console script, which cannot start DAG runs without Airflow's database."""
    if not in_airflow:
        raise ConfigError(
            "--here: DAG runs can only be started by `airflow pipelines`, Airflow's own command line: use that, or "
            "add --here to move the windows in this process"
        )


def _start_runs(runtime: Runtime, windows: Sequence[Interval], prefix: str, by: str) -> ReloadResult:
    """Start a run of the pipeline's DAG for each window; a run that exists already counts as started."""
    if len(windows) > MOST_RUNS:
        raise ConfigError(
            f"--to: {len(windows):,} windows need more DAG runs than the limit of {MOST_RUNS:,}: choose fewer "
            "days, or use a backfill"
        )
    done = ReloadResult()
    stamp = f"{read_reference_time(None):%Y%m%dT%H%M%SZ}"
    for window in windows:
        named = runtime.window(window)
        run_id = NamedRun(prefix, named.window_id, stamp).run_id
        conf: dict[str, Any] = {
            "window_start": iso_utc(window.start),
            "window_end": iso_utc(window.end),
            "exact": True,
            "by": by,
        }
        if prefix == "recheck":
            conf["only_drifted"] = True
        try:
            _trigger(named.pipeline_id, run_id, conf)
        except (ConfigError, FatalError, TransientError) as error:
            done.errors.append(error)
            break
        done.started.append((window, run_id))
    return done


def _trigger(dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
    from airflow.api.client.local_client import Client
    from airflow.exceptions import DagNotFound, DagRunAlreadyExists
    from airflow.sdk.exceptions import AirflowException

    try:
        with metadata_errors(f"run {run_id} cannot be started"):
            Client().trigger_dag(dag_id, run_id=run_id, conf=conf)
    except DagRunAlreadyExists:
        return
    except DagNotFound as error:
        raise ConfigError(
            f"PIPELINE: Airflow has no DAG {dag_id!r} yet: check that its file is in the DAGs folder and has no "
            "import errors, or add --here to move the windows in this process"
        ) from error
    except (AirflowException, ValueError) as error:
        raise FatalError(f"run {run_id} could not be started: {error}") from error


def print_reload_result(done: ReloadResult, timezone: str, screen: Screen) -> None:
    """Print the started runs and the total; windows that were moved here were printed while they moved."""
    for window, run_id in done.started:
        screen.print_line(f"started: {local_window(window, timezone)}: run {run_id}")
    committed = [result.audited for result in done.results if result.audited is not None]
    if committed:
        rows = sum(audited.target_rows for audited in committed)
        windows = counted(len(committed), "window")
        screen.print_line(
            f"{windows} committed, {counted(rows, 'row')}: source = staged = target = distinct", "bold green"
        )
