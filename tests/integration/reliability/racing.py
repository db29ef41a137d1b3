"""Processes that race for the windows of one pipeline; a module of its own, so that each of them can import it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from queue import Empty
from typing import Any

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.exceptions import SupersededError, TransientError
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from airflow_pipeline_provider.testing import faults

PATIENCE = (
    200.0  # seconds that a request is tried again after transient errors, and live runs that end as `leased`
)
DONE = ("complete", "after_end_day")
NOW = parse_utc("2013-11-06T12:00:00Z")


@dataclass(frozen=True)
class Order:
    """What one process does: live runs until nothing is left, and these named windows before, between and after.

    `crash_at` is a fault point at which it crashes; `race` then starts it again.  Two orders
    with the same `runs` make the same run ids, as the schedulers of two installations do.
    """

    number: int
    named: tuple[tuple[RunKind, Interval], ...] = ()
    live: int = 40
    crash_at: str | None = None
    installation: str | None = None
    runs: int | None = None


@dataclass
class Place:
    """A pipeline over real stores; `environment` has its connections."""

    config: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)


def work(place: Place, order: Order, start: Any, results: Any) -> None:
    """One process: each request is tried again after a transient error, as Airflow does."""
    try:
        logging.disable(logging.WARNING)  # sixteen processes that wait for a lease log much
        os.environ.update(place.environment)
        config = parse_pipeline(place.config, options_model=options_model)
        if order.crash_at is not None:
            os.environ[faults.CRASH_AT] = order.crash_at
            faults.arm_from_environment()
        start.wait()
        results.put((order.number, list(_moved(config, order))))
    except BaseException as error:
        results.put((order.number, [f"{type(error).__name__}: {error}"]))
        raise


def _moved(config: Any, order: Order) -> Iterator[str]:
    """Yield how each request ended; a live run that ends as `leased` is started again, as by the next tick."""
    dice = random.Random(order.number)
    deadline = time.monotonic() + PATIENCE
    runs = order.number if order.runs is None else order.runs
    named = [
        RunRequest(f"race/{runs}-named-{n}", kind, NOW, interval)
        for n, (kind, interval) in enumerate(order.named)
    ]
    live = [RunRequest(f"race/{runs}-live-{n}", RunKind.LIVE, NOW) for n in range(order.live)]
    while named or live:
        request = (named if named and (not live or dice.random() < 0.5) else live).pop()
        reason = _one(config, request, order.installation)
        yield reason
        if request.kind is RunKind.LIVE and reason in DONE:
            live.clear()
        if reason == "leased":
            time.sleep(dice.uniform(0.5, 2))
            if request.kind is RunKind.LIVE and time.monotonic() < deadline:
                live.append(request)


def _one(config: Any, request: RunRequest, installation: str | None) -> str:
    pause = random.Random(request.run)
    deadline = time.monotonic() + PATIENCE
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            with open_runtime(config, installation=installation) as runtime:
                outcome = run_window(runtime, request)
            if outcome.claim is not None and outcome.reason == "complete":
                return "already_committed"  # the run's own window; others may be left
            return "moved" if outcome.audited else str(outcome.reason)
        except SupersededError:
            return "superseded"
        except TransientError as error:  # a held lease too
            last = error
            time.sleep(pause.uniform(0.2, 2))
    return f"gave up after {last}"


def _context(place: Place) -> Any:
    """Airflow takes its metadata database when it is imported, so a place with one of its own needs new processes."""
    if "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in place.environment:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "airflow.sdk", "pyarrow.parquet", "duckdb", "sqlalchemy"])
    return context


def race(place: Place, orders: list[Order]) -> dict[int, list[str]]:
    """Start all at once; return how the requests of each process ended, by its number."""
    context = _context(place)
    start, results = context.Event(), context.Queue()

    def begun(order: Order) -> Any:
        process = context.Process(target=work, args=(place, order, start, results))
        process.start()
        return process

    processes = {order.number: begun(order) for order in orders}
    start.set()
    ended: dict[int, list[str]] = {}
    while len(ended) < len(processes):
        try:
            ended.update([results.get(timeout=1)])
        except Empty:  # a process that crashed puts no result
            for order in orders:
                if order.crash_at is not None and processes[order.number].exitcode == faults.EXIT_CODE:
                    processes[order.number] = begun(replace(order, crash_at=None))
            if not any(process.is_alive() for process in processes.values()):
                break
    for process in processes.values():
        process.join(60)
    assert [process.exitcode for process in processes.values()] == [0] * len(processes), ended
    return ended


@dataclass(frozen=True)
class Seen:
    """What state, source and target hold when the race is over; intervals as texts."""

    committed: list[str]
    unverified: list[str]
    commits: list[int]
    leases: int
    lost_writes: bool
    rows: tuple[int, int, int | None]


def looked(place: Place) -> Seen:
    """Look in a process of its own: Airflow's settings belong to a process."""
    context = _context(place)
    results = context.Queue()
    process = context.Process(target=_look, args=(place, results))
    process.start()
    seen: Seen = results.get(timeout=120)
    process.join(60)
    return seen


def _look(place: Place, results: Any) -> None:
    os.environ.update(place.environment)
    config = parse_pipeline(place.config, options_model=options_model)
    with open_runtime(config) as runtime:
        entries = runtime.state.entries()
        covered = ledger.committed(entries)
        whole = Interval(covered[0].start, covered[-1].end)
        counts = runtime.target.count(whole)
        results.put(
            Seen(
                [str(interval) for interval in covered],
                [str(interval) for interval in ledger.unverified(entries)],
                sorted(e.token or 0 for e in entries if e.kind is ledger.Kind.COMMITTED),
                len(runtime.state.leases()),
                runtime.state.lost_writes(),
                (counts.rows, counts.distinct_ids, runtime.source.count(whole)),
            )
        )
