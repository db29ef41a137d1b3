"""A pipeline on a moving Elasticsearch, what changes documents in place, and the comparison by content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core.intervals import parse_utc
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.recheck_findings import RecheckReport
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime, open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest

from .backends import DuckDBTarget, SqliteState, World
from .moving import Moving, config, document

NOW = parse_utc("2013-11-06T12:00:00Z")


class Place:
    """A day of six-hour windows of a moving source, in a pipeline whose runs this test starts."""

    def __init__(self, runtime: Runtime, world: World, moving: Moving) -> None:
        self.runtime, self.world, self.moving = runtime, world, moving
        self.runs = 0

    def run(self, **window: Any) -> Any:
        self.runs += 1
        request = RunRequest(f"moving/{self.runs}", RunKind.LIVE, NOW)
        return run_window(self.runtime, request._replace(**window))

    def move_all(self) -> None:
        while self.run().audited is not None:
            pass

    def recheck(self) -> RecheckReport:
        return recheck(self.runtime, 1, NOW)

    def reload(self, report: RecheckReport) -> None:
        for found in report.stale:
            assert (
                self.run(kind=RunKind.WINDOW, interval=found.interval, only_drifted=True).audited is not None
            )

    def assert_equal_by_content(self) -> None:
        server, prefix = self.moving.server, self.moving.prefix
        server.must("POST", f"/{prefix}-*/_refresh")
        found = server.must("POST", f"/{prefix}-*/_search?size=10000", {})["hits"]["hits"]
        wanted = {f"{hit['_index']}/{hit['_id']}": hit["_source"] for hit in found}
        rows = DuckDBTarget().rows(self.world)
        assert len(rows) == len(wanted) > 1000
        assert {row.record_id: json.loads(row.body) for row in rows} == wanted


OpenPlace = Callable[[Moving], Place]


@contextmanager
def places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenPlace]:
    """Yield a function that opens the pipeline of a moving source, in windows of six hours."""
    world = World(f"c{uuid4().hex[:10]}", folder / "world")
    world.folder.mkdir(exist_ok=True)
    for name, value in SqliteState().environment(world).items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:

        def open_place(moving: Moving) -> Place:
            written = {**config(world, moving, 2, "threads"), "granularity": "6h"}
            parsed = parse_pipeline(written, options_model=options_model)
            return Place(stack.enter_context(open_runtime(parsed)), world, moving)

        yield open_place


def update(moving: Moving) -> None:
    moving.server.put(f"{moving.prefix}-0", {f"d{n}": document(n, 7) for n in (0, 1, 700)})


def exchange(moving: Moving) -> None:
    """A document of the same time instead of another one: the counts stay."""
    moving.server.remove(f"{moving.prefix}-0", ["d3"])
    moving.server.put(f"{moving.prefix}-0", {"other": document(3, 8)})


def insert_again(moving: Moving) -> None:
    moving.server.remove(f"{moving.prefix}-0", ["d5"])
    moving.server.put(f"{moving.prefix}-0", {"d5": document(5, 9)})
