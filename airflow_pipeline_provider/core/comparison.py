"""Compare the records of a window in the source with those in the target, one bucket of record ids at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import NamedTuple

Row = tuple[str, int, "bytes | None", bool]
"""Record id, event time in microseconds since 1970, digest of the content, and whether another one proves a change.

The digest is None where contents are not compared, or where this one cannot be.
"""

Key = str | tuple[str, int]


class DifferenceKind(str, Enum):
    """How a record differs between source and target."""

    MISSING = "missing"  # in the source, and not in the target
    EXTRA = "extra"  # in the target, and not in the source
    DIFFERENT = "different"  # in both, with another event time or another content
    REPEATED = "repeated"  # more than one row on either side has its record id


class RecordDifference(NamedTuple):
    """A record that differs; a side without it has no rows and no event time (microseconds since 1970)."""

    kind: DifferenceKind
    record_id: str
    source_rows: int
    target_rows: int
    source_time: int | None
    target_time: int | None
    content: bool = False
    """Whether the contents differ; False also where they were not compared."""


@dataclass
class Tally:
    """Numbers of a comparison: `source` and `target` count rows, the others records.

    `quarantined` records are in the source and not in the target, as the manifest lists.  The contents of `unproven`
    records could not be compared, and nothing else of them differs.
    """

    source: int = 0
    target: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    repeated: int = 0
    quarantined: int = 0
    unproven: int = 0

    @property
    def differences(self) -> int:
        """Return the number of records that differ."""
        return self.missing + self.extra + self.different + self.repeated

    def add(self, other: Tally) -> None:
        """Add the numbers of other records."""
        for one in fields(Tally):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


def compare(
    source: Iterable[Row],
    target: Iterable[Row],
    quarantined: Iterable[Row] = (),
    *,
    keeps_history: bool = False,
    content: bool = False,
) -> tuple[Tally, list[RecordDifference]]:
    """Compare rows that hold all rows of their record ids; return the numbers and the records that differ.

    With `keeps_history` a record is one version (id and event time), and versions that only the target has are not
    differences: the source no longer holds them.
    """
    offered, held = _grouped(source, keeps_history), _grouped(target, keeps_history)
    aside = _grouped(quarantined, keeps_history)
    tally = Tally(sum(map(len, offered.values())), sum(map(len, held.values())))
    found = []
    for key, rows in offered.items():
        kind, changed = _judge(rows, held.get(key, ()), aside.get(key, ()), tally, content=content)
        if kind is not None:
            found.append(_difference(kind, rows, held.get(key, ()), changed))
    for key, rows in held.items():
        if key in offered:
            continue
        if not keeps_history:
            found.append(_difference(DifferenceKind.EXTRA, (), rows, False))
        elif len(rows) > 1:
            found.append(_difference(DifferenceKind.REPEATED, (), rows, False))
    for one in found:
        setattr(tally, one.kind.value, getattr(tally, one.kind.value) + 1)
    return tally, found


def _grouped(rows: Iterable[Row], by_version: bool) -> dict[Key, list[Row]]:
    grouped: dict[Key, list[Row]] = {}
    for row in rows:
        key = row[:2] if by_version else row[0]
        if key in grouped:
            grouped[key].append(row)
        else:
            grouped[key] = [row]
    return grouped


def _judge(
    rows: list[Row], held: Iterable[Row], aside: Iterable[Row], tally: Tally, *, content: bool
) -> tuple[DifferenceKind | None, bool]:
    """Return how a record of the source differs, and whether its content does; count what is explained."""
    there, kept = list(held), list(aside)
    if not there:
        if len(kept) < len(rows) or (len(rows) == 1 and _was_changed(rows[0], kept[0])):
            return DifferenceKind.MISSING, False
        tally.quarantined += 1
        return None, False
    if len(there) > 1 or len(rows) - len(kept) > 1:
        return DifferenceKind.REPEATED, False
    one, other = rows[0], there[0]
    if _was_changed(one, other):
        return DifferenceKind.DIFFERENT, _content_changed(one, other)
    if content and (one[2] is None or one[2] != other[2]):
        tally.unproven += 1
    return None, False


def _was_changed(one: Row, other: Row) -> bool:
    return one[1] != other[1] or _content_changed(one, other)


def _content_changed(one: Row, other: Row) -> bool:
    """Return whether the digests prove that the contents differ."""
    comparable = one[2] is not None and other[2] is not None and one[3] and other[3]
    return comparable and one[2] != other[2]


def _difference(
    kind: DifferenceKind, source: Iterable[Row], target: Iterable[Row], content: bool
) -> RecordDifference:
    offered, held = list(source), list(target)
    return RecordDifference(
        kind,
        (offered or held)[0][0],
        len(offered),
        len(held),
        offered[0][1] if offered else None,
        held[0][1] if held else None,
        content,
    )
