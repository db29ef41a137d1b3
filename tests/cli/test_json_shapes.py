"""The JSON of each command has the shape that the reference describes."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_pipeline_provider.cli.commands import COMMANDS
from docs.reference import result_class
from tests.cli.conftest import AFTER, Place

AT = ("--reference-time", AFTER)
DAY = ("--from", "2013-11-03", "--to", "2013-11-03")
_TOKEN = re.compile(r'"[^"]*"|[{}\[\]:,|+?]|[^\s{}\[\]:,|+?"]+')

Shape = Any  # a mapping of keys to shapes, a list of one shape, or None: not described further


class ShapeParser:
    """Reads `{"key", "optional"?, "key": [shape] | null}`, where a name stands for a shape of `names`."""

    def __init__(self, text: str, names: Mapping[str, Shape]) -> None:
        self.tokens, self.names = _TOKEN.findall(text), names

    def parse(self) -> Shape:
        found = self._term()
        while self._next_is("+"):
            found = {**(found or {}), **(self._term() or {})}
        while self._next_is("|"):
            self._term()
        return found

    def _next_is(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False

    def _term(self) -> Shape:
        token = self.tokens.pop(0)
        if token == "{":
            return self._object()
        if token == "[":
            found = [self.parse()]
            while not self._next_is("]"):
                self.tokens.pop(0)
                found = [None]  # a list of fixed length
            return found
        return self.names.get(token)

    def _object(self) -> dict[str, Shape]:
        found: dict[str, Shape] = {}
        while not self._next_is("}"):
            key = json.loads(self.tokens.pop(0)) + ("?" if self._next_is("?") else "")
            found[key] = self.parse() if self._next_is(":") else None
            while self._next_is("|"):
                self._term()
            self._next_is(",")
        return found


def shapes_of(command: str) -> list[Shape]:
    """The shapes in the docstring of a command, in order."""
    (handler,) = (one.handler for one in COMMANDS if one.name == command)
    module, _, function = handler.partition(":")
    doc = " ".join(inspect.cleandoc(getattr(import_module(module), function).__doc__).split())
    names: dict[str, Shape] = {}
    for _ in range(2):  # a name may be used before it is defined
        for name, text in re.findall(r"\b(\w+) is `(\{[^`]*\})`", doc):
            names[name] = ShapeParser(text, names).parse()
    return [ShapeParser(text, names).parse() for text in re.findall(r"`(\{[^`]*\})`", doc)]


def differences(shape: Shape, value: object, path: str = "$") -> list[str]:
    if value is None or shape is None:
        return []
    if isinstance(shape, list):
        assert isinstance(value, list), path
        return [text for one in value for text in differences(shape[0], one, f"{path}[]")]
    assert isinstance(value, dict), path
    shape = {key.rstrip("?"): one for key, one in shape.items() if key.rstrip("?") in value or "?" not in key}
    found = [f"{path}.{key} is not described" for key in value.keys() - shape.keys()]
    found += [f"{path}.{key} is missing" for key in shape.keys() - value.keys()]
    for key in shape.keys() & value.keys():
        found += differences(shape[key], value[key], f"{path}.{key}")
    return found


def struct_of(command: str, number: int) -> type[msgspec.Struct] | None:
    """The Struct of a command's JSON, None for a command that describes it in its docstring."""
    (results,) = (one.results for one in COMMANDS if one.name == command)
    return result_class(list(results.values())[number]) if results else None


def printed_as(shape: type[msgspec.Struct], value: Any) -> Any:
    """The document as a value of the Struct would be printed."""
    return json.loads(msgspec.json.encode(msgspec.convert(value, shape)))


STEPS: Sequence[tuple[int, tuple[str, ...]]] = (  # which shape of the docstring, and the command line
    (0, ("check",)),
    (0, ("plan", "flights", "--day", "2013-11-03")),
    (0, ("run", "flights", *AT)),
    (0, ("status", "flights", *AT)),
    (0, ("gaps", *AT)),
    (0, ("history", "flights", "2013-11-03")),
    (0, ("reprocess", "flights", *DAY, "--dry-run")),
    (0, ("reprocess", "flights", *DAY, "--here")),
    (0, ("recheck", "flights", "--here", *AT)),
    (0, ("doctor", "flights", *AT)),
    (0, ("cleanup", "flights", "--older-than", "0s")),
    (0, ("unlock", "flights")),
    (0, ("adopt", "flights", "--reason", "moved")),
    (0, ("waive", "flights", *DAY, "--reason", "burnt")),
)


def test_each_command_prints_the_json_that_the_reference_describes(place: Place) -> None:
    place.write()
    place.seed()
    for number, command in STEPS:
        result = place(*command, "-o", "json")
        assert result.out, (command, result.err)
        if shape := struct_of(command[0], number):
            assert printed_as(shape, result.json) == result.json, command
        else:
            assert differences(shapes_of(command[0])[number], result.json) == [], command


def test_the_json_of_all_pipelines(place: Place) -> None:
    place.write()
    (place.folder / "broken.yaml").write_text("pipeline_id: broken\n")
    answer = place("status", *AT, "-o", "json").json
    assert [len(answer[key]) for key in ("pipelines", "errors")] == [1, 1]
    shape = struct_of("status", 1)
    assert shape is not None
    assert printed_as(shape, answer) == answer


def test_the_json_of_state_actions(place: Place, tmp_path: Path) -> None:
    place.write()
    place.seed()
    assert place("run", "flights", *AT).code == 0
    exported = tmp_path / "state.jsonl"
    assert place("state", "export", "flights", str(exported)).code == 0
    imported, rebuilt, _row, _renamed = shapes_of("state")
    assert differences(rebuilt, place("state", "rebuild", "flights", "-o", "json").json) == []
    place.store.pipelines.clear()
    assert differences(imported, place("state", "import", "flights", str(exported), "-o", "json").json) == []


def test_the_json_of_init(place: Place) -> None:
    answer = place("init", str(place.folder / "new"), "-o", "json", folder=False).json
    assert differences(shapes_of("init")[0], answer) == []


def test_a_command_that_is_not_compared_is_noticed() -> None:
    compared = {command[0] for _, command in STEPS} | {"state", "init"}
    assert {command.name for command in COMMANDS} - compared == {"schema"}  # its JSON is the schema itself


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"a": 1, "b": [{"c": 1, "d": 2}]}, [], id="equal"),
        pytest.param({"a": None, "b": None}, [], id="null"),
        pytest.param({"a": 1, "b": [], "o": {}}, ["$.o.p is missing"], id="missing in an optional one"),
        pytest.param({"a": 1, "b": [{"c": 1}]}, ["$.b[].d is missing"], id="missing"),
        pytest.param({"a": 1, "b": [], "e": 1}, ["$.e is not described"], id="more"),
    ],
)
def test_a_difference_is_found(value: object, expected: list[str]) -> None:
    names = {"interval": {"c": None}}
    shape = ShapeParser('{"a" | null, "b": [interval + {"d"}] | null, "o"?: {"p"}}', names).parse()
    assert differences(shape, value) == expected
