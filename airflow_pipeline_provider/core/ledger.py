"""Kinds of ledger entries, which entry may follow which, and what is computed from the entries.

The ledger is append-only.  Coverage, continuation, blocked windows and a day's status (`core.day_status`) are
functions of its entries and never stored as a second source of truth (`core.coverage` is a cache).

A window's life: ``attempt -> replacing(token) -> committed(token)``, with ``failed`` anywhere after the
attempt and ``waived`` by hand at any time.  A committed window may be replaced: ``replacing`` with a
newer token, then ``committed`` with that token.  A committed window may be ``checked`` later: late data is seen
when source and target are counted again.  A day or window that is not as the pipeline file expects is ``missed``
(`core.expectations`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

from msgspec import Struct

from airflow_pipeline_provider.core.intervals import (
    Instant,
    Interval,
    common,
    contiguous_end,
    merge,
    subtract,
)
from airflow_pipeline_provider.exceptions import ConfigError, DataError, PipelineError, SupersededError

DATA_ERROR = DataError.__name__


class Kind(str, Enum):
    """Kind of an entry: what happened to its interval."""

    ATTEMPT = "attempt"  # a slice plan was frozen
    REPLACING = "replacing"  # the target is about to change under this token
    COMMITTED = "committed"  # audited: source = manifest = target = distinct ids
    FAILED = "failed"  # detail: {"error": class name, "message": ..., "phase": ...}
    WAIVED = "waived"  # left incomplete on purpose; detail: {"reason": ...}
    CHECKED = "checked"  # counted again; detail: {"source": n, "target": n, "verdict": Check[, "changed": n]}
    MISSED = (
        "missed"  # not as expected; detail: that of `expectations.Miss`; token: of the commit that is judged
    )
    FILES_REMOVED = "files_removed"  # the part files of a commit are deleted; detail: {"keep": "30d", ...}


class Check(str, Enum):
    """Result of counting a committed interval again."""

    EQUAL = "equal"  # written only where it resolves an older finding
    GREW = "grew"  # late data: the source has rows that the target lacks
    CHANGED = "changed"  # equal counts, but rows of the source were written since they were read
    SHRANK = "shrank"  # the target holds more rows than the source: deleting them needs review


class Entry(Struct, frozen=True, omit_defaults=True):
    """One line of the ledger.

    `token` is set on replacing and committed, `rows` and `manifest` (sha-256 of the manifest) on committed;
    `at` is the store's clock when it was written, `run` is "dag_id/run_id", `attempt` the attempt's id.
    """

    kind: Kind
    interval: Interval
    at: Instant
    token: int | None = None
    attempt: str | None = None
    run: str | None = None
    rows: int | None = None
    manifest: str | None = None
    detail: dict[str, Any] = {}


# --- coverage


def committed(entries: Iterable[Entry]) -> list[Interval]:
    """Return what was ever committed: it counts as covered for planning, also while it is being replaced."""
    return merge(entry.interval for entry in entries if entry.kind is Kind.COMMITTED)


def waived(entries: Iterable[Entry]) -> list[Interval]:
    """Return what was waived."""
    return merge(entry.interval for entry in entries if entry.kind is Kind.WAIVED)


def blocked(entries: Iterable[Entry], max_attempts: int) -> list[Interval]:
    """Return windows that failed, on data or unexpectedly, `max_attempts` times since a commit or waive."""
    return blocked_of(failures_after({}, entries), max_attempts)


def counts_as_failure(entry: Entry) -> bool:
    """Return whether the entry counts towards `max_attempts`.

    It does for an error in the data, and for one of an unexpected type: a document or a window's size may cause it.
    """
    if entry.kind is not Kind.FAILED:
        return False
    return entry.detail.get("error") == DATA_ERROR or entry.detail.get("unexpected") is True


DECISIONS = ("shrink", "fields", "unusual")


def needs_decision(entry: Entry) -> bool:
    """Return whether a policy refused the window: it fails again until someone accepts it or changes the file."""
    return entry.kind is Kind.FAILED and any(key in entry.detail for key in DECISIONS)


def failures_after(failures: dict[Interval, int], entries: Iterable[Entry]) -> dict[Interval, int]:
    """Return `failures` updated by these entries; a commit or waiver resets the windows that it overlaps.

    What it leaves of such a window stays with 0 failures: the planner does not join it into a larger window again.
    """
    failures = dict(failures)
    for entry in entries:
        if counts_as_failure(entry):
            failures[entry.interval] = failures.get(entry.interval, 0) + 1
        elif entry.kind in (Kind.COMMITTED, Kind.WAIVED) and failures:
            reset = [window for window in failures if window.overlaps(entry.interval)]
            for window in reset:
                del failures[window]
            for rest in subtract(reset, [entry.interval]) if reset else ():
                failures.setdefault(rest, 0)
    return failures


def blocked_of(failures: dict[Interval, int], max_attempts: int) -> list[Interval]:
    """Return the windows with `max_attempts` failures or more; raise ConfigError for a number below 1."""
    if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
        raise ConfigError(f"max_attempts: expected a whole number, 1 or more, got {max_attempts!r}")
    return merge(window for window, n in failures.items() if n >= max_attempts)


def failures_in(entries: Iterable[Entry], piece: Interval) -> tuple[int, Entry | None]:
    """Return how many failed entries overlap the piece, and the last of them."""
    failed = [e for e in entries if e.kind is Kind.FAILED and e.interval.overlaps(piece)]
    return len(failed), failed[-1] if failed else None


def unverified(entries: Iterable[Entry]) -> list[Interval]:
    """Return what was committed, and where a newer token has begun a replacement without committing it.

    The target may hold either version there.  A first load that was not committed is not included: it is a gap.
    Nor is time that was waived afterwards.
    """
    written = list(entries)
    if all(entry.kind is not Kind.REPLACING for entry in written):
        return []
    begun = []
    for interval, entry, number in effective(written, (Kind.REPLACING, Kind.COMMITTED)):
        if entry.kind is Kind.REPLACING:
            later = [other.interval for other in written[number + 1 :] if other.kind is Kind.WAIVED]
            begun += subtract([interval], later)
    return common(begun, committed(written)) if begun else []


def drifted(entries: Iterable[Entry]) -> list[tuple[Interval, Entry]]:
    """Return where source and target are known to differ: disjoint pieces in order, each with its check entry.

    The newest check of an instant counts, and only until a commit or a waive touches it.
    """
    drifts: list[tuple[Interval, Entry]] = []
    for entry in entries:
        if drifts and entry.kind in (Kind.CHECKED, Kind.COMMITTED, Kind.WAIVED):
            drifts = [
                (left, check) for piece, check in drifts for left in subtract([piece], [entry.interval])
            ]
        if entry.kind is Kind.CHECKED and entry.detail.get("verdict") != Check.EQUAL.value:
            drifts.append((entry.interval, entry))
    return sorted(drifts, key=lambda found: found[0])


def continuation(entries: Iterable[Entry], day: Interval) -> datetime | None:
    """Return the end of the committed or waived prefix of the day; None when there is no such prefix."""
    written = list(entries)
    end = contiguous_end(day, committed(written) + waived(written))
    return end if end > day.start else None


def committed_token(entries: Iterable[Entry], interval: Interval) -> int | None:
    """Return the newest token that committed a part of the interval."""
    tokens = [_token(e) for e in entries if e.kind is Kind.COMMITTED and e.interval.overlaps(interval)]
    return max(tokens, default=None)


def rows_inside(entries: Iterable[Entry], interval: Interval) -> tuple[int | None, bool]:
    """Return the rows known to be committed inside, and whether that is all that is committed inside.

    A commit that reaches beyond the interval, or that a newer one replaced in part, counts as 0: how many of its rows
    are left inside is unknown.  The rows are None when no commit counts.
    """
    rows, exact = None, True
    for piece, entry, _ in effective(entries):
        if not piece.overlaps(interval):
            continue
        if piece == entry.interval and interval.covers(piece) and entry.rows is not None:
            rows = (rows or 0) + entry.rows
        else:
            exact = False
    return rows, exact


def tiling(entries: Iterable[Entry], interval: Interval) -> list[Entry] | None:
    """Return the commits in the order of time if they are all entries, and follow each other through the interval."""
    commits = sorted(entries, key=_start)
    at = interval.start
    for entry in commits:
        if entry.interval.start != at or entry.kind is not Kind.COMMITTED:
            return None
        at = entry.interval.end
    return commits if commits and at == interval.end else None


def _start(entry: Entry) -> datetime:
    return entry.interval.start


def effective(
    entries: Iterable[Entry], kinds: tuple[Kind, ...] = (Kind.COMMITTED,)
) -> list[tuple[Interval, Entry, int]]:
    """Return the effective intervals of these kinds: disjoint pieces in order, with entry and entry index.

    The newest token rules; of one token the commit, else the one written last.  With the commits alone these are the
    effective intervals: what each commit still speaks for where granularities changed or parts were replaced.
    """
    found = [(i, e) for i, e in enumerate(entries) if e.kind in kinds and not e.interval.is_empty]
    found.sort(key=lambda numbered: numbered[1].interval.start)
    if all(one[1].interval.end <= other[1].interval.start for one, other in pairwise(found)):
        return [(e.interval, e, i) for i, e in found]  # nothing was replaced, as on most days
    bounds = sorted({bound for _, e in found for bound in (e.interval.start, e.interval.end)})
    rulers: list[tuple[int, bool, int, Entry]] = []  # a heap, the newest on top
    pieces: list[tuple[Interval, Entry, int]] = []
    coming = 0
    for start, end in pairwise(bounds):
        while coming < len(found) and found[coming][1].interval.start <= start:
            number, entry = found[coming]
            heappush(rulers, (-_token(entry), entry.kind is not Kind.COMMITTED, -number, entry))
            coming += 1
        while rulers and rulers[0][3].interval.end <= start:
            heappop(rulers)
        if not rulers:
            continue
        number, entry = -rulers[0][2], rulers[0][3]
        if pieces and pieces[-1][2] == number and pieces[-1][0].end == start:
            start = pieces.pop()[0].start
        pieces.append((Interval(start, end), entry, number))
    return pieces


def _token(entry: Entry) -> int:
    return entry.token or 0


# --- transitions


def entry_of_load(entries: Iterable[Entry], token: int, manifest: str) -> Entry | None:
    """Return what load recorded before it changed the target with this token and manifest."""
    own = (Kind.REPLACING, token, manifest)
    return next((entry for entry in entries if (entry.kind, entry.token, entry.manifest) == own), None)


def overtaken_by(entries: Iterable[Entry], attempt: str | None) -> Entry | None:
    """Return the first commit of another attempt after this one began: what this one read may be older than that.

    Runs are not compared: two installations give equal names to their runs, and a task of one run may be executed
    twice at once.  None for an attempt that is not in the ledger: its beginning is not known.
    """
    began = False
    for entry in entries:
        if entry.kind is Kind.ATTEMPT and entry.attempt == attempt is not None:
            began = True
        elif began and entry.kind is Kind.COMMITTED and entry.attempt != attempt:
            return entry
    return None


def check_transition(entries: Iterable[Entry], new: Entry) -> None:
    """Raise an error if `new` must not follow these entries (all that overlap its interval); a repeat may.

    Attempts, failures, waives and checks may always be written.  Raises SupersededError when an overlapping interval
    has a newer token, or when another attempt was committed there after this one began; ConfigError for an empty
    interval or a missing token, PipelineError for what is no legal step of a window's life.
    """
    if new.interval.is_empty:
        raise ConfigError(
            f"{new.kind.value}: expected an interval with an end after its start, got {new.interval}"
        )
    if new.kind not in (Kind.REPLACING, Kind.COMMITTED):
        return
    if isinstance(new.token, bool) or not isinstance(new.token, int) or new.token < 1:
        raise ConfigError(
            f"{new.kind.value} {new.interval}: expected a token of 1 or more, got {new.token!r}"
        )
    written = list(entries)
    fenced = [e for e in written if e.kind in (Kind.REPLACING, Kind.COMMITTED)]
    for entry in fenced:
        if _token(entry) > new.token and entry.interval.overlaps(new.interval):
            raise SupersededError(
                f"{new.kind.value} {new.interval} has token {new.token}, but {entry.interval} "
                f"is {entry.kind.value} under the newer token {entry.token}: a newer run owns the window, so "
                "this one changes nothing"
            )
        if entry.token == new.token and entry.interval != new.interval:
            raise PipelineError(
                f"{new.kind.value} {new.interval} uses token {new.token}, which belongs to {entry.interval}: "
                "a token is for one window, so mint a new one"
            )
    newer = overtaken_by(written, new.attempt) if new.kind is Kind.REPLACING else None
    if newer is not None and newer.token != new.token:
        raise SupersededError(
            f"{newer.run} committed {newer.interval} after attempt {new.attempt} began, whose rows are the older "
            "ones: this attempt changes nothing"
        )
    if new.kind is Kind.COMMITTED and not any(entry.token == new.token for entry in fenced):
        raise PipelineError(
            f"committed {new.interval} under token {new.token} needs a replacing entry of the same interval "
            "and token before it: nothing was loaded under that token"
        )
