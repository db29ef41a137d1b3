"""Run the whole crash matrix with a state in SQLite and a target in DuckDB, and prove that it can fail."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .backends import EMBEDDED
from .child import SABOTAGE, ForkServers
from .matrix import Matrix
from .report import Results
from .scenario import SCENARIOS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_rerun_completes_the_window_after_a_crash_at_each_point(
    scenario: str, fork_servers: ForkServers, folder: Path, results: Results
) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS[scenario], fork_servers, folder)
    with matrix.prepared():
        cells = matrix.crashes(matrix.trace())
    results.add_cells(EMBEDDED.name, cells)
    assert [str(cell) for cell in cells if cell.problems] == []
    assert len(cells) > 35


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_another_run_takes_over_after_the_lease_of_the_crashed_run_expired(
    scenario: str, fork_servers: ForkServers, folder: Path, results: Results, full: bool, seed: int
) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS[scenario], fork_servers, folder, another_run=True)
    with matrix.prepared():
        points = matrix.trace()
        cut = None if full else random.Random(f"{seed} {scenario}").sample(range(1, len(points) + 1), 6)
        cells = matrix.crashes(points, cut)
    results.add_cells(f"{EMBEDDED.name}, another run", cells)
    assert [str(cell) for cell in cells if cell.problems] == []


BROKEN = [
    ("delete skipped", "replacement", "load.committed", "the rerun ended as DataError"),
    ("no transaction", "replacement", "load.deleted", "after the crash the window held 0 rows"),
    ("committed early", "first load", "load.recorded", "the ledger called the window committed"),
    ("lease kept", "first load", "validate.judged", "leases are left"),
    ("files kept", "first load", "stage.manifest_written", "holds files of the attempts"),
    ("columns not filled", "replacement with physical columns", "load.copied", "has version None"),
]


def test_every_broken_system_has_a_case() -> None:
    assert {name for name, *_ in BROKEN} == set(SABOTAGE)


@pytest.mark.parametrize(("sabotage", "scenario", "point", "finding"), BROKEN, ids=[b[0] for b in BROKEN])
def test_the_matrix_fails_for_a_broken_system(
    sabotage: str, scenario: str, point: str, finding: str, fork_servers: ForkServers, folder: Path
) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS[scenario], fork_servers, folder)
    with matrix.prepared():  # nothing is broken yet
        matrix.sabotage = sabotage
        cell = matrix.crash(point)
    assert finding in str(cell)


def test_a_run_that_does_not_crash_has_not_survived(fork_servers: ForkServers, folder: Path) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS["empty window"], fork_servers, folder)
    with matrix.prepared():
        points = [*matrix.trace(), "load.deleted"]  # one more than there are
        [cell] = matrix.crashes(points, [len(points)])
    assert "it did not crash there, it ended as committed" in str(cell)
