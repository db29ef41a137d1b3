"""Judge whether a window may be moved, from what the probes of source, target and ledger returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from airflow_pipeline_provider.core.durations import quote, seconds_to_time_string
from airflow_pipeline_provider.core.intervals import Interval, gaps, iso_utc, to_utc
from airflow_pipeline_provider.core.readiness import settled_at
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import TransientError


class VerdictKind(str, Enum):
    """What to do with a window."""

    RUN = "run"
    ALREADY_LOADED = "already_loaded"  # the target holds it, the audit is missing: go straight there
    SKIP = "skip"  # nothing to do, for a reason
    STALE = "stale"  # the newest row of the source is too long before the window's end: needs review


@dataclass(frozen=True)
class Verdict:
    """Verdict on a window.

    `detail` is a sentence; `reason` is set on SKIP; `degraded` names the probes that gave no answer.
    """

    kind: VerdictKind
    detail: str
    reason: str | None = None
    degraded: tuple[str, ...] = ()


def judge(
    interval: Interval,
    *,
    now: datetime,
    settle_seconds: int,
    committed: Sequence[Interval],
    newest_target: tuple[Interval, int] | None,
    ledger_token: int | None,
    replace: bool,
    source_count: int | None,
    newest_event_time: datetime | None,
    max_staleness_seconds: int | None,
    on_unavailable: str,
    unavailable: Mapping[str, str],
    loaded_rows: int | None = None,
) -> Verdict:
    """Return the verdict on a window, by the first rule that applies.

    1. Its end plus `settle_seconds` is after `now`: SKIP, `not_settled`.
    2. All of it is in `committed` and it is not to be replaced: SKIP, `complete`.
    3. A probe is `unavailable` (name -> message): TransientError, unless `on_unavailable` is `proceed`; then the
       verdict is `degraded`.
    4. `newest_target` (interval and token of the target's newest commit row that overlaps) is exactly this window
       with a newer token than `ledger_token` (the ledger's newest commit of it): ALREADY_LOADED.  If the
       row's `loaded_rows` and `source_count` are known and differ, the load is not worth an audit: RUN.
    5. `newest_event_time` is more than `max_staleness_seconds` before the window's end: STALE.  A source that has
       moved on past the window is never stale for it, however old the window is.  A source that does not report it
       is `degraded`.
    6. RUN.

    Raises ValueError or TypeError that names the argument and its value.
    """
    _seconds("settle_seconds", settle_seconds)
    limit = (
        None if max_staleness_seconds is None else _seconds("max_staleness_seconds", max_staleness_seconds)
    )
    now = to_utc(now, "now")
    _count("source_count", source_count)
    _count("loaded_rows", loaded_rows)
    if on_unavailable not in ("fail", "proceed"):
        raise ValueError(f"on_unavailable: expected 'fail' or 'proceed', got {quote(on_unavailable)}")
    early = needs_no_probe(
        interval, now=now, settle_seconds=settle_seconds, committed=committed, replace=replace
    )
    if early is not None:
        return early
    degraded = tuple(f"{probe}: {message}" for probe, message in sorted(unavailable.items()))
    if degraded and on_unavailable == "fail":
        raise TransientError(
            f"the source did not answer every probe: {'; '.join(degraded)}; try again, or set "
            "validate.on_unavailable to proceed"
        )
    if _is_loaded(interval, newest_target, ledger_token) and not _differ(loaded_rows, source_count):
        detail = f"{interval} is in the target already, the audit is missing"
        return Verdict(VerdictKind.ALREADY_LOADED, detail, degraded=degraded)
    if limit is not None:
        if newest_event_time is None:
            if "newest_event_time" not in unavailable:
                degraded += (
                    "newest_event_time: the source does not report it, so its staleness is not known",
                )
        elif interval.end - to_utc(newest_event_time, "newest_event_time") > limit:
            return _stale(interval, newest_event_time, limit, degraded)
    return Verdict(
        VerdictKind.RUN,
        f"{interval} is to be moved, the source has {counted(source_count, 'row')}",
        degraded=degraded,
    )


def needs_no_probe(
    interval: Interval, *, now: datetime, settle_seconds: int, committed: Sequence[Interval], replace: bool
) -> Verdict | None:
    """Return the verdict of the first two rules of `judge`, which need no query; None when they do not apply."""
    now = to_utc(now, "now")
    _seconds("settle_seconds", settle_seconds)
    if now < settled_at(interval, settle_seconds):
        return _not_settled(interval, now, settle_seconds)
    if not replace and not gaps(interval, committed):
        return Verdict(VerdictKind.SKIP, f"{interval} is committed already", "complete")
    return None


def _is_loaded(
    interval: Interval, newest_target: tuple[Interval, int] | None, ledger_token: int | None
) -> bool:
    if newest_target is None or newest_target[0] != interval:
        return False
    return ledger_token is None or newest_target[1] > ledger_token


def _differ(loaded_rows: int | None, source_count: int | None) -> bool:
    return loaded_rows is not None and source_count is not None and loaded_rows != source_count


def _not_settled(interval: Interval, now: datetime, settle_seconds: int) -> Verdict:
    detail = (
        f"{interval} ends less than {seconds_to_time_string(settle_seconds)} before now ({iso_utc(now)})"
        if settle_seconds
        else f"{interval} ends after now ({iso_utc(now)})"
    )
    return Verdict(VerdictKind.SKIP, f"{detail}: its rows may not be there yet", "not_settled")


def _stale(
    interval: Interval, newest_event_time: datetime, limit: timedelta, degraded: tuple[str, ...]
) -> Verdict:
    detail = (
        f"expected the source's newest event at most {seconds_to_time_string(int(limit.total_seconds()))} before the "
        f"end of {interval}, but it is of {iso_utc(newest_event_time)}: look whether the source still receives "
        "data, or raise validate.max_staleness"
    )
    return Verdict(VerdictKind.STALE, detail, degraded=degraded)


def _seconds(name: str, value: int) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a whole number of seconds, got {quote(value)}")
    if not 0 <= value <= 10**11:  # some 3,000 years
        raise ValueError(f"{name}: expected 0 or more seconds, got {quote(value)}")
    return timedelta(seconds=value)


def _count(name: str, value: int | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a number of rows or None, got {quote(value)}")
    if value < 0:
        raise ValueError(f"{name}: expected 0 or more rows, got {value}")
