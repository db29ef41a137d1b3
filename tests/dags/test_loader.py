"""Load a folder of pipeline files as DAGs; an invalid file does not affect the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from airflow_pipeline_provider.exceptions import ConfigError

from .conftest import Folder


def parsed(folder: Folder) -> tuple[list[str], dict[str, str]]:
    """Return DAG ids and import errors as Airflow's DAG processor would report them."""
    import inspect

    from airflow.dag_processing.dagbag import DagBag
    from airflow.dag_processing.processor import _serialize_dags

    arguments: dict[str, Any] = {"bundle_path": folder.path / "dags"}
    if "include_examples" in inspect.signature(DagBag).parameters:
        arguments["include_examples"] = False
    bag = DagBag(str(folder.path / "dags"), **arguments)
    serialized, errors = _serialize_dags(bag, structlog.get_logger())
    return sorted(dag.dag_id for dag in serialized), {**bag.import_errors, **errors}


def test_one_invalid_file_does_not_affect_the_others(folder: Folder) -> None:
    for n in range(99):
        folder.write(f"p{n:02d}")
    folder.write("broken", granularity="0s", timezon="UTC")
    dags, errors = parsed(folder)
    assert dags == [f"p{n:02d}" for n in range(99)]
    (file, text), *others = errors.items()
    assert others == []
    assert file == "pipelines/broken.yaml"
    assert "granularity: " in text
    assert "timezon: " in text
    assert "did you mean 'timezone'" in text
    assert "broken.yaml:" in text


def test_a_second_file_with_the_same_id_is_an_import_error(folder: Folder) -> None:
    folder.write("events")
    folder.write("zz", text=(folder.path / "dags/pipelines/events.yaml").read_text())
    dags, errors = parsed(folder)
    assert dags == ["events"]
    assert list(errors) == ["pipelines/zz.yaml"]
    assert "events.yaml" in errors["pipelines/zz.yaml"]


def test_defaults_yaml_is_not_a_pipeline(folder: Folder) -> None:
    folder.write("events")
    (folder.path / "dags/pipelines/defaults.yaml").write_text("tags_are_not_here: 1\n")
    dags, errors = parsed(folder)
    assert dags == []
    assert "tags_are_not_here" in "".join(errors.values())


def test_a_missing_folder_is_a_config_error(folder: Folder) -> None:
    (folder.path / "dags/pipelines").rename(folder.path / "dags/elsewhere")
    with pytest.raises(ConfigError, match=r"there is no folder .*/dags/pipelines"):
        folder.dags()


def test_only_the_needed_file_is_read_when_a_task_starts(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        folder.write(name)
    folder.write("broken", text="][")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "two")
    opened: list[str] = []
    open_file = Path.open

    def record(path: Path, *arguments: Any, **named: Any) -> Any:
        opened.append(path.name)
        return open_file(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", record)
    assert list(folder.dags()) == ["two"]
    assert {name for name in opened if name.endswith(".yaml")} == {"two.yaml"}


def test_parsing_reads_no_variable_and_no_connection(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import BaseHook, Variable

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("read while parsing")

    monkeypatch.setattr(BaseHook, "get_connection", refuse)
    monkeypatch.setattr(Variable, "get", refuse)
    folder.write("events")
    assert parsed(folder) == (["events"], {})


@pytest.mark.parametrize("file", sorted(Path("dags").glob("*.py")), ids=lambda p: p.name)
def test_safe_mode_finds_the_example_dags(file: Path) -> None:
    """Airflow reads a file only if it mentions airflow and dag."""
    text = file.read_text().lower()
    assert "airflow" in text
    assert "dag" in text
