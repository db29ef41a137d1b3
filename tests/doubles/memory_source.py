"""Provide the source `memory`: rows in this process that a test can change during a phase, with faults on demand.

    register("source", "memory", MemorySource)
    rows = MemorySource.table("flights")
    rows.put("1", "2013-11-03T04:00:00Z", '{"n": 1}')
    rows.lose_snapshots = 1                 # the next view is lost after its first page

YAML: `source: {type: memory, table: flights, page_size: 100}`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from airflow_pipeline_provider.config.options import SourceOptions
from airflow_pipeline_provider.connectors.base import Slice, Source
from airflow_pipeline_provider.core.change_markers import (
    ChangeMarker,
    Comparison,
    MarkedWindow,
    Place,
    Seen,
    WindowChanges,
    compare,
)
from airflow_pipeline_provider.core.intervals import Interval, parse_utc, to_utc
from airflow_pipeline_provider.exceptions import FatalError, PipelineError, SnapshotLostError, TransientError

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


class Row(NamedTuple):
    """A row; `event_time` is None for a row that is in no window."""

    record_id: str
    event_time: datetime | None
    body: str


class Rows(dict[str, Row]):
    """Rows by record id, which number their writes, as a shard does."""

    def __init__(self) -> None:
        self.writes = 0
        self.written: dict[str, int] = {}  # the number of each row's last write

    def __setitem__(self, record_id: str, row: Row) -> None:
        self.writes += 1
        self.written[record_id] = self.writes
        super().__setitem__(record_id, row)

    def __delitem__(self, record_id: str) -> None:
        self.writes += 1
        super().__delitem__(record_id)

    def clear(self) -> None:
        self.writes += 1
        super().clear()

    def pop(self, record_id: str, *default: Row) -> Row:  # type: ignore[override]
        self.writes += 1
        return super().pop(record_id, *default)


@dataclass
class MemoryTable:
    """Rows by record id; a view shows the rows at the time of its `open`.

    The faults are counters that decrease when the fault occurs: `lose_snapshots` views are lost after their first
    page, `fail_pages` pages and `fail_counts` counts raise TransientError. `on_page` is called before each page.
    """

    rows: Rows = field(default_factory=Rows)
    marks: bool = True  # whether views come with a change marker
    lose_snapshots: int = 0
    fail_pages: int = 0
    fail_counts: int = 0
    on_page: Callable[[], None] | None = None
    opened: int = 0
    open_now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def put(self, record_id: str, event_time: datetime | str | None, body: str = "{}") -> None:
        """Add or replace the row with this id; the time is aware, or ISO 8601 with an offset."""
        moment = parse_utc(event_time) if isinstance(event_time, str) else event_time
        self.rows[record_id] = Row(record_id, None if moment is None else to_utc(moment, "event_time"), body)

    def delete(self, record_id: str) -> None:
        del self.rows[record_id]

    def within(self, interval: Interval) -> list[Row]:
        return [row for row in list(self.rows.values()) if row.event_time and interval.holds(row.event_time)]

    def strikes(self, fault: str) -> bool:
        """Return whether this fault is due now, and count it down."""
        with self.lock:
            left: int = getattr(self, fault)
            if left:
                setattr(self, fault, left - 1)
            return bool(left)


class MemoryOptions(SourceOptions):
    """The section `source` of type memory."""

    type: Literal["memory"] = Field("memory", description="Name of the connector.")
    table: str = Field("rows", description="Name of a table in this process.")
    page_size: int = Field(1000, ge=1, description="Rows per batch.")


class MemorySource(Source):
    """A source over the tables of this process."""

    Options = MemoryOptions
    options: MemoryOptions
    tables: ClassVar[dict[str, MemoryTable]] = {}

    @classmethod
    def table(cls, name: str = "rows") -> MemoryTable:
        """Return the table of this name; create it if it does not exist."""
        return cls.tables.setdefault(name, MemoryTable())

    @classmethod
    def clear(cls) -> None:
        """Remove all tables."""
        cls.tables.clear()

    def _rows(self) -> MemoryTable:
        try:
            return self.tables[self.options.table]
        except KeyError:
            raise FatalError(
                f"table {self.options.table!r} does not exist in this process; create it by MemorySource.table(name)"
            ) from None

    def dataset(self) -> dict[str, Any]:
        return {**super().dataset(), "table": self.options.table, "query": None}

    def check(self) -> None:
        self._rows()

    def count(self, interval: Interval) -> int:
        rows = self._rows()
        if rows.strikes("fail_counts"):
            raise TransientError("the count failed on demand")
        return len(rows.within(interval))

    def change_marker(self) -> ChangeMarker | None:
        rows = self._rows()
        return ChangeMarker((Place(self.options.table, "", (rows.rows.writes,)),)) if rows.marks else None

    def changes(self, windows: Sequence[MarkedWindow]) -> list[WindowChanges]:
        now = self.change_marker() or ChangeMarker(unknown="the table has no marker now")
        return [
            self._changes(window.interval, compare(window.marker, now)) for window in windows if window.marker
        ]

    def _changes(self, interval: Interval, found: Comparison) -> WindowChanges:
        if found.unknown:
            return WindowChanges(Seen.UNKNOWN, reason=found.unknown)
        if found.proves_unchanged:
            return WindowChanges(Seen.UNCHANGED)
        table = self._rows()
        rows = table.within(interval)
        [shard] = found.written
        changed = sum(table.rows.written[row.record_id] > shard.checkpoint for row in rows)
        return WindowChanges(Seen.COUNTED, changed, len(rows))

    def count_untimed(self) -> int:
        return sum(row.event_time is None for row in self._rows().rows.values())

    def newest_event_time(self) -> datetime | None:
        return max((row.event_time for row in self._rows().rows.values() if row.event_time), default=None)

    @contextmanager
    def open(self, slice_: Slice, readers: int = 1) -> Iterator[Sequence[Iterator[pa.RecordBatch]]]:
        table = self._rows()
        view = table.within(slice_.interval)
        with table.lock:
            table.opened += 1
            table.open_now += 1
        lost = table.strikes("lose_snapshots")
        try:
            yield [self._read(table, view[reader::readers], lost) for reader in range(readers)]
        finally:
            with table.lock:
                table.open_now -= 1

    def _read(self, table: MemoryTable, view: list[Row], lost: bool) -> Iterator[pa.RecordBatch]:
        size = self.options.page_size
        for start in range(0, len(view), size):
            if table.on_page is not None:
                table.on_page()
            fault: PipelineError | None = None
            if lost and start:
                fault = SnapshotLostError("the view was lost on demand")
            elif table.strikes("fail_pages"):
                fault = TransientError("the page failed on demand")
            if fault is not None:
                raise fault
            yield self._batch(view[start : start + size])
        if lost:  # a view of a single page is lost at its end
            raise SnapshotLostError("the view was lost on demand")

    def _batch(self, rows: list[Row]) -> pa.RecordBatch:
        import pyarrow as pa

        from airflow_pipeline_provider.envelope.schema import ENVELOPE, instants, text

        times = [row.event_time for row in rows if row.event_time is not None]  # a view has no others
        columns = [
            text(row.record_id for row in rows),
            instants((time - _EPOCH) // _MICROSECOND for time in times),
            text([self.options.table] * len(rows)),
            text(row.body for row in rows),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=ENVELOPE)
