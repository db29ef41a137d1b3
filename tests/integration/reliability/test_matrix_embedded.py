"""The kill matrix whole, on a state in SQLite and a target in DuckDB; and proof that it can fail."""

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
def test_the_same_run_again_after_a_death_at_each_point(
    scenario: str, fork_servers: ForkServers, folder: Path, results: Results
) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS[scenario], fork_servers, folder)
    with matrix.prepared():
        cells = matrix.deaths(matrix.trace())
    results.add_cells(EMBEDDED.name, cells)
    assert [str(cell) for cell in cells if cell.problems] == []
    assert len(cells) > 40


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_another_run_takes_over_when_the_lease_of_the_dead_one_has_ended(
    scenario: str, fork_servers: ForkServers, folder: Path, results: Results, full: bool, seed: int
) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS[scenario], fork_servers, folder, another_run=True)
    with matrix.prepared():
        points = matrix.trace()
        cut = None if full else random.Random(f"{seed} {scenario}").sample(range(1, len(points) + 1), 6)
        cells = matrix.deaths(points, cut)
    results.add_cells(f"{EMBEDDED.name}, another run", cells)
    assert [str(cell) for cell in cells if cell.problems] == []


BROKEN = [
    ("delete skipped", "replacement", "load.committed", "the rerun ended as DataError"),
    ("no transaction", "replacement", "load.deleted", "after the death the window held 0 rows"),
    ("committed early", "first load", "load.recorded", "the ledger called the window committed"),
    ("lease kept", "first load", "validate.judged", "leases are left"),
    ("files kept", "first load", "stage.manifest_written", "holds files of the attempts"),
]


def test_every_break_is_tried() -> None:
    assert {name for name, *_ in BROKEN} == set(SABOTAGE)


@pytest.mark.parametrize(("sabotage", "scenario", "point", "finding"), BROKEN, ids=[b[0] for b in BROKEN])
def test_a_broken_system_turns_the_matrix_red(
    sabotage: str, scenario: str, point: str, finding: str, fork_servers: ForkServers, folder: Path
) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS[scenario], fork_servers, folder)
    with matrix.prepared():  # nothing is broken yet
        matrix.sabotage = sabotage
        cell = matrix.death(point)
    assert finding in str(cell)


def test_a_run_that_does_not_die_is_no_survivor(fork_servers: ForkServers, folder: Path) -> None:
    matrix = Matrix(EMBEDDED, SCENARIOS["empty window"], fork_servers, folder)
    with matrix.prepared():
        points = [*matrix.trace(), "load.deleted"]  # one more than there are
        [cell] = matrix.deaths(points, [len(points)])
    assert "it should have died there, it ended as committed" in str(cell)
