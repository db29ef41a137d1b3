"""Compute the status of a day, with the reason, and whether it is complete, from the ledger's entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from math import floor

from airflow_pipeline_provider.core.intervals import Interval, common, gaps, subtract, to_utc
from airflow_pipeline_provider.core.ledger import (
    Check,
    Entry,
    Kind,
    blocked,
    committed,
    drifted,
    rows_inside,
    tiling,
    unverified,
    waived,
)
from airflow_pipeline_provider.core.missing import failure_text
from airflow_pipeline_provider.core.wording import counted, local_time, local_window

COMPLETE = "every instant is committed"


class DayStatus(str, Enum):
    """Status of a day.

    Where several apply, it is the first of unverified, blocked, drifted, in_progress, not_settled, waived, complete:
    first what needs review, then what resolves itself.
    """

    COMPLETE = "complete"
    WAIVED = "waived"  # nothing is left to do, but part of the day was waived
    IN_PROGRESS = "in_progress"  # settled time is not committed yet
    NOT_SETTLED = "not_settled"  # all settled time is committed
    BLOCKED = "blocked"
    UNVERIFIED = "unverified"
    DRIFTED = "drifted"  # committed, and source and target differ since


@dataclass(frozen=True)
class DayReport:
    """Status of a day and the figures behind it.

    `committed_seconds` are audited and effective; `percent` is their share of the day, rounded down.  `rows` is the
    sum over the day's commits; None where only the target knows it (a window was replaced in part, or is
    unverified).  `gaps` are neither committed nor waived.  `given_up` are waived and never committed, each with the
    reason given.  `reason` has no full stop.
    """

    status: DayStatus
    reason: str
    committed_seconds: float
    percent: float
    rows: int | None
    gaps: tuple[Interval, ...]
    given_up: tuple[tuple[Interval, str], ...] = ()


def day_status(
    day: Interval,
    entries: Iterable[Entry],
    *,
    now: datetime,
    settle_seconds: int,
    max_attempts: int,
    timezone: str = "UTC",
    ready: Sequence[Interval] | None = None,
) -> DayReport:
    """Return the status of the day at `now`; `timezone` is the zone of the times in the reason.

    `ready` is what a run could move now; None counts everything that has settled.
    """
    written = list(entries)
    commits = tiling(written, day)
    counts = [entry.rows for entry in commits or ()]
    if (
        commits and None not in counts
    ):  # as most days: nothing of the rest applies, which takes ten times as long
        total = sum(count for count in counts if count is not None)
        return DayReport(DayStatus.COMPLETE, COMPLETE, day.seconds, 100.0, total, ())
    done = committed(written)
    rows, exact = rows_inside(written, day)
    given_up = waived(written)
    missing = gaps(day, done + given_up)
    doubtful = common(unverified(written), [day])
    sure = subtract(common(done, [day]), doubtful)
    left_out = subtract(common(given_up, [day]), done)
    committed_seconds = sum(piece.seconds for piece in sure)
    if ready is None:
        settled = to_utc(now, "now") - timedelta(seconds=settle_seconds)
        ready = [Interval(day.start, settled)] if settled > day.start else []
    late = common(missing, ready)
    status, reason = _judge(day, written, missing, doubtful, left_out, late, max_attempts, timezone)
    return DayReport(
        status,
        reason,
        committed_seconds,
        100.0 if day.is_empty else floor(committed_seconds * 1000 / day.seconds) / 10,
        (rows or 0) if exact and not doubtful else None,
        tuple(missing),
        tuple((piece, waive_reason(written, piece)) for piece in left_out),
    )


def _judge(
    day: Interval,
    entries: list[Entry],
    missing: list[Interval],
    doubtful: list[Interval],
    left_out: list[Interval],
    late: list[Interval],
    max_attempts: int,
    timezone: str,
) -> tuple[DayStatus, str]:
    stuck = common(blocked(entries, max_attempts), missing)
    if doubtful:
        return DayStatus.UNVERIFIED, unverified_sentence(doubtful, timezone)
    if stuck:
        return (
            DayStatus.BLOCKED,
            f"{_named(stuck, timezone)} failed {counted(max_attempts, 'time')} or more on its data: look, then run "
            "the window by hand",
        )
    drift = [(piece, check) for piece, check in drifted(entries) if piece.overlaps(day)]
    if drift:
        return DayStatus.DRIFTED, drift_sentence(drift, timezone)
    if not missing:
        if left_out:
            said = waive_reason(entries, left_out[0])
            why = f' ("{said}")' if said else ""
            return DayStatus.WAIVED, f"{_named(left_out, timezone)} was given up{why}; the rest is committed"
        return (
            DayStatus.COMPLETE,
            "the zone skipped this date" if day.is_empty else COMPLETE,
        )
    if late:
        return DayStatus.IN_PROGRESS, _late_reason(entries, late, missing, timezone)
    return DayStatus.NOT_SETTLED, f"what follows {local_time(missing[0].start, timezone)} has not settled yet"


def _late_reason(entries: list[Entry], late: list[Interval], missing: list[Interval], timezone: str) -> str:
    """Return what failed, else where the first gap that could be moved is."""
    failed = [e for e in entries if e.kind is Kind.FAILED and common([e.interval], late)]
    if failed:
        last = failed[-1]
        more = f" ({len(failed)} failures in all)" if len(failed) > 1 else ""
        return f"{local_window(last.interval, timezone)} failed{more}: {failure_text(last)}"
    pieces = [gap for gap in missing if common([gap], late)]
    more = f" and {len(pieces) - 1} more" if len(pieces) > 1 else ""
    return f"{local_window(pieces[0], timezone)}{more} is not committed yet"


def waive_reason(entries: list[Entry], piece: Interval) -> str:
    """Return the reason of the newest waiver that overlaps the piece."""
    said = [e.detail.get("reason") for e in entries if e.kind is Kind.WAIVED and e.interval.overlaps(piece)]
    return str(said[-1] or "")


def unverified_sentence(pieces: Sequence[Interval], timezone: str) -> str:
    """Return the reason of a day of which these pieces are unverified."""
    return f"a replacement of {_named(pieces, timezone)} was begun and never committed: run it again"


def _named(pieces: Sequence[Interval], timezone: str) -> str:
    more = f" and {len(pieces) - 1} more" if len(pieces) > 1 else ""
    return local_window(pieces[0], timezone) + more


def drift_sentence(drift: list[tuple[Interval, Entry]], timezone: str) -> str:
    """Return `drifted (shrunk | grown | changed): …`; shrinkage comes first because it needs review."""
    shrunk = [found for found in drift if found[1].detail.get("verdict") == Check.SHRANK.value]
    interval, check = (shrunk or drift)[0]
    more = f", and {len(drift) - 1} more" if len(drift) > 1 else ""
    place = local_window(interval, timezone)
    if interval != check.interval:  # the rest was moved or waived since: the counts are not its own
        place += f" is left of {local_window(check.interval, timezone)}, which"
    counts = f"{_rows(check, 'source')} in the source, {_rows(check, 'target')} in the target"
    if shrunk:
        hint = "look at the source, then reprocess with --accept-shrink or waive"
        return f"drifted (shrunk): {place} has {counts}{more}: {hint}"
    if check.detail.get("verdict") == Check.CHANGED.value:
        changed = counted(check.detail.get("changed"), "row")
        return (
            f"drifted (changed): {place} has {counts}, {changed} written since it was loaded{more}: {RELOAD}"
        )
    return f"drifted (grown): {place} has {counts}{more}: {RELOAD}"


RELOAD = "reload it (recheck, reprocess)"


def _rows(check: Entry, name: str) -> str:
    count = check.detail.get(name)
    return counted(count if isinstance(count, int) else None, "row")


_OF_A_LOAD = (Kind.ATTEMPT, Kind.REPLACING, Kind.COMMITTED)


def is_complete(day: Interval, entries: Iterable[Entry]) -> bool:
    """Return whether every instant of the day is committed (not waived) and no replacement is unfinished."""
    written = list(entries)
    return not gaps(day, committed(written)) and not common(unverified(written), [day])


def was_complete(day: Interval, entries: Iterable[Entry]) -> bool:
    """Return whether every instant of the day was committed at some time, even if it is being replaced now."""
    return not gaps(day, committed(entries))


def may_complete(day: Interval, entries: Iterable[Entry], interval: Interval) -> bool:
    """Return whether a commit of the interval leaves no gap in the day, once the loads that have begun commit too.

    Of two runs that load the last two windows side by side, at least the one that asks second gets True.
    """
    begun = [entry.interval for entry in entries if entry.kind in (Kind.REPLACING, Kind.COMMITTED)]
    return not gaps(day, [*begun, interval])


def has_committed(entries: Iterable[Entry], run: str) -> bool:
    """Return whether the run's newest entry is a commit."""
    kinds = [entry.kind for entry in entries if entry.run == run and entry.kind in _OF_A_LOAD]
    return bool(kinds) and kinds[-1] is Kind.COMMITTED
