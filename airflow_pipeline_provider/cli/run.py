"""Run `run`: move windows in this process, without a scheduler, and display the progress.

While windows move, the package's log goes to the display only: warnings become lines, with `--verbose` every
record.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_pipeline_provider.cli import exit_codes
from airflow_pipeline_provider.cli.arguments import (
    read_count,
    read_past_time,
    read_person,
    read_seconds,
)
from airflow_pipeline_provider.cli.catalog import load_one
from airflow_pipeline_provider.cli.output import ErrorText, Screen, error_text, one_line
from airflow_pipeline_provider.cli.runner import (
    EndedBySignal,
    Runner,
    RunOptions,
    WindowResult,
    signals_as_exceptions,
)
from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.core.intervals import Interval, parse_instant
from airflow_pipeline_provider.core.planning import Reason
from airflow_pipeline_provider.core.windows import window_id_of
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError, PipelineError
from airflow_pipeline_provider.observability.log_generator import event_fields
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.views.pipeline_status import ready_seconds
from airflow_pipeline_provider.views.times import local_iso

if TYPE_CHECKING:
    from rich.progress import Progress


_NUMBERS = ("source", "staged", "target", "distinct", "token", "seconds")


class MovedWindow(Struct, frozen=True):
    """Window that was moved; `status` is committed, skipped or failed, counts are null unless committed."""

    window_id: str
    start: datetime
    end: datetime
    local_start: str
    local_end: str
    status: str
    reason: str | None
    detail: str
    source_rows: int | None
    staged_rows: int | None
    quarantined_rows: int | None
    target_rows: int | None
    distinct_ids: int | None
    token: int | None
    seconds: float


class RunResult(Struct, frozen=True):
    """What `run` did; `reason` is why there was nothing (more) to do."""

    pipeline_id: str
    timezone: str
    reference_time: datetime
    reason: str | None
    detail: str
    error: ErrorText | None
    windows: tuple[MovedWindow, ...]


def run(args: Namespace, screen: Screen) -> int:
    """Move the next window, the named one, or with `--until-done` all that are ready."""
    options = read_options(args)
    return move_windows(load_one(args.pipeline, args.folder).config, options, screen)


def move_windows(config: PipelineConfig, options: RunOptions, screen: Screen) -> int:
    """Move the windows that the options name; print and return as `run`."""
    display = Display(screen, config.pipeline_id, config.timezone)
    with open_runtime(config) as runtime, log_to_display(display, screen.verbose):
        runner = Runner(runtime, options, display.warn, display.window_ended)
        error: Exception | EndedBySignal | None = None
        try:
            with signals_as_exceptions():
                try:
                    with display.live(lambda: _ready_seconds(runtime, options)):
                        runner.move_windows()
                except BaseException as ending:
                    runner.release(ending)
                    raise
        except (Exception, EndedBySignal) as caught:  # noqa: BLE001  (windows that were moved before are reported first)
            error = caught
    screen.print_result(_result(config, options.reference_time, runner, error), _print)
    return _exit_code(runner, options, error, screen)


def read_options(args: Namespace) -> RunOptions:
    """Parse the arguments; raise ConfigError for arguments that contradict each other."""
    starts, ends = args.window_start, args.window_end
    interval = None
    if (starts is None) != (ends is None):
        missing = "--window-start" if starts is None else "--window-end"
        raise ConfigError(f"{missing}: expected both --window-start and --window-end, or neither")
    if starts is not None:
        if args.until_done:
            raise ConfigError(
                "--until-done: cannot be combined with a window: remove --until-done, or the window"
            )
        start, end = parse_instant(starts, "--window-start"), parse_instant(ends, "--window-end")
        if end <= start:
            raise ConfigError(f"--window-end: expected an instant after --window-start {starts}, got {ends}")
        interval = Interval(start, end)
    elif args.exact:
        raise ConfigError("--exact: expected --window-start and --window-end with it")
    return RunOptions(
        reference_time=read_past_time(args.reference_time),
        interval=interval,
        until_done=args.until_done,
        wait_seconds=read_seconds(args.wait, "--wait"),
        retries=read_count(args.retries, "--retries", least=0, most=1000),
        by=read_person(args.by),
        exact=args.exact,
    )


def _ready_seconds(runtime: Runtime, options: RunOptions) -> float:
    """Return the total of the progress bar; 0 if it is unknown."""
    if not options.until_done:
        return 0.0
    try:
        return ready_seconds(runtime, options.reference_time)
    except PipelineError:  # the run meets the same error, and retries
        return 0.0


def _exit_code(
    runner: Runner, options: RunOptions, error: Exception | EndedBySignal | None, screen: Screen
) -> int:
    if isinstance(error, EndedBySignal):
        screen.print_error(f"ended by {error}; its leases were released")
        return error.exit_code
    if error is not None:
        raise error
    if options.interval is not None and not any(result.audited for result in runner.results):
        return exit_codes.CHECK_FAILED
    return exit_codes.DATA if runner.reason == Reason.BLOCKED.value else exit_codes.OK


# --- the report


def _print(result: RunResult, screen: Screen) -> None:
    if result.windows:
        screen.print_table(
            ("window", "source", "staged", "target", "distinct", "token", "seconds", "status"),
            [_row(one, result.timezone) for one in result.windows],
            right=_NUMBERS,
            styles=[{"committed": "green", "failed": "red"}.get(one.status) for one in result.windows],
        )
    committed = [one for one in result.windows if one.status == "committed"]
    if committed:
        rows = sum(one.target_rows or 0 for one in committed)
        print_committed(len(committed), rows, sum(one.quarantined_rows or 0 for one in committed), screen)
    if result.reason is not None and result.error is None:
        screen.print_line(f"nothing {'more ' if committed else ''}to do: {result.reason}: {result.detail}")


def print_committed(windows: int, rows: int, quarantined: int, screen: Screen) -> None:
    """Print how many windows were committed, with the rows of the target and the counts that are equal."""
    more, equal = "", "source = staged = target = distinct"
    if quarantined:
        more, equal = (
            f" ({quarantined:,} more quarantined)",
            "source = staged + quarantined, staged = target = distinct",
        )
    screen.print_line(
        f"{counted(windows, 'window')} committed, {counted(rows, 'row')}{more}: {equal}",
        "yellow" if quarantined else "bold green",
    )


def _row(one: MovedWindow, timezone: str) -> tuple[str, ...]:
    window = local_window(Interval(one.start, one.end), timezone)
    counts = (one.source_rows, one.staged_rows, one.target_rows, one.distinct_ids)
    cells = ["-" if count is None else f"{count:,}" for count in counts]
    token = "-" if one.token is None else str(one.token)
    status = f"{one.status}: {one.reason}" if one.reason else one.status
    return (window, *cells, token, f"{one.seconds:.1f}", status)


def _result(config: PipelineConfig, at: datetime, runner: Runner, error: BaseException | None) -> RunResult:
    return RunResult(
        pipeline_id=config.pipeline_id,
        timezone=config.timezone,
        reference_time=at,
        reason=runner.reason,
        detail=runner.detail,
        error=None if error is None else error_text(error),
        windows=tuple(_moved(config, one) for one in runner.results),
    )


def _moved(config: PipelineConfig, result: WindowResult) -> MovedWindow:
    interval, audited, zone = result.interval, result.audited, config.timezone
    return MovedWindow(
        window_id=window_id_of(config.pipeline_id, interval),
        start=interval.start,
        end=interval.end,
        local_start=local_iso(interval.start, zone),
        local_end=local_iso(interval.end, zone),
        status=result.status,
        reason=result.reason,
        detail=result.detail,
        source_rows=audited.source_rows if audited else None,
        staged_rows=audited.staged_rows if audited else None,
        quarantined_rows=audited.quarantined_rows if audited else None,
        target_rows=result.rows,
        distinct_ids=audited.distinct_ids if audited else None,
        token=result.token,
        seconds=round(result.seconds, 3),
    )


# --- progress

PACKAGE = "airflow_pipeline_provider"


class Display:
    """Prints progress to standard error: a live bar on a terminal, plain lines elsewhere."""

    def __init__(self, screen: Screen, pipeline_id: str, timezone: str) -> None:
        self.screen, self.pipeline_id, self.timezone = screen, pipeline_id, timezone
        self._progress: Progress | None = None
        self._task: Any = None

    @contextmanager
    def live(self, total_seconds: Callable[[], float]) -> Iterator[None]:
        """Show a bar on a terminal during the block; `total_seconds` is called once, 0 means unknown."""
        console = self.screen.console(self.screen.err)
        if not console.is_terminal:
            yield
            return
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as bar:
            self._progress = bar
            self._task = bar.add_task(self.pipeline_id, total=total_seconds() or None)
            try:
                yield
            finally:
                self._progress = None

    def warn(self, text: str) -> None:
        """Print a message about the pipeline on a line of its own."""
        self.line(f"{self.pipeline_id}: {text}", "yellow")

    def phase(self, name: str) -> None:
        """Show the name of the current phase in the bar."""
        if self._progress is not None:
            self._progress.update(self._task, description=f"{self.pipeline_id}: {name}")

    def window_ended(self, result: WindowResult) -> None:
        """Print a line for a window that was committed or skipped, and advance the bar."""
        if result.status == "failed":
            return  # its error ends the run and is printed then
        window = local_window(result.interval, self.timezone)
        if result.audited is not None:
            rows, token = result.audited.target_rows, result.audited.token
            text = f"{window}: {counted(rows, 'row')} in {result.seconds:.1f}s (token {token})"
        else:
            text = f"{window}: {result.status}: {result.reason}: {one_line(result.detail)}"
        self.line(f"{self.pipeline_id}: {text}", None if result.audited else "yellow")
        if self._progress is not None:
            self._progress.advance(self._task, result.interval.seconds)

    def line(self, text: str, style: str | None = None) -> None:
        """Print a line, above the bar if there is one."""
        if self._progress is None:
            self.screen.print_note(text, style)
        else:
            from rich.text import Text

            self._progress.console.print(Text(text, style=style or ""), soft_wrap=True)


class _DisplayHandler(logging.Handler):
    """Shows the package's log records on the display."""

    def __init__(self, display: Display, verbose: bool) -> None:
        super().__init__(logging.INFO)
        self.display, self.verbose = display, verbose
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            event = event_fields(record)
            phase = event.get("phase") if event is not None else None
            if phase is not None:
                self.display.phase(str(phase))
            if self.verbose:
                self.display.line(text)
            elif record.levelno >= logging.WARNING and phase is None:
                self.display.warn(text)  # a phase's failure is left out: it becomes the run's error
        except Exception:  # noqa: BLE001  (a display that fails must not end the run)
            self.handleError(record)


@contextmanager
def log_to_display(display: Display, verbose: bool) -> Iterator[None]:
    """Send the package's log to the display during the block, and nowhere else."""
    logger = logging.getLogger(PACKAGE)
    before = (logger.handlers[:], logger.level, logger.propagate)
    logger.handlers[:] = [_DisplayHandler(display, verbose)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
