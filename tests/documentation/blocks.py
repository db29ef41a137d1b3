"""Run the command blocks of a documentation page and compare their output.

What a page may contain:

- A block ```` ```sh ```` is run, line by line, in one folder per page. A line continues after a backslash or an open
  quote. `airflow-pipelines` runs in this process, `export` and `cd` last until the end of the page, everything else
  runs in bash.
- A block ```` ```text ```` directly below is the expected output (standard output and standard error of
  `airflow-pipelines`, of bash both). `…` stands for any text within a line, a line `…` for any number of lines.
- A block with `title="path"` is a file; it is written before the commands below it run.

A comment on the line above a block changes what is done with it:

- `<!-- setup: NAME -->`, there or at the top of a page, calls a function of `setups.py` first.
- `<!-- exit: 4 -->` expects this exit code of the block's last command.
- `<!-- needs airflow: COMMAND -->` runs the block in the integration tests only; the fast tests run COMMAND instead.
- `<!-- not run: REASON -->` is never run. `test_pages.py` counts these.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"^ *<!-- (?P<name>setup|exit|needs airflow|not run): (?P<value>.*?) -->\n"
    r"|^ *```(?P<language>\w+)?(?P<info>[^\n`]*)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
Command = Callable[[Sequence[str]], "tuple[int, str]"]


@dataclass
class Block:
    """A fenced block with the comments above it. `output` is the text block directly below."""

    language: str
    body: str
    title: str | None = None
    comments: dict[str, list[str]] = field(default_factory=dict)
    output: str | None = None

    @property
    def not_run(self) -> str | None:
        """Return the reason why no test runs this block."""
        return next(iter(self.comments.get("not run", [])), None)


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of a page in order; a comment belongs to the next block."""
    blocks: list[Block] = []
    comments: dict[str, list[str]] = {}
    end = -1
    for match in _TOKEN.finditer(text):
        if match["name"]:
            comments.setdefault(match["name"], []).append(match["value"])
            continue
        follows = not comments and not text[max(end, 0) : match.start()].strip() and end >= 0
        title = _TITLE.search(match["info"] or "")
        body = textwrap.dedent(match["body"])
        block = Block(match["language"] or "", body, title[1] if title else None, comments)
        if block.language == "text" and follows and blocks[-1].language == "sh":
            blocks[-1].output = body
        else:
            blocks.append(block)
        comments, end = {}, match.end()
    return blocks


def lines_of(body: str) -> Iterator[str]:
    """Yield the commands of a block; one goes over several lines after a backslash or an open quote."""
    pending = ""
    for line in body.splitlines():
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            pending += "\n"
            continue
        if pending.strip() and not pending.lstrip().startswith("#"):
            yield pending
        pending = ""
    assert not pending, f"unfinished command: {pending}"


class Shell:
    """Runs the commands of one page.

    `program` runs `airflow-pipelines` in this process. `services` are commands that do not end, with a function that
    starts each.
    """

    def __init__(
        self,
        folder: Path,
        program: Command,
        environment: Any,
        services: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        self.program, self.environment, self.services = program, environment, services or {}
        self.enter(folder)

    def enter(self, folder: str | Path) -> None:
        """Make a folder the current one."""
        self.environment.chdir(folder)
        self.environment.setenv("PWD", os.getcwd())  # noqa: PTH109  (as a shell sets it)

    def run(self, body: str) -> tuple[int, str]:
        """Run the commands and return the exit code of the last one and the output of all."""
        code, output = 0, ""
        for line in lines_of(body):
            assert code == 0, f"exit code {code} before the last command of a block:\n{output}"
            code, said = self._one(line)
            output += said
        return code, output

    def _one(self, line: str) -> tuple[int, str]:
        words = shlex.split(line, comments=True)
        if line in self.services:
            self.services[line]()
            return 0, ""
        if words[0] == "export":
            for word in words[1:]:
                name, _, value = word.partition("=")
                self.environment.setenv(name, os.path.expandvars(value))
            return 0, ""
        if words[0] == "cd":
            self.enter(os.path.expandvars(words[1]))
            return 0, ""
        if words[0] == "airflow-pipelines" and not {"|", ">", "&&"} & set(words):
            return self.program([os.path.expandvars(word) for word in words[1:]])
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            env={**os.environ, "PATH": path},
            check=False,
        )
        return done.returncode, done.stdout


def matches(expected: str, actual: str) -> bool:
    """Compare an output with what a page shows, where `…` stands for anything."""
    pattern = ""
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*"
        else:
            pieces = re.split(r"…", re.sub(r"[ \t]+", " ", line.rstrip()))
            pattern += "[^\n]*".join(re.escape(piece) for piece in pieces) + r"\n"
    flat = "".join(re.sub(r"[ \t]+", " ", line.rstrip()) + "\n" for line in actual.rstrip("\n").split("\n"))
    return re.fullmatch(pattern, flat) is not None


def run_page(text: str, shell: Shell, setup: Callable[[str], None], *, airflow: bool = False) -> int:
    """Run a page's blocks in order and return how many ran. `airflow`: a scheduler runs, for the integration test."""
    ran = 0
    for block in blocks_of(text):
        for name in block.comments.get("setup", []):
            setup(name)
        if block.not_run is not None:
            continue
        if block.title is not None:
            file = Path(block.title)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body, encoding="utf-8")
        if block.language != "sh":
            continue
        instead = block.comments.get("needs airflow")
        body, expected = block.body, block.output
        if instead is not None and not airflow:
            body, expected = instead[0], None
        code, output = shell.run(body)
        wanted = int(block.comments.get("exit", ["0"])[0])
        assert code == wanted, f"exit code {code}, expected {wanted}:\n{body}\n{output}"
        assert expected is None or matches(expected, output), (
            f"{body}\nprinted\n{output}\nthe page shows\n{expected}"
        )
        ran += 1
    return ran
