"""Documents that change in place, during and after extraction, on a real Elasticsearch: recheck brings them.

After a recheck and its reloads the target has the source's documents, contents included, and a further recheck states
that nothing changed.  `test_relocating_shards` loses a primary in between.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.elasticsearch.client import Client
from airflow_pipeline_provider.core.change_markers import MarkedWindow, Seen
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Check
from tests.connectors.elasticsearch.places import Server

from .changing import OpenPlace, exchange, insert_again, places, update
from .moving import DAY, DOCUMENTS, Moving, document, source_at, watch

pytestmark = pytest.mark.integration

FULL = os.environ.get("RELIABILITY") == "full"
CELLS = (
    list(itertools.product((1, 3), (update, exchange, insert_again)))
    if FULL
    else [(1, update), (3, exchange)]
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with source_at(os.environ["ELASTICSEARCH_URL"].rstrip("/"), monkeypatch) as server:
        yield server


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[OpenPlace]:
    with places(folder, monkeypatch) as open_place:
        yield open_place


@pytest.mark.parametrize(("shards", "change"), CELLS)
def test_what_changed_after_the_commit_is_found(
    server: Server, place: OpenPlace, seed: int, shards: int, change: Callable[[Moving], None]
) -> None:
    moving = Moving(server, shards, random.Random(seed))
    there = place(moving)
    there.move_all()
    moving.merge()
    assert [(one.verdict, one.not_seen) for one in there.recheck().findings] == [(Check.EQUAL, None)] * 4
    change(moving)
    moving.merge()
    report = there.recheck()
    assert {one.verdict for one in report.findings} == {Check.EQUAL, Check.CHANGED}
    there.reload(report)
    there.assert_equal_by_content()
    assert [(one.verdict, one.not_seen) for one in there.recheck().findings] == [(Check.EQUAL, None)] * 4


@pytest.mark.parametrize("shards", [1, 3] if FULL else [3])
def test_what_changes_while_a_window_is_read_is_found(
    server: Server, place: OpenPlace, monkeypatch: pytest.MonkeyPatch, seed: int, shards: int
) -> None:
    """Updates, deletes with inserts, force merges, a lost point in time and a second index between two pages."""
    moving = Moving(server, shards, random.Random(seed))
    there = place(moving)
    with monkeypatch.context() as patch:
        watch(patch, moving)
        there.move_all()
    assert {"update", "deleted and inserted again", "rolled over"} <= set(moving.done)
    report = there.recheck()
    assert report.changed, "the views were older than the last updates"
    there.reload(report)
    there.assert_equal_by_content()
    assert {(one.verdict, one.not_seen) for one in there.recheck().findings} == {(Check.EQUAL, None)}


def test_an_update_that_is_not_visible_yet_is_found(
    server: Server, place: OpenPlace, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """It is written before the marker is taken, and no search would show it: the index is refreshed first."""
    moving = Moving(server, 1, random.Random(seed))
    index = f"{moving.prefix}-0"
    server.must("PUT", f"/{index}/_settings", {"index": {"refresh_interval": "-1"}})
    there = place(moving)
    server.must("PUT", f"/{index}/_doc/d0", {"ts": "2013-11-03T00:00:00Z", "n": 0, "version": 5})
    there.move_all()
    there.assert_equal_by_content()
    assert {(one.verdict, one.not_seen) for one in there.recheck().findings} == {(Check.EQUAL, None)}


def test_thirty_days_of_hours_cost_two_requests_and_then_one_for_each_shard(
    server: Server, place: OpenPlace, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Of what a recheck asks the server for changes; the checks of the index come on top where one changed."""
    moving = Moving(server, 3, random.Random(seed))
    source = place(moving).runtime.source
    marker = source.change_marker()
    length = (DAY.end - DAY.start) / 24
    windows = [
        MarkedWindow(Interval(DAY.start + n * length, DAY.start + (n + 1) * length), marker)
        for n in range(-696, 24)
    ]
    asked: list[str] = []
    once = Client._once

    def counted(self: Client, method: str, *rest: Any, **named: Any) -> bytes:
        asked.append(method)
        return once(self, method, *rest, **named)

    monkeypatch.setattr(Client, "_once", counted)
    assert {one.seen for one in source.changes(windows)} == {Seen.UNCHANGED}
    assert len(asked) == 2
    asked.clear()
    server.put(f"{moving.prefix}-0", {f"d{n}": document(n, 7) for n in range(0, DOCUMENTS, 2)})
    found = source.changes(windows)
    assert sum(one.changed for one in found) == DOCUMENTS // 2
    assert len(asked) <= 3 + 5
