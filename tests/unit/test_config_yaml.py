"""Parse YAML: scalars by the YAML 1.2 core schema, with positions, and with YamlError as the only error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_pipeline_provider.config.problems import Problem
from airflow_pipeline_provider.config.yaml_tree import YamlError, plain, read_yaml


def read(text: str) -> Any:
    tree = read_yaml(text.encode(), "f.yaml")
    return None if tree is None else plain(tree)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("NO", "NO", id="a country is not false"),
        pytest.param("yes", "yes", id="yes is text"),
        pytest.param("on", "on", id="on is text"),
        pytest.param("true", True, id="true"),
        pytest.param("False", False, id="False"),
        pytest.param("12:30:00", "12:30:00", id="a time of day is not base sixty"),
        pytest.param("010", "010", id="leading zeros are kept"),
        pytest.param("1_000", "1_000", id="underscores are text"),
        pytest.param("2013-11-01", "2013-11-01", id="a day is text until a field wants one"),
        pytest.param("2013-11-01T00:00:00Z", "2013-11-01T00:00:00Z", id="an instant is text"),
        pytest.param("0", 0, id="zero"),
        pytest.param("-17", -17, id="negative"),
        pytest.param("0x1F", 31, id="hexadecimal"),
        pytest.param("0o17", 15, id="octal"),
        pytest.param("1.50", 1.5, id="float"),
        pytest.param("1e3", 1000.0, id="exponent"),
        pytest.param("1e999", "1e999", id="no infinity by overflow"),
        pytest.param("9" * 5000, "9" * 5000, id="very many digits"),
        pytest.param(".inf", ".inf", id="what JSON has no word for is text"),
        pytest.param("null", None, id="null"),
        pytest.param("~", None, id="tilde"),
        pytest.param("", None, id="nothing"),
        pytest.param("''", "", id="empty text"),
        pytest.param("'5'", "5", id="quoted"),
        pytest.param('"\\u00e9"', "é", id="escape"),
        pytest.param("!!str 5", "5", id="tag str"),
        pytest.param("!!int 5", 5, id="tag int"),
        pytest.param("!!float 5", 5.0, id="tag float"),
        pytest.param("[1, [a, {b: c}], ]", [1, ["a", {"b": "c"}]], id="nested"),
        pytest.param("|\n  a\n  b\n", "a\nb\n", id="literal block"),
        pytest.param(">-\n  a\n  b\n", "a b", id="folded block"),
    ],
)
def test_values(text, value):
    found = read(f"key: {text}\n")["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: &x {k: 1}\nb: *x\n", {"a": {"k": 1}, "b": {"k": 1}}, id="alias"),
        pytest.param("a: &x {k: 1, z: 1}\nb: {<<: *x, z: 2}\n", {"a": {"k": 1, "z": 1}, "b": {"k": 1, "z": 2}},
                     id="merge"),
        pytest.param(
            "a: &x {k: 1}\nb: &y {k: 2, z: 2}\nc: {<<: [*x, *y]}\n",
            {"a": {"k": 1}, "b": {"k": 2, "z": 2}, "c": {"k": 1, "z": 2}},
            id="merge of several: the first counts",
        ),
        pytest.param('"<<": {k: 1}\n', {"<<": {"k": 1}}, id="a quoted merge key is a key"),
        pytest.param("'1': a\n", {"1": "a"}, id="quoted number as key"),
    ],
)  # fmt: skip
def test_anchors(text, value):
    assert read(text) == value


def test_every_value_has_its_line():
    tree = read_yaml(b"# comment\na: 1\nb:\n  c:\n    - x\n    -\n      y\n  d: {e:\n 5}\n", "f.yaml")
    assert tree is not None
    b = tree.value["b"].value
    lines = [
        tree.value["a"].line,
        tree.value["b"].line,
        b["c"].line,
        *(n.line for n in b["c"].value),
        b["d"].value["e"].line,
    ]
    assert lines == [2, 3, 4, 5, 7, 8]


PIECES = (
    *(
        "a",
        "b: ",
        "- ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "'",
        '"',
        "|",
        ">",
        "&x ",
        "*x",
        "!t ",
        "<<: ",
    ),
    *(
        "? ",
        "#",
        "---\n",
        "...",
        "%YAML 1.1\n",
        "\t",
        "\0",
        "\ufeff",
        "é",
        "\u2028",
        "5",
        "~",
        "\\",
        "\ud7ff",
    ),
)


def problems(data: bytes) -> list[Problem]:
    try:
        read_yaml(data, "f.yaml")
    except YamlError as error:
        return error.problems or [Problem("", "")]
    return []


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_gives_a_tree_or_problems_with_positions(text):
    lines = text.count("\n") + text.count("\u2028") + 2
    for problem in problems(text.encode()):
        assert problem.file == "f.yaml"
        assert problem.message
        assert problem.line is None or 1 <= problem.line <= lines


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_tree_or_problems(data):
    assert all(problem.message for problem in problems(data))
