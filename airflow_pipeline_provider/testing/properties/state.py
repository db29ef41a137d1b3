"""Properties of a state store: what must be one atomic step is one, for threads, processes and lost connections."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_pipeline_provider import fault_points
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import LeaseHeldError, SupersededError, TransientError
from airflow_pipeline_provider.state.base import State
from airflow_pipeline_provider.testing.faults import EXIT_CODE, Crash, at, failing_at, hooked
from airflow_pipeline_provider.testing.properties.cut_connections import cutting, open_connections
from airflow_pipeline_provider.testing.properties.judging import (
    NotApplicableError,
    NotMetError,
    NotTestedError,
    Property,
    expect,
)
from airflow_pipeline_provider.testing.sample_rows import MIDNIGHT, ZONE, hours

OpenState = Callable[[str, str], State]
FAR = 3600.0  # seconds of a lease that does not expire during a test
_SECONDS = 120.0
THREADS, PROCESSES = 8, 2


@dataclass(frozen=True)
class StateLab:
    """A store: `open_state(pipeline_id, timezone)` opens it again each time.

    It must be picklable where `processes` is true. `is_embedded`: there is no connection to cut.
    """

    open_state: OpenState
    pipeline_id: str = "flights"
    processes: bool = True
    is_embedded: bool = False

    def open(self) -> State:
        """Open the store for the lab's pipeline."""
        return self.open_state(self.pipeline_id, ZONE)


def entry(kind: Kind, interval: Interval, token: int | None = None, **fields: Any) -> Entry:
    """Build a ledger entry at midnight of the sample day."""
    return Entry(kind, interval, MIDNIGHT, token, **fields)


def mint_some(open_state: OpenState, count: int, pipeline_id: str = "flights") -> list[int]:
    """Mint tokens in one of several processes."""
    with closing(open_state(pipeline_id, ZONE)) as state:
        return [state.mint_token() for _ in range(count)]


def in_threads(lab: StateLab, count: int, work: Callable[[State, int], Any]) -> list[Any]:
    """Run `work` in that many threads at the same time, each with its own store object."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        with closing(lab.open()) as state:
            barrier.wait(30)
            return work(state, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def _if_concurrent(run: Callable[[StateLab], str]) -> Callable[[StateLab], str]:
    def run_if(lab: StateLab) -> str:
        with closing(lab.open()) as state:
            if not state.concurrent:
                raise NotApplicableError("the store declares that it has one writer at a time")
        return run(lab)

    return run_if


# --- one after the other


def keeps_the_order(lab: StateLab) -> str:
    """Append entries out of the order of time, by two objects; read them by a third."""
    starts = [48, 0, -24, 24, 0]
    with closing(lab.open()) as one, closing(lab.open()) as two, closing(lab.open()) as reader:
        for number, start in enumerate(starts):
            (one, two)[number % 2].append(entry(Kind.ATTEMPT, hours(start, start + 1), attempt=str(number)))
            time.sleep(0.002)
        read = reader.entries()
        expect("entries in the order of writing", [one_.attempt for one_ in read], ["0", "1", "2", "3", "4"])
        expect("their times, sorted", [one_.at for one_ in read], sorted(one_.at for one_ in read))
        within = [one_.attempt for one_ in reader.entries(hours(0, 1))]
        expect("entries of one hour", within, ["1", "4"])
    return f"{len(starts)} entries of two sessions, in the order of writing"


def refuses_stale_tokens(lab: StateLab) -> str:
    """Append an older token on an overlapping interval, and a newer entry a second time."""
    with closing(lab.open()) as state, closing(lab.open()) as other:
        state.append(entry(Kind.REPLACING, hours(2, 4), 7))
        state.append(entry(Kind.COMMITTED, hours(2, 4), 7))
        before = state.entries()
        for interval in (hours(2, 4), hours(3, 5), hours(0, 25)):
            try:
                other.append(entry(Kind.REPLACING, interval, 6))
            except SupersededError:
                continue
            raise NotMetError(f"token 6 was accepted on {interval}, which overlaps token 7")
        other.append(entry(Kind.COMMITTED, hours(2, 4), 7))
        expect("entries", state.entries(), before)
    return "an older token is refused on any overlap, and an entry that exists is not written twice"


def leases_exclude(lab: StateLab) -> str:
    """Acquire a lease, be refused by another session, take over an expired one."""
    with closing(lab.open()) as state, closing(lab.open()) as other:
        lease = state.acquire(hours(0, 2), "certify/one", 1.0)
        try:
            other.acquire(hours(1, 3), "certify/two", FAR)
        except LeaseHeldError:
            pass
        else:
            raise NotMetError("two runs hold leases on overlapping intervals")
        limit = time.monotonic() + 30
        while other.now() < lease.until and time.monotonic() < limit:
            time.sleep(0.05)
        taken = other.acquire(hours(1, 3), "certify/two", FAR)
        expect("holders", [held.owner for held in state.leases()], ["certify/two"])
        other.release(taken.interval, "certify/two")
        expect("leases after the release", state.leases(), [])
    return "a live lease is exclusive, an expired one is taken over by the store's clock"


def clock_is_shared(lab: StateLab) -> str:
    """Compare the store's clock, asked by two sessions, with this machine's."""
    with closing(lab.open()) as state, closing(lab.open()) as other:
        first, second = state.now(), other.now()
        if first.utcoffset() != timedelta(0):
            raise NotMetError(f"the clock has no time zone or another one than UTC: {first!r}")
        if second < first:
            raise NotMetError(f"the clock went back between two sessions: {first} to {second}")
        difference = abs((second - datetime.now(timezone.utc)).total_seconds())
    if difference > 300:
        raise NotMetError(f"the store's clock differs by {difference:.0f} s from this machine's")
    return f"differs by {difference:.1f} s from this machine's"


# --- at once


def newest_writer_wins(lab: StateLab, threads: int = THREADS) -> str:
    """Append entries of one window with different tokens from several threads at once."""

    def write(state: State, number: int) -> bool:
        try:
            state.append(entry(Kind.REPLACING, hours(0, 2), number + 1))
        except SupersededError:
            return False
        return True

    admitted = in_threads(lab, threads, write)
    with closing(lab.open()) as state:
        tokens = [one.token for one in state.entries()]
    expect("tokens in the order of writing, sorted", tokens, sorted(tokens, key=lambda token: token or 0))
    expect("the last token", tokens[-1], threads)
    expect("entries, against the writers that succeeded", len(tokens), sum(admitted))
    return f"{sum(admitted)} of {threads} writers in order of their tokens, the others were refused"


def one_acquirer_wins(lab: StateLab, threads: int = THREADS) -> str:
    """Acquire overlapping leases from several threads at once."""

    def acquire(state: State, number: int) -> str | None:
        try:
            return state.acquire(hours(number / 10, 2 + number / 10), f"certify/{number}", FAR).owner
        except LeaseHeldError:
            return None

    winners = [winner for winner in in_threads(lab, threads, acquire) if winner]
    with closing(lab.open()) as state:
        held = [lease.owner for lease in state.leases()]
    if len(winners) != 1:
        raise NotMetError(f"{len(winners)} of {threads} runs acquired overlapping leases")
    expect("leases that are held", held, winners)
    return f"one of {threads} runs holds the window"


def tokens_are_distinct(lab: StateLab) -> str:
    """Mint tokens from several threads, then from several processes, at once."""
    lists = in_threads(lab, THREADS, lambda state, _: [state.mint_token() for _ in range(5)])
    _expect_distinct(lists, 0)
    if not lab.processes:
        return f"{THREADS * 5} tokens of {THREADS} threads; the store is in this process"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        jobs = [pool.submit(mint_some, lab.open_state, 20, lab.pipeline_id) for _ in range(PROCESSES)]
        _expect_distinct([job.result(_SECONDS) for job in jobs], THREADS * 5)
    return (
        f"{THREADS * 5} tokens of {THREADS} threads and {PROCESSES * 20} of {PROCESSES} processes, each once"
    )


def _expect_distinct(lists: list[list[int]], above: int) -> None:
    tokens = [token for tokens in lists for token in tokens]
    expect("different tokens", len(set(tokens)), len(tokens))
    expect("the smallest and the greatest", (min(tokens), max(tokens)), (above + 1, above + len(tokens)))
    if not all(tokens == sorted(tokens) for tokens in lists):
        raise NotMetError("a writer got a smaller token after a greater one")


# --- crashes


def crash_in_append(open_state: OpenState, pipeline_id: str, point: str) -> None:
    """End this process at a point of an append, in a process of its own."""
    with closing(open_state(pipeline_id, ZONE)) as state:
        state.newest_token()  # the tables exist
        fault_points.install(at(point, 1, lambda: os._exit(EXIT_CODE)))
        state.append(entry(Kind.REPLACING, hours(0, 2), 5))


def survives_a_crash(lab: StateLab) -> str:
    """End a process before and one after the commit of an append, then append again."""
    points = {"state.before_commit": 0, "state.after_commit": 1}
    ids = {point: f"{lab.pipeline_id}-{kept}" for point, kept in points.items()}
    if lab.processes:
        _crash_processes(lab, ids)
    else:
        for point, pipeline_id in ids.items():
            _crash_here(lab, pipeline_id, point)
    for point, kept in points.items():
        with closing(lab.open_state(ids[point], ZONE)) as state:
            if state.concurrent:
                expect(f"entries after a crash at {point}", len(state.entries()), kept)
            state.append(entry(Kind.REPLACING, hours(0, 2), 5))
            expect("entries after it was done again", [one.token for one in state.entries()], [5])
    return "nothing of a change before its commit, all of it after; doing it again writes no second entry"


def _crash_processes(lab: StateLab, ids: dict[str, str]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = {
        point: context.Process(target=crash_in_append, args=(lab.open_state, pipeline_id, point))
        for point, pipeline_id in ids.items()
    }
    for process in processes.values():
        process.start()
    for point, process in processes.items():
        process.join(_SECONDS)
        if process.exitcode != EXIT_CODE:
            process.kill()
            raise NotTestedError(f"a process did not reach {point} (exit code {process.exitcode})")


def _crash_here(lab: StateLab, pipeline_id: str, point: str) -> None:
    with closing(lab.open_state(pipeline_id, ZONE)) as state:
        try:
            with failing_at(point):
                state.append(entry(Kind.REPLACING, hours(0, 2), 5))
        except Crash:
            return
    raise NotTestedError(f"the store does not reach the fault point {point}")


def survives_a_lost_reply(lab: StateLab) -> str:
    """Cut the connection at the commit of an append, then append again."""
    if lab.is_embedded or not lab.processes:
        raise NotApplicableError(
            "the store is in this process or a file of this machine: there is no connection"
        )
    reported = "the append found out by itself"
    before = open_connections()
    cuts: list[list[str]] = []
    stack = ExitStack()
    with closing(lab.open()) as state:
        state.newest_token()

        def cut(point: str) -> None:
            if point == "state.before_commit" and not cuts:
                cuts.append(stack.enter_context(cutting(open_connections() - before, "reply")))

        try:
            with hooked(cut):
                state.append(entry(Kind.REPLACING, hours(0, 2), 5))
        except TransientError:
            reported = "the append ended with a temporary error"
        finally:
            stack.close()
    if not cuts or not cuts[0]:
        raise NotTestedError("the commit was sent over a connection that could not be found in this process")
    with closing(lab.open()) as state:
        state.append(entry(Kind.REPLACING, hours(0, 2), 5))
        expect("entries after it was done again", [one.token for one in state.entries()], [5])
    return f"connection cut; {reported}; doing it again writes no second entry"


PROPERTIES: tuple[Property[StateLab], ...] = (
    Property("ledger order", "entries are read in the order of writing, by every session", keeps_the_order),
    Property("stale token", "an older token on an overlapping interval is refused", refuses_stale_tokens),
    Property("leases", "one run holds a window, until it is released or expires", leases_exclude),
    Property("clock", "all sessions share one clock, near this machine's", clock_is_shared),
    *(
        Property(name, proves, _if_concurrent(run))
        for name, proves, run in (
            (
                "compare-and-set",
                "of several writers of one window, the newest token wins",
                newest_writer_wins,
            ),
            ("concurrent leases", "of several runs that acquire at once, one wins", one_acquirer_wins),
            ("concurrent tokens", "no token is given twice, to threads or processes", tokens_are_distinct),
        )
    ),
    Property("crash", "a process that ends in a change leaves all of it or nothing", survives_a_crash),
    Property("lost COMMIT reply", "a change whose reply is lost is not written twice", survives_a_lost_reply),
)
