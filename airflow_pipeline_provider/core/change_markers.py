"""Compare marks of a source: what was written since a view was opened.

A source may return a *change marker* before it opens the view of a window: for each part that numbers its operations
(the shards of an index) the number up to which everything is in the view.  The commit keeps it.  Later that marker is
compared with a new one.  Either nothing was written in between, or rows of the window with a higher number are
counted.  Anything that the numbers do not prove is `unknown` or `doubt`, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from airflow_pipeline_provider.core.intervals import Interval

NO_MARKER = "no change marker: the source has none, or an earlier version loaded the window"
NOT_SUPPORTED = "the source has no change marker"


class Place(Struct, frozen=True, omit_defaults=True):
    """Part of a source with numbered operations: an index.

    `identity` differs once the place was created again or restored.  `checkpoints` are the last numbers by shard.
    `terms` are the primary terms by shard, and `view` is a fingerprint of what decides which rows are visible; None
    where the source may not be asked.
    """

    name: str
    identity: str
    checkpoints: tuple[int, ...]
    terms: tuple[int, ...] | None = None
    view: str | None = None


class ChangeMarker(Struct, frozen=True, omit_defaults=True, tag_field="version", tag=1):
    """What a source can state about "everything up to here".

    `maxima` are the greatest values of a change column, one by slice, as the source writes them: only it can order
    them.  `doubt`: rows with a higher number are changed, but that there are none proves nothing.  `unknown`: the
    marker cannot be compared.  Both are reasons without a full stop.
    """

    places: tuple[Place, ...] = ()
    maxima: tuple[str, ...] = ()
    doubt: str | None = None
    unknown: str | None = None


class Shard(NamedTuple):
    """A shard that was written to: rows above `checkpoint` are new or changed."""

    place: str
    number: int
    checkpoint: int


class Comparison(NamedTuple):
    """What happened to the places between two markers.

    `written`: shards with operations since.  `new`: places that did not exist, so all of their rows are new.  `gone`:
    places that no longer exist, whose rows are missing now.  `doubt` and `unknown` as in `ChangeMarker`.
    """

    written: tuple[Shard, ...] = ()
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    doubt: str | None = None
    unknown: str | None = None

    @property
    def proves_unchanged(self) -> bool:
        """Return whether nothing at all was written, so that no row needs to be counted."""
        return self == Comparison()


class Seen(str, Enum):
    """What a source can state about a window since its marker."""

    UNCHANGED = "unchanged"  # nothing was written: the rows are those that the view showed
    COUNTED = "counted"  # `changed` rows are new or changed; with 0 of them, rows can only be missing
    UNKNOWN = "unknown"  # the counts alone decide


class MarkedWindow(NamedTuple):
    """A committed interval with the marker of the extraction that was loaded; None: it has none."""

    interval: Interval
    marker: ChangeMarker | None


class WindowChanges(NamedTuple):
    """Answer for one window.

    `changed` counts the rows of the interval that were written since the marker, `rows` all rows that it has now
    (None: not counted).  `reason` is why the answer is unknown, without a full stop.
    """

    seen: Seen
    changed: int = 0
    rows: int | None = None
    reason: str | None = None


def to_detail(marker: ChangeMarker | None) -> dict[str, Any]:
    """Return the part of an entry's detail that keeps the marker, as JSON gives it back; {} without one."""
    return {} if marker is None else {"marker": msgspec.json.decode(msgspec.json.encode(marker))}


def from_detail(detail: dict[str, Any]) -> ChangeMarker | None:
    """Return the marker that an entry's detail keeps; None without one, unknown for one of a newer version."""
    if "marker" not in detail:
        return None
    try:
        return msgspec.convert(detail["marker"], ChangeMarker)
    except msgspec.ValidationError:
        return ChangeMarker(unknown="the commit's change marker is of a newer version")


def why_not_seen(detail: dict[str, Any]) -> str | None:
    """Return why updates in place of a commit with this detail may not be seen; None if its marker shows them."""
    marker = from_detail(detail)
    return NO_MARKER if marker is None else joined([marker.unknown, marker.doubt])


def joined(reasons: Iterable[str | None]) -> str | None:
    """Return the different reasons in one sentence, None without any."""
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None


def earliest(markers: Sequence[ChangeMarker | None]) -> ChangeMarker | None:
    """Return the marker of a window whose slices have these markers: what is in every one of their views.

    A place that one of them lacks is left out, so that its rows count as new.
    """
    known = [marker for marker in markers if marker is not None]
    if not known or len(known) < len(markers):
        return None
    first, *others = known
    for other in others:
        first = _earlier(first, other)
    return first


def _earlier(one: ChangeMarker, other: ChangeMarker) -> ChangeMarker:
    unknown = joined([one.unknown, other.unknown])
    if unknown is not None:
        return ChangeMarker(unknown=unknown)
    places = {place.name: place for place in other.places}
    merged = []
    doubts = [one.doubt, other.doubt]
    for place in one.places:
        twin = places.get(place.name)
        if twin is None:
            continue
        if (twin.identity, len(twin.checkpoints)) != (place.identity, len(place.checkpoints)):
            return ChangeMarker(unknown=f"{place.name} was created again while the window was read")
        if (twin.terms, twin.view) != (place.terms, place.view):
            doubts.append(f"{place.name} got another primary or alias while the window was read")
        lower = tuple(map(min, place.checkpoints, twin.checkpoints))
        merged.append(msgspec.structs.replace(place, checkpoints=lower))
    maxima = tuple(dict.fromkeys((*one.maxima, *other.maxima)))
    return ChangeMarker(tuple(merged), maxima, doubt=joined(doubts))


def compare(before: ChangeMarker, now: ChangeMarker) -> Comparison:
    """Compare the places of two markers of one source."""
    unknown = joined([before.unknown, now.unknown])
    if unknown is not None:
        return Comparison(unknown=unknown)
    current = {place.name: place for place in now.places}
    written: list[Shard] = []
    gone, doubts = [], [before.doubt, now.doubt]
    for place in before.places:
        twin = current.pop(place.name, None)
        if twin is None:
            gone.append(place.name)
            continue
        if twin.identity != place.identity:
            return Comparison(unknown=f"{place.name} was created again or restored since")
        if len(twin.checkpoints) != len(place.checkpoints):
            return Comparison(unknown=f"{place.name} did not report all of its shards")
        for number, (then, since) in enumerate(zip(place.checkpoints, twin.checkpoints, strict=True)):
            if since < then:
                return Comparison(unknown=f"shard {number} of {place.name} lost operations since")
            if since > then:
                written.append(Shard(place.name, number, then))
        doubts += _doubts(place, twin)
    return Comparison(tuple(written), tuple(current), tuple(gone), joined(doubts))


def _doubts(before: Place, now: Place) -> list[str]:
    if before.terms is None or now.terms is None:
        return [] if before.terms is now.terms is None else [f"the primary terms of {now.name} are not known"]
    found = [
        f"shard {number} of {now.name} has another primary since (term {then}, now {since}), which may have lost "
        "operations that the window was read with"
        for number, (then, since) in enumerate(zip(before.terms, now.terms, strict=True))
        if then != since
    ]
    if before.view != now.view:
        found.append(f"an alias or a runtime field of {now.name} has changed since")
    return found[:1]
