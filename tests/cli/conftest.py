"""The command line on pipelines of this process: rows and state in memory, files and DuckDB in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from msgspec import structs

from airflow_pipeline_provider.cli import runner
from airflow_pipeline_provider.cli.main import main
from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import register
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from tests.doubles.memory_source import MemorySource, MemoryTable
from tests.doubles.memory_state import MemoryState, MemoryStore

AFTER = "2013-11-05T12:00:00Z"  # when all of 2013-11-03 in New York is ready


class SharedState(MemoryState):
    """Every command of a test sees the same store, as it would see the same database."""

    store_of_test: ClassVar[MemoryStore]

    def __init__(self, options: Any, identity: Identity) -> None:
        super().__init__(options, identity, store=self.store_of_test)


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Place:
    """A folder of pipelines and the command line that looks there."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    store: MemoryStore = field(default_factory=MemoryStore)
    clock_ahead: timedelta = timedelta()

    def write(self, pipeline_id: str = "flights", *, file: str | None = None, **changes: Any) -> Path:
        """A pipeline of one 25-hour day; a change to None removes the key."""
        values: dict[str, Any] = {
            "pipeline_id": pipeline_id,
            "timezone": "America/New_York",
            "granularity": "5h",
            "x_time_back": "1d",
            "start_day": "2013-11-03",
            "end_day": "2013-11-03",
            "source": {"type": "memory", "table": pipeline_id},
            "stage": {"type": "object_store", "path": str(self.folder.parent / "stage" / pipeline_id)},
            "target": {
                "type": "duckdb",
                "path": str(self.folder.parent / f"{pipeline_id}.duckdb"),
                "table": "main.moved",
            },
            "state": {"type": "memory", "lease": "2m"},
            **changes,
        }
        path = self.folder / (file or f"{pipeline_id}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}, sort_keys=False))
        return path

    def __call__(self, *arguments: str, folder: bool = True) -> Result:
        """Run `airflow-pipelines …` in this process, with `--folder` unless told otherwise."""
        self.capsys.readouterr()
        given = [*arguments, "--folder", str(self.folder)] if folder else list(arguments)
        try:
            code = main(given)
        except SystemExit as error:  # argparse ends the process itself
            code = int(error.code or 0)
        out, err = self.capsys.readouterr()
        return Result(code, out, err)

    def rows(self, pipeline_id: str = "flights") -> MemoryTable:
        return MemorySource.table(pipeline_id)

    def seed(self, pipeline_id: str = "flights") -> None:
        """A row on each half hour of the day, 50 in all, and one on either side of it."""
        moment, n = parse_utc("2013-11-03T03:30:00Z"), 0
        while moment <= parse_utc("2013-11-04T05:00:00Z"):
            self.rows(pipeline_id).put(f"r{n:03}", moment, f'{{"n":{n}}}')
            moment, n = moment + timedelta(minutes=30), n + 1

    def state(self, pipeline_id: str = "flights") -> SharedState:
        return SharedState(None, Identity(pipeline_id, "America/New_York"))

    def take_over(self, pipelines: dict[str, Any], pipeline_id: str = "flights") -> None:
        """Take the state of another place, whose files were copied here."""
        self.store.pipelines.update(deepcopy(pipelines))
        path = str(self.folder.parent / f"{pipeline_id}.duckdb")
        self.state(pipeline_id).change_about(
            lambda about: structs.replace(about, target={**(about.target or {}), "path": path})
        )

    def moved(self, pipeline_id: str = "flights") -> int:
        """Rows in the target; a doubled one fails."""
        import duckdb

        with duckdb.connect(str(self.folder.parent / f"{pipeline_id}.duckdb")) as connection:
            rows, distinct = connection.execute(
                "SELECT count(*), count(DISTINCT RECORD_ID) FROM main.moved"
            ).fetchall()[0]
        assert rows == distinct
        return int(rows)


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    register("source", "memory", MemorySource)
    register("state", "memory", SharedState, replace=True)
    MemorySource.clear()
    made = Place(tmp_path / "pipelines", capsys)
    made.folder.mkdir()
    made.store.clock = lambda: datetime.now(timezone.utc) + made.clock_ahead
    SharedState.store_of_test = made.store
    yield made
    MemorySource.clear()


@pytest.fixture
def interval() -> Interval:
    """The first five hours of 2013-11-03 in New York, with its repeated hour."""
    return Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T09:00:00Z"))


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that wait for a window or retry it pause for milliseconds."""
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(runner, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def moved(place: Place) -> Place:
    """The day of 25 hours is committed, in two windows of 26 and 24 rows."""
    place.write(granularity="13h")
    place.seed()
    assert place("run", "flights", "--until-done", "--reference-time", AFTER).code == 0
    return place


def lines(text: str) -> list[str]:
    """Return the lines of an output, with single spaces between words."""
    return [" ".join(line.split()) for line in text.splitlines()]
