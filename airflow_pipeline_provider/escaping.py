"""Make text from outside safe to print: what a terminal or a log file would obey or hide becomes an escape.

Control characters, line ends and separators, bidirectional marks, zero-width characters and lone surrogates are not
printable by Python's own definition (`str.isprintable`). Errors escape their message when they are made, log lines
and command output when they are written, so other code need not.
"""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Return the text on one line; what is not printable becomes `\n`, `\x1b`, `\u202e` or `\U000e0001`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_json(document: str) -> str:
    r"""Return a JSON document with each such character in its strings as JSON's own `\u` escape.

    Line ends are kept: in a JSON document they are only between values.
    """
    return "\n".join(line if line.isprintable() else _json_line(line) for line in document.split("\n"))


def _json_line(line: str) -> str:
    return "".join(c if c.isprintable() else _json_escape(c) for c in line)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
