"""Every built-in connector passes a conformance kit, and has its place in the crash matrix."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from airflow_pipeline_provider.connectors.registry import BUILT_IN
from tests.connector_list import CONNECTORS

ROOT = Path(__file__).parents[2]
KITS = {"source": "SourceConformance", "stage": "StageConformance", "target": "TargetConformance"}
KITS["state"] = "StateConformance"
OF_TESTS = {f"tests/connectors/{name}.py" for name in ("test_memory_connectors", "test_memory_source")}
OF_TESTS |= {"tests/connectors/test_state_memory.py"}


def bases() -> dict[str, dict[str, list[str]]]:
    """Return the classes of each module of tests and kits, with the names of their bases."""
    found = {}
    for folder in ("tests", "airflow_pipeline_provider/testing"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
            found[path.relative_to(ROOT).as_posix()] = {
                node.name: [base.id for base in node.bases if isinstance(base, ast.Name)] for node in classes
            }
    return found


@pytest.fixture(scope="module")
def kits() -> dict[str, set[str]]:
    """Return the modules with test classes, each with the kits that they run."""
    modules = bases()
    # A helper class of a name stands for the kit behind it, whichever module defines it.
    above = {name: parents for classes in modules.values() for name, parents in classes.items()}

    def kits_of(name: str) -> set[str]:
        own = {name} & set(KITS.values())
        return own.union(*(kits_of(parent) for parent in above.get(name, ()) if parent != name))

    found = {
        module: set[str]().union(
            *(
                kits_of(base)
                for name, parents in classes.items()
                if name.startswith("Test")
                for base in parents
            )
        )
        for module, classes in modules.items()
    }
    return {module: kinds for module, kinds in found.items() if kinds}


def test_the_list_names_exactly_the_built_in_connectors() -> None:
    assert CONNECTORS.keys() == BUILT_IN.keys()


@pytest.mark.parametrize("key", CONNECTORS)
def test_each_connector_passes_the_kit_of_its_kind(key: str, kits: dict[str, set[str]]) -> None:
    kind = key.partition(".")[0]
    assert CONNECTORS[key].kits
    for module in CONNECTORS[key].kits:
        assert kits[module] == {KITS[kind]}


def test_no_kit_runs_for_a_connector_that_is_not_listed(kits: dict[str, set[str]]) -> None:
    listed = {module for tests in CONNECTORS.values() for module in tests.kits}
    assert kits.keys() == listed | OF_TESTS


@pytest.mark.parametrize("key", CONNECTORS)
def test_targets_and_states_are_in_the_crash_matrix(key: str) -> None:
    assert bool(CONNECTORS[key].backends) == key.startswith(("target.", "state."))
