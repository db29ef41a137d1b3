"""`connectors`: what is installed, by which package, and what cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

import airflow_pipeline_provider
from airflow_pipeline_provider.connectors import registry
from airflow_pipeline_provider.connectors.registry import BUILT_IN, register
from tests.cli.conftest import Place
from tests.doubles.memory_source import MemorySource


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(registry._registered)
    registry._registered.clear()
    yield
    registry._registered.clear()
    registry._registered.update(before)


def install(monkeypatch: pytest.MonkeyPatch, path: Path, **connectors: str) -> None:
    """Add packages with one entry point each: `acme={"source.csv": "module:Class"}`."""
    points: dict[str, list[EntryPoint]] = {}
    for package, definition in connectors.items():
        key, _, value = definition.partition(" = ")
        folder = path / f"{package}-2.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.5\n")
        (folder / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\n{key} = {value}\n")
        points.setdefault(key, []).extend(Distribution.at(folder).entry_points)
    monkeypatch.setattr(registry, "_entry_points", lambda: points)


def test_the_connectors_of_this_package_can_be_used(place: Place) -> None:
    registry._registered.clear()  # what the fixture registered
    result = place("connectors", folder=False)
    lines = [line.split() for line in result.out.splitlines()]
    version = airflow_pipeline_provider.__version__
    assert result.code == 0
    assert lines[0] == ["KIND", "TYPE", "PACKAGE", "CLASS"]
    assert {f"{kind}.{name}": path for kind, name, _, _, path in lines[1:-1]} == BUILT_IN
    assert {(package, number) for _, _, package, number, _ in lines[1:-1]} == {
        ("airflow-pipeline-provider", version)
    }
    assert result.out.endswith(f"{len(BUILT_IN)} connectors, all can be used\n")


@pytest.mark.parametrize(
    ("packages", "error"),
    [
        (
            {"acme": "source.csv = acme_nowhere:CsvSource"},
            "'csv' is acme_nowhere:CsvSource of package acme, which",
        ),
        ({"acme": "source.csv = json:Csv"}, "cannot be imported (module 'json' has no attribute 'Csv')"),
        (
            {"acme": "source.csv = json:JSONDecoder", "blue": "source.csv = json:JSONEncoder"},
            "'csv' is defined by json:JSONDecoder of package acme and by json:JSONEncoder of package blue",
        ),
    ],
    ids=["no module", "no class", "two packages"],
)
def test_a_connector_that_cannot_be_used_is_named_with_the_reason(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packages: dict[str, str], error: str
) -> None:
    install(monkeypatch, tmp_path, **packages)
    result = place("connectors", folder=False)
    assert result.code == 1
    assert error in result.out
    assert (
        "2 connectors cannot be used" if len(packages) == 2 else "1 connector cannot be used"
    ) in result.out
    found = [
        one
        for one in place("connectors", "-o", "json", folder=False).json["connectors"]
        if one["type"] == "csv"
    ]
    assert [(one["package"], one["version"]) for one in found] == [(package, "2.5") for package in packages]
    assert all(error in one["error"] for one in found)


def test_a_connector_of_this_process_has_no_package(place: Place) -> None:
    register("source", "memory", MemorySource, replace=True)
    found = place("connectors", "-o", "json", folder=False).json["connectors"]
    (memory,) = [one for one in found if (one["kind"], one["type"]) == ("source", "memory")]
    assert (memory["package"], memory["version"], memory["error"]) == (None, None, None)
    assert memory["path"].endswith(":MemorySource")
