"""Run `reprocess`, and move named windows again: in this process, or by runs of the pipeline's DAG."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_person,
    read_reference_time,
    read_seconds,
    read_span,
)
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import Screen, error_json
from airflow_pipeline_provider.cli.run import Display, log_to_display
from airflow_pipeline_provider.cli.runner import (
    EndedBySignal,
    Runner,
    RunOptions,
    WindowResult,
    signals_as_exceptions,
)
from airflow_pipeline_provider.cli.time_format import interval_json
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.metadata_database import metadata_errors
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.days import day_of, days_in
from airflow_pipeline_provider.core.intervals import Interval, common, gaps, intersect, iso_utc
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.planning import day_plan, plan_window
from airflow_pipeline_provider.core.windows import NamedRun
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, TransientError
from airflow_pipeline_provider.phases.adopt import begin_all, committed_windows
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.state.base import Lease


@dataclass(frozen=True)
class ReprocessStep:
    """What to do with one window; `detail` is why it is left out, or which run holds it."""

    interval: Interval
    now: str
    rows: int | None
    action: str
    detail: str


def reprocess(args: Namespace, screen: Screen) -> int:
    """Move windows again, including committed ones, by DAG runs or with `--here` in this process.

    The windows are those of the day plan, cut to the given range: a load replaces all rows of its window, whatever
    windows they were loaded in before. With `--all` they are the committed windows as they were loaded, and a
    source or target that changed in the file is accepted; after an interruption the same command moves those that
    are left.

    JSON: `{"pipeline_id", "timezone", "dry_run", "windows": [interval + {"window_id", "now", "rows" | null,
    "action", "detail", "run_id" | null, "status" | null, "reason" | null, "token" | null}], "error" | null}`; an
    interval is `{"day", "start", "end", "local_start", "local_end"}`; `now` is committed, partly, waived,
    unverified or missing; `action` is replace, load or leave_out; `status` is started, committed, skipped or
    failed, null where nothing was done.

    Exit code 1 when there is nothing to move, or a window was skipped.
    """
    options = read_reload_options(args, dry_run=args.dry_run)
    if args.all != (args.first is None) or args.all != (args.last is None):
        raise ConfigError("--from: expected --from and --to, or --all for every committed window")
    config = load_one(args.pipeline, args.folder).config
    span = None if args.all else read_span(args.first, args.last, config.timezone)
    if not args.here and not args.dry_run:
        require_airflow(getattr(args, "in_airflow", False))
    done = ReloadResult()
    with open_runtime(config) as runtime:
        steps = plan_span(runtime, span) if span is not None else plan_committed(runtime)
        windows = [step.interval for step in steps if step.action != "leave_out"]
        if not screen.as_json:
            _print_plan(config, steps, screen)
        if args.all and not args.here and len(windows) > MOST_RUNS:
            raise ConfigError(
                f"--all: {len(windows):,} windows need more DAG runs than the limit of {MOST_RUNS:,}: add --here"
            )
        if windows and not args.dry_run:
            if args.all:
                begin_all(runtime, options.by)
            done = reload_windows(runtime, windows, screen, options, "reprocess", read_reference_time(None))
        if screen.as_json:
            screen.print_json(_json(runtime, steps, done, dry_run=args.dry_run))
    print_reload_result(done, config.timezone, screen)
    if not windows:
        screen.print_error("no window to move: choose other days")
        return exit_codes.CHECK_FAILED
    if args.dry_run:
        screen.print_line(
            f"dry run: {len(windows):,} of {counted(len(steps), 'window')} would be moved, nothing was changed"
        )
    return done.exit_code(screen)


def plan_span(runtime: Runtime, span: Interval) -> list[ReprocessStep]:
    """Return a step for each window of the day plan, cut to the span, in order."""
    leases, steps = runtime.state.leases(), []
    for day, part in days_in(span, runtime.config.timezone):
        entries = runtime.state.entries(part)
        pieces = (intersect(window, part) for window in day_plan(runtime.config.rules, day))
        steps += [_plan_step(runtime, piece, entries, leases) for piece in pieces if piece is not None]
    return steps


def plan_committed(runtime: Runtime) -> list[ReprocessStep]:
    """Return a step for each committed window, in order."""
    entries, leases = runtime.state.entries(), runtime.state.leases()
    by_day: dict[date, list[Entry]] = {}
    zone = runtime.config.timezone
    for entry in entries:
        for day, _ in days_in(entry.interval, zone):
            by_day.setdefault(day, []).append(entry)
    return [
        _plan_step(runtime, window, by_day[day_of(window.start, zone)], leases)
        for window in committed_windows(runtime)
    ]


def _plan_step(runtime: Runtime, piece: Interval, entries: list[Entry], leases: list[Lease]) -> ReprocessStep:
    now, rows = _coverage_of(entries, piece)
    planned = plan_window(runtime.config.rules, piece, runtime.clock(), cut=False)
    if planned.reason is not None:
        return ReprocessStep(piece, now, rows, "leave_out", f"{planned.reason.value}: {planned.detail}")
    holders = [lease.holder for lease in leases if lease.interval.overlaps(piece)]
    action = "replace" if common([piece], ledger.committed(entries)) else "load"
    return ReprocessStep(
        piece, now, rows, action, f"held by {holders[0]} now: waits for its lease" if holders else ""
    )


def _coverage_of(entries: list[Entry], piece: Interval) -> tuple[str, int | None]:
    """Return how the window is covered now, and its rows if the ledger has the exact count."""
    committed = ledger.committed(entries)
    rows, exact = ledger.rows_inside(entries, piece)
    if common([piece], ledger.unverified(entries)):
        return "unverified", None
    if not gaps(piece, committed):
        return "committed", rows if exact else None
    if common([piece], committed):
        return "partly", None
    return ("waived" if common([piece], ledger.waived(entries)) else "missing"), None


def _print_plan(config: PipelineConfig, steps: list[ReprocessStep], screen: Screen) -> None:
    zone = config.timezone
    if not steps:
        return
    screen.print_table(
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


def _json(
    runtime: Runtime, steps: list[ReprocessStep], done: ReloadResult, *, dry_run: bool
) -> dict[str, Any]:
    zone = runtime.config.timezone
    moved = {one.interval: one for one in done.results}
    started = dict(done.started)
    windows = []
    for step in steps:
        value: dict[str, Any] = {
            **interval_json(step.interval, zone),
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
        windows.append({**value, **result_json(moved.get(step.interval))})
    errors = [error_json(error) for error in done.errors]
    return {
        "pipeline_id": runtime.config.pipeline_id,
        "timezone": zone,
        "dry_run": dry_run,
        "windows": windows,
        "error": errors[0] if errors else None,
    }


MOST_RUNS = 1000  # for more, use a backfill, which Airflow paces


@dataclass(frozen=True)
class ReloadOptions:
    """The options of a command that moves windows again."""

    here: bool
    accept_shrink: bool
    wait_seconds: int
    retries: int
    verbose: bool
    by: str


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
        verbose=args.verbose,
        by=read_person(args.by),
    )


@dataclass
class ReloadResult:
    """The results of the windows: `results` of this process, `started` as (interval, run id) in Airflow."""

    results: list[WindowResult] = field(default_factory=list)
    started: list[tuple[Interval, str]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

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
    return replace(runtime, config=runtime.config.model_copy(update={"audit": audit}))


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
        stack.enter_context(log_to_display(display, options.verbose))
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


def result_json(result: WindowResult | None) -> dict[str, object]:
    """Return `{"status", "reason", "detail", "rows", "token"}` of a window that was moved in this process."""
    if result is None:
        return {}
    audited = result.audited
    return {
        "status": result.status,
        "reason": result.reason,
        "detail": result.detail,
        "rows": audited.target_rows if audited else None,
        "token": audited.token if audited else None,
    }


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
