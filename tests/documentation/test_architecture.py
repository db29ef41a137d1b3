"""docs/architecture.md names files and functions that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "airflow_pipeline_provider"
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| .+\? \| `(?P<file>[\w/]+\.py)` \| (?P<names>.+) \|$", TEXT.partition("### Where to look")[2], re.M
)


def test_there_are_answers() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize(("file", "names"), ROWS)
def test_an_answer_is_defined_in_its_file(file: str, names: str) -> None:
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert set(re.findall(r"`(\w+)`", names)) - defined == set()


def test_every_file_that_the_page_names_exists() -> None:
    folders = (PACKAGE, ROOT / "tests", ROOT / "benchmarks", ROOT / "demo", ROOT / "docs")
    files = {path.relative_to(ROOT).as_posix() for folder in folders for path in folder.rglob("*.py")}
    named = set(re.findall(r"`([\w/]+\.py)`", TEXT))
    assert {name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)} == set()
