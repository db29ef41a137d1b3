"""The kill matrix on every state × target; needs POSTGRES_URL and SNOWFLAKE_HOST, and Airflow's metadata database.

A full run dies at each point; otherwise at a few of each scenario, chosen by the seed.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .backends import COMBINATIONS, EMBEDDED
from .child import ForkServers
from .matrix import Matrix
from .report import Results
from .scenario import SCENARIOS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("airflow_db"),
    # the connection of the test server switches OCSP off under its old name
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

CUT = 2  # deaths a scenario
EVER = "first window ever"  # tables and migrations: tried once on PostgreSQL, as on SQLite × DuckDB
OTHERS = [
    (name, scenario)
    for name in COMBINATIONS
    for scenario in SCENARIOS
    if name != EMBEDDED.name and (scenario != EVER or name == "PostgreSQL × PostgreSQL")
]


@pytest.mark.parametrize(("combination", "scenario"), OTHERS)
def test_the_same_run_again_after_a_death(
    combination: str,
    scenario: str,
    fork_servers: ForkServers,
    folder: Path,
    results: Results,
    full: bool,
    seed: int,
) -> None:
    matrix = Matrix(COMBINATIONS[combination], SCENARIOS[scenario], fork_servers, folder)
    with matrix.prepared():
        points = matrix.trace()
        choice = random.Random(f"{seed} {combination} {scenario}")
        cut = None if full else choice.sample(range(1, len(points) + 1), CUT)
        cells = matrix.deaths(points, cut)
    results.add_cells(combination, cells)
    assert [str(cell) for cell in cells if cell.problems] == []
