"""Run the crash matrix on every state × target.

It needs POSTGRES_URL, SNOWFLAKE_HOST and Airflow's metadata database.  A full run crashes at each point, any other at
a few points of each scenario, chosen by the seed; and there state `variable`, whose turns are slow, meets the targets
on servers in one scenario only.
"""

from __future__ import annotations

import os
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

CUT = 2  # crashes per scenario
EVER = "first window ever"  # tables and migrations: tried once on PostgreSQL, as on SQLite × DuckDB
FULL = os.environ.get("RELIABILITY") == "full"
SLOW = {"variable × PostgreSQL", "variable × Snowflake"}
OTHERS = [
    (name, scenario)
    for name in COMBINATIONS
    for scenario in SCENARIOS
    if name != EMBEDDED.name
    and (scenario != EVER or name == "PostgreSQL × PostgreSQL")
    and (FULL or name not in SLOW or scenario == "replacement")
]


@pytest.mark.parametrize(("combination", "scenario"), OTHERS)
def test_a_rerun_completes_the_window_after_a_crash(
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
        cells = matrix.crashes(points, cut)
    results.add_cells(combination, cells)
    assert [str(cell) for cell in cells if cell.problems] == []
