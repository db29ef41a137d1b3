"""Columns are added to a pipeline file without a change of any other byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_pipeline_provider.config.columns_file import add_columns
from airflow_pipeline_provider.config.columns_text import Commented, column_lines
from airflow_pipeline_provider.config.yaml_tree import plain, read_yaml
from airflow_pipeline_provider.core.columns import Column, ColumnType, format_path
from airflow_pipeline_provider.exceptions import ConfigError, FatalError

ITEM = ["- {name: A, path: a, type: text}  # guessed"]
ADDED = {"name": "A", "path": "a", "type": "text"}


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def accept(_: Path) -> None:
    pass


def column(name: str, *path: str, type_: str = "text", formats: tuple[str, ...] = ()) -> Column:
    return Column(name, path, ColumnType(type_), formats)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("a: 1\n", "a: 1\ncolumns:\n  {}\n", id="no columns"),
        pytest.param("a: 1", "a: 1\ncolumns:\n  {}\n", id="no line end"),
        pytest.param("a: 1\n# end\n\n", "a: 1\n# end\n\ncolumns:\n  {}\n", id="comments at the end"),
        pytest.param("a: 1\r\nb: 2\r\n", "a: 1\r\nb: 2\r\ncolumns:\r\n  {}\r\n", id="Windows line ends"),
        pytest.param("---\na: 1\n...\n", "---\na: 1\ncolumns:\n  {}\n...\n", id="document markers"),
        pytest.param("  a: 1\n", "  a: 1\n  columns:\n    {}\n", id="indented"),
        pytest.param("\ufeffa: 1\n", "\ufeffa: 1\ncolumns:\n  {}\n", id="byte order mark"),
        pytest.param("columns: []  # none\na: 1\n", "columns:  # none\n  {}\na: 1\n", id="an empty list"),
        pytest.param("columns:  # none\na: 1\n", "columns:  # none\n  {}\na: 1\n", id="null"),
        pytest.param("columns: ~", "columns:\n  {}\n", id="a tilde"),
        pytest.param("'columns': null\n", "'columns':\n  {}\n", id="a quoted key"),
        pytest.param(
            "columns:\n- {name: X}  # keep\n\n# next\na: 1\n",
            "columns:\n- {name: X}  # keep\n{}\n\n# next\na: 1\n",
            id="a list",
        ),
        pytest.param(
            'columns:\n    - name: X\n      path: "x"   # last\na: é\n',
            'columns:\n    - name: X\n      path: "x"   # last\n    {}\na: é\n',
            id="a list of blocks",
        ),
        pytest.param(
            "columns:\n  - name: X\n    columns:\n      - {name: Y}",
            "columns:\n  - name: X\n    columns:\n      - {name: Y}\n  {}\n",
            id="rows at the end",
        ),
        pytest.param(
            "columns:\n  - name: |\n      X\na: 1\n",
            "columns:\n  - name: |\n      X\n  {}\na: 1\n",
            id="a text block",
        ),
    ],
)
def test_every_other_byte_stays(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "flights.yaml"
    file.write_bytes(before.encode())
    file.chmod(0o640)
    add_columns(file, ITEM, accept)
    assert file.read_bytes().decode() == after.replace("{}", ITEM[0])
    assert plain(read_yaml(file.read_bytes()))["columns"][-1] == ADDED  # type: ignore[arg-type]
    assert file.stat().st_mode & 0o777 == 0o640
    assert names_in(tmp_path) == ["flights.yaml"]


@pytest.mark.parametrize(
    ("before", "message"),
    [
        pytest.param("{a: 1}\n", "written in brackets", id="a flow mapping"),
        pytest.param(
            "columns: [{name: X}]\n", "line 1: columns is not a list with one item per line", id="a flow list"
        ),
        pytest.param("columns: {include: '${X}/x.yaml'}\n", "line 1: columns is not a list", id="a variable"),
        pytest.param(
            "a: &x {name: X}\ncolumns:\n  - *x\n", "cannot be added as text", id="an alias at the end"
        ),
        pytest.param("a: |\n  text", "cannot be added as text", id="a text block without line end"),
    ],
)
def test_file_stays_where_text_cannot_be_added(tmp_path: Path, before: str, message: str) -> None:
    file = tmp_path / "flights.yaml"
    file.write_text(before)
    with pytest.raises(ConfigError) as caught:
        add_columns(file, ITEM, accept)
    assert message in str(caught.value)
    assert "without --write" in str(caught.value)
    assert file.read_text() == before
    assert names_in(tmp_path) == ["flights.yaml"]


def test_included_list_is_extended_and_checked_with_its_pipeline(tmp_path: Path) -> None:
    file, listed = tmp_path / "flights.yaml", tmp_path / "columns" / "flights.yaml"
    listed.parent.mkdir()
    listed.write_text("# ours\n- {name: X}  # keep\n# end\n")
    file.write_text("columns: {include: columns/flights.yaml}  # long\n")
    checked = []

    def check(path: Path) -> None:
        include = yaml.safe_load(path.read_text())["columns"]["include"]
        checked.append((path.parent / include).read_text())

    assert add_columns(file, ITEM, check, inherits=True) == listed
    assert listed.read_text() == f"# ours\n- {{name: X}}  # keep\n{ITEM[0]}\n# end\n"
    assert checked == [listed.read_text()]
    assert file.read_text() == "columns: {include: columns/flights.yaml}  # long\n"
    assert names_in(listed.parent) == ["flights.yaml"]
    assert sorted(names_in(tmp_path)) == ["columns", "flights.yaml"]


@pytest.mark.parametrize("before", ["", "# ours\n", "# ours"])
def test_empty_included_file_is_filled(tmp_path: Path, before: str) -> None:
    file, listed = tmp_path / "flights.yaml", tmp_path / "columns" / "flights.yaml"
    listed.parent.mkdir()
    listed.write_text(before)
    file.write_text("columns: {include: columns/flights.yaml}\n")
    assert add_columns(file, ITEM, accept) == listed
    assert listed.read_text() == f"{before.rstrip()}\n{ITEM[0]}\n".lstrip()


def test_columns_of_the_defaults_are_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "flights.yaml"
    file.write_text("a: 1\n")
    with pytest.raises(ConfigError, match=r"the columns are those of defaults\.yaml"):
        add_columns(file, ITEM, accept, inherits=True)
    assert file.read_text() == "a: 1\n"


def refuse(_: Path) -> None:
    raise ConfigError("columns[0]: no")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        pytest.param(refuse, "columns[0]: no", id="not valid"),
        pytest.param(
            lambda path: (path.parent / "flights.yaml").write_text("b: 2\n"), "changed while", id="edited"
        ),
    ],
)
def test_invalid_or_edited_file_is_not_replaced(tmp_path: Path, check: Any, message: str) -> None:
    file = tmp_path / "flights.yaml"
    file.write_text("a: 1\n")
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        add_columns(file, ITEM, check)
    assert "columns" not in file.read_text()
    assert names_in(tmp_path) == ["flights.yaml"]


def test_disk_that_is_full_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "flights.yaml"
    file.write_text("a: 1\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FatalError, match="No space left on device"):
        add_columns(file, ITEM, accept)
    assert file.read_text() == "a: 1\n"
    assert names_in(tmp_path) == ["flights.yaml"]


def test_link_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    file, link = tmp_path / "real.yaml", tmp_path / "flights.yaml"
    file.write_text("a: 1\n")
    link.symlink_to(file)
    with pytest.raises(ConfigError, match="is a link to"):
        add_columns(link, ITEM, accept)
    assert link.is_symlink()


HOSTILE = [
    "null", "true", "no", "1", "1.5", "a b", "a#b", "a: b", "*a", "&a", "!a", "a,b", "a]b", "{a}", "a'b", 'a"b',
    "${HOME}", "$${x}", "\u2028", "\u0085", "ключ", "😀", "\u202e", "-", "?", "a.b", " a ", "%", "@t", "`",
    "\\", "\\u0041", "a}b",
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE)
def test_path_is_read_back_as_it_is_written(key: str) -> None:
    lines = list(column_lines([Commented(column("A", key, "x"), 'a comment: {with} "all"\nof # it')]))
    assert len(lines) == 1
    text = "\n".join(lines)
    (loaded,) = yaml.safe_load(text)
    assert loaded["path"].replace("$${", "${") == format_path((key, "x"))
    assert text.isprintable()


def test_lines_of_columns() -> None:
    legs = Column("LEGS", ("legs",), ColumnType("rows"), columns=(column("F", "f"),))
    at = column("AT", "at", type_="timestamp", formats=("yyyy-MM-dd", "epoch_millis"))
    inner = (Commented(column("F", "f"), "guessed"),)
    assert list(column_lines([Commented(at), Commented(legs, "why", inner)])) == [
        '- {name: AT, path: at, type: timestamp, format: "yyyy-MM-dd||epoch_millis"}',
        "- name: LEGS  # why",
        "  path: legs",
        "  type: rows",
        "  columns:",
        "    - {name: F, path: f, type: text}  # guessed",
    ]
