"""Elasticsearch moving under the reader: what is extracted are the ids that the source has, each once (`moving`)."""

from __future__ import annotations

import itertools
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.elasticsearch.places import Server

from .moving import Moving, move, source_at

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
    with source_at(os.environ["ELASTICSEARCH_URL"].rstrip("/"), monkeypatch) as server:
        yield server


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
    move(monkeypatch, folder, moving, slices, distribute)
    assert moving.lost > 0
    assert len(moving.done) == 6  # each kind of move was made
