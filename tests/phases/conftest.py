"""A whole pipeline in this process: rows in memory, files and DuckDB in a temporary folder, state in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.redacted_source import redacted
from airflow_pipeline_provider.connectors.registry import connector_class, options_model, register
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.phases.run import Outcome, run_window
from airflow_pipeline_provider.phases.runtime import Runtime, identity_of
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from tests.doubles.memory_source import MemorySource, MemoryTable
from tests.doubles.memory_state import MemoryState, MemoryStore

LATER = parse_utc("2013-11-06T12:00:00Z")


@dataclass
class Pipeline:
    """What a test drives; `now` is the wall clock of everything."""

    folder: Path
    now: datetime = LATER
    store: MemoryStore = field(init=False)
    runs: int = 0

    def __post_init__(self) -> None:
        self.store = MemoryStore(clock=lambda: self.now)

    @property
    def rows(self) -> MemoryTable:
        return MemorySource.table("rows")

    def runtime(self, **changes: Any) -> Runtime:
        config = parse_pipeline(
            {
                "pipeline_id": "flights",
                "timezone": "America/New_York",
                "granularity": "2h",
                "x_time_back": "1d",
                "start_day": "2013-11-03",
                "end_day": "2013-11-03",
                "max_backlog_days": None,
                "source": {"type": "memory", **changes.pop("source", {})},
                "stage": {
                    "type": "object_store",
                    "path": str(self.folder / "stage"),
                    **changes.pop("stage", {}),
                },
                "target": {
                    "type": "duckdb",
                    "path": str(self.folder / "lake.duckdb"),
                    "table": "main.flights",
                },
                "state": {"type": "memory"},
                **changes,
            },
            options_model=options_model,
        )
        identity = identity_of(config)
        source, stage, target = (
            connector_class(kind, getattr(config, kind).type)(getattr(config, kind), identity)
            for kind in ("source", "stage", "target")
        )
        state = MemoryState(config.state, identity, store=self.store)
        return Runtime(config, redacted(source), stage, target, state, clock=lambda: self.now)

    def request(self, run: str | None = None, **changes: Any) -> RunRequest:
        """A live run by the wall clock; each call is another run unless it is named."""
        self.runs += 1
        arguments: dict[str, Any] = {
            "run": run or f"flights/run-{self.runs}",
            "kind": RunKind.LIVE,
            "reference_time": self.now,
        }
        return RunRequest(**{**arguments, **changes})

    def move(self, runtime: Runtime, **changes: Any) -> Outcome:
        return run_window(runtime, self.request(**changes))

    def move_all(self, runtime: Runtime, most: int = 40) -> list[Outcome]:
        """Until the planner has nothing; the last outcome is its reason."""
        outcomes = []
        for _ in range(most):
            outcomes.append(self.move(runtime))
            if outcomes[-1].audited is None:
                return outcomes
        raise AssertionError(f"still not done after {most} runs")

    def seed(self, start: str, end: str, step: timedelta) -> None:
        moment, n = parse_utc(start), 0
        while moment < parse_utc(end):
            self.rows.put(f"r{n:05d}", moment, f'{{"n":{n}}}')
            moment, n = moment + step, n + 1

    def target_rows(self) -> dict[str, tuple[datetime, str]]:
        """Record id -> (event time, body); a doubled id fails."""
        import duckdb

        with duckdb.connect(str(self.folder / "lake.duckdb")) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute("SELECT RECORD_ID, EVENT_TIME, BODY FROM main.flights").fetchall()
        assert len({row[0] for row in found}) == len(found), "a record stands twice in the target"
        return {row[0]: (row[1], row[2]) for row in found}

    def delete_in_target(self, rows: Iterable[Any]) -> None:
        """Somebody does, by SQL of his own."""
        import duckdb

        with duckdb.connect(str(self.folder / "lake.duckdb")) as connection:
            for row in rows:
                connection.execute("DELETE FROM main.flights WHERE RECORD_ID = ?", [row.record_id])

    def assert_target_is(self, *intervals: Interval) -> None:
        """The target holds exactly the source's rows of these intervals."""
        expected = {
            row.record_id: (row.event_time, row.body)
            for row in self.rows.rows.values()
            if row.event_time and any(interval.holds(row.event_time) for interval in intervals)
        }
        assert self.target_rows() == expected

    def entries(self) -> list[ledger.Entry]:
        return self.store.pipelines["flights"].entries

    def stage_files(self) -> list[str]:
        return sorted(
            str(p.relative_to(self.folder / "stage"))
            for p in (self.folder / "stage").rglob("*")
            if p.is_file()
        )


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    register("source", "memory", MemorySource)
    register("state", "memory", MemoryState, replace=True)
    MemorySource.clear()
    made = Pipeline(tmp_path)
    assert made.rows.rows == {}
    yield made
    MemorySource.clear()


Window = Callable[[str, str], Interval]


@pytest.fixture
def window() -> Window:
    return lambda start, end: Interval(parse_utc(start), parse_utc(end))
