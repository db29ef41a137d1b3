"""Escape characters in untrusted text that a terminal or a log viewer would interpret or hide.

Control characters, line ends and separators, bidirectional marks, zero-width characters and lone surrogates are not
printable by Python's definition (`str.isprintable`). Errors escape their message when they are created; log lines
and command output are escaped when they are written. Other code does not need to escape.
"""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Return the text on one line, with unprintable characters as `\n`, `\x1b`, `\u202e` or `\U000e0001`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_json(document: str) -> str:
    r"""Return a JSON document with each unprintable character in its strings as a JSON `\u` escape.

    Line ends stay, because valid JSON has them only between values.
    """
    return "\n".join(line if line.isprintable() else _json_line(line) for line in document.split("\n"))


def _json_line(line: str) -> str:
    return "".join(c if c.isprintable() else _json_escape(c) for c in line)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
