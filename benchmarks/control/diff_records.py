"""`diff` of one window of so many record ids, in DuckDB and in a source that makes them up: seconds and peak memory.

    python -m benchmarks.control.diff_records [--ids 10000000] [--content] [--most-mb 300]

The ids look like those of Elasticsearch's documents, 45 characters.  One of each million is missing in the target,
one is extra.  The table is made by another process, so that its memory does not count.  The exit code is 1 if the
process held more than --most-mb.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.base import CommitRow, Slice
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.load_protocol import instant_text
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.connectors.registry import connector_class, options_model, register
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.phases.diff import diff
from airflow_pipeline_provider.phases.runtime import Runtime, identity_of
from benchmarks.contestants.timing import Timing
from tests.doubles.memory_source import MemorySource
from tests.doubles.memory_state import MemoryState, MemoryStore

if TYPE_CHECKING:
    import pyarrow as pa

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
WINDOW = Interval(START, START + timedelta(hours=1))
PAGE = 5_000
# a hash of the number, so that ids are in no order, as those that Elasticsearch makes are not
ID = "'flights-2024.01.01/' || left(md5(i::VARCHAR), 26)"
BODY = """'{"n": ' || i || ', "text": "some words that make it longer"}'"""
EVERY = 1_000_000


class MadeUpSource(MemorySource):
    """A source of ids that are made page by page."""

    ids = 0
    with_bodies = False

    def check(self) -> None:
        """Exist."""

    @contextmanager
    def open(self, slice_: Slice, readers: int = 1) -> Iterator[Sequence[Iterator[pa.RecordBatch]]]:  # noqa: ARG002
        yield [self._pages()]

    def _pages(self) -> Iterator[pa.RecordBatch]:
        import hashlib

        import pyarrow as pa

        from airflow_pipeline_provider.envelope.schema import ENVELOPE, IDS, instants, text

        start = int(START.timestamp()) * 1_000_000
        for first in range(0, self.ids, PAGE):
            numbers = range(first, min(first + PAGE, self.ids))
            ids = text(
                f"flights-2024.01.01/{hashlib.md5(str(i).encode(), usedforsecurity=False).hexdigest()[:26]}"
                for i in numbers
            )
            times = instants(start + i for i in numbers)
            if not self.with_bodies:
                yield pa.record_batch([ids, times], schema=IDS)
                continue
            bodies = text(f'{{"n": {i}, "text": "some words that make it longer"}}' for i in numbers)
            names = text("flights" for _ in numbers)
            yield pa.record_batch([ids, times, names, bodies], schema=ENVELOPE)


def runtime(folder: Path) -> Runtime:
    """Return the runtime of a pipeline whose ledger holds one committed window."""
    register("source", "memory", MadeUpSource, replace=True)
    register("state", "memory", MemoryState, replace=True)
    config = parse_pipeline(
        {
            "pipeline_id": "flights",
            "timezone": "UTC",
            "granularity": "1h",
            "x_time_back": "1d",
            "source": {"type": "memory"},
            "stage": {"type": "object_store", "path": str(folder / "stage")},
            "target": {"type": "duckdb", "path": str(folder / "lake.duckdb"), "table": "main.flights"},
            "state": {"type": "memory"},
        },
        options_model=options_model,
    )
    identity = identity_of(config)
    state = MemoryState(config.state, identity, store=MemoryStore())
    state.restore(
        state.snapshot().__class__(
            token=1, entries=(Entry(Kind.COMMITTED, WINDOW, WINDOW.end, token=1, manifest="0"),)
        )
    )
    return Runtime(
        config,
        MadeUpSource(config.source, identity),
        ObjectStoreStage(config.stage, identity),
        connector_class("target", "duckdb")(config.target, identity),
        state,
    )


def fill(folder: Path, ids: int) -> None:
    """Create the table: without one id of each million, and with one that the source does not have."""
    target = runtime(folder).target
    assert isinstance(target, DuckDBTarget)
    target.prepare()
    start, end = instant_text(WINDOW.start), instant_text(WINDOW.end)
    columns = f"TIMESTAMPTZ '{start}' + to_microseconds(i), 'flights', {BODY}, 'flights'"
    stamps = f"TIMESTAMPTZ '{start}', TIMESTAMPTZ '{end}', 1, now()"
    with target.open_session("fill") as session:
        session.execute(
            f"INSERT INTO main.flights SELECT {ID}, {columns}, {stamps} FROM range({ids}) AS made(i) "
            f"WHERE i % {EVERY} <> 7"
        )
        session.execute(
            f"INSERT INTO main.flights SELECT 'extra/' || i, {columns}, {stamps} "
            f"FROM range(0, {ids}, {EVERY}) AS made(i)"
        )
        session.execute(
            f"INSERT INTO main.flights_COMMITS SELECT 'flights', TIMESTAMPTZ '{start}', TIMESTAMPTZ '{end}', 1, "
            f"'0', {ids}, now()"
        )
    assert target.commits() == [CommitRow(WINDOW, 1, "0", ids)]


def main() -> int:
    """Compare, and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control.diff_records", description=__doc__)
    parser.add_argument("--ids", type=int, default=10_000_000)
    parser.add_argument("--content", action="store_true")
    parser.add_argument("--most-mb", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="diff-") as name:
        maker = multiprocessing.get_context("spawn").Process(target=fill, args=(Path(name), given.ids))
        maker.start()
        maker.join()
        if maker.exitcode:
            return maker.exitcode
        MadeUpSource.ids, MadeUpSource.with_bodies = given.ids, given.content
        with Timing() as timing:
            [window] = diff(runtime(Path(name)), WINDOW, content=given.content, examples=10).windows
        expected = -(-given.ids // EVERY)
        found = (window.tally.source, window.tally.missing, window.tally.extra, window.tally.differences)
        assert found == (given.ids, expected, expected, 2 * expected), window.tally
    print(json.dumps({"ids": given.ids, "content": given.content, **timing.figures}))
    return int(timing.figures["own_peak_rss_mb"] > given.most_mb)


if __name__ == "__main__":
    sys.exit(main())
