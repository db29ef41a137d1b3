"""When a backlog will be caught up, by the ledger's own times, or why that cannot be said."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

import pytest

from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.eta import (
    LARGER_SAMPLES,
    Eta,
    Habits,
    Pace,
    estimate,
    pace_of,
    spans_of_interest,
)
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.missing import Missing, Why

from .planning_examples import at, hours, rules

HOURLY = rules(granularity=parse_duration("1h"))
NOW = at(100)


def moved(
    windows: str, *, minutes: float, every: float | None = None, first: datetime | None = None
) -> list[Entry]:
    """Windows that took `minutes` each from attempt to commit, `every` minutes from commit to commit."""
    entries = []
    end = first or NOW - timedelta(minutes=(every or minutes) * len(windows.split()))
    for number, window in enumerate(hours(windows)):
        end += timedelta(minutes=every or minutes)
        attempt = f"a{number}"
        entries.append(Entry(Kind.ATTEMPT, window, end - timedelta(minutes=minutes), attempt=attempt))
        entries.append(Entry(Kind.COMMITTED, window, end, token=number + 1, attempt=attempt, rows=1))
    return entries


def pieces(text: str, why: Why = Why.NEVER_RUN, error: str | None = None) -> list[Missing]:
    return [Missing(piece, why, error=error) for piece in hours(text)]


@pytest.mark.parametrize(
    ("entries", "drains", "ratio", "windows"),
    [
        pytest.param(moved("0-1 1-2 2-3", minutes=6), True, 0.1, 3, id="back to back"),
        pytest.param(moved("0-1 1-2 2-3", minutes=3, every=6), True, 0.1, 3, id="time between runs counts"),
        pytest.param(moved("0-1 1-2 2-3", minutes=3, every=60), True, 0.05, 3, id="an outage does not"),
        pytest.param(moved("0-1 1-2 2-3", minutes=3, every=60), False, 1.0, 3, id="the schedule's pace does"),
        pytest.param(moved("0-1 1-2 2-3 3-4", minutes=12, every=6), True, 0.1, 4, id="side by side"),
        pytest.param(moved("0-2 2-4 4-6", minutes=6), True, 0.05, 3, id="by the length of the windows"),
        pytest.param(
            moved("0-1 1-2 2-3", minutes=3, every=60, first=at(26)),
            True,
            0.05,
            3,
            id="windows that became ready",
        ),
        pytest.param(
            moved(" ".join(f"{n}-{n + 1}" for n in range(5)), minutes=30, first=at(40))
            + moved(" ".join(f"{n}-{n + 1}" for n in range(5, 25)), minutes=6),
            True,
            0.1,
            20,
            id="the last twenty",
        ),
    ],
)
def test_the_pace(entries: list[Entry], drains: bool, ratio: float, windows: int) -> None:
    pace = pace_of(HOURLY, entries, drains=drains)
    assert pace is not None
    assert (round(pace.ratio, 6), pace.windows) == (ratio, windows)


def test_the_pace_of_a_backlog_is_that_of_its_larger_windows() -> None:
    entries = moved("0-1 1-2 2-3 3-13 13-25", minutes=6)
    assert pace_of(HOURLY, entries, larger=True) == Pace(pytest.approx((6 / 600 + 6 / 720) / 2), 2)
    assert pace_of(HOURLY, entries) == Pace(pytest.approx(0.1), 5)
    assert pace_of(HOURLY, entries[:6], larger=True) == Pace(pytest.approx(0.1), 3)


def test_commits_without_their_attempt_have_no_pace() -> None:
    """As `state rebuild` writes them."""
    assert pace_of(HOURLY, [Entry(Kind.COMMITTED, hours("0-1")[0], NOW, token=1, rows=1)]) is None


ON_DATA = pieces("9-10", Why.FAILED, "DataError")


@pytest.mark.parametrize(
    ("missing", "minutes", "seconds", "detail"),
    [
        pytest.param(
            pieces("3-13"),
            6,
            4000,
            "in 1h6m40s, at 6m for an hour of data, as the last 3 windows took",
            id="an hour",
        ),
        pytest.param(
            pieces("3-13", Why.READY), 30, 36000, "in 10h, at 30m for", id="half of the time is new"
        ),
        pytest.param(pieces("3-8 8-13", Why.LEASED), 6, 4000, "in 1h6m40s", id="what is worked on"),
        pytest.param(pieces("3-13", Why.FAILED, "TransientError"), 6, 4000, "in 1h6m40s", id="what may pass"),
        pytest.param(
            pieces("3-9") + ON_DATA + pieces("10-14", Why.UNFINISHED),
            6,
            4000,
            "as the last 3 windows took; without 1 failed or blocked gap",
            id="what fails again",
        ),
        pytest.param(
            pieces("3-9") + ON_DATA + pieces("10-14") + pieces("14-15", Why.BLOCKED),
            6,
            4000,
            "; without 2 failed or blocked gaps",
            id="and what is blocked",
        ),
        pytest.param(
            pieces("3-13"),
            60,
            None,
            "never at this pace, it falls further behind: 1h for an hour",
            id="too slow",
        ),
        pytest.param(
            ON_DATA, 6, None, "no estimate: only failed or blocked gaps are left (1)", id="failed alone"
        ),
        pytest.param(
            pieces("90-95", Why.NOT_SETTLED) + pieces("p0-24", Why.TOO_OLD),
            6,
            0,
            "all that runs look at and that is ready is committed",
            id="nothing is left",
        ),
    ],
)
def test_when(missing: list[Missing], minutes: float, seconds: float | None, detail: str) -> None:
    eta = estimate(HOURLY, missing, moved("0-1 1-2 2-3", minutes=minutes), NOW)
    assert detail in eta.detail
    assert (eta.seconds and round(eta.seconds)) == seconds
    assert eta.at == (NOW + timedelta(seconds=eta.seconds) if eta.seconds else None)


@pytest.mark.parametrize(
    ("end_day", "minutes", "seconds"),
    [
        pytest.param(date(2013, 11, 3), 6, 4000, id="before the end"),
        pytest.param(date(2013, 11, 3), 60, 22 * 3600, id="only since there is an end"),
        pytest.param(date(2013, 11, 3), 54, 22 * 3240, id="the last window comes first"),
        pytest.param(date(2013, 11, 2), 60, 10 * 3600, id="after the end"),
    ],
)
def test_with_an_end_day_there_is_an_end(end_day: date, minutes: float, seconds: float) -> None:
    ends = rules(granularity=parse_duration("1h"), end_day=end_day)
    eta = estimate(ends, pieces("3-13"), moved("0-1 1-2 2-3", minutes=minutes), NOW)
    assert eta.seconds is not None
    assert round(eta.seconds) == seconds


@pytest.mark.parametrize(
    ("habits", "idle", "missing", "detail"),
    [
        pytest.param(
            Habits(),
            3,
            "3-13",
            "no estimate, no run since 2013-11-07 08:00Z: it is 1h6m40s of work at 6m",
            id="stopped",
        ),
        pytest.param(
            Habits(scheduled=False),
            0,
            "3-13",
            "no estimate, runs are started by hand: it is",
            id="by hand",
        ),
        pytest.param(Habits(), 2, "3-13", "in 1h6m40s", id="a short pause"),
    ],
)
def test_a_pipeline_that_does_not_run(habits: Habits, idle: float, missing: str, detail: str) -> None:
    eta = estimate(
        HOURLY, pieces(missing), moved("0-1 1-2 2-3", minutes=6), NOW + timedelta(hours=idle), habits
    )
    assert eta.detail.startswith(detail), eta.detail


def test_a_lease_shows_that_it_runs() -> None:
    leased = [*pieces("3-4", Why.LEASED), *pieces("4-13")]
    assert estimate(HOURLY, leased, moved("0-1 1-2 2-3", minutes=6), NOW + timedelta(hours=9)).at is not None


@pytest.mark.parametrize(
    ("on_blocked", "entries", "detail"),
    [
        (
            "stop",
            moved("0-1", minutes=6),
            "no estimate: planning stops at a blocked window (on_blocked: stop)",
        ),
        ("pass", [], "no estimate yet: the ledger has no finished window near the gap to judge by"),
        (
            "pass",
            moved("0-1", minutes=6),
            "in 1h6m40s, at 6m for an hour of data, as the last 1 window took; without 1",
        ),
    ],
)
def test_why_not(on_blocked: str, entries: list[Entry], detail: str) -> None:
    stops = rules(granularity=parse_duration("1h"), on_blocked=on_blocked)
    eta = estimate(stops, [*pieces("3-13"), *pieces("13-14", Why.BLOCKED)], entries, NOW)
    assert eta.detail.startswith(detail), eta.detail


@pytest.mark.parametrize(
    ("missing", "granularity", "until", "spans"),
    [
        pytest.param(
            pieces("30-40"), "2h", 40, [(-10, 40)], id="twenty windows before the gap, and all after it"
        ),
        pytest.param(pieces("30-40"), "1m", 40, [(6, 40)], id="a day at least"),
        pytest.param(
            pieces("30-40"), "1h", 500, [(6, 30), (476, 500)], id="the newest ones far behind an old gap"
        ),
        pytest.param(pieces("30-40"), "1h", 20, [(6, 30)], id="nothing after it"),
        pytest.param(
            pieces("p0-24", Why.TOO_OLD) + pieces("30-40", Why.NOT_SETTLED),
            "1h",
            40,
            [],
            id="nothing to move",
        ),
    ],
)
def test_which_entries_are_needed(
    missing: Iterable[Missing], granularity: str, until: float, spans: list[tuple[float, float]]
) -> None:
    found = spans_of_interest(rules(granularity=parse_duration(granularity)), missing, at(until))
    assert found == [Interval(at(first), at(last)) for first, last in spans]


def test_larger_windows_of_a_backlog_need_older_entries() -> None:
    found = spans_of_interest(
        rules(granularity=parse_duration("1h"), backlog_granularity=parse_duration("1d")),
        pieces("200-201"),
        at(201),
    )
    assert found[0].end == at(201)
    assert found[0].start == at(200) - LARGER_SAMPLES * timedelta(days=1)


def test_nothing_is_behind() -> None:
    assert estimate(HOURLY, [], [], NOW) == Eta(
        None, 0.0, "all that runs look at and that is ready is committed"
    )
    assert Pace(0.5, 1).ratio == 0.5
