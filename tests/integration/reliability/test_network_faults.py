"""Network faults between the package and each server: a bounded retry or a clear error, never a part of a window.

A cell is a server, a fault, and the request that meets it: once, or as the beginning of an outage that lasts until
it is lifted.  Whatever happens, the target holds nothing or the whole window, the ledger never says more than the
target, and an ordinary rerun on a healthy network moves the window.

Here a cut through the table; RELIABILITY=full tries every cell.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.elasticsearch import client as elasticsearch_client
from airflow_pipeline_provider.connectors.object_store import remote_files
from airflow_pipeline_provider.connectors.postgres import network as postgres_network
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.exceptions import PipelineError, TransientError
from airflow_pipeline_provider.phases.run import Outcome, run_window
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest

from .backends import World
from .network import (
    SERVERS,
    ElasticsearchSource,
    Faulty,
    PostgresLedger,
    PostgresLoad,
    PostgresSource,
    S3Stage,
    SnowflakeLoad,
)
from .proxy import Fault

pytestmark = [
    pytest.mark.integration,
    # the connection of the test server switches OCSP off under its old name
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
    # of a thread of Snowflake's connector, which wants to cancel what is out of reach
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    # a connection that was cut is closed by nobody but the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

PATIENCE = 120.0  # seconds until a run counts as one that hangs; the bound of each cell is far below it
SIDE_BY_SIDE = 8  # cells spend their time waiting
REQUEST = RunRequest("faults/1", RunKind.LIVE, parse_utc("2013-11-06T12:00:00Z"))

STREAM = ("refused", "reset", "black hole", "slow drip", "truncated", "lost reply")
HTTP = (*STREAM, "429", "503")


class Place(NamedTuple):
    """The request that meets the fault: what it contains, and how many such requests pass before."""

    name: str
    at: bytes
    skip: int = 0


class Cell(NamedTuple):
    """`times` as a fault has it: once, or None for an outage."""

    place: Place
    kind: str
    times: int | None


PLACES: dict[type[Faulty], tuple[Place, ...]] = {
    ElasticsearchSource: (
        Place("validate: mapping", rb"_field_caps"),
        Place("validate: what _source is", rb"_mapping"),
        Place("validate: count", rb"POST /[^ /]+/_search"),
        Place("extract: open point in time", rb"POST /[^ ]*/_pit"),
        Place("extract: first page", rb"POST /_search"),
        Place("extract: a later page", rb"search_after"),
        Place("extract: close point in time", rb"DELETE /_pit"),
        Place("extract: check the names", rb"match_none"),
        Place("audit: count", rb"POST /[^ /]+/_search", 5),
    ),
    S3Stage: (
        Place("extract: write a part", rb"PUT /[^ ]*/part-"),
        Place("extract: write a later part", rb"PUT /[^ ]*/part-", 2),
        Place("extract: write the receipt", rb"PUT /[^ ]*/receipt-"),
        Place("stage: look at a part", rb"HEAD /[^ ]*/part-"),
        Place("stage: ask whether wrong checksums are refused", rb"PUT /[^ ]*/checksum-probe-"),
        Place("stage: write the manifest", rb"PUT /[^ ]*/manifest-"),
        Place("load: read the manifest", rb"GET /[^ ]*/manifest-"),
        Place("load: read a part", rb"GET /[^ ]*/part-"),
        Place("load: read a later part", rb"GET /[^ ]*/part-", 1),
    ),
    SnowflakeLoad: (
        Place("validate: log in", rb"login-request"),
        Place("validate: commit rows", rb"SHOW TABLES"),
        Place("load: create the table", rb"CREATE TABLE"),
        Place("load: upload a part", rb"PUT /[^ ]*/part-"),
        Place("load: copy the parts", rb"COPY INTO"),
        Place("load: begin", rb'"BEGIN"'),
        Place("load: delete", rb"DELETE FROM"),
        Place("load: insert the rows", rb"INSERT INTO (?:(?!_COMMITS).)*STAGED_"),
        Place("load: insert the commit row", rb"INSERT INTO [^ ]*_COMMITS"),
        Place("load: commit", rb'"COMMIT"'),
        Place("audit: count", rb"COUNT\(DISTINCT", 1),
    ),
    PostgresLoad: (
        Place("validate: connect", rb"user\0"),
        Place("load: create the table", rb"CREATE TABLE"),
        Place("load: delete", rb"DELETE FROM"),
        Place("load: copy", rb"COPY "),
        Place("load: in the copy", rb"PGCOPY"),
        Place("load: insert the commit row", rb"INSERT INTO"),
        Place("load: commit", rb"COMMIT\0", 1),
        Place("audit: count", rb"COUNT\(DISTINCT"),
    ),
    PostgresLedger: (
        Place("generate: connect", rb"user\0"),
        Place("generate: create the tables", rb"CREATE TABLE"),
        Place("generate: commit", rb"COMMIT\0"),
        *(Place(f"later: commit {n}", rb"COMMIT\0", n) for n in range(1, 14, 3)),
        Place("validate: the attempt", rb"INSERT INTO [^ ]*ledger"),
        Place("load: replacing", rb"INSERT INTO [^ ]*ledger", 1),
        Place("audit: committed", rb"INSERT INTO [^ ]*ledger", 2),
    ),
    PostgresSource: (
        Place("validate: connect", rb"user\0"),
        Place("validate: count", rb"COUNT\("),
        Place("extract: snapshot", rb"REPEATABLE READ"),
        Place("extract: first page", rb"ORDER BY"),
        Place("extract: a later page", rb"ORDER BY", 1),
        Place("audit: count", rb"COUNT\(", 4),
    ),
}


@dataclass
class Result:
    """The result of a cell."""

    cell: str
    outcome: str = ""
    seconds: float = 0.0
    said: str = ""
    problems: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set limits that have no option."""
    monkeypatch.setattr(elasticsearch_client, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(elasticsearch_client, "LONGEST_PAUSE_SECONDS", 0.4)
    monkeypatch.setattr(remote_files, "ANSWER_SECONDS", 12.0)
    for module in _users_of_grace():
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.5)


def _users_of_grace() -> list[object]:
    from airflow_pipeline_provider.connectors.postgres import session as postgres_session
    from airflow_pipeline_provider.connectors.snowflake import session as snowflake_session
    from airflow_pipeline_provider.connectors.sql import reader as sql_reader
    from airflow_pipeline_provider.state import sql_database

    return [postgres_network, sql_reader, postgres_session, snowflake_session, sql_database]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 20
    for thread in (
        set(threading.enumerate()) - before
    ):  # a connector's, that still tries what nobody waits for
        thread.join(max(0.0, deadline - time.monotonic()))
    logging.disable(logging.NOTSET)


def _kinds(server: type[Faulty]) -> tuple[str, ...]:
    return STREAM if server.name.startswith("PostgreSQL") else HTTP


def _cells(server: type[Faulty], kind: str) -> list[Cell]:
    durations = (1,) if kind == "lost reply" else (1, None)
    return [Cell(place, kind, times) for place in PLACES[server] for times in durations]


def _cut(server: type[Faulty], seed: int) -> list[Cell]:
    """Return one cell per fault, and each lost reply to COMMIT."""
    dice = random.Random(f"{seed} {server.name}")
    chosen = [dice.choice(_cells(server, kind)) for kind in _kinds(server)]
    commits = [cell for cell in _cells(server, "lost reply") if cell.place.name.endswith("commit")]
    return chosen + [cell for cell in commits if cell not in chosen]


FULL = os.environ.get("RELIABILITY") == "full"
TESTS = [(server, kind) for server in SERVERS for kind in (_kinds(server) if FULL else ("a cut",))]


@pytest.mark.parametrize(("server", "kind"), TESTS, ids=[f"{server.name}-{kind}" for server, kind in TESTS])
def test_no_part_of_a_window(server: type[Faulty], kind: str, folder: Path, seed: int) -> None:
    cells = _cells(server, kind) if FULL else _cut(server, seed)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        results = list(pool.map(lambda cell: _try(server, cell, folder), cells))
    for result in results:
        print(f"{result.cell:75} {result.outcome:20} {result.seconds:5.1f}s {result.said[:400]}")
    assert not [(r.cell, r.problems) for r in results if r.problems]


def _try(server: type[Faulty], cell: Cell, folder: Path) -> Result:
    """Run a cell; again if a busy machine ended the run before it met its fault."""
    for _ in range(3):
        result, hits = _try_once(server, cell, folder)
        if hits:
            return result
    result.problems.append("no request met the fault")
    return result


def _try_once(server: type[Faulty], cell: Cell, folder: Path) -> tuple[Result, int]:
    place, kind, times = cell
    result = Result(f"{server.name}, {place.name}, {kind}, {'once' if times else 'lasting'}")
    world = World(f"f{uuid4().hex[:10]}", folder / uuid4().hex)
    faulty = server()
    try:
        faulty.make(world)
        os.environ.update(faulty.environment(world))
        fault = faulty.proxy.inject(Fault(kind, place.at, place.skip, times))
        begun = time.monotonic()
        outcome = _run(faulty, world)
        result.seconds = time.monotonic() - begun
        faulty.proxy.lift()
        if isinstance(outcome, BaseException):
            faulty.forget_clients()
        _judge(result, faulty, world, outcome)
    finally:
        faulty.proxy.close()
        faulty.drop(world)
        for name in faulty.environment(world):
            if world.name.upper() in name:
                os.environ.pop(name, None)
    return result, fault.hits


def _run(faulty: Faulty, world: World) -> Outcome | BaseException | None:
    """Run one task in a thread of its own; return None if it hangs."""
    ended: list[Outcome | BaseException] = []

    def run() -> None:
        try:
            config = parse_pipeline(faulty.config(world), options_model=options_model)
            with open_runtime(config) as runtime:
                ended.append(run_window(runtime, REQUEST))
        except BaseException as error:  # noqa: BLE001  (judged by whoever waits)
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return ended[0] if ended else None


def _judge(result: Result, faulty: Faulty, world: World, outcome: Outcome | BaseException | None) -> None:
    result.outcome = outcome.reason or "moved" if isinstance(outcome, Outcome) else type(outcome).__name__
    result.said = str(outcome) if isinstance(outcome, BaseException) else ""
    say = result.problems.append
    if outcome is None:
        say(f"hung for {PATIENCE:.0f} s")
    if isinstance(outcome, BaseException) and not isinstance(outcome, TransientError):
        say(f"ended with {type(outcome).__module__}.{type(outcome).__name__}: {str(outcome)[:300]}")
    if isinstance(outcome, PipelineError) and world.name not in str(outcome):
        say(f"the error does not name the pipeline: {outcome}")
    wanted = faulty.wanted(world)
    found = faulty.loaded(world)
    if found not in (Counter(), wanted):
        say(f"the target held {found.total()} rows of {wanted.total()}")
    if _committed(faulty, world) and found != wanted:
        say(f"the ledger says committed, the target held {found.total()} rows")
    if isinstance(outcome, Outcome) and outcome.audited and found != wanted:
        say("the run says moved, the target does not hold the window")
    again = _run(faulty, world)
    if not isinstance(again, Outcome):
        say(f"the rerun ended with {type(again).__name__}: {str(again)[:300]}")
    if faulty.loaded(world) != wanted or not _committed(faulty, world):
        say(f"after the rerun the target holds {faulty.loaded(world).total()} rows of {wanted.total()}")


def _committed(faulty: Faulty, world: World) -> bool:
    """Return whether the ledger has the window; a state that is still busy with the cut sessions is asked again."""
    config = parse_pipeline(faulty.config(world), options_model=options_model)
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            with open_runtime(config) as runtime:
                entries = runtime.state.entries()
            return bool(ledger.committed(entries)) and not ledger.unverified(entries)
        except TransientError:
            if time.monotonic() > ends:
                raise
            time.sleep(1)
