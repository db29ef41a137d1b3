"""The JSON of each command has the shape that the reference describes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from airflow_pipeline_provider.cli.commands import COMMANDS
from docs.reference import result_class, shape_text
from tests.cli.conftest import AFTER, Place

SHAPES = Path(__file__).with_name("json_shapes.txt")
AT = ("--reference-time", AFTER)
DAY = ("--from", "2013-11-03", "--to", "2013-11-03")


def struct_of(command: str, what: str = "") -> type[msgspec.Struct]:
    """The Struct of a command's JSON that the reference describes."""
    (results,) = (one.results for one in COMMANDS if one.name == command)
    return result_class(results[what])


def looks_in_a_folder(command: str) -> bool:
    (arguments,) = (one.arguments for one in COMMANDS if one.name == command)
    return any("--folder" in argument.flags for argument in arguments)


def printed_as(shape: type[msgspec.Struct], value: Any) -> Any:
    """The document as a value of the Struct would be printed."""
    return json.loads(msgspec.json.encode(msgspec.convert(value, shape)))


STEPS: Sequence[tuple[str, tuple[str, ...]]] = (  # what the document is of, and the command line
    ("", ("check",)),
    ("", ("plan", "flights", "--day", "2013-11-03")),
    ("", ("run", "flights", *AT)),
    ("one pipeline", ("status", "flights", *AT)),
    ("", ("gaps", *AT)),
    ("", ("history", "flights", "2013-11-03")),
    ("", ("reprocess", "flights", *DAY, "--dry-run")),
    ("", ("reprocess", "flights", *DAY, "--here")),
    ("", ("recheck", "flights", "--here", *AT)),
    ("", ("diff", "flights", *DAY)),
    ("", ("doctor", "flights", *AT)),
    ("", ("cleanup", "flights", "--older-than", "0s")),
    ("", ("unlock", "flights")),
    ("", ("adopt", "flights", "--reason", "moved")),
    ("", ("waive", "flights", *DAY, "--reason", "burnt")),
    ("", ("connectors",)),
)


def test_each_command_prints_the_json_that_the_reference_describes(place: Place) -> None:
    place.write()
    place.seed()
    for what, command in STEPS:
        result = place(*command, "-o", "json", folder=looks_in_a_folder(command[0]))
        assert result.out, (command, result.err)
        assert printed_as(struct_of(command[0], what), result.json) == result.json, command


def test_the_json_of_all_pipelines(place: Place) -> None:
    place.write()
    (place.folder / "broken.yaml").write_text("pipeline_id: broken\n")
    answer = place("status", *AT, "-o", "json").json
    assert [len(answer[key]) for key in ("pipelines", "errors")] == [1, 1]
    assert printed_as(struct_of("status", "all pipelines"), answer) == answer


def test_the_json_of_state_actions(place: Place, tmp_path: Path) -> None:
    place.write()
    place.seed()
    assert place("run", "flights", *AT).code == 0
    exported = tmp_path / "state.jsonl"
    assert place("state", "export", "flights", str(exported)).code == 0
    rebuilt = place("state", "rebuild", "flights", "-o", "json").json
    assert printed_as(struct_of("state", "rebuild"), rebuilt) == rebuilt
    place.store.pipelines.clear()
    imported = place("state", "import", "flights", str(exported), "-o", "json").json
    assert printed_as(struct_of("state", "import"), imported) == imported


def test_the_json_of_init(place: Place) -> None:
    answer = place("init", str(place.folder / "new"), "-o", "json", folder=False).json
    assert printed_as(struct_of("init"), answer) == answer


def test_the_json_of_columns(place: Place) -> None:
    place.write(columns=[{"name": "N", "path": "n", "type": "boolean"}])
    place.seed()
    assert place("run", "flights", *AT).code == 0
    place.write(columns=[{"name": "M", "path": "m", "type": "text"}])
    for action in ("infer", "diff", "apply", "sql"):
        answer = place("columns", action, "flights", "-o", "json").json
        assert printed_as(struct_of("columns", action), answer) == answer, action


def test_the_json_of_certify(place: Place, tmp_path: Path) -> None:
    answer = place("certify", "stage", str(tmp_path / "stage"), "-o", "json", folder=False).json
    assert printed_as(struct_of("certify"), answer) == answer


def shapes() -> str:
    """The JSON of all commands, as the reference shows it."""
    return "".join(
        f"# {command.name} {what}".rstrip() + f"\n{shape_text(result_class(path))}\n\n"
        for command in COMMANDS
        for what, path in command.results.items()
    )


def test_no_key_of_a_command_changes_unseen() -> None:
    """Programs read them: a key may be added, and then the file is written again by `python -m` of this module."""
    assert shapes() == SHAPES.read_text()


def test_a_command_that_is_not_compared_is_noticed() -> None:
    compared = {command[0] for _, command in STEPS} | {"state", "init", "columns", "certify"}
    compared.add("quarantine")  # test_quarantine.py
    assert {command.name for command in COMMANDS} - compared == {"schema"}  # its JSON is the schema itself


if __name__ == "__main__":
    SHAPES.write_text(shapes())
