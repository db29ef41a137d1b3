"""What commands write: an answer on standard output (tables or JSON), everything else on standard error."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# Not a terminal: nobody wraps lines there, and a program that cuts columns wants them whole.
WIDE = 240
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def one_line(text: str) -> str:
    """The text without line ends and control characters."""
    return " ".join(_CONTROL.sub(" ", text).split())


class Screen:
    """Where a command writes.  `answer` and `table` go to `out`, notes and errors to `err`.

    Texts are written as they are: what looks like rich's markup is none.
    """

    def __init__(self, out: IO[str], err: IO[str], *, as_json: bool, verbose: bool = False) -> None:
        self.out, self.err = out, err
        self.as_json, self.verbose = as_json, verbose

    def answer(self, value: Any) -> None:
        """The one JSON document of a command."""
        self._write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def say(self, text: str, style: str | None = None) -> None:
        """A line of a table's kind: for people, so not with `--output json`."""
        if not self.as_json:
            self._print(self.console(), text, style)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        title: str | None = None,
        right: Iterable[str] = (),
        styles: Sequence[str | None] = (),
    ) -> None:
        """Rows of texts; columns named in `right` hold numbers, `styles` is one for each row."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        if title:
            self.say(title, "bold")
        console = self.console()
        terminal = console.is_terminal
        table = Table(
            box=box.SIMPLE_HEAD if terminal and _is_utf(self.out) else box.ASCII2 if terminal else None
        )
        if not terminal:
            table.pad_edge = False
        rights = set(right)
        for column in columns:
            justify = "right" if column in rights else "left"
            table.add_column(column, justify=justify, no_wrap=not terminal, overflow="fold")  # type: ignore[arg-type]
        for number, row in enumerate(rows):
            style = styles[number] if number < len(styles) else None
            table.add_row(*(Text(cell, style=style or "") for cell in row))
        with console.capture() as captured:
            console.print(table)
        self._write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    def note(self, text: str, style: str | None = None) -> None:
        """A line about what is going on."""
        self._print(self.console(err=True), text, style)

    def error(self, text: str) -> None:
        """The sentence that says why the command failed."""
        lines = [_CONTROL.sub(" ", line).rstrip() for line in text.splitlines()]
        self._print(self.console(err=True), f"error: {os.linesep.join(lines)}", "red")

    def console(self, *, err: bool = False) -> Console:
        """A rich console on one of the two streams; colours only on a terminal."""
        from rich.console import Console

        stream = self.err if err else self.out
        width = None if stream.isatty() else WIDE
        return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)

    def flush(self) -> None:
        self.out.flush()

    def _print(self, console: Console, text: str, style: str | None) -> None:
        console.print(_encodable(text, console.file), style=style, soft_wrap=True)

    def _write(self, text: str) -> None:
        self.out.write(_encodable(text, self.out))


def _is_utf(stream: IO[str]) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def _encodable(text: str, stream: IO[str]) -> str:
    """What the stream can take; what it cannot is written as an escape instead of failing the command."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
