"""Write a command's results to standard output (tables or JSON) and everything else to standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import IO, TYPE_CHECKING, TypeVar

import msgspec

from airflow_pipeline_provider.escaping import visible, visible_json
from airflow_pipeline_provider.observability.redaction import redact_values

if TYPE_CHECKING:
    from rich.console import Console

R = TypeVar("R", bound=msgspec.Struct)

# Without a terminal lines are not wrapped: programs that cut columns need them whole.
WIDE = 10_000


def one_line(text: str) -> str:
    """Return the text on one line: runs of white space become one space, unprintable characters become escapes."""
    return visible(" ".join(text.split()))


class ErrorText(msgspec.Struct, frozen=True):
    """Error: the name of its class, and its message with secrets masked."""

    kind: str
    message: str


def error_text(error: BaseException) -> ErrorText:
    """Return the error for a command's JSON."""
    return ErrorText(type(error).__name__, redact_values(str(error)))


class ReaderLeftError(Exception):
    """The reader of standard output or standard error closed it, as in `… | head`."""


class Screen:
    """Write results to `out`, notes and errors to `err`.

    Texts are written literally: rich's markup is off. A closed pipe raises ReaderLeftError; rich itself would end
    the process.
    """

    def __init__(self, out: IO[str], err: IO[str], *, as_json: bool, verbose: bool = False) -> None:
        self.out, self.err = out, err
        self.as_json, self.verbose = as_json, verbose

    @property
    def width(self) -> int | None:
        """Return the terminal's width in columns, or None for a file or a pipe, where lines are not wrapped."""
        return self.console(self.out).width if self.out.isatty() else None

    def print_json(self, value: object) -> None:
        """Print the command's JSON document."""
        document = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        self._write(visible_json(document) + "\n", self.out)

    def print_result(self, result: R, render: Callable[[R, Screen], None]) -> None:
        """Print a command's result: its JSON with `--output json`, else what `render` prints of it."""
        if self.as_json:
            self.print_json(msgspec.to_builtins(result))
        else:
            render(result, self)

    def print_line(self, text: str, style: str | None = None) -> None:
        """Print a line of the result for people; with `--output json`, print nothing."""
        if not self.as_json:
            self._line(text, style, self.out)

    def print_raw(self, line: str) -> None:
        """Print a line of a result that is a document of its own, unchanged, also with `--output json`."""
        self._write(line + "\n", self.out)

    def print_table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        right: Iterable[str] = (),
        styles: Sequence[str | None] = (),
    ) -> None:
        """Print rows of texts.

        Columns named in `right` hold numbers and are aligned right; `styles` has one style for each row.
        """
        cells = [[one_line(cell) for cell in row] for row in rows]
        if self.out.isatty():
            self._drawn_table(columns, cells, set(right), styles)
        else:
            self._write(
                _plain_table([list(columns), *cells], [name in set(right) for name in columns]), self.out
            )

    def _drawn_table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        rights: set[str],
        styles: Sequence[str | None],
    ) -> None:
        """Print the table with rich, for a terminal."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        console = self.console(self.out)
        table = Table(box=box.SIMPLE_HEAD if _is_utf(self.out) else box.ASCII2)
        for column in columns:
            justify = "right" if column in rights else "left"
            table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for number, row in enumerate(rows):
            style = styles[number] if number < len(styles) else None
            table.add_row(*(Text(cell, style=style or "") for cell in row))
        with console.capture() as captured:
            console.print(table)
        self._write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()), self.out)

    def print_note(self, text: str, style: str | None = None) -> None:
        """Print a progress note to standard error."""
        self._line(text, style, self.err)

    def print_error(self, text: str) -> None:
        """Print why the command failed; each further line of the text is printed on its own line."""
        first, *more = text.splitlines() or [""]
        self._line(f"error: {first}", "red", self.err)
        for line in more:
            self._line(line, "red", self.err)

    def console(self, stream: IO[str]) -> Console:
        """Return a rich console for one of the two streams, with colours only on a terminal."""
        from rich.console import Console

        width = None if stream.isatty() else WIDE
        return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)

    def flush(self) -> None:
        """Flush standard output; raise ReaderLeftError if its reader closed it."""
        try:
            self.out.flush()
        except BrokenPipeError as error:
            raise ReaderLeftError from error

    def _line(self, text: str, style: str | None, stream: IO[str]) -> None:
        console = self.console(stream)
        with console.capture() as captured:
            console.print(visible(redact_values(text)), style=style, soft_wrap=True)
        self._write(captured.get(), stream)

    @staticmethod
    def _write(text: str, stream: IO[str]) -> None:
        """Write the text; characters that the stream cannot encode become escapes."""
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except BrokenPipeError as error:
            raise ReaderLeftError from error


def _plain_table(lines: Sequence[Sequence[str]], rights: Sequence[bool]) -> str:
    """Return the table with two spaces between the columns.

    It equals what rich draws without a terminal, and takes a fraction of the time.
    """
    from rich.cells import cell_len

    wide = [[len(cell) if cell.isascii() else cell_len(cell) for cell in line] for line in lines]
    most = [max(column) for column in zip(*wide, strict=True)]
    text = []
    for line, widths in zip(lines, wide, strict=True):
        padded = []
        for cell, width, widest, right in zip(line, widths, most, rights, strict=True):
            room = " " * (widest - width)
            padded.append(room + cell if right else cell + room)
        text.append("  ".join(padded).rstrip() + "\n")
    return "".join(text)


def _is_utf(stream: IO[str]) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
