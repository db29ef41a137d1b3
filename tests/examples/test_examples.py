"""The example connectors, each installed from its folder as a package of its own, pass their tests.

They are installed beside this environment and not into it, so that no other test finds their connectors.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from airflow_pipeline_provider import connectors, exceptions

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
MOST_LINES = 265  # of an example's package, as CONTRIBUTING.md states


@pytest.mark.parametrize("name", NAMES)
def test_the_installed_example_passes_its_tests(tmp_path: Path, name: str) -> None:
    example = EXAMPLES / name
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        *OFFLINE,
        "--target",
        str(tmp_path),
        str(example),
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr

    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(example / "tests")]
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        tests,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": path},
        cwd=example,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_small_and_complete(name: str) -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in modules(name)}
    assert len(lines) > 1
    assert sum(lines.values()) <= MOST_LINES, lines


@pytest.mark.parametrize("name", NAMES)
def test_an_example_uses_only_the_public_api(name: str) -> None:
    """What it imports is in `__all__`, and it overrides and calls no private method of its base classes."""
    imported, private, own = set(), set(), set()
    for path in modules(name):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "airflow_pipeline_provider"
            ):
                imported |= {(node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                private.add(node.attr)
            elif isinstance(node, ast.FunctionDef):
                own.add(node.name)
    assert imported
    for module, what in imported:
        public = vars(exceptions) if module == exceptions.__name__ else import_module(module).__all__
        assert what in public, f"{module}.{what}"
    bases = {module_name for base in (connectors.SqlTarget, connectors.Source) for module_name in dir(base)}
    assert {one for one in private | own if one.startswith("_") and not one.startswith("__")} & bases == set()


def modules(name: str) -> list[Path]:
    return sorted((EXAMPLES / name / "src").rglob("*.py"))
