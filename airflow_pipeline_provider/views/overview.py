"""Report pipelines as the page shows them: one row each, and one pipeline with a year of days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from msgspec import Struct

from airflow_pipeline_provider.core.coverage import Coverage
from airflow_pipeline_provider.core.days import day_interval, day_of, transitions
from airflow_pipeline_provider.core.eta import Eta
from airflow_pipeline_provider.core.intervals import Interval, common
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.core.missing import Missing, Why, days_of, explain, split_next
from airflow_pipeline_provider.core.planning import day_plan, opens, ready_at
from airflow_pipeline_provider.core.readiness import first_window
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.views.changed_days import ChangedDay
from airflow_pipeline_provider.views.day_cells import (
    TO_REVIEW,
    WORST_FIRST,
    CountedDay,
    DayCell,
    counted_days,
    day_cells,
)
from airflow_pipeline_provider.views.described import Described
from airflow_pipeline_provider.views.misses import recorded_misses
from airflow_pipeline_provider.views.pipeline_status import (
    MissingTime,
    PipelineStatus,
    Readable,
    eta_from,
    eta_spans,
    read_status,
)
from airflow_pipeline_provider.views.times import LocalInterval, local_interval
from airflow_pipeline_provider.views.window_states import Planned, WindowState, judge, planned_at

STRIP_DAYS = 14
YEAR_DAYS = 366
_DAY = timedelta(days=1)
_AHEAD = timedelta(days=400)
_MINUTE = timedelta(minutes=1)
LONGEST_VALID = timedelta(minutes=5)
"""How long a report stays true if nothing is written and no window becomes ready."""
BUSY_VALID = timedelta(minutes=1)


class Lead(Struct, frozen=True):
    """When the backlog will be caught up, to the minute, or why there is no estimate."""

    at: datetime | None
    reason: str


class PageLease(Struct, frozen=True):
    """A lease that is held, with the DAG run that holds it; `seen` is the run's last sign of life."""

    window: LocalInterval
    holder: str
    owner: str
    run_dag_id: str | None
    run_id: str | None
    since: datetime
    until: datetime
    seen: datetime | None


class ComingWindow(Struct, frozen=True):
    """The window that comes next and when it is ready; both null after the last day, `reason` says why."""

    window: LocalInterval | None
    ready_at: datetime | None
    reason: str


class ComingClockChange(Struct, frozen=True):
    """The next day that has not 24 hours, and the instant at which its clock changes."""

    day: date
    hours: float
    at: datetime


class Overview(NamedTuple):
    """A pipeline at one instant; `valid_until` is when it would read otherwise although nothing was written."""

    status: PipelineStatus
    planned: Planned
    days: Sequence[DayCell]
    state: WindowState
    reason: str
    next: ComingWindow
    leases: tuple[PageLease, ...]
    never_ran: bool
    valid_until: datetime

    @property
    def caught_up(self) -> bool:
        """Return whether nothing is missing but what is not settled, and no day needs a person."""
        missing = any(one.why is not Why.NOT_SETTLED for one in self.status.missing)
        return not missing and self.state not in TO_REVIEW


def overview(
    config: Described,
    state: Readable,
    at: datetime,
    days: int = STRIP_DAYS,
    until: date | None = None,
    read: MissingTime | None = None,
) -> Overview:
    """Return the pipeline with its last days, or with those up to `until`; `read` as in `read_status`."""
    rules = config.rules
    status = read_status(config, state, at, days, until, read)
    planned = planned_at(rules, at, config.max_attempts, status.first_day)
    cells = day_cells(status, planned)
    word, reason = _worst(config, cells, status, planned)
    never_ran = status.covered == Coverage() and not any(day.entries for day in status.days)
    coming = next_window(config, status)
    return Overview(
        status,
        planned,
        cells,
        word,
        "no run has moved a window yet" if never_ran and status.behind_seconds else reason,
        coming,
        tuple(page_lease(lease, config) for lease in status.leases),
        never_ran,
        _valid_until(config, status, coming, at),
    )


def counted(view: Overview) -> list[CountedDay]:
    """Return the days of the overview with their counts."""
    return counted_days(view.status, view.days)


def lead(config: Described, entries: list[Entry], view: Overview, at: datetime) -> Lead:
    """Return when the pipeline is caught up, from the entries of `lead_spans`."""
    eta: Eta = eta_from(config, entries, view.status, at)
    return Lead(eta.at.replace(second=0, microsecond=0) + _MINUTE if eta.at else None, eta.detail)


def lead_spans(config: Described, view: Overview, at: datetime) -> list[Interval]:
    """Return the disjoint spans whose ledger entries `lead` needs."""
    return eta_spans(config, view.status, at)


def page_lease(lease: Lease, config: Described) -> PageLease:
    """Return the lease with the run that holds it; other writers, such as a command, have no run."""
    dag, _, run_id = lease.owner.partition("/")
    of_run = bool(run_id) and (lease.installation is not None or dag == config.pipeline_id)
    seen = lease.until - timedelta(seconds=lease.seconds) if lease.seconds is not None else None
    return PageLease(
        local_interval(lease.interval, config.timezone),
        lease.holder,
        lease.owner,
        dag if of_run else None,
        run_id if of_run else None,
        lease.since,
        lease.until,
        seen,
    )


def with_changed(view: Overview, changed: Iterable[ChangedDay]) -> Overview:
    """Return the overview whose state is also that of these days, as far as it does not show them."""
    shown = {cell.day for cell in view.days}
    found = [(one.state, f"{one.day}: {one.reason}") for one in changed if one.day not in shown]
    state, reason = min([(view.state, view.reason), *found], key=lambda one: WORST_FIRST.index(one[0]))
    return view._replace(state=state, reason=reason)


def days_to_review(config: Described, view: Overview, changed: Iterable[ChangedDay]) -> int:
    """Return how many of all days need review; `changed` are the drifted and unverified ones.

    Of the shown days, those count too that are late or have unusual windows.
    """
    shown = {cell.day for cell in view.days}
    found = {cell.day for cell in view.days if cell.state in TO_REVIEW}
    found |= {one.day for one in changed} - shown
    spans = [day.whole for day in view.status.days]
    found |= {miss.day for miss in recorded_misses(view.status, config.timezone)}
    other = [one for one in view.status.missing if not common([one.interval], spans)]
    unmoved = split_next(config.rules, explain(other, []), view.planned.at)
    kinds = (Why.BLOCKED, Why.NEVER_RUN)  # the ledger of these days was not read: what failed is not known
    found |= set(days_of(config.rules, [one.interval for one in unmoved if one.why in kinds])) - shown
    return len(found)


def next_clock_change(timezone: str, at: datetime) -> ComingClockChange | None:
    """Return the next day of 23, 25 or other hours; None where clocks do not change within a year."""
    for change in transitions(timezone, at, at + _AHEAD):
        for instant in (
            change,
            change - timedelta(microseconds=1),
        ):  # a change at midnight ends the day before
            day = day_of(instant, timezone)
            seconds = day_interval(day, timezone).seconds
            if seconds != 24 * 3600:
                return ComingClockChange(day, round(seconds / 3600, 4), change)
    return None


def next_window(config: Described, status: PipelineStatus) -> ComingWindow:
    """Return the window that a run would get now, else the one that is ready next."""
    rules, plan = config.rules, status.plan
    window = plan.interval
    if window is None:
        waiting = next((one for one in status.missing if one.why is Why.NOT_SETTLED), None)
        if waiting is not None:
            window = first_window(rules, waiting.interval)
        else:
            day = status.target_day + _DAY
            if rules.start_day is not None:
                day = max(day, rules.start_day)
            if rules.end_day is not None and day > rules.end_day:
                return ComingWindow(None, None, plan.detail)
            window = next(iter(day_plan(rules, day)), None)
    if window is None:  # a date that the zone skips
        return ComingWindow(None, None, plan.detail)
    return ComingWindow(local_interval(window, config.timezone), ready_at(rules, window), plan.detail)


def _worst(
    config: Described, cells: Sequence[DayCell], status: PipelineStatus, planned: Planned
) -> tuple[WindowState, str]:
    """Return the worst state of the days and of older missing time, with its reason."""
    found = [(cell.state, f"{cell.day}: {cell.reason}") for cell in cells]
    begin = day_interval(cells[0].day, config.timezone).start if cells else None
    for one in status.missing:
        if begin is None or one.interval.end <= begin:
            found.append(
                (_word(one, planned), f"{local_window(one.interval, config.timezone)}: {one.detail}")
            )
    if not found:
        return WindowState.COMPLETE, status.plan.detail
    return min(found, key=lambda one: WORST_FIRST.index(one[0]))


def _word(one: Missing, planned: Planned) -> WindowState:
    """Return the word for missing time whose ledger entries were not read."""
    words = {
        Why.LEASED: WindowState.RUNNING,
        Why.BLOCKED: WindowState.BLOCKED,
        Why.FAILED: WindowState.FAILED,
        Why.TOO_OLD: WindowState.TOO_OLD,
        Why.NOT_SETTLED: WindowState.NOT_SETTLED,
    }
    window = first_window(planned.rules, one.interval)
    return words.get(one.why) or judge(planned, window, [], ()).state or WindowState.MISSING


def _valid_until(config: Described, status: PipelineStatus, coming: ComingWindow, at: datetime) -> datetime:
    busy = bool(status.leases) or status.behind_seconds > 0
    bounds = [at + (BUSY_VALID if busy else LONGEST_VALID), *(lease.until for lease in status.leases)]
    if coming.ready_at is not None and coming.ready_at > at:
        bounds.append(coming.ready_at)
    waiting = next((one for one in status.missing if one.why is Why.NOT_SETTLED), None)
    if waiting is not None:
        bounds.append(ready_at(config.rules, first_window(config.rules, waiting.interval)))
    following = opens(config.rules, status.target_day + _DAY)
    bounds.append(following if following > at else at + BUSY_VALID)
    return min(bounds)
