"""Elasticsearch moving under the reader: what is extracted are the ids that the source has, each once (`moving`)."""

from __future__ import annotations

import itertools
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.connectors.elasticsearch_places import Server

from .backends import World
from .moving import Moving, move, watch

pytestmark = pytest.mark.integration

SHARDS, SLICES, DISTRIBUTE = (1, 2, 5), (1, 2, 4, 8), ("threads", "tasks")
MATRIX = list(itertools.product(SHARDS, SLICES, DISTRIBUTE))
# each number of shards and of slices, both ways to distribute, with and without other numbers than one
CUT = [
    (1, 1, "threads"),
    (1, 4, "tasks"),
    (2, 2, "tasks"),
    (2, 8, "threads"),
    (5, 4, "threads"),
    (5, 8, "tasks"),
]
CELLS = MATRIX if os.environ.get("RELIABILITY") == "full" else CUT


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    url = os.environ["ELASTICSEARCH_URL"].rstrip("/")
    monkeypatch.setenv("AIRFLOW_CONN_MOVING_SOURCE", url)
    server = Server(url)
    yield server
    server.clean()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("shards", "slices", "distribute"), CELLS, ids=[f"{s} shards-{n} slices-{d}" for s, n, d in CELLS]
)
def test_the_same_ids(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    seed: int,
    shards: int,
    slices: int,
    distribute: str,
) -> None:
    """Everything at once.  What rolls over is behind the pattern when the audit counts, and not in every view that
    was read: then the window is read again."""
    moving = Moving(server, shards, random.Random(seed))
    watch(monkeypatch, moving)
    world = World(f"m{uuid4().hex[:10]}", folder / "world")
    move(monkeypatch, world, moving, slices, distribute)
    print(f"{shards} shards, {slices} slices as {distribute}: {dict(moving.done)}, {moving.lost} views lost")
    assert moving.lost > 0
    assert len(moving.done) == 6  # each kind of move was made
