"""Run one window in a process of its own, and crash it at a given fault point.

Started as a script it is a fork server: it imports everything once, then forks a child for each order that it reads
from stdin (one line of JSON) and writes the result to stdout.  Each child is a process of its own: it opens
its own connections and ends by `os._exit` in mid-work, with nothing flushed, closed or rolled back.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

PRELOADED = (
    *("airflow.models.variable", "airflow.sdk", "airflow.utils.session"),
    *("airflow.providers.postgres.hooks.postgres", "airflow.providers.snowflake.hooks.snowflake"),
    *("alembic.command", "duckdb", "psycopg2", "pyarrow.parquet", "snowflake.connector"),
    *("elastic_transport", "fsspec", "rich.live", "s3fs"),
    *("airflow.providers.amazon.aws.fs.s3", "airflow.sdk.execution_time.context"),
    "airflow_pipeline_provider.cli.main",
    "airflow_pipeline_provider.cli.run",
    "airflow_pipeline_provider.connectors.elasticsearch.source",
    "airflow_pipeline_provider.connectors.elasticsearch.client",
    "airflow_pipeline_provider.connectors.sql.source",
    "airflow_pipeline_provider.connectors.object_store.stage",
    "airflow_pipeline_provider.connectors.object_store.remote_files",
    "airflow_pipeline_provider.connectors.duckdb.target",
    "airflow_pipeline_provider.connectors.postgres.target",
    "airflow_pipeline_provider.connectors.postgres.copy",
    "airflow_pipeline_provider.connectors.postgres.session",
    "airflow_pipeline_provider.connectors.snowflake.target",
    "airflow_pipeline_provider.envelope.parts",
    "airflow_pipeline_provider.phases.run",
    "airflow_pipeline_provider.state.sql",
    "airflow_pipeline_provider.state.sql_database",
    "airflow_pipeline_provider.state.variable",
    "tests.doubles.memory_source",
)
TOO_LONG_SECONDS = 300  # a child that hangs is ended, which its exit code shows


@dataclass(frozen=True)
class Order:
    """One run of one window.

    `rows` are [record id, ISO 8601 event time, body] of the source; `crash_at` is "point:visit" as `testing.faults`
    writes it, None for a run that does not crash.
    """

    config: dict[str, Any]
    environment: dict[str, str]
    rows: list[list[str]]
    run: str
    kind: str
    reference_time: str
    interval: list[str] | None = None
    crash_at: str | None = None
    sabotage: str | None = None


@dataclass(frozen=True)
class Command:
    """`airflow-pipelines <arguments>`, killed by signal 9 from outside after so many seconds, if it still runs.

    What it prints goes to the file `log`.
    """

    arguments: list[str]
    environment: dict[str, str]
    log: str
    kill_after: float | None = None


@dataclass(frozen=True)
class Ended:
    """The result of a child; `exit_code` is negative for a signal.

    Of an order: 0: `outcome` is committed, or the reason for nothing; 1: `error` says what was raised, `transient` is
    whether Airflow would try again.
    """

    exit_code: int
    points: list[str] = field(default_factory=list)
    outcome: str | None = None
    error: str | None = None
    transient: bool = False


class ForkServers:
    """Some fork servers, used as a context; as many threads may call `run`, which waits for the child."""

    def __init__(self, count: int) -> None:
        self._idle: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        self._all = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[str]:
        root = str(Path(__file__).resolve().parents[3])  # the same code as in this process
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._idle.put(process)
        return process

    def __enter__(self) -> ForkServers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.communicate(timeout=TOO_LONG_SECONDS)  # no more orders: they end

    def run(self, order: Order | Command) -> Ended:
        process = self._idle.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(asdict(order)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            self._idle.put(process)
        if not answer:
            raise RuntimeError(f"the fork server ended with {process.wait()}; its stderr says why")
        return Ended(**json.loads(answer))


# --- in the fork server


def serve() -> None:
    preload()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    for line in sys.stdin:
        asked = json.loads(line)
        ended = fork(Command(**asked) if "arguments" in asked else Order(**asked))
        answers.write(json.dumps(asdict(ended)) + "\n")
        answers.flush()


def preload() -> None:
    """Import what a run needs; nothing is opened and no thread begins, so a fork is a clean process."""
    for module in PRELOADED:
        importlib.import_module(module)
    sys.modules["airflow.models"].import_all_models()  # a second that the first Variable takes otherwise
    sys.modules["sqlalchemy.orm"].configure_mappers()
    threads = threading.enumerate()
    assert len(threads) == 1, f"importing began threads, a fork would lose them: {threads}"


def fork(order: Order | Command) -> Ended:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            if isinstance(order, Order):
                signal.alarm(TOO_LONG_SECONDS)
                code = work(order, writer)
            else:
                code = obey(order)
        finally:
            os._exit(code)
    os.close(writer)
    if isinstance(order, Command) and order.kill_after is not None:
        over, _, _ = select.select([reader], [], [], order.kill_after)  # readable: the child has ended
        if not over:
            os.kill(child, signal.SIGKILL)
    with os.fdopen(reader) as written:
        lines = [json.loads(line) for line in written]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    last = lines.pop() if lines and isinstance(lines[-1], dict) else {}
    return Ended(code, lines, **last)


# --- in the child


def work(order: Order, writer: int) -> int:
    """Write each point as it is reached, and at the end the outcome; return the exit code."""

    def report(what: object) -> None:
        os.write(writer, (json.dumps(what) + "\n").encode())

    os.environ.update(order.environment)
    logging.disable()  # the checks report what a crash left
    warnings.simplefilter("ignore")  # of vendors' libraries; the fast tests treat ours as errors
    from airflow_pipeline_provider import fault_points
    from airflow_pipeline_provider.exceptions import TransientError
    from airflow_pipeline_provider.testing import faults

    crash = None
    if order.crash_at is not None:
        point, _, visit = order.crash_at.partition(":")
        crash = faults.at(point, int(visit), faults.kill_process)

    def hook(point: str) -> None:
        report(point)
        if crash is not None:
            crash(point)

    try:
        if order.sabotage is not None:
            SABOTAGE[order.sabotage]()
        fault_points.install(hook)
        report({"outcome": move(order)})
    except Exception as error:  # noqa: BLE001  (the parent judges)
        report({"error": f"{type(error).__name__}: {error}", "transient": isinstance(error, TransientError)})
        return 1
    return 0


def obey(command: Command) -> int:
    """Run a command of the command line."""
    os.environ.update(command.environment)
    log = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    from airflow_pipeline_provider.cli.main import main

    try:
        return main(command.arguments) or 0
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def move(order: Order) -> str:
    """Move a window through all phases, as the tasks of a DAG do."""
    from airflow_pipeline_provider.config.loader import parse_pipeline
    from airflow_pipeline_provider.connectors.registry import options_model, register
    from airflow_pipeline_provider.core.intervals import Interval, parse_utc
    from airflow_pipeline_provider.phases.drain import drain
    from airflow_pipeline_provider.phases.run import run_window
    from airflow_pipeline_provider.phases.runtime import open_runtime
    from airflow_pipeline_provider.phases.values import RunKind, RunRequest
    from tests.doubles.memory_source import MemorySource

    register("source", "memory", MemorySource)
    for row in order.rows:
        MemorySource.table().put(*row)
    request = RunRequest(
        order.run,
        RunKind(order.kind),
        parse_utc(order.reference_time),
        msgspec.convert(order.interval, Interval) if order.interval else None,
    )
    with open_runtime(parse_pipeline(order.config, options_model=options_model)) as runtime:
        outcome = run_window(runtime, request)
        if outcome.audited is None:
            return outcome.reason or "nothing"
        assert outcome.claim is not None
        drain(runtime, outcome.claim, outcome.audited.token)
        return "committed"


# --- broken systems, for which the matrix must fail


def _skip_delete() -> None:
    """Break the load: it does not delete the old rows of the window, and does not count."""
    from airflow_pipeline_provider.connectors import load_protocol

    original = load_protocol.LoadProtocol.replace_window

    def replace_window(self: Any, *arguments: Any) -> Any:
        execute = self.execute
        self.execute = lambda s, p: [] if s.startswith("DELETE") else execute(s, p)
        return original(self, *arguments)

    load_protocol.LoadProtocol.replace_window = replace_window  # type: ignore[method-assign]
    load_protocol.check_counts = lambda *_: None


def _no_transaction() -> None:
    """Break the load: each statement commits by itself, DELETE, then INSERT, as many tools do it."""
    from airflow_pipeline_provider.connectors.duckdb.session import DuckDBSession

    original = DuckDBSession.execute

    def execute(self: Any, statement: str, parameters: Any = ()) -> Any:
        words = ("BEGIN", "COMMIT", "ROLLBACK")
        return [] if statement.startswith(words) else original(self, statement, parameters)

    DuckDBSession.execute = execute  # type: ignore[method-assign]


def _commit_early() -> None:
    """A ledger that says committed before the target is loaded."""
    from airflow_pipeline_provider.core.ledger import Kind
    from airflow_pipeline_provider.state.sql import SqlState

    append = SqlState.append

    def early(self: Any, entry: Any) -> None:

        append(self, entry)
        if entry.kind is Kind.REPLACING:
            append(self, replace(entry, kind=Kind.COMMITTED))

    SqlState.append = early  # type: ignore[method-assign]


def _keep_lease() -> None:
    """A run that never gives its lease back."""
    from airflow_pipeline_provider.state.sql import SqlState

    SqlState.release = lambda *_: None  # type: ignore[method-assign]


def _keep_files() -> None:
    """A stage that deletes nothing."""
    from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage

    ObjectStoreStage.delete = lambda *_: None  # type: ignore[method-assign]


def _skip_filling() -> None:
    """A load that leaves the physical columns of its rows NULL."""
    from airflow_pipeline_provider.connectors.physical_target import PhysicalTarget

    PhysicalTarget.fill_in_load = lambda *_: {}  # type: ignore[method-assign]


SABOTAGE = {
    "delete skipped": _skip_delete,
    "no transaction": _no_transaction,
    "committed early": _commit_early,
    "lease kept": _keep_lease,
    "files kept": _keep_files,
    "columns not filled": _skip_filling,
}

if __name__ == "__main__":
    serve()
