"""Move named windows again, for `reprocess` and `recheck`: in this process, or by runs of the pipeline's DAG."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_person,
    read_reference_time,
    read_seconds,
)
from airflow_pipeline_provider.cli.output import ErrorText, Screen, error_text
from airflow_pipeline_provider.cli.run import Display, log_to_display, print_committed
from airflow_pipeline_provider.cli.runner import (
    EndedBySignal,
    Runner,
    RunOptions,
    WindowResult,
    signals_as_exceptions,
)
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.windows import NamedRun
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, TransientError
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.views.times import LocalInterval

R = TypeVar("R", bound=LocalInterval)

MOST_RUNS = 1000  # for more, use a backfill, which Airflow paces


@dataclass(frozen=True)
class ReloadOptions:
    """The options of a command that moves windows again."""

    by: str
    here: bool = True
    accept_shrink: bool = False
    accept_changes: bool = False
    accept_unusual: bool = False
    wait_seconds: int = 600
    retries: int = 3


def read_reload_options(args: Namespace, *, dry_run: bool = False) -> ReloadOptions:
    """Parse the options of a command that moves windows again."""
    for flag, given in (
        ("--accept-shrink", args.accept_shrink),
        ("--accept-changes", args.accept_changes),
        ("--accept-unusual", args.accept_unusual),
    ):
        if given and not args.here and not dry_run:
            raise ConfigError(
                f"{flag}: only works with --here, since DAG runs use the policy in the pipeline file: add --here"
            )
    return ReloadOptions(
        here=args.here,
        accept_shrink=args.accept_shrink,
        accept_changes=args.accept_changes,
        accept_unusual=args.accept_unusual,
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

    def reported(self, rows: Iterable[R]) -> tuple[R, ...]:
        """Return the rows with what was done with their windows, in `run_id`, `status`, `reason` and so on."""
        started, moved = dict(self.started), {result.interval: result for result in self.results}
        return tuple(_reported(row, started.get(row.interval), moved.get(row.interval)) for row in rows)

    def exit_code(self, screen: Screen) -> int:
        """Print each error. Return the highest exit code; a skipped window returns 1."""
        for error in self.errors:
            ended = isinstance(error, EndedBySignal)
            screen.print_error(f"ended by {error}; its leases were released" if ended else str(error))
        codes = [e.exit_code if isinstance(e, EndedBySignal) else exit_codes.code_of(e) for e in self.errors]
        skipped = any(result.status == "skipped" for result in self.results)
        return max(codes, default=exit_codes.CHECK_FAILED if skipped else exit_codes.OK)


def _reported(row: R, run_id: str | None, moved: WindowResult | None) -> R:
    if run_id is not None:
        return replace(row, run_id=run_id, status="started")
    if moved is None:
        return row
    return replace(
        row, status=moved.status, reason=moved.reason, detail=moved.detail, rows=moved.rows, token=moved.token
    )


def _accepting(runtime: Runtime, options: ReloadOptions) -> Runtime:
    """Return the runtime that accepts what the options ask for: shrinkage, failing changes, unusual rows."""
    changed: dict[str, object] = {}
    if options.accept_shrink:
        changed["audit"] = runtime.config.audit.model_copy(update={"on_shrink": "accept"})
    if options.accept_changes and (contract := runtime.config.contract_) is not None:
        failing = [name for name, level in contract.model_dump().items() if level == "fail"]
        changed["contract_"] = contract.model_copy(update=dict.fromkeys(failing, "warn"))
    config = runtime.config.model_copy(update=changed)
    return with_fields(runtime, config=config, accepts_unusual=options.accept_unusual)


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
    return _reload_here(_accepting(runtime, options), windows, screen, options, reference_time)


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
        conf: dict[str, object] = {
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


def _trigger(dag_id: str, run_id: str, conf: dict[str, object]) -> None:
    from airflow_pipeline_provider.operators.start_run import start_run

    try:
        start_run(dag_id, run_id, conf, by="CLI")
    except ConfigError as error:
        raise ConfigError(
            f"PIPELINE: {error.message} yet: check that its file is in the DAGs folder and has no "
            "import errors, or add --here to move the windows in this process"
        ) from error


def print_reload_result(done: ReloadResult, timezone: str, screen: Screen) -> None:
    """Print the started runs and the total; windows that were moved here were printed while they moved."""
    for window, run_id in done.started:
        screen.print_line(f"started: {local_window(window, timezone)}: run {run_id}")
    committed = [result.audited for result in done.results if result.audited is not None]
    if committed:
        rows = sum(audited.target_rows for audited in committed)
        quarantined = sum(audited.quarantined_rows for audited in committed)
        print_committed(len(committed), rows, quarantined, screen)
