"""Rows that a source must return, for the conformance kit and for `certify`; the window is two hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pyarrow as pa

from airflow_pipeline_provider.connectors.base import Slice, Source
from airflow_pipeline_provider.core.intervals import Interval

START = datetime(2013, 11, 3, 5, tzinfo=timezone.utc)
END = START + timedelta(hours=2)
WINDOW = Interval(START, END)
SECOND = timedelta(seconds=1)


class KitRow(NamedTuple):
    """A row to load: `key` is unique, `event_time` is aware or None, `text` is the value of a column or field."""

    key: str
    event_time: datetime | None
    text: str = ""


class Expected(NamedTuple):
    """The expected row; `event_time` is truncated to the source's precision, `body` is compared byte for byte."""

    event_time: datetime
    body: str


@dataclass
class Loaded:
    """A source with exactly the requested rows, and the expected rows with an event time by record id.

    `delete_all` removes every row; a new reader must see this immediately.  `update_all` writes every row again and
    keeps its time; a source with change markers needs it.
    """

    source: Source
    expected: dict[str, Expected]
    delete_all: Callable[[], None] | None = None
    update_all: Callable[[], None] | None = None


Load = Callable[[Sequence[KitRow]], Loaded]


def read_all(
    source: Source, interval: Interval, readers: int = 1, index: int = 0, of: int = 1
) -> list[pa.RecordBatch]:
    """Return every batch of one `open`, each iterator read in its own thread."""
    with (
        source.open(Slice(index, of, interval), readers) as iterators,
        ThreadPoolExecutor(max(1, len(iterators))) as pool,
    ):
        read: Iterator[list[pa.RecordBatch]] = pool.map(list, iterators)
        return [batch for batches in read for batch in batches]


def rows_of(batches: Sequence[pa.RecordBatch]) -> Counter[tuple[str, datetime, str]]:
    """Count each (record id, event time, body) in the batches."""
    return Counter(
        (row["RECORD_ID"], row["EVENT_TIME"], row["BODY"]) for batch in batches for row in batch.to_pylist()
    )


def expected_within(loaded: Loaded, interval: Interval) -> Counter[tuple[str, datetime, str]]:
    """Count each expected (record id, event time, body) in the interval."""
    return Counter(
        (key, row.event_time, row.body)
        for key, row in loaded.expected.items()
        if interval.holds(row.event_time)
    )


def assert_rows(batches: Sequence[pa.RecordBatch], loaded: Loaded, interval: Interval) -> None:
    """Assert that the batches contain exactly the interval's rows, each once."""
    seen, expected = rows_of(batches), expected_within(loaded, interval)
    missing, surplus = list((expected - seen).elements()), list((seen - expected).elements())
    assert seen == expected, (
        f"{len(missing)} rows are missing, {len(surplus)} too many; "
        f"missing first: {str(missing[:2])[:500]}; too many first: {str(surplus[:2])[:500]}"
    )


def spread(count: int, every: timedelta = SECOND) -> list[KitRow]:
    """Return rows at equal distances from the start of the window."""
    return [KitRow(f"r{i:05d}", START + i * every, f"text {i}") for i in range(count)]
