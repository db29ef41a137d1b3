"""Every command that a message prints is built in one place, and runs as printed."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import airflow_pipeline_provider
from airflow_pipeline_provider.cli.commands import COMMANDS
from airflow_pipeline_provider.cli.main import build_parser
from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.core.command_line import (
    IN_AIRFLOW,
    PROGRAM,
    Invocation,
    invoked_as,
    shell_line,
)
from airflow_pipeline_provider.core.intervals import Interval

ROOT = Path(airflow_pipeline_provider.__file__).parent
INTERVAL = msgspec.convert(["2013-11-03T04:00:00Z", "2013-11-03T09:00:00.5Z"], Interval)
NAMES = ["flights", "pipelines/it's here.yaml"]
ARGUMENTS = {
    "interval": INTERVAL,
    "reason": 'the source deleted "these" rows; it\'s fine',
    "window_id": "flights.20131103T040000Z-20131103T090000Z",
    "folder": "my pipelines",
    "old": "flights_v1",
    "file": "it's a copy.jsonl",
}
FLAGS = ("accept_shrink", "fix", "force")
BUILDERS = {
    name: function
    for name, function in inspect.getmembers(command_line, inspect.isfunction)
    if not name.startswith("_") and inspect.signature(function).return_annotation == "Words"
}


def parsed(line: str) -> str:
    """Return the name of the command; a line that the parser refuses ends the test."""
    words = shlex.split(line)
    program = shlex.split(PROGRAM if words[0] == PROGRAM else IN_AIRFLOW)
    assert words[: len(program)] == program
    return str(build_parser().parse_args(words[len(program) :]).command.name)


@pytest.mark.parametrize("pipeline", NAMES)
@pytest.mark.parametrize(
    "called", [None, Invocation(PROGRAM), Invocation(IN_AIRFLOW, "my folder", "flights")]
)
@pytest.mark.parametrize("builder", sorted(BUILDERS))
def test_every_command_is_taken_by_the_parser(builder: str, called: Invocation | None, pipeline: str) -> None:
    function = BUILDERS[builder]
    parameters = inspect.signature(function).parameters
    given = {key: value for key, value in {**ARGUMENTS, "name": pipeline}.items() if key in parameters}
    for flags in [{}, *({flag: True} for flag in FLAGS if flag in parameters)]:
        if called is None:
            line = shell_line(function(**given, **flags))
        else:
            with invoked_as(called):
                line = shell_line(function(**given, **flags))
        assert parsed(line) == function(**given)[0]


def test_there_are_builders() -> None:
    assert {"doctor", "reprocess", "run_window", "waive"} <= set(BUILDERS)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_what_to_do_about_windows_that_shrank(number: int) -> None:
    lines = command_line.shrink_commands("flights", [INTERVAL] * number)
    commands = [line for line in lines if line.startswith(PROGRAM)]
    assert [parsed(line) for line in commands] == ["reprocess", "waive"] * min(number, 3) + ["doctor"] * (
        number > 3
    )
    assert ("and so for 2 more" in " ".join(lines)) is (number == 5)


def test_how_a_run_begins_again_depends_on_where_it_runs() -> None:
    with command_line.within_task("move_window"):
        assert command_line.again("extract") == "clear this run's move_window task"
    assert command_line.again("extract") == "clear this run's extract task and what follows it"
    with invoked_as(Invocation(PROGRAM, "folder", "a.yaml")):
        assert command_line.again("extract") == "run the command again"
        assert command_line.name_of("a") == "a.yaml"
    with invoked_as(Invocation(PROGRAM)):
        assert command_line.name_of("a") == "a"
    assert command_line.name_of("a") == "a"


def test_a_folder_and_a_program_of_the_message_itself() -> None:
    words = command_line.doctor("a")
    assert shell_line(words, folder="b c", program=IN_AIRFLOW) == "airflow pipelines doctor a --folder 'b c'"
    with invoked_as(Invocation(PROGRAM, "d")):
        assert shell_line(words, folder="b c", program=IN_AIRFLOW) == "airflow-pipelines doctor a --folder d"


# --- no command is written by hand anywhere else

_NAMES = "|".join(command.name for command in COMMANDS)
BY_HAND = re.compile(rf"airflow[- ]pipelines (?:{_NAMES})\b|`(?:{_NAMES}) [^`]*--")


def texts(path: Path) -> Iterator[str]:
    """String literals and the fixed parts of f-strings; docstrings are not printed."""
    tree = ast.parse(path.read_text())
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


def test_no_command_is_written_by_hand() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.name != "command_line.py"
        for text in texts(path)
        if BY_HAND.search(text)
    }
    assert not found


def test_a_command_written_by_hand_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(
        '"""airflow-pipelines run."""\nx = f"look; then `reprocess {y} --here` lets them go"\nz = "ok"\n'
    )
    assert [text for text in texts(file) if BY_HAND.search(text)] == [
        "look; then `reprocess … --here` lets them go"
    ]


# --- the pages

REPOSITORY = ROOT.parent
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
COMMAND = re.compile(r"^(?:\$ )?(airflow[- ]pipelines [^#\n`]*)|`(airflow[- ]pipelines [^`\n]*)`", re.M)
UNFINISHED = re.compile(r"…|\.\.\.|[\[\]|]")  # a form, not a command


def page_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for match in COMMAND.finditer(page.read_text().replace("\\\n", "")):
            line = (match[1] or match[2]).strip()
            a_name = match[1] is None and re.fullmatch(r"airflow[- ]pipelines \S+", line)
            if not UNFINISHED.search(line) and not a_name:
                found.append((page.name, line))
    return found


@pytest.mark.parametrize(("page", "line"), page_commands())
def test_a_command_on_a_page_is_taken_by_the_parser(page: str, line: str) -> None:
    assert parsed(line) in {command.name for command in COMMANDS}


def test_pages_have_commands() -> None:
    assert len(page_commands()) > 15
