"""Every named fault point is reached by the code, every reached point is named, and the hooks work."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_pipeline_provider
from airflow_pipeline_provider.fault_points import ACTION_POINTS, POINTS, reach
from airflow_pipeline_provider.testing import faults

ROOT = Path(airflow_pipeline_provider.__file__).parent


def reached_in_source() -> set[str]:
    calls = (
        node
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reach"
    )
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def test_the_table_names_exactly_the_points_of_the_code() -> None:
    assert reached_in_source() == {*POINTS, *ACTION_POINTS}


def test_a_point_does_nothing_without_a_hook() -> None:
    reach("load.deleted")


def test_a_trace_lists_the_reached_points() -> None:
    with faults.traced() as points:
        reach("load.deleted")
        reach("load.copied")
    reach("load.committed")
    assert points == ["load.deleted", "load.copied"]


@pytest.mark.parametrize(
    ("point", "visit", "stops_at"), [("load.copied", 1, 1), ("load.copied", 2, 3), ("0", 3, 2)]
)
def test_a_fault_occurs_at_its_visit_only(point: str, visit: int, stops_at: int) -> None:
    way = ["load.deleted", "load.copied", "load.deleted", "load.copied", "load.copied"]
    with faults.failing_at(point, visit):
        for number, name in enumerate(way):
            if number == stops_at:
                with pytest.raises(faults.Crash):
                    reach(name)
            else:
                reach(name)


@pytest.mark.parametrize(
    ("point", "visit", "message"), [("load.nothing", 1, "load.nothing"), ("load.copied", 0, "visit")]
)
def test_an_invalid_fault_is_refused(point: str, visit: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        faults.at(point, visit, faults.crash)


def test_a_child_process_crashes_at_the_point_in_the_environment() -> None:
    script = (
        "import sys\n"
        "from airflow_pipeline_provider.fault_points import reach\n"
        "from airflow_pipeline_provider.testing.faults import arm_from_environment\n"
        "arm_from_environment()\n"
        "try:\n"
        "    reach('load.copied'); print('one', flush=True)\n"
        "    reach('load.copied'); print('two', flush=True)\n"
        "finally:\n"
        "    print('a handler ran', flush=True)\n"
    )
    environment = {**os.environ, faults.CRASH_AT: "load.copied:2"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (faults.EXIT_CODE, "one\n")
