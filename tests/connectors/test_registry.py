"""Connectors by name: one name, one connector, whoever brings it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_pipeline_provider.connectors import register, registry
from airflow_pipeline_provider.connectors.registry import connector_class, known
from airflow_pipeline_provider.exceptions import ConfigError
from tests.doubles.memory_source import MemorySource


class One(MemorySource):
    pass


class Other(MemorySource):
    pass


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)


def test_a_registered_class_is_found() -> None:
    register("source", "mine", One)
    assert connector_class("source", "mine") is One
    assert "mine" in known("source")


@pytest.mark.parametrize("again", [One, f"{One.__module__}:One"], ids=["class", "path"])
def test_the_same_class_may_be_registered_again(again: str | type) -> None:
    register("source", "mine", One)
    register("source", "mine", again)
    assert connector_class("source", "mine").__name__ == "One"


@pytest.mark.parametrize("name", ["mine", "sql"], ids=["registered", "of this package"])
def test_a_name_that_exists_is_refused_unless_replacement_is_asked_for(name: str) -> None:
    register("source", "mine", One)
    before = connector_class("source", name)
    with pytest.raises(ConfigError) as refused:
        register("source", name, Other)
    assert f"source.{name}: cannot register {Other.__module__}:Other" in str(refused.value)
    assert f"{before.__module__}:{before.__qualname__} has this name already" in str(refused.value)
    assert "replace=True" in str(refused.value)
    assert connector_class("source", name) is before

    register("source", name, Other, replace=True)
    assert connector_class("source", name) is Other


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no_such_module:Kafka", "No module named"),
        (f"{MemorySource.__module__}:Kafka", "no attribute 'Kafka'"),
    ],
)
def test_a_class_that_cannot_be_imported_is_one_sentence(path: str, reason: str) -> None:
    register("source", "kafka", path)
    with pytest.raises(ConfigError, match=reason) as refused:
        connector_class("source", "kafka")
    assert str(refused.value).startswith(f"source.type: 'kafka' is {path}, which cannot be imported")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="kind: expected one of source, stage, target, state, got 'sink'"):
        register("sink", "mine", One)


# --- entry points of installed packages, in a process that has them on its path

FIND = """
import sys
from airflow_pipeline_provider.connectors.registry import connector_class, known, register
from airflow_pipeline_provider.exceptions import ConfigError

def show(kind, name):
    try:
        print(connector_class(kind, name).__name__)
    except ConfigError as error:
        print(error)

"""


def install(folder: Path, package: str, *connectors: str) -> None:
    """Lay out a package as an installer leaves it, with a class for each connector that its entry points name."""
    module = package.replace("-", "_")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {module}:{package.title().replace('-', '')}" for name in connectors]
    (info / "entry_points.txt").write_text("\n".join([f"[{registry.ENTRY_POINT_GROUP}]", *lines]) + "\n")
    (folder / f"{module}.py").write_text(f"class {package.title().replace('-', '')}:\n    pass\n")


def found(folder: Path, script: str) -> list[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.append({str(folder)!r})\n{FIND}{script}"]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()


def test_an_entry_point_of_another_package_is_found(tmp_path: Path) -> None:
    install(tmp_path, "acme-kafka", "source.kafka")
    assert found(tmp_path, "show('source', 'kafka'); print('kafka' in known('source'))") == [
        "AcmeKafka",
        "True",
    ]


def test_two_packages_with_one_name_are_both_named(tmp_path: Path) -> None:
    install(tmp_path, "acme-kafka", "source.kafka", "target.kafka")
    install(tmp_path, "other-kafka", "source.kafka")
    both, fine, replaced = found(
        tmp_path,
        "show('source', 'kafka')\nshow('target', 'kafka')\n"
        "register('source', 'kafka', 'acme_kafka:AcmeKafka', replace=True)\nshow('source', 'kafka')",
    )
    assert both.startswith("source.type: 'kafka' is defined by ")
    assert "acme_kafka:AcmeKafka of package acme-kafka" in both
    assert "other_kafka:OtherKafka of package other-kafka" in both
    assert both.endswith("uninstall one of them, or rename the entry point of one")
    assert (fine, replaced) == ("AcmeKafka", "AcmeKafka")


def test_a_package_cannot_take_a_name_of_this_package(tmp_path: Path) -> None:
    install(tmp_path, "acme-sql", "source.sql")
    (line,) = found(tmp_path, "show('source', 'sql')")
    assert (
        ":SqlSource of package airflow-pipeline-provider and by acme_sql:AcmeSql of package acme-sql" in line
    )


def test_a_name_of_an_installed_package_is_not_registered_by_accident(tmp_path: Path) -> None:
    install(tmp_path, "acme-kafka", "source.kafka")
    script = (
        "try:\n    register('source', 'kafka', 'mine:Kafka')\nexcept ConfigError as error:\n    print(error)"
    )
    (line,) = found(tmp_path, script)
    assert "acme_kafka:AcmeKafka has this name already" in line
