"""Evaluate what a pipeline file expects (`expect`) from the ledger, record each miss in it once, or refuse a commit.

A miss that the ledger has is not written again, so the same day or commit is one miss however often it is judged.
It is new to the run that wrote it, also when a task of that run is tried again: a crash after the write loses no
notice.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

from airflow_pipeline_provider.core.command_line import name_of, reprocess, shell_line
from airflow_pipeline_provider.core.days import FIRST_DAY, day_interval
from airflow_pipeline_provider.core.expectations import (
    Expectations,
    Miss,
    Unmet,
    days_completed_late,
    days_due,
    entry_of,
    late_days,
    recorded,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import PlanRules, recent_days
from airflow_pipeline_provider.core.usual_rows import (
    ACCEPTED,
    CommittedRows,
    NotJudged,
    evidence_spans,
    judge_window,
    judge_windows,
)
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.observability import metrics
from airflow_pipeline_provider.observability.log_generator import phase_log
from airflow_pipeline_provider.phases.leases import exclusive
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim, Staged

logger = logging.getLogger(__name__)


class Expecting(Protocol):
    """The attributes of a pipeline's configuration that are read here."""

    @property
    def expectations(self) -> Expectations:
        """Return what is expected."""

    @property
    def rules(self) -> PlanRules:
        """Return the rules for the planner."""


class Judgement(NamedTuple):
    """What is not as expected, in order of time, and the windows that could not be judged."""

    misses: tuple[Miss, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()

    @property
    def late_days(self) -> int:
        """Return the number of days that are late now, without those that were complete too late."""
        return sum(miss.what is Unmet.LATE and miss.completed is None for miss in self.misses)

    @property
    def unusual_windows(self) -> int:
        """Return the number of windows with other rows than expected."""
        return sum(miss.what is not Unmet.LATE for miss in self.misses)


class Checked(NamedTuple):
    """The judgement of this run, and the misses that it was the first to find."""

    judgement: Judgement
    new: tuple[Miss, ...]


class Question(NamedTuple):
    """What is judged: the days that are due, and the days whose windows are compared."""

    due: tuple[date, ...]
    windows: tuple[date, ...]

    def spans(self, config: Expecting) -> list[Interval]:
        """Return the interval whose entries `judge` needs, at most one."""
        expected, zone = config.expectations, config.rules.timezone
        days = [*self.due, *self.windows]
        if not days:
            return []
        first = min(days)
        if expected.rows is not None and expected.rows.weeks is not None and self.windows:
            back = 7 * expected.rows.weeks
            earliest = max(min(self.windows).toordinal() - back, FIRST_DAY.toordinal())
            first = min(first, date.fromordinal(earliest))
        return [Interval(day_interval(first, zone).start, day_interval(max(days), zone).end)]


def question(config: Expecting, at: datetime, days: int, first_day: date | None) -> Question:
    """Return what to judge at this instant: the last `days` days that are due, and those up to the target day."""
    expected, rules = config.expectations, config.rules
    due = days_due(rules, expected.complete_by, at, first_day, days) if expected.complete_by else []
    windows = recent_days(rules, at, days) if expected.rows else []
    return Question(tuple(due), tuple(windows))


def judge(
    config: Expecting, asked: Question, entries: Sequence[Entry], done: Sequence[Interval], at: datetime
) -> Judgement:
    """Judge the days and windows at this instant; `done` is what was committed or waived."""
    expected, zone = config.expectations, config.rules.timezone
    misses: list[Miss] = []
    not_judged: list[NotJudged] = []
    if expected.complete_by is not None:
        misses += late_days(asked.due, expected.complete_by, at, done, zone)
        misses += days_completed_late(asked.due, expected.complete_by, entries, zone)
    if expected.rows is not None:
        within = [day_interval(day, zone) for day in asked.windows]
        for verdict in judge_windows(within, expected.rows, CommittedRows(entries), zone):
            (misses if isinstance(verdict, Miss) else not_judged).append(verdict)  # type: ignore[arg-type]
    return Judgement(tuple(sorted(misses, key=lambda miss: miss.interval)), tuple(not_judged))


def check_expectations(runtime: Runtime, days: int, run: str) -> Checked:
    """Judge the last days now, record new misses in the ledger, and send the metrics.

    `run` ("dag_id/run_id") is the run that asks: the misses that it recorded before are new again.
    """
    config, state = runtime.config, runtime.state
    at = runtime.now()
    first_day = state.first_day(None) if config.rules.start_day is None else None
    asked = question(config, at, days, first_day)
    spans = asked.spans(config)
    if not spans:
        return Checked(Judgement(), ())
    with phase_log(
        logger, pipeline=config.pipeline_id, window=spans[0], attempt=None, phase="expectations"
    ) as log:
        entries = state.entries_in(spans)
        found = judge(config, asked, entries, state.coverage(spans[0]).done, at)
        new = tuple(_record(runtime, found.misses, entries, run))
        metrics.gauge(metrics.LATE_DAYS, found.late_days, pipeline=config.pipeline_id)
        metrics.gauge(metrics.UNUSUAL_WINDOWS, found.unusual_windows, pipeline=config.pipeline_id)
        log.counts.update(
            late=found.late_days,
            unusual=found.unusual_windows,
            new=len(new),
            not_judged=len(found.not_judged),
        )
    return Checked(found, new)


def _record(runtime: Runtime, misses: Sequence[Miss], entries: Sequence[Entry], run: str) -> Iterator[Miss]:
    """Write what the ledger does not have; yield that, and what this run wrote before."""
    known = recorded(entries)
    to_write = [miss for miss in misses if miss.key not in known]
    if to_write:
        with exclusive(runtime, f"expectations/{uuid.uuid4()}"):
            for miss in to_write:
                runtime.state.append(entry_of(miss, runtime.clock(), run))
                reach("expectations.recorded")
    for miss in misses:
        if miss.key not in known or known[miss.key].run == run:
            yield miss


def judge_rows(runtime: Runtime, claim: Claim, staged: Staged) -> dict[str, Any]:
    """Return what the commit records of the window's rows: the miss that is accepted with it, else nothing.

    Raises:
        DataError: The rows are not as expected, with `audit.on_unusual: fail`.
    """
    config, window, zone = runtime.config, claim.interval, runtime.config.timezone
    expected = config.expectations.rows
    if expected is None:
        return {}
    entries = runtime.state.entries(window)
    if any(entry.kind is Kind.COMMITTED and entry.token == staged.token for entry in entries):
        return {}  # an earlier try committed it and crashed: its commit stays as it is
    spans = evidence_spans(window, expected.weeks, zone) if expected.weeks is not None else []
    known = CommittedRows(runtime.state.entries_in(spans))
    found = judge_window(window, staged.rows, staged.token, expected, known, zone)
    if isinstance(found, NotJudged):
        logger.info("the number of rows is not judged: %s", found.sentence)
    if not isinstance(found, Miss):
        return {}
    if runtime.accepts_unusual:
        return {ACCEPTED: found.detail}
    if config.audit.on_unusual == "fail":
        command = reprocess(name_of(config.pipeline_id), window, accept_unusual=True)
        raise DataError(
            f"{found.sentence(zone)} (audit.on_unusual: fail). The window is loaded and not committed: review the "
            "source, then change `expect` in the pipeline file, or accept the rows of this window: "
            f"`{shell_line(command)}`",
            detail={"unusual": found.detail},
        )
    logger.warning("not as expected: %s", found.sentence(zone))
    return {}
