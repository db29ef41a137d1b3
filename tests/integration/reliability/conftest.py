"""What the reliability tests share: fork servers, a fast folder, seeds that are printed, and the report.

RELIABILITY=full runs everything and rewrites the tables of docs/reliability.md (`make reliability`); without it the
matrix is whole on SQLite × DuckDB, and a cut elsewhere.  RELIABILITY_SEED=n repeats the cut and the random moments of
an earlier run.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import report
from .child import ForkServers
from .matrix import SIDE_BY_SIDE


@pytest.fixture(scope="session")
def full() -> bool:
    """Return whether the full run is requested."""
    return os.environ.get("RELIABILITY") == "full"


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of random choices; it is printed, so that they can be repeated."""
    chosen = int(os.environ.get("RELIABILITY_SEED") or random.SystemRandom().randrange(10**6))
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    if terminal:
        terminal.write_line(f"\nRELIABILITY_SEED={chosen}")
    return chosen


@pytest.fixture(scope="session")
def fork_servers() -> Iterator[ForkServers]:
    with ForkServers(SIDE_BY_SIDE) as servers:
        yield servers


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in memory if there is one: a killed process loses nothing that it wrote, on disk or not."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="reliability-", dir=where) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def results(full: bool) -> Iterator[report.Results]:
    """Collect the results; a full run writes them to the page at its end."""
    collected = report.Results()
    yield collected
    if full:
        collected.write()
