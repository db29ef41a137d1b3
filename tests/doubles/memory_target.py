"""Provide the target `memory`: a table in this process with transactions, for tests that move thousands of windows.

    warehouse = MemoryWarehouse()
    target = MemoryTarget(identity=Identity("flights", "UTC"), warehouse=warehouse)

A load changes a copy and replaces the table at its end, so an error or a simulated crash leaves the table unchanged.
The fence is a lock: a load waits `busy_seconds` for it, then raises TransientError. YAML: `target: {type: memory}`;
each target built from YAML has its own warehouse.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from airflow_pipeline_provider.config.options import TargetOptions
from airflow_pipeline_provider.connectors.base import (
    CommitRow,
    Identity,
    LoadResult,
    Stage,
    Target,
    TargetCounts,
)
from airflow_pipeline_provider.connectors.load_protocol import WriteConflictError, check_counts, is_loaded
from airflow_pipeline_provider.connectors.sql_tables import check_shape, check_sharing
from airflow_pipeline_provider.core.comparison import Row
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.envelope.part_writer import micros
from airflow_pipeline_provider.exceptions import DataError, FatalError
from airflow_pipeline_provider.fault_points import reach

if TYPE_CHECKING:
    from airflow_pipeline_provider.envelope.manifest import Manifest

COLUMNS = dict.fromkeys(
    (
        *("RECORD_ID", "EVENT_TIME", "SOURCE_NAME", "BODY"),
        *("PIPELINE_ID", "WINDOW_START", "WINDOW_END", "TOKEN", "LOADED_AT"),
    ),
    "ANY",
)


class TargetRow(NamedTuple):
    """A row of the table."""

    record_id: str
    event_time: datetime
    source_name: str
    body: str
    pipeline_id: str
    window: Interval
    token: int
    loaded_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the values by the column names of a SQL target."""
        first, bounds, rest = self[:5], (self.window.start, self.window.end), self[6:]
        return dict(zip(COLUMNS, (*first, *bounds, *rest), strict=True))


class MemoryOptions(TargetOptions):
    """The section `target` of type memory."""

    type: Literal["memory"] = "memory"
    busy_seconds: float = Field(default=10.0, ge=0, description="Seconds that a load waits for another load.")


@dataclass
class MemoryWarehouse:
    """The content of one or more `MemoryTarget`.

    `rows` and `commits` are replaced as a whole, under `lock`. `columns` is None until the table exists. A running
    load holds `fence`.
    """

    columns: dict[str, str] | None = None
    rows: tuple[TargetRow, ...] = ()
    commits: tuple[tuple[str, CommitRow], ...] = ()
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    fence: threading.Lock = field(default_factory=threading.Lock)
    keeps_history: bool = False

    def latest(self) -> list[TargetRow]:
        """Return one row per record: the last loaded one, or with history the one with the latest time."""
        newest: dict[tuple[str, str], TargetRow] = {}

        def rank(row: TargetRow) -> tuple[Any, Any]:
            return (row.event_time, row.token) if self.keeps_history else (row.token, row.event_time)

        for row in sorted(self.rows, key=rank):
            newest[row.pipeline_id, row.record_id] = row
        return list(newest.values())


class MemoryTarget(Target):
    """A target over a table in this process."""

    Options: ClassVar[type[MemoryOptions]] = MemoryOptions
    options: MemoryOptions
    can_keep_history = True

    def __init__(
        self,
        options: Any = None,
        identity: Identity | None = None,
        *,
        warehouse: MemoryWarehouse | None = None,
    ) -> None:
        super().__init__(options or MemoryOptions(), identity or Identity("pipeline", "UTC"))
        self.warehouse = warehouse or MemoryWarehouse()

    def prepare(self) -> None:
        with self.warehouse.lock:
            if self.warehouse.columns is None:
                self.warehouse.columns = dict(COLUMNS)
            check_shape("the table", COLUMNS, self.warehouse.columns)
            if self.warehouse.keeps_history != self.identity.keeps_history:
                check_sharing(
                    "the table's view",
                    self.identity,
                    {pipeline for pipeline, _ in self.warehouse.commits} - {self.identity.pipeline_id},
                )
            self.warehouse.keeps_history = self.identity.keeps_history

    def load(self, manifest: Manifest, stage: Stage) -> LoadResult:
        if self.warehouse.columns is None:
            raise FatalError("the table does not exist: call prepare() before load()")
        with self._fenced():
            reach("load.fence_taken")
            pipeline_id, interval = manifest.pipeline_id, manifest.interval
            if is_loaded(self._commits(pipeline_id, interval), manifest):
                counts = self._loaded(self.warehouse.rows, manifest)
                return LoadResult(counts.rows, counts.distinct_ids, already=True)
            new = tuple(self._copy(manifest, stage))
            reach("load.copied")
            if len(new) != manifest.rows:
                raise DataError(
                    f"the table: expected {counted(manifest.rows, 'row')} in the parts of {interval}, got "
                    f"{len(new):,}; nothing was changed: extract the window again"
                )
            versions = {(row.record_id, row.event_time) for row in new}
            kept = tuple(
                row
                for row in self.warehouse.rows
                if not _inside(row, pipeline_id, interval)
                or (self.identity.keeps_history and (row.record_id, row.event_time) not in versions)
            )
            reach("load.deleted")
            rows = (*kept, *new)
            counts = self._loaded(rows, manifest)
            check_counts("the table", manifest, counts)
            commit = CommitRow(interval, manifest.token, manifest.sha256, manifest.rows)
            commits = (*self.warehouse.commits, (pipeline_id, commit))
            reach("load.commit_row_written")
            with self.warehouse.lock:
                self.warehouse.rows, self.warehouse.commits = rows, commits
        return LoadResult(counts.rows, counts.distinct_ids)

    def pipelines(self) -> dict[str, dict[str, Any]]:
        with self.warehouse.lock:
            return dict(self.warehouse.pipelines)

    def register(self, entry: dict[str, Any], check: Callable[[dict[str, dict[str, Any]]], None]) -> None:
        with self._fenced():
            mine = self.identity.pipeline_id
            check({name: other for name, other in self.warehouse.pipelines.items() if name != mine})
            with self.warehouse.lock:
                self.warehouse.pipelines = {**self.warehouse.pipelines, mine: entry}

    def rename_pipeline(self, old: str) -> int:
        new = self.identity.pipeline_id
        with self._fenced():
            reach("rename.fence_taken")
            if self._commits(old, None) and self._commits(new, None):
                raise DataError(f"the table has commit rows of both {old!r} and {new!r}; nothing was changed")
            named = {old: new}
            rows = tuple(
                row._replace(pipeline_id=named.get(row.pipeline_id, row.pipeline_id))
                for row in self.warehouse.rows
            )
            renamed = sum(row.pipeline_id == old for row in self.warehouse.rows)
            reach("rename.rows_renamed")
            with self.warehouse.lock:
                self.warehouse.rows = rows
                self.warehouse.commits = tuple((named.get(n, n), row) for n, row in self.warehouse.commits)
                self.warehouse.pipelines = {named.get(n, n): v for n, v in self.warehouse.pipelines.items()}
        return renamed

    @contextmanager
    def _fenced(self) -> Iterator[None]:
        fence = self.warehouse.fence
        if not fence.acquire(timeout=self.options.busy_seconds):
            raise WriteConflictError("another load is changing the table; try again when it has ended")
        try:
            yield
        finally:
            fence.release()

    def _copy(self, manifest: Manifest, stage: Stage) -> Iterator[TargetRow]:
        from airflow_pipeline_provider.envelope.parts import iter_parts

        now = datetime.now(timezone.utc)
        for batch in iter_parts(manifest.parts, stage.open_read):
            columns = (column.to_pylist() for column in batch.columns)
            for name, at, source, body in zip(*columns, strict=True):
                yield TargetRow(
                    name, at, source, body, manifest.pipeline_id, manifest.interval, manifest.token, now
                )

    def count(self, interval: Interval) -> TargetCounts:
        with self.warehouse.lock:
            return self._count(self.warehouse.rows, self.identity.pipeline_id, interval)

    def count_by_token(self, interval: Interval) -> dict[int, TargetCounts]:
        with self.warehouse.lock:
            inside = [row for row in self.warehouse.rows if _inside(row, self.identity.pipeline_id, interval)]
        return {
            token: _counts(row for row in inside if row.token == token) for token in {r.token for r in inside}
        }

    def count_newest(self, interval: Interval, token: int) -> int:
        with self.warehouse.lock:
            mine = [row for row in self.warehouse.rows if row.pipeline_id == self.identity.pipeline_id]
        newest: dict[str, datetime] = {}
        for row in mine:
            newest[row.record_id] = max(row.event_time, newest.get(row.record_id, row.event_time))
        return sum(
            row.token == token and interval.holds(row.event_time) and newest[row.record_id] == row.event_time
            for row in mine
        )

    @contextmanager
    def records(self, interval: Interval, *, content: bool = False) -> Iterator[Iterator[list[Row]]]:
        with self.warehouse.lock:
            rows = [row for row in self.warehouse.rows if _inside(row, self.identity.pipeline_id, interval)]
        yield iter(
            [
                (
                    row.record_id,
                    micros(row.event_time),
                    *(self.digest(row.body.encode()) if content else (None, False)),
                )
            ]
            for row in rows
        )

    def commits(self, within: Interval | None = None) -> list[CommitRow]:
        with self.warehouse.lock:
            return self._commits(self.identity.pipeline_id, within)

    def _commits(self, pipeline_id: str, within: Interval | None) -> list[CommitRow]:
        mine = (row for pipeline, row in self.warehouse.commits if pipeline == pipeline_id)
        found = [row for row in mine if within is None or row.interval.overlaps(within)]
        return sorted(found, key=lambda row: (row.token, row.interval.start))

    def _loaded(self, rows: tuple[TargetRow, ...], manifest: Manifest) -> TargetCounts:
        """Count the window's rows: with history only those of the manifest's token, else all."""
        return _counts(
            row
            for row in rows
            if _inside(row, manifest.pipeline_id, manifest.interval)
            and (row.token == manifest.token or not self.identity.keeps_history)
        )

    @staticmethod
    def _count(rows: tuple[TargetRow, ...], pipeline_id: str, interval: Interval) -> TargetCounts:
        return _counts(row for row in rows if _inside(row, pipeline_id, interval))


def _counts(rows: Iterable[TargetRow]) -> TargetCounts:
    ids = [row.record_id for row in rows]
    return TargetCounts(len(ids), len(set(ids)))


def _inside(row: TargetRow, pipeline_id: str, interval: Interval) -> bool:
    return row.pipeline_id == pipeline_id and interval.holds(row.event_time)
