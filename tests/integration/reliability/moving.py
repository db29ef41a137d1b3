"""An Elasticsearch that moves under its reader: what is done between two pages, and the window that is read then.

While a window is read, the index is force-merged, updated (the time stays), refreshed, documents are deleted and
indexed again under their id, an index joins the pattern, and the point in time is lost between pages.  Half of the
documents share one instant, so no page can end between two times.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_pipeline_provider.config.loader import parse_pipeline
from airflow_pipeline_provider.connectors.elasticsearch.client import Client
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import open_runtime
from airflow_pipeline_provider.phases.values import RunKind, RunRequest
from tests.connectors.elasticsearch.places import Server

from .backends import DuckDBTarget, SqliteState, World

DAY = Interval(parse_utc("2013-11-03T00:00:00Z"), parse_utc("2013-11-04T00:00:00Z"))
REQUEST = RunRequest("moving/1", RunKind.LIVE, parse_utc("2013-11-06T12:00:00Z"))
DOCUMENTS = 1200
PAGE = 60
LOST_BEFORE, ROLLED_OVER_BEFORE = (3, 11), 7  # pages of the whole run: all views are lost twice


def document(n: int, version: int = 0) -> str:
    time = "2013-11-03T12:00:00Z" if n % 2 else f"2013-11-03T{n // 60 % 24:02d}:{n % 60:02d}:00Z"
    return f'{{"ts":"{time}","n":{n},"version":{version}}}'


class Moving:
    """A pattern of indices, what is done to it between two pages, and what it holds in the end."""

    def __init__(self, server: Server, shards: int, dice: random.Random) -> None:
        self.server, self.shards, self.dice = server, shards, dice
        self.prefix = server.name("moving")
        self.pages = 0
        self.lost = 0
        self.done: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._pits: set[str] = set()
        self.write(f"{self.prefix}-0", range(DOCUMENTS))

    def write(self, index: str, numbers: range) -> None:
        """In several segments."""
        self.server.index(index, shards=self.shards)
        for start in range(numbers.start, numbers.stop, 200):
            chunk = range(start, min(start + 200, numbers.stop))
            self.server.put(index, {f"d{n}": document(n) for n in chunk})

    def opened(self, pit: str) -> None:
        with self._lock:
            self._pits.add(pit)

    def between_pages(self) -> None:
        """Called before each page is asked for, by whichever reader."""
        with self._lock:
            self.pages += 1
            moves = [self.merge, self.update, self.refresh, self.insert_again]
            moves[self.pages % len(moves)]()
            self.disturb()

    def disturb(self) -> None:
        """What ends views, at some pages of the run."""
        if self.pages in LOST_BEFORE:
            self.lose()
        if self.pages == ROLLED_OVER_BEFORE:
            self.roll_over()

    def merge(self) -> None:
        self.done["force-merge"] += 1
        self.server.must("POST", f"/{self.prefix}-0/_forcemerge?max_num_segments=1")

    def refresh(self) -> None:
        self.done["refresh"] += 1
        self.server.must("POST", f"/{self.prefix}-*/_refresh")

    def update(self) -> None:
        self.done["update"] += 1
        chosen = self.dice.sample(range(DOCUMENTS), 50)
        self.server.put(f"{self.prefix}-0", {f"d{n}": document(n, 1) for n in chosen})

    def insert_again(self) -> None:
        self.done["deleted and inserted again"] += 1
        chosen = self.dice.sample(range(DOCUMENTS), 20)
        self.server.remove(f"{self.prefix}-0", [f"d{n}" for n in chosen])
        self.server.put(f"{self.prefix}-0", {f"d{n}": document(n, 2) for n in chosen})

    def roll_over(self) -> None:
        """A second index behind the pattern, with documents of the same day and of the same ids."""
        self.done["rolled over"] += 1
        self.write(f"{self.prefix}-1", range(300))

    def lose(self) -> None:
        """Every point in time that is open."""
        for pit in self._pits:
            status, answer = self.server.ask("DELETE", "/_pit", {"id": pit})
            self.lost += status == 200 and answer["succeeded"]
        self._pits.clear()
        self.done["point in time lost"] += 1

    def ids(self) -> Counter[str]:
        """Of every document of the day, as the server has them now."""
        self.server.must("POST", f"/{self.prefix}-*/_refresh")
        found = self.server.must("POST", f"/{self.prefix}-*/_search?size=10000", {"_source": False})
        return Counter(f"{hit['_index']}/{hit['_id']}" for hit in found["hits"]["hits"])


def watch(monkeypatch: pytest.MonkeyPatch, moving: Moving) -> None:
    """The mover works where the package talks to the server: after a point in time opens, before each page."""
    open_point_in_time, request = Client.open_point_in_time, Client.request

    def opened(self: Client, *args: Any) -> str:
        pit = open_point_in_time(self, *args)
        moving.opened(pit)
        return pit

    def asked(self: Client, method: str, path: str, *args: Any, **named: Any) -> Any:
        if path == "/_search":
            moving.between_pages()
        return request(self, method, path, *args, **named)

    monkeypatch.setattr(Client, "open_point_in_time", opened)
    monkeypatch.setattr(Client, "request", asked)


def config(world: World, moving: Moving, slices: int, distribute: str) -> dict[str, Any]:
    return {
        "pipeline_id": world.name,
        "timezone": "UTC",
        "granularity": "1d",
        "x_time_back": "1d",
        "start_day": "2013-11-03",
        "end_day": "2013-11-03",
        "max_backlog_days": None,
        "source": {
            "type": "elasticsearch",
            "conn_id": "moving_source",
            "index": f"{moving.prefix}-*",
            "time_field": "ts",
            "page_size": PAGE,
            "slices": slices,
            "distribute": distribute,
        },
        "stage": {"type": "object_store", "path": str(world.folder / "stage"), "part_size": "16KB"},
        "target": DuckDBTarget().section(world),
        "state": SqliteState().section(world),
    }


@contextmanager
def source_at(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server that the pipeline's connection names; indices made on it are removed."""
    monkeypatch.setenv("AIRFLOW_CONN_MOVING_SOURCE", url)
    server = Server(url)
    yield server
    server.clean()


def move(monkeypatch: pytest.MonkeyPatch, folder: Path, moving: Moving, slices: int, distribute: str) -> None:
    """Move the window once while the source moves, and check what must hold: by rows, by counts and by the ledger."""
    watch(monkeypatch, moving)
    world = World(f"m{uuid4().hex[:10]}", folder / "world")
    world.folder.mkdir(exist_ok=True)
    for name, value in SqliteState().environment(world).items():
        monkeypatch.setenv(name, value)
    parsed = parse_pipeline(config(world, moving, slices, distribute), options_model=options_model)
    with open_runtime(parsed) as runtime:
        outcome = run_window(runtime, REQUEST)
        assert outcome.audited is not None, outcome.detail
        committed = ledger.committed(runtime.state.entries())
    wanted = moving.ids()
    rows = Counter(row.record_id for row in DuckDBTarget().rows(world))
    assert rows == wanted
    counts = outcome.audited
    assert {counts.source_rows, counts.staged_rows, counts.target_rows, counts.distinct_ids} == {len(wanted)}
    assert committed == [DAY]
    print(
        f"{moving.shards} shards, {slices} slices as {distribute}: {dict(moving.done)}, {moving.lost} views lost"
    )
