"""Find days that are drifted or unverified, however long ago, from the few ledger entries that may be unresolved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from msgspec import Struct

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.day_status import drift_sentence, unverified_sentence
from airflow_pipeline_provider.core.days import days_in
from airflow_pipeline_provider.core.intervals import Interval, common, join_near
from airflow_pipeline_provider.core.ledger import Check, Entry, Kind
from airflow_pipeline_provider.views.day_cells import WORST_FIRST
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.gaps import MOST_SPANS
from airflow_pipeline_provider.views.window_states import WindowState


class ChangedDay(Struct, frozen=True):
    """A day that was committed and is in doubt since: `state` is unverified or drifted."""

    day: date
    state: WindowState
    reason: str


def open_spans(entries: Iterable[Entry]) -> list[Interval]:
    """Return the disjoint spans whose entries show whether these checks and replacements are still unresolved."""
    begun_or_differs = (
        entry.interval
        for entry in entries
        if entry.kind is Kind.REPLACING
        or (entry.kind is Kind.CHECKED and entry.detail.get("verdict") != Check.EQUAL.value)
    )
    return join_near(begun_or_differs, timedelta(), MOST_SPANS)


def changed_days(config: Described, entries: Sequence[Entry], spans: Sequence[Interval]) -> list[ChangedDay]:
    """Return the changed days of these spans, worst first, then the oldest; `entries` are all that overlap them."""
    doubtful = _by_day(common(ledger.unverified(entries), spans), config.timezone)
    drifts = ledger.drifted(entries)
    drifted = _by_day(common([piece for piece, _ in drifts], spans), config.timezone)
    found = [
        ChangedDay(day, WindowState.UNVERIFIED, unverified_sentence(pieces, config.timezone))
        for day, pieces in doubtful.items()
    ]
    for day, pieces in drifted.items():
        if day not in doubtful:
            about = [(piece, check) for piece, check in drifts if common([piece], pieces)]
            found.append(ChangedDay(day, WindowState.DRIFTED, drift_sentence(about, config.timezone)))
    return sort_changed(found)


def sort_changed(days: Iterable[ChangedDay]) -> list[ChangedDay]:
    """Return the days worst first, then the oldest."""
    return sorted(days, key=lambda one: (WORST_FIRST.index(one.state), one.day))


def _by_day(pieces: Iterable[Interval], timezone: str) -> dict[date, list[Interval]]:
    found: dict[date, list[Interval]] = {}
    for piece in pieces:
        for day, part in days_in(piece, timezone):
            found.setdefault(day, []).append(part)
    return found
