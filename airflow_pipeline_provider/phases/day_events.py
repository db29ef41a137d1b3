"""The `.days` events: one each time a day becomes complete, none lost.

The state keeps the event of a day (`state.about.DayEvent`) from before the commit that makes it due until the task
that sent it has succeeded:

* `expect`, before a commit after which the day may be complete, records the event.
* `collect`, after the commit and under its lease, or in a later task, makes the own task its sender, unless other
  runs will replace windows of the day: the last of them sends it then.  A day that was not complete before does not
  wait for them.

A task that ended without success sent nothing, so a later task sends the event.  An event is replaced only if it is
still the one that was read before the ledger, so a commit in between cannot be missed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from msgspec.structs import replace

from airflow_pipeline_provider.core.day_status import has_committed, is_complete, may_complete, was_complete
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, committed_token, rows_inside
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.core.windows import Window
from airflow_pipeline_provider.exceptions import LeaseHeldError, TransientError
from airflow_pipeline_provider.phases.leases import exclusive
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import CompleteDay
from airflow_pipeline_provider.state.about import About, DayEvent, Task

logger = logging.getLogger(__name__)

ROUNDS = 5  # each lost one shows a newer commit, whose task collects the event too


class Runs(Protocol):
    """The questions about other runs, which only the scheduler's database answers; TransientError when it cannot."""

    def succeeded(self, task: Task) -> bool | None:
        """Return whether the task has succeeded, None while it has not ended."""

    def pending(self, commit: Task, windows: Sequence[Interval], committed: Callable[[str], bool]) -> bool:
        """Return whether a run will still move one of the windows.

        These are unfinished backfill runs, and those that the same command started as the run of `commit`, whose
        task `commit.task_id` has not ended.  `committed(run)` is whether the newest thing that it did is a commit.
        """


@dataclass(frozen=True)
class DayEvents:
    """The events of a pipeline as one task sees them; `complete` are the days whose event the task has to send."""

    runtime: Runtime
    task: Task
    runs: Runs
    complete: list[CompleteDay] = field(default_factory=list)

    def expect(self, window: Window, token: int) -> None:
        """Record the event of the window's day before the window is committed under this token."""
        day = day_interval(window.day, self.runtime.config.timezone)
        entries = self.runtime.state.entries(day)
        if any(entry.kind is Kind.COMMITTED and entry.token == token for entry in entries):
            return  # tried again after the commit: it was remembered before
        if not may_complete(day, entries, window.interval):
            return
        first = not was_complete(day, entries)

        def remember(about: About) -> About:
            known = about.day_event(window.day)
            still_first = known is not None and known.first and known.sender is None
            event = DayEvent(window.day, token, self.task, first or still_first)
            return about.with_day_event(window.day, event)

        self._change(remember)

    def collect(self, day: date) -> None:
        """Add the day to `complete` if its event is to be sent now, by the own task."""
        for _ in range(ROUNDS):
            event = self.runtime.state.about().day_event(day)
            if event is None:
                return
            sent = False if event.sender in (None, self.task) else self.runs.succeeded(event.sender)
            if sent is None:
                return
            if sent:
                self._replace(event, None)
                return
            found = self._to_send(event)
            mine = replace(event, sender=self.task if found else None)
            if event == mine or self._replace(event, mine):
                self.complete.extend([found] if found else [])
                return
        logger.warning("the event of day %s is left to the runs that commit its windows now", day)

    def collect_all(self) -> None:
        """Collect the days whose event earlier tasks did not send.

        What cannot be found out now is left to the next run: loading does not depend on it.
        """
        for event in self.runtime.state.about().day_events:
            try:
                self.collect(event.day)
            except (LeaseHeldError, TransientError) as error:
                logger.info("the event of day %s is left to a later run: %s", event.day, error)

    def _to_send(self, event: DayEvent) -> CompleteDay | None:
        config = self.runtime.config
        day = day_interval(event.day, config.timezone)
        entries = self.runtime.state.entries(day)
        if not is_complete(day, entries):
            return None
        if not event.first:
            windows = sorted({*day_plan(config.rules, event.day), *_windows_in(day, entries)}, reverse=True)
            if self.runs.pending(event.commit, windows, lambda run: has_committed(entries, run)):
                logger.info(
                    "day %s: other runs will replace windows of it; the last one sends its event", event.day
                )
                return None
        rows, exact = rows_inside(entries, day)
        token = committed_token(entries, day) or event.token
        return CompleteDay(event.day, day, (rows or 0) if exact else None, token)

    def _replace(self, old: DayEvent, new: DayEvent | None) -> bool:
        """Replace the event unless it changed since it was read; return whether it did."""

        def change(about: About) -> About:
            return about.with_day_event(old.day, new) if about.day_event(old.day) == old else about

        return self._change(change).day_event(old.day) == new

    def _change(self, change: Callable[[About], About]) -> About:
        with exclusive(self.runtime, self.task.run):
            return self.runtime.state.change_about(change)


def _windows_in(day: Interval, entries: Sequence[Entry]) -> set[Interval]:
    """Return how the day was cut so far: commands may move windows as they were."""
    return {entry.interval for entry in entries if day.covers(entry.interval)}
