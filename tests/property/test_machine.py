"""Random sequences of everything that may happen to a pipeline: runs, crashes, stale tasks, a source that moves,
wrong clocks, a state that is lost or falls back; after every step what was promised still holds (`machine_model`).

The fast tests play short ones.  `RELIABILITY_EXAMPLES=2000` makes it long; a failure prints the steps that lead to
it, cut down to the fewest, and a blob with which `@reproduce_failure` repeats it.  Runs are random; a failure's seed
is printed, and `--hypothesis-seed=N` repeats it.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.machine import Machine
from tests.property.machine_servers import OnDisk

pytestmark = pytest.mark.usefixtures("quiet")

EXAMPLES = int(os.environ.get("RELIABILITY_EXAMPLES", "0"))

LONG = settings(
    max_examples=EXAMPLES or 40,
    stateful_step_count=50 if EXAMPLES else 25,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def test_what_is_promised_holds_whatever_happens() -> None:
    run_state_machine_as_test(Machine, settings=LONG)


class MachineOnDisk(Machine):
    servers = OnDisk


def test_it_holds_on_duckdb_and_files_too() -> None:
    """Each operation opens the DuckDB file, so the way is short."""
    few = settings(LONG, max_examples=max(2, EXAMPLES // 50), stateful_step_count=8)
    run_state_machine_as_test(MachineOnDisk, settings=few)
