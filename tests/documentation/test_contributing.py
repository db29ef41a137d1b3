"""The recipes of CONTRIBUTING.md: their code is executed, and the files that they list exist."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.cli import commands
from airflow_pipeline_provider.cli import main as command_line
from airflow_pipeline_provider.config import model
from tests.documentation.blocks import Block, blocks_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
BLOCKS = [block for block in blocks_of(PAGE.read_text()) if block.title is not None]
COMMAND = "airflow_pipeline_provider/cli/token.py"
ENTRY = "airflow_pipeline_provider/cli/commands.py"
OPTION = "airflow_pipeline_provider/config/model.py"
NEW = {
    COMMAND,
    ENTRY,
    OPTION,
}  # what the recipes add; everything else is quoted from a file that tests execute
RECIPES = ["a source", "a SQL target", "a command", "a pipeline option", "a state store"]


def block(title: str) -> str:
    (found,) = [one.body for one in BLOCKS if one.title == title]
    return found


def recipe(name: str) -> str:
    return PAGE.read_text().partition(f"\n## Add {name}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_has_its_files_and_its_code(name: str) -> None:
    assert "\n| file | what to write |\n" in recipe(name)
    assert "```python title=" in recipe(name)
    assert "CHANGELOG.md" in recipe(name)


@pytest.mark.parametrize("name", RECIPES)
def test_the_files_that_a_recipe_lists_exist(name: str) -> None:
    cells = [line.split("|")[1] for line in recipe(name).splitlines() if line.startswith("| `")]
    paths = [path for cell in cells for path in re.findall(r"`([^`]+)`", cell)]
    assert len(paths) > 5
    folders = (ROOT, *sorted((ROOT / "examples").iterdir()))
    for path in paths:
        pattern = re.sub("VENDOR|NAME", "*", path).rstrip("/")
        assert any(next(folder.glob(pattern), None) for folder in folders), path


@pytest.mark.parametrize("one", [one for one in BLOCKS if one.title not in NEW], ids=lambda one: one.title)
def test_code_is_quoted_from_a_file_that_tests_execute(one: Block) -> None:
    lines = [line.strip() for line in (ROOT / str(one.title)).read_text().splitlines()]
    quoted = [line.strip() for line in one.body.strip().splitlines()]
    starts = range(len(lines) - len(quoted) + 1)
    assert any(lines[start : start + len(quoted)] == quoted for start in starts), one.body


def test_the_command_works_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("airflow_pipeline_provider.cli.token")
    exec(block(COMMAND), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (entry,) = eval(f"({block(ENTRY)})", vars(commands))
    monkeypatch.setattr(command_line, "COMMANDS", (*commands.COMMANDS, entry))
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINE_STATE", '{"conn_type": "sqlite", "host": "/nowhere/state.db"}')
    file = tmp_path / "orders.yaml"
    file.write_text(
        "pipeline_id: orders\ngranularity: 1h\n"
        "source: {type: sql, conn_id: shop, table: orders, time_column: at, key_columns: [id]}\n"
        f"stage: {{type: object_store, path: 'file://{tmp_path}/stage'}}\n"
        f"target: {{type: duckdb, path: '{tmp_path}/warehouse.duckdb', table: orders}}\n"
        "state: {type: sql, conn_id: pipeline_state}\n"
    )

    assert command_line.main(["token", str(file)]) == 0
    assert capsys.readouterr().out == "orders: the newest token in the target is 0\n"
    assert command_line.main(["token", str(file), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pipeline_id": "orders", "token": 0}
    assert command_line.main(["token", str(tmp_path / "no.yaml")]) == 2


def test_the_option_works_as_written() -> None:
    names = dict(vars(model))
    exec(block(OPTION), names)
    section = names["AuditOptions"]
    assert (section().max_rows, section(max_rows=5).max_rows) == (None, 5)
    for value in (0, "5", 1.5):
        with pytest.raises(ValidationError):
            section(max_rows=value)
    assert section.model_fields["max_rows"].description.endswith("null: no limit.")
