"""What is missing and why: the pieces, cut as the planner cuts them, with what the ledger says about each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

import pytest

from airflow_pipeline_provider.core.days import days_in
from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.core.missing import (
    Missing,
    Why,
    explain,
    find_missing,
    split_next,
    too_old_text,
    within,
)
from airflow_pipeline_provider.core.planning import PlanRules, all_days, recent_days
from airflow_pipeline_provider.core.readiness import ready_end, too_old_days

from .planning_examples import at, hours, rules

DONE_BEFORE = hours("p0-24")


@dataclass(frozen=True)
class Held:
    interval: Interval
    holder: str = "flights/other"
    since: datetime = field(default_factory=lambda: at(20))


def failed(piece: str, message: str = "ids repeat") -> Entry:
    detail = {"error": "DataError", "phase": "audit", "message": message}
    return Entry(Kind.FAILED, hours(piece)[0], at(0), detail=detail)


def shown(found: list[Missing]) -> list[str]:
    start = at(0)
    return [
        f"{(one.interval.start - start).total_seconds() / 3600:g}-"
        f"{(one.interval.end - start).total_seconds() / 3600:g} {one.why.value} {one.failures}"
        for one in found
    ]


@pytest.mark.parametrize(
    ("changed", "reference", "done", "blocked", "leased", "expected"),
    [
        pytest.param({}, 99, "p0-24 0-25 25-49 49-73 73-97", "", "", [], id="nothing"),
        pytest.param(
            {}, 27, "p0-24", "", "", ["0-2 ready 0", "2-25 not_settled 0"], id="the first window is ready"
        ),
        pytest.param({}, 26.9, "p0-24", "", "", [], id="the day is not open"),
        pytest.param(
            {},
            49.5,
            "p0-24 0-2 6-8",
            "4-6",
            "2-3",
            ["2-3 leased 0", "3-4 ready 0", "4-6 blocked 0", "8-24 ready 0", "24-25 not_settled 0"],
            id="leased, blocked, ready and not",
        ),
        pytest.param(
            {"granularity": parse_duration("6h")},
            44.5,
            "p0-24 0-19",
            "",
            "",
            ["19-25 not_settled 0"],
            id="after a change of granularity the rest is one window",
        ),
        pytest.param(
            {"granularity": parse_duration("1h")},
            46.5,
            "p0-24 0-19",
            "",
            "",
            ["19-21 ready 0", "21-25 not_settled 0"],
            id="of 1h two are ready",
        ),
        pytest.param({"max_backlog_days": 0}, 50.5, "0-25", "", "", ["-24-0 too_old 0"], id="too old"),
        pytest.param(
            {"max_backlog_days": 1, "end_day": date(2013, 11, 2)},
            99,
            "",
            "",
            "",
            ["-24-0 too_old 0"],
            id="all of it is too old",
        ),
        pytest.param({"start_day": date(2013, 11, 9)}, 99, "", "", "", [], id="before the start"),
        pytest.param(
            {"settle_seconds": 40 * 3600},
            66,
            "p0-24",
            "",
            "",
            ["0-25 ready 0", "25-49 not_settled 0"],
            id="what is not settled is cut at midnight",
        ),
    ],
)
def test_find_missing(
    changed: dict[str, object], reference: float, done: str, blocked: str, leased: str, expected: list[str]
) -> None:
    found = find_missing(
        rules(**changed),
        at(reference),
        hours(done),
        blocked=hours(blocked),
        leases=[Held(piece) for piece in hours(leased)],
    )
    assert shown(found) == expected
    assert [one.ready for one in found] == [one.why not in (Why.LEASED, Why.NOT_SETTLED) for one in found]


def test_details() -> None:
    found = find_missing(rules(max_backlog_days=0), at(50.5), hours("0-2"), leases=[Held(hours("2-4")[0])])
    assert [one.detail for one in found if one.detail] == [
        "runs look back no days (max_backlog_days)",
        "flights/other works on it since 2013-11-03 19:00 EST",
    ]
    (late,) = [one for one in find_missing(rules(), at(27), DONE_BEFORE) if one.why is Why.NOT_SETTLED]
    assert late.detail == "its first window is ready at 2013-11-04 03:00 EST"


@pytest.mark.parametrize(
    ("why", "entries", "expected"),
    [
        pytest.param(Why.READY, [], ["0-6 never_run 0"], id="never run"),
        pytest.param(
            Why.READY,
            [failed("2-4")],
            ["0-2 never_run 0", "2-4 failed 1", "4-6 never_run 0"],
            id="one failed",
        ),
        pytest.param(
            Why.READY,
            [failed("0-2"), failed("2-4"), failed("2-4")],
            ["0-2 failed 1", "2-4 failed 2", "4-6 never_run 0"],
            id="each failure by itself",
        ),
        pytest.param(
            Why.READY,
            [failed("0-2", "a"), failed("2-4", "b")],
            ["0-2 failed 1", "2-4 failed 1", "4-6 never_run 0"],
            id="two errors",
        ),
        pytest.param(
            Why.READY,
            [
                Entry(Kind.ATTEMPT, hours("0-2")[0], at(0), run="flights/r1"),
                Entry(Kind.REPLACING, hours("2-4")[0], at(0)),
            ],
            ["0-2 unfinished 0", "2-4 unfinished 0", "4-6 never_run 0"],
            id="begun",
        ),
        pytest.param(Why.BLOCKED, [failed("0-6"), failed("0-6")], ["0-6 blocked 2"], id="blocked"),
        pytest.param(Why.BLOCKED, [], ["0-6 blocked 0"], id="blocked, and no line says why"),
        pytest.param(
            Why.BLOCKED,
            [Entry(Kind.ATTEMPT, hours("0-2")[0], at(0))],
            ["0-6 blocked 0"],
            id="blocked, attempts alone",
        ),
        pytest.param(Why.LEASED, [failed("2-4")], ["0-6 leased 1"], id="leased"),
        pytest.param(Why.NOT_SETTLED, [failed("8-9")], ["0-6 not_settled 0"], id="not settled"),
    ],
)
def test_explain(why: Why, entries: list[Entry], expected: list[str]) -> None:
    assert shown(explain([Missing(hours("0-6")[0], why)], entries)) == expected


def test_the_last_failure_is_named() -> None:
    (one,) = explain([Missing(hours("0-2")[0], Why.READY)], [failed("0-2", "a"), failed("0-2", "b")])
    assert (one.detail, one.error) == ("DataError in audit: b", "DataError")
    bare = Entry(Kind.FAILED, hours("0-2")[0], at(0))
    (one,) = explain([Missing(hours("0-2")[0], Why.READY)], [bare])
    assert one.detail == "error in a phase: no message"


def test_parts() -> None:
    missing = [Missing(piece, Why.READY) for piece in hours("0-2 4-6")]
    assert shown(within(missing, hours("1-3")[0])) == ["1-2 ready 0"]
    days = [part for _, part in days_in(Interval(at(-1), at(26)), "America/New_York")]
    assert days == list(hours("p23-24 0-25 25-26"))


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ("0-2", "too_old: 1 day (2013-11-03) is missing"),
        ("p0-2 0-2", "too_old: 2 days (2013-11-02 to 2013-11-03) are missing"),
    ],
)
def test_how_many_days_are_too_old(pieces: str, sentence: str) -> None:
    assert too_old_text(rules(max_backlog_days=3), hours(pieces)).startswith(sentence)


def test_a_date_that_the_zone_skipped_has_no_ready_part() -> None:
    """Apia had no 2011-12-30."""
    apia = PlanRules("Pacific/Apia", parse_duration("0s"), parse_duration("1d"), start_day=date(2011, 12, 29))
    span = all_days(apia, datetime.fromisoformat("2011-12-31T00:00:00+00:00"))
    assert span is not None
    assert ready_end(
        apia, span, datetime.fromisoformat("2011-12-30T10:00:00+00:00")
    ) == datetime.fromisoformat("2011-12-30T10:00:00+00:00")


@pytest.mark.parametrize(
    ("changed", "first_day", "expected"),
    [
        pytest.param({}, None, None, id="no limit"),
        pytest.param({"max_backlog_days": 2}, None, "02 03", id="since start_day"),
        pytest.param(
            {"max_backlog_days": 0, "start_day": None}, 4, "04 05", id="since the first day ever planned"
        ),
        pytest.param({"max_backlog_days": 0, "start_day": None}, None, None, id="never planned"),
        pytest.param(
            {"max_backlog_days": 0, "end_day": date(2013, 11, 3)}, None, "02 04", id="not beyond end_day"
        ),
        pytest.param({"max_backlog_days": 1, "start_day": date(2013, 11, 9)}, None, None, id="start ahead"),
    ],
)
def test_days_that_are_too_old(
    changed: dict[str, object], first_day: int | None, expected: str | None
) -> None:
    span = too_old_days(rules(**changed), at(98), date(2013, 11, first_day) if first_day else None)
    if expected is None:
        assert span is None
    else:
        assert span is not None
        assert [f"{bound.day:02}" for bound in (span.start, span.end)] == expected.split()


def test_recent_days_begin_at_the_first_day() -> None:
    assert [day.day for day in recent_days(rules(), at(98), 9)] == [2, 3, 4, 5]
    assert [day.day for day in recent_days(rules(start_day=None), at(98), 3)] == [3, 4, 5]
    assert [day.day for day in recent_days(rules(start_day=None), at(98), 3, date(2013, 11, 4))] == [4, 5]
    assert recent_days(rules(start_day=date(2014, 1, 1)), at(98), 3) == []
    assert all_days(rules(start_day=date(2014, 1, 1)), at(98)) is None


@pytest.mark.parametrize(
    ("reference", "gap", "expected"),
    [
        pytest.param(33, "0-6", ["0-6 never_run 0"], id="ready for longer than their length"),
        pytest.param(30.5, "0-6", ["0-4 never_run 0", "4-6 ready 0"], id="the last one is just ready"),
        pytest.param(28, "p0-24 0-2", ["-24-0 never_run 0", "0-2 ready 0"], id="over midnight"),
        pytest.param(28, "0-2", ["0-2 ready 0"], id="all of it"),
        pytest.param(30.5, "0-5", ["0-4 never_run 0", "4-5 ready 0"], id="half of a window"),
        pytest.param(33, "5-6", ["5-6 never_run 0"], id="half of a window, for long"),
    ],
)
def test_a_gap_is_cut_where_its_windows_are_just_ready(
    reference: float, gap: str, expected: list[str]
) -> None:
    pieces = hours(gap)
    whole = Interval(pieces[0].start, pieces[-1].end)
    found = split_next(rules(), [Missing(whole, Why.NEVER_RUN, "no run has begun it")], at(reference))
    assert shown(found) == expected
    assert all(one.detail.startswith("ready since ") for one in found if one.why is Why.READY)


@pytest.mark.parametrize("why", [why for why in Why if why is not Why.NEVER_RUN])
def test_only_what_was_never_run_is_cut(why: Why) -> None:
    missing = [Missing(hours("0-6")[0], why, "a reason", 2)]
    assert split_next(rules(), missing, at(30.5)) == missing
