"""Named windows moved again: in this process, or by runs of the pipeline's DAG."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.cli.progress import Display, followed_log
from airflow_pipeline_provider.cli.runner import Moved, Runner, RunOptions
from airflow_pipeline_provider.cli.signals import Ended, signals_end_the_block
from airflow_pipeline_provider.connectors.metadata_database import metadata_errors
from airflow_pipeline_provider.core.intervals import Interval, iso_utc
from airflow_pipeline_provider.core.windows import NamedRun
from airflow_pipeline_provider.core.wording import counted, local_window
from airflow_pipeline_provider.exceptions import ConfigError, DataError, FatalError, TransientError
from airflow_pipeline_provider.phases.runtime import Runtime

MOST_RUNS = 1000  # a storm of runs is a backfill's business, which Airflow paces


@dataclass
class Reloaded:
    """What became of the windows: `moved` in this process, `started` as (interval, run id) in Airflow."""

    moved: list[Moved] = field(default_factory=list)
    started: list[tuple[Interval, str]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def exit_code(self, screen: Screen) -> int:
        """Tell the errors; the gravest gives the code, and a window that was passed over is a no."""
        for error in self.errors:
            ended = isinstance(error, Ended)
            screen.error(f"ended by {error}; what was held is given back" if ended else str(error))
        codes = [e.exit_code if isinstance(e, Ended) else exits.code_of(e) for e in self.errors]
        skipped = any(moved.status == "skipped" for moved in self.moved)
        return max(codes, default=exits.NO if skipped else exits.OK)


def accepting_shrink(runtime: Runtime) -> Runtime:
    """The same pipeline with `audit.on_shrink: accept`, by a person's word."""
    audit = runtime.config.audit.model_copy(update={"on_shrink": "accept"})
    return replace(runtime, config=runtime.config.model_copy(update={"audit": audit}))


def reload_here(
    runtime: Runtime,
    windows: Sequence[Interval],
    screen: Screen,
    *,
    reference_time: datetime,
    wait_seconds: int,
    retries: int,
    verbose: bool,
    by: str,
) -> Reloaded:
    """Move each window in this process.  A DataError is one window's own: the others are still moved; any other error
    ends it."""
    done = Reloaded()
    display = Display(screen, runtime.config.pipeline_id, runtime.config.timezone)
    seconds = sum(window.seconds for window in windows)
    with ExitStack() as stack:
        stack.enter_context(followed_log(display, verbose))
        try:
            with signals_end_the_block(), display.live(lambda: seconds):
                for window in windows:
                    options = RunOptions(reference_time, window, False, wait_seconds, retries, by)
                    runner = Runner(runtime, options, display.tell, display.moved, moved=done.moved)
                    _one(runner, window, done)
        except (Exception, Ended) as error:  # noqa: BLE001  (what was moved before it is reported first)
            done.errors.append(error)
    return done


def _one(runner: Runner, window: Interval, done: Reloaded) -> None:
    before = len(done.moved)
    try:
        runner.go()
    except DataError as error:
        runner.release(error)
        done.errors.append(error)
        return
    except BaseException as ending:
        runner.release(ending)
        raise
    if len(done.moved) == before:  # the planner refused the window
        runner.moved.append(Moved(window, "skipped", runner.reason, runner.detail, None, 0.0))
        runner.on_moved(done.moved[-1])


def refuse_outside_of_airflow(in_airflow: bool) -> None:
    """The console script has no database of Airflow's at hand."""
    if not in_airflow:
        raise ConfigError(
            "--here: runs of the DAG are started by `airflow pipelines`, Airflow's own command line; use that, or "
            "say --here to move the windows in this process"
        )


def start_runs(
    runtime: Runtime, windows: Sequence[Interval], prefix: str, reference_time: datetime, by: str
) -> Reloaded:
    """A run of the pipeline's DAG for each window, by Params.  A run that is there already counts as started."""
    if len(windows) > MOST_RUNS:
        raise ConfigError(
            f"--to: {len(windows):,} windows are more runs than the {MOST_RUNS:,} that are started at once: take "
            "fewer days, or a backfill"
        )
    done = Reloaded()
    stamp = f"{reference_time:%Y%m%dT%H%M%SZ}"
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
            f"PIPELINE: Airflow has no DAG {dag_id!r} yet: is its file in the DAGs folder, and without import "
            "errors? --here moves the windows in this process"
        ) from error
    except (AirflowException, ValueError) as error:
        raise FatalError(f"run {run_id} could not be started: {error}") from error


def moved_json(moved: Moved | None) -> dict[str, object]:
    """`{"status", "reason", "detail", "rows", "token"}` of what was moved here."""
    if moved is None:
        return {}
    audited = moved.audited
    return {
        "status": moved.status,
        "reason": moved.reason,
        "detail": moved.detail,
        "rows": audited.target_rows if audited else None,
        "token": audited.token if audited else None,
    }


def print_reloaded(done: Reloaded, timezone: str, screen: Screen) -> None:
    """What was done, a line each; windows that were moved here were told while they moved."""
    for window, run_id in done.started:
        screen.say(f"started: {local_window(window, timezone)}: run {run_id}")
    committed = [moved.audited for moved in done.moved if moved.audited is not None]
    if committed:
        rows = sum(audited.target_rows for audited in committed)
        windows = counted(len(committed), "window")
        screen.say(
            f"{windows} committed, {counted(rows, 'row')}: source = staged = target = distinct", "bold green"
        )
