"""Imports between the packages point one way only (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_pipeline_provider

PACKAGE = "airflow_pipeline_provider"
ROOT = Path(airflow_pipeline_provider.__file__).parent

LOWEST = {
    "escaping",
    "core",
    "exceptions",
    "exits",
    "fault_points",
    "garbage_collection",
    "lazy_exports",
    "suggestions",
}
VALUES = LOWEST | {"config", "envelope", "observability"}
PARTS = VALUES | {"connectors", "state"}
ALLOWED = {  # package -> the other packages of ours that it may import
    "escaping": set(),
    "exceptions": {"escaping"},
    "exits": set(),
    "fault_points": set(),
    "garbage_collection": set(),
    "lazy_exports": {"garbage_collection"},
    "preload": {"exceptions", "garbage_collection", "suggestions"},
    "provider": set(),
    "suggestions": set(),
    "core": {"escaping", "exceptions", "exits", "lazy_exports"},
    "config": LOWEST,
    "envelope": LOWEST,
    "observability": LOWEST,
    "connectors": PARTS,
    "state": PARTS,
    "phases": PARTS,
    "views": PARTS | {"phases"},
    "operators": PARTS | {"phases", "views"},
    "triggers": PARTS,
    "sensors": PARTS | {"operators", "triggers"},
    "web": PARTS | {"phases", "views", "operators"},
    "factory": PARTS | {"phases", "operators", "web"},
    "example_dags": set(),
    "testing": PARTS,
    "cli": PARTS | {"phases", "views", "operators", "testing"},
}
WITHOUT_AIRFLOW = {
    "escaping",
    "exceptions",
    "exits",
    "fault_points",
    "garbage_collection",
    "lazy_exports",
    "core",
    "config",
    "envelope",
    "phases",
    "views",
    "observability",
    "provider",
    "suggestions",
}
VENDORS = {"pyarrow", "duckdb", "elastic_transport", "snowflake", "fsspec", "s3fs", "sqlalchemy", "airflow"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Return the full names of the imports, without those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield f"{node.module}"
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        else:
            yield from imports(node)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = package_of(path)
    if package == "__init__":
        return
    assert package in ALLOWED, (
        f"{package} is not in the layout: add it to docs/architecture.md and to this table"
    )
    tree = ast.parse(path.read_text())
    ours = {name.split(".")[1] for name in imports(tree) if name.startswith(PACKAGE + ".")}
    assert ours <= ALLOWED[package] | {package}
    if package in WITHOUT_AIRFLOW:
        assert not [name for name in imports(tree) if name.split(".")[0] == "airflow"]


def test_the_properties_of_certify_need_no_pytest() -> None:
    script = f"import sys, {PACKAGE}.cli.certify\nprint('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_loading_pipeline_files_imports_no_vendor_library() -> None:
    """DAG files are parsed every half minute, and each parse imports the connectors' modules for their options."""
    script = f"""
import sys
before = set(sys.modules)  # Python adds namespace packages at its start
from {PACKAGE}.connectors.registry import BUILT_IN, options_model
for key in BUILT_IN:
    options_model(*key.split("."))
print(*({{name.partition(".")[0] for name in set(sys.modules) - before}} & {VENDORS!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def module_name(path: Path) -> str:
    return ".".join((PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imported_modules(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """Modules of ours that are imported anywhere in the file, inside functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in known else f"{node.module}" for name in names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imported_modules(node, known)


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {module_name(path): path for path in modules()}
    graph = {
        name: set(imported_modules(ast.parse(path.read_text()), set(names))) & set(names)
        for name, path in names.items()
    }
    while leaves := {name for name, needed in graph.items() if not needed & set(graph) - {name}}:
        graph = {name: needed - leaves for name, needed in graph.items() if name not in leaves}
    assert sorted(graph) == [], "each of these imports another, or is imported, in a circle"


def test_each_class_name_is_defined_once() -> None:
    """One class name is one thing: an error, a log line or a type names the class without its module."""
    defined: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                defined[node.name].append(module_name(path))
    assert {name: found for name, found in defined.items() if len(found) > 1} == {}
