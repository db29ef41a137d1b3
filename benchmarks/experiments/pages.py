"""Pages in memory to part files: what a native scanner would give, and Python without a lock.

    python -m benchmarks.experiments.pages
    python3.14t -m benchmarks.experiments.pages        # needs only msgspec, pyarrow and typing_extensions

Prints a table: CPU nanoseconds for each document with one and with several threads, and how many times the documents
of one thread the others move in the same time.  The smallest of `--repeats` counts, whose cases take turns.
Other work on the machine hardly changes the CPU; the last column needs a quiet machine.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from airflow_pipeline_provider.connectors.elasticsearch import pages
from airflow_pipeline_provider.envelope.part_writer import PartWriter
from airflow_pipeline_provider.envelope.schema import ENVELOPE
from benchmarks.documents import Lines
from benchmarks.experiments import native_spans
from benchmarks.shapes import SHAPES, TIME_FIELD

PAGE_BYTES = 3_000_000
HEAD = (
    b'{"pit_id":"x","took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},'
    b'"hits":{"max_score":null,"hits":['
)
HIT = b'{"_index":"bench","_id":"log-%b","_score":null,"_source":%b,"fields":{"@timestamp":["%b"]},"sort":[%b]},'

Way = Callable[[bytes], pa.RecordBatch]


def decoder(page: bytes) -> pa.RecordBatch:
    """As ours does it."""
    found: Any = pages.decode_page(page, "page")
    return pages.to_batch(found.hits.hits, TIME_FIELD)


def scanner(page: bytes) -> pa.RecordBatch:
    batch = native_spans.to_batch(page, TIME_FIELD)
    return decoder(page) if batch is None else batch


WAYS: dict[str, Way] = {"decoder": decoder, "scanner": scanner}


class Case(NamedTuple):
    shape: str
    way: str
    written: bool
    threads: int


class Taken(NamedTuple):
    cpu: float
    wall: float


def page_of(shape: str, first: int = 0, size: int = PAGE_BYTES) -> tuple[bytes, int]:
    """Return a response with about so many bytes, and its number of documents."""
    lines = Lines(lambda number, millis, source: HIT % (number, source, millis, number), shape)
    documents = min(native_spans.MOST_HITS, size // lines.mean_bytes)
    return HEAD + b"".join(lines.write(first, documents))[:-1] + b"]}}", documents


class _Nothing(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


@contextmanager
def _discard(_: str) -> Iterator[BinaryIO]:
    yield _Nothing()  # type: ignore[misc]


def work(page: bytes, times: int, way: Way, threads: int, *, written: bool) -> None:
    if not written:
        for _ in range(times):
            way(page)
        return
    with PartWriter(_discard, "part", "x", ENVELOPE, 2**30, threads) as writer:
        for _ in range(times):
            writer.add(way(page))


def run(page: bytes, times: int, way: Way, threads: int, *, written: bool) -> Taken:
    """Let each thread move the page so many times."""
    workers = [
        threading.Thread(target=work, args=(page, times, way, threads), kwargs={"written": written})
        for _ in range(threads)
    ]
    cpu, wall = time.process_time(), time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return Taken(time.process_time() - cpu, time.perf_counter() - wall)


def measure(given: argparse.Namespace) -> dict[Case, Taken]:
    """Return for each case the smallest nanoseconds of a document."""
    found: dict[Case, Taken] = {}
    made = {shape: page_of(shape) for shape in given.shapes}
    cases = [
        Case(shape, way, written, threads)
        for shape in given.shapes
        for way in given.ways
        for written in (False, True)
        for threads in given.threads
    ]
    for _ in range(given.repeats):
        for case in cases:
            page, documents = made[case.shape]
            taken = run(page, given.pages, WAYS[case.way], case.threads, written=case.written)
            before = found.get(case, Taken(math.inf, math.inf))
            each = documents * given.pages * case.threads / 1e9
            found[case] = Taken(min(taken.cpu / each, before.cpu), min(taken.wall / each, before.wall))
    return found


def table(found: dict[Case, Taken]) -> Iterator[str]:
    first, *more = sorted({case.threads for case in found})
    heads = ["documents", "way", "part file", f"CPU ns, {first} thread{'s' if first > 1 else ''}"]
    for n in more:
        heads += [f"CPU ns, {n} threads", "times the documents"]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for case, alone in found.items():
        if case.threads != first:
            continue
        cells = [case.shape, case.way, "yes" if case.written else "no", f"{alone.cpu:.0f}"]
        for n in more:
            taken = found[case._replace(threads=n)]
            cells += [f"{taken.cpu:.0f}", f"{alone.wall / taken.wall:.2f}"]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--pages", type=int, default=20, help="that each thread moves in one run")
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(
        f"Python {sys.version.split()[0]}, {'with' if lock else 'without'} a lock; pyarrow {pa.__version__}\n"
    )
    print("\n".join(table(measure(given))))


if __name__ == "__main__":
    main()
