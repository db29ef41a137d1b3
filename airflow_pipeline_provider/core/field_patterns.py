"""Patterns that name fields of documents, and the walk along a document's keys that finds them.

A pattern is keys with dots between them: `user.email`.  `*` stands for any characters of one key (`user.*`, `ip_*`),
the key `**` for any number of keys (`**.email`).  A key of a document that holds dots is several keys:
`{"user": {"email": 1}}` and `{"user.email": 1}` are one field.  Arrays take no key: `items.name` is the name of each
element.  A pattern covers what it names and everything below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

How = Literal["drop", "hash", "mask"]
Pattern = tuple[str, ...]

ANY_DEPTH = "**"
RECORD_ID = "_id"
"""Path of a rule for the record id, which is no field of the document."""


class RedactRule(Struct, frozen=True, omit_defaults=True):
    """What happens to the values of a pattern; `keep` is how many characters at the end `mask` leaves."""

    path: str
    how: How
    keep: int = 0


class KeyWalk(NamedTuple):
    """Where a walk is below a key: the positions in the patterns, or the index of the pattern that was reached."""

    positions: frozenset[tuple[int, int]]
    reached: int | None = None


def parse_pattern(text: str) -> Pattern:
    """Parse a pattern into its keys.

    Raises:
        ValueError: A key is empty or not printable, or the pattern ends with `**`.
    """
    keys = tuple(text.split("."))
    if not all(keys) or not text.isprintable() or text != text.strip():
        raise ValueError(
            "must be keys with dots between them such as user.email, user.* for all below, or **.email at any depth, "
            f"got {text!r}"
        )
    if any(ANY_DEPTH in key and key != ANY_DEPTH for key in keys):
        raise ValueError(f"must have ** as a key of its own such as **.email, got {text!r}")
    if keys[-1] == ANY_DEPTH:
        raise ValueError(f"must not end with **, since a field includes everything below it, got {text!r}")
    return keys


def begin(patterns: Sequence[Pattern]) -> KeyWalk:
    """Return the beginning of a walk: the document itself."""
    return KeyWalk(_closed(patterns, ((number, 0) for number in range(len(patterns)))))


def advance(patterns: Sequence[Pattern], step: KeyWalk, key: str) -> KeyWalk:
    """Return the step below a key, which may hold dots; of several patterns that are reached the first counts."""
    positions = step.positions
    for part in key.split("."):
        moved: set[tuple[int, int]] = set()
        reached: list[int] = []
        for number, at in positions:
            wanted = patterns[number][at]
            if wanted == ANY_DEPTH:
                moved.add((number, at))
            elif _matches(wanted, part):
                if at + 1 == len(patterns[number]):
                    reached.append(number)
                moved.add((number, at + 1))
        if reached:
            return KeyWalk(frozenset(), min(reached))
        positions = _closed(patterns, moved)
    return KeyWalk(positions)


def reached_by(patterns: Sequence[Pattern], keys: Iterable[str]) -> int | None:
    """Return the index of the pattern that covers the field, None if none does."""
    step = begin(patterns)
    for key in keys:
        step = advance(patterns, step, key)
        if step.reached is not None:
            return step.reached
    return None


def is_left_out(field: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Return whether a filter of fields, as Elasticsearch has it, leaves out the whole field.

    There `*` also matches dots, and a name includes everything below it.
    """
    above = [field[:end] for end in range(1, len(field) + 1) if end == len(field) or field[end] == "."]
    if any(glob_matches(pattern, name) for pattern in exclude for name in above):
        return True
    if not include:
        return False
    if any(glob_matches(pattern, name) for pattern in include for name in above):
        return False
    # a part of an object may be included
    return not any("*" in pattern or pattern.startswith(f"{field}.") for pattern in include)


def glob_matches(pattern: str, name: str) -> bool:
    """Return whether the name is the pattern, whose `*` is any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _matches(wanted: str, part: str) -> bool:
    return wanted == part or ("*" in wanted and glob_matches(wanted, part))


def _closed(patterns: Sequence[Pattern], positions: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """Add the positions behind each `**`, which may stand for no key at all."""
    found: set[tuple[int, int]] = set()
    for number, start in positions:
        at = start
        found.add((number, at))
        while at < len(patterns[number]) and patterns[number][at] == ANY_DEPTH:
            at += 1
            found.add((number, at))
    return frozenset(p for p in found if p[1] < len(patterns[p[0]]))
