"""The state of each window, from ledger entries, leases and the time: what a person on call reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.planning import PlanRules, day_plan
from airflow_pipeline_provider.core.time_utils import Duration
from airflow_pipeline_provider.state.base import Lease
from airflow_pipeline_provider.views.window_states import WindowRow, judge_all, planned_at, read_windows

AT = parse_utc("2013-11-06T12:00:00Z")
RULES = PlanRules(
    "America/New_York",
    Duration(1, 0),
    Duration(0, 7200),
    settle_seconds=600,
    start_day=date(2013, 11, 1),
    end_day=date(2013, 11, 30),
)
WINDOWS = day_plan(RULES, date(2013, 11, 3))
W, NEXT = WINDOWS[1], WINDOWS[2]
HALF = Interval(W.start, W.start + timedelta(hours=1))


def entry(kind: Kind, interval: Interval = W, **fields: Any) -> Entry:
    return Entry(kind, interval, AT, **fields)


def commit(token: int, interval: Interval = W, rows: int = 10) -> list[Entry]:
    return [
        entry(kind, interval, token=token, rows=rows, run="flights/r")
        for kind in (Kind.REPLACING, Kind.COMMITTED)
    ]


def failed(interval: Interval = W, error: str = "DataError") -> Entry:
    return entry(Kind.FAILED, interval, detail={"error": error, "phase": "audit", "message": "counts differ"})


def checked(verdict: str, source: int, target: int, interval: Interval = W) -> Entry:
    return entry(Kind.CHECKED, interval, detail={"source": source, "target": target, "verdict": verdict})


WAIVED = entry(Kind.WAIVED, detail={"reason": "burnt", "by": "ann"})
BEGUN = entry(Kind.ATTEMPT, attempt="a", run="flights/r7")
UNFINISHED = [*commit(1), entry(Kind.REPLACING, token=2, run="flights/r8")]
LEASE = Lease(W, "flights/r9", AT, AT + timedelta(minutes=2))


def look(
    entries: list[Entry],
    leases: Sequence[Lease] = (),
    at: datetime = AT,
    rules: PlanRules = RULES,
) -> WindowRow:
    planned = planned_at(rules, at, 3, None)
    return judge_all(planned, WINDOWS, entries, leases)[1]


@pytest.mark.parametrize(
    ("entries", "state", "reason"),
    [
        ([], "missing", "no run has begun it"),
        ([BEGUN], "missing", "flights/r7 began it and did not finish"),
        ([failed()], "failed", "failed 1 time: DataError in audit: counts differ"),
        ([failed(error="TransientError")] * 9, "failed", "failed 9 times: TransientError in audit"),
        ([failed()] * 3, "blocked", "failed 3 times: DataError"),
        ([*commit(1)], "complete", "committed"),
        ([*commit(1), *commit(2), *commit(3)], "replaced", "committed, and replaced 2 times"),
        ([*commit(1), failed()], "complete", "committed"),
        ([*commit(1, HALF), failed()], "failed", "failed 1 time"),
        (UNFINISHED, "unverified", "a replacement was begun and never committed"),
        ([*UNFINISHED, failed()], "unverified", "a replacement was begun"),
        ([entry(Kind.REPLACING, token=1, run="flights/r8")], "missing", "flights/r8 began it and did not"),
        ([WAIVED], "waived", "burnt, by ann"),
        ([*commit(1, HALF), WAIVED], "waived", "burnt"),
        ([failed(), failed(), failed(), WAIVED], "waived", "burnt"),
        ([*commit(1), WAIVED], "complete", "committed"),
        ([*commit(1), checked("grew", 12, 10)], "drifted", "it grew since: 12 rows in the source, 10 in the"),
        ([*commit(1), checked("shrank", 7, 10)], "drifted", "it shrank since: 7 rows in the source, 10 in"),
        ([*commit(1), checked("shrank", 7, 10), *commit(2)], "replaced", "committed, and replaced 1 time"),
        ([*commit(1), checked("shrank", 7, 10), WAIVED], "complete", "committed"),
        ([*commit(1), *commit(2, NEXT)], "complete", "committed"),
        ([*commit(1, Interval(WINDOWS[0].start, NEXT.end))], "complete", "committed"),
    ],
)
def test_state_and_reason(entries: list[Entry], state: str, reason: str) -> None:
    row = look(entries)
    assert row.state is not None
    assert (row.state.value, row.reason[: len(reason)]) == (state, reason)


def test_a_lease_comes_first() -> None:
    assert look([*commit(1), failed()], [LEASE])[1:3] == (
        "running",
        "flights/r9 works on it since 2013-11-06 07:00 EST",
    )
    assert look([], [Lease(NEXT, "flights/r9", AT, AT)]).state == "missing"


@pytest.mark.parametrize(
    ("at", "state", "reason"),
    [
        ("2013-11-04T05:30:00Z", "not_settled", "it is ready at 2013-11-04 "),
        ("2013-11-04T07:00:00Z", "ready", "ready since 2013-11-04 "),
        ("2013-11-04T12:00:00Z", "missing", "no run has begun it"),
        ("2013-11-02T12:00:00Z", "not_settled", "it is ready at 2013-11-04 "),
    ],
)
def test_time_makes_a_window_ready_and_then_missing(at: str, state: str, reason: str) -> None:
    row = look([], at=parse_utc(at))
    assert (row.state, row.reason[: len(reason)]) == (state, reason)


def test_days_that_no_run_plans() -> None:
    old = replace(RULES, max_backlog_days=1)
    assert look([], rules=old)[1:3] == ("too_old", "runs look back 1 day (max_backlog_days)")
    assert look(commit(1), rules=old).state == "complete"
    before = replace(RULES, start_day=date(2013, 11, 4))
    after = replace(RULES, end_day=date(2013, 11, 2))
    assert [look([], rules=rules)[1:3] for rules in (before, after)] == [(None, "no run plans its day")] * 2


def test_figures() -> None:
    row = look([*commit(1), *commit(2, rows=12), checked("shrank", 7, 10), failed()])
    assert (row.rows, row.replaced, row.failures, row.drift, row.goes) == (12, 1, 1, "shrank", 5)
    assert look([*commit(1, Interval(WINDOWS[0].start, NEXT.end))]).rows is None


def test_each_entry_counts_for_the_windows_that_it_touches() -> None:
    whole = Interval(WINDOWS[0].start, WINDOWS[-1].end)
    many = [
        *commit(1, Interval(WINDOWS[2].start, WINDOWS[4].end)),
        failed(WINDOWS[6]),
        *commit(2, WINDOWS[9]),
    ]

    class State:
        def first_day(self, day: date | None) -> date | None:
            raise AssertionError("the pipeline has a start_day")

        def entries(self, within: Interval) -> list[Entry]:
            assert within == whole
            return many

        def leases(self) -> list[Lease]:
            return [Lease(WINDOWS[11], "flights/r9", AT, AT)]

    rows = read_windows(RULES, State(), AT, WINDOWS, max_attempts=3)
    states = [row.state.value if row.state else None for row in rows]
    missing = ["missing"]
    assert states == [
        *missing * 2,
        *["complete"] * 3,
        *missing,
        "failed",
        *missing * 2,
        "complete",
        *missing,
        "running",
        *missing,
    ]
    assert [row.interval for row in rows] == WINDOWS
    assert read_windows(RULES, State(), AT, [], max_attempts=3) == []


def test_a_year_of_hours_is_judged_fast() -> None:
    import time

    rules = PlanRules("America/New_York", Duration(1, 0), Duration(0, 3600), start_day=date(2013, 1, 1))
    windows = [w for n in range(365) for w in day_plan(rules, date(2013, 1, 1) + timedelta(days=n))]
    entries = [e for token, w in enumerate(windows, 1) for e in commit(token, w)]
    began = time.process_time()
    rows = judge_all(planned_at(rules, AT, 3, None), windows, entries, [])
    assert {row.state for row in rows} == {"complete"}
    assert time.process_time() - began < 5, "it grows with the square of the windows"
