"""Where the machine's pipeline keeps stage, target and state: in memory, or in DuckDB and local files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from airflow_pipeline_provider.config.model import PipelineConfig
from airflow_pipeline_provider.connectors.base import CommitRow, Identity, Stage, Target
from airflow_pipeline_provider.connectors.duckdb.target import DuckDBTarget
from airflow_pipeline_provider.connectors.object_store.stage import ObjectStoreStage
from airflow_pipeline_provider.state.base import Snapshot, State
from tests.doubles.memory_stage import MemoryFiles, MemoryStage
from tests.doubles.memory_state import MemoryState, MemoryStore
from tests.doubles.memory_target import MemoryTarget, MemoryWarehouse

PIPELINE, ZONE = "flights", "America/New_York"


class Servers:
    """Stage, target and state in memory; `clock` is right, and the state's is ahead of it by `store_off`."""

    stage_section: dict[str, Any] = {"type": "memory", "keep_attempts": 1, "keep": "1d"}  # noqa: RUF012
    target_section: dict[str, Any] = {"type": "memory", "busy_seconds": 0}  # noqa: RUF012
    state_section: dict[str, Any] = {"type": "memory", "lease": "30m"}  # noqa: RUF012

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.files = MemoryFiles(clock=clock)
        self.warehouse = MemoryWarehouse()
        self.store_off = timedelta(0)
        self.store = MemoryStore(clock=lambda: clock() + self.store_off)

    def stage(self, config: PipelineConfig, identity: Identity) -> Stage:
        return MemoryStage(config.stage, identity, files=self.files)

    def target(self, config: PipelineConfig, identity: Identity) -> Target:
        return MemoryTarget(config.target, identity, warehouse=self.warehouse)

    def state(self, config: PipelineConfig, identity: Identity) -> State:
        return MemoryState(config.state, identity, store=self.store)

    def lose_state(self) -> None:
        self.store.pipelines.clear()

    def copy_of_state(self) -> Snapshot:
        return MemoryState(identity=Identity(PIPELINE, ZONE), store=self.store).snapshot()

    def fall_back(self, copy: Snapshot) -> None:
        """The state is what it was when the copy was made; leases of that time have ended."""
        self.lose_state()
        MemoryState(identity=Identity(PIPELINE, ZONE), store=self.store).restore(copy)

    def rows(self) -> list[tuple[str, datetime, str]]:
        return [(row.record_id, row.event_time, row.body) for row in self.warehouse.rows]

    def latest(self) -> dict[str, tuple[datetime, str]]:
        """What `_LATEST` shows: one row a record."""
        return {row.record_id: (row.event_time, row.body) for row in self.warehouse.latest()}

    def commits(self) -> list[CommitRow]:
        return [row for _, row in self.warehouse.commits]

    def close(self) -> None:
        """Let go of what the servers hold."""


class OnDisk(Servers):
    """The same with DuckDB and local files."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self.folder = TemporaryDirectory(prefix="machine-")
        self.stage_section = {"type": "object_store", "path": f"{self.folder.name}/stage", "keep": "1d"}
        self.file = f"{self.folder.name}/lake.duckdb"
        self.target_section = {"type": "duckdb", "path": self.file, "table": "main.flights"}

    def stage(self, config: PipelineConfig, identity: Identity) -> Stage:
        return ObjectStoreStage(config.stage, identity)

    def target(self, config: PipelineConfig, identity: Identity) -> Target:
        return DuckDBTarget(config.target, identity)

    def rows(self) -> list[tuple[str, datetime, str]]:
        return self._select("flights")

    def latest(self) -> dict[str, tuple[datetime, str]]:
        return {name: (at, body) for name, at, body in self._select("flights_LATEST")}

    def _select(self, name: str) -> list[tuple[str, datetime, str]]:
        if not self.commits():
            return []
        with duckdb.connect(self.file) as connection:
            asked = f"SELECT RECORD_ID, epoch_us(EVENT_TIME), BODY FROM main.{name}"
            found = connection.execute(asked).fetchall()
        epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
        return [(name, epoch + timedelta(microseconds=at), body) for name, at, body in found]

    def commits(self) -> list[CommitRow]:
        """Tokens grow with time where they overlap, so their order will do."""
        options = DuckDBTarget.Options(**self.target_section)
        return DuckDBTarget(options, Identity(PIPELINE, ZONE)).commits()

    def close(self) -> None:
        self.folder.cleanup()
