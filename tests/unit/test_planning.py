"""Which window, or which reason: the planner's table."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from airflow_pipeline_provider.core.durations import Duration, parse_duration
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import (
    Known,
    Plan,
    Reason,
    horizon,
    plan_live,
)
from airflow_pipeline_provider.core.wording import local_window
from tests.unit.planning_examples import NEW_YORK, UTC, at, hours, local, rules


@pytest.mark.parametrize(
    ("reference", "committed", "waived", "blocked", "leased", "window"),
    [
        pytest.param(100, "", "", "", "", "p0-2", id="the earliest day first"),
        pytest.param(100, "p0-24", "", "", "", "0-2", id="the first window of the 25-hour day"),
        pytest.param(100, "p0-24 0-2", "", "", "", "2-4", id="the next"),
        pytest.param(100, "p0-24 0-24", "", "", "", "24-25", id="cut at midnight"),
        pytest.param(100, "p0-24 0-13.5", "", "", "", "13.5-15.5", id="from wherever it stopped"),
        pytest.param(100, "p0-24 0-2 3-9", "", "", "", "2-3", id="up to the next commit"),
        pytest.param(100, "p0-24 0-2 4-6", "2-4", "", "", "6-8", id="a waive is covered"),
        pytest.param(100, "p0-24 0-2", "3-9", "", "", "2-3", id="up to the next waive"),
        pytest.param(100, "p0-24", "", "", "0-2", "2-4", id="a lease is passed over"),
        pytest.param(100, "p0-24", "", "", "1-3", "0-1", id="up to the next lease"),
        pytest.param(100, "p0-24", "", "0-2", "", "2-4", id="blocked is passed"),
        pytest.param(100, "p0-24", "", "1-3", "", "0-1", id="up to the next blocked"),
        pytest.param(
            100, "p0-24 0-2", "", "0-2", "0-2", "2-4", id="what is committed is neither blocked nor leased"
        ),
        pytest.param(
            100, "p0-22 0-25", "", "", "", "p22-24", id="a hole in an old day comes before new days"
        ),
        pytest.param(100, "p0-23 p23.5-24", "", "", "", "p23-23.5", id="a small hole"),
        pytest.param(100, "p0-12 p12-24 0-25", "", "", "", "25-27", id="the day after"),
        pytest.param(28, "p0-24", "", "", "", "0-2", id="the target day as soon as it is open"),
        pytest.param(27, "p0-24", "", "", "", "0-2", id="the very second"),
        pytest.param(26.999, "p0-22", "", "", "", "p22-24", id="the day before stays on offer"),
    ],
)
def test_live(reference: float, committed: str, waived: str, blocked: str, leased: str, window: str) -> None:
    known = Known(hours(committed), hours(waived), hours(blocked), hours(leased))
    plan = plan_live(rules(), at(reference), known)
    assert plan.interval == hours(window)[0], plan.detail
    assert plan.day == plan.interval.start.astimezone(NEW_YORK).date()
    assert plan.detail.startswith(
        f"the first gap is {local_window(plan.interval, NEW_YORK)}, ready since 2013-11-"
    )


@pytest.mark.parametrize(
    ("granularity", "window"),
    [
        pytest.param("1d", "0-25", id="a calendar day is the whole 25-hour day"),
        pytest.param("24h", "0-24", id="24 elapsed hours are not"),
        pytest.param("1d1h", "0-25", id="more than a day is cut"),
        pytest.param("90m", "0-1.5", id="elapsed time runs through the clock change"),
    ],
)
def test_granularity(granularity: str, window: str) -> None:
    changed = rules(granularity=parse_duration(granularity), start_day=date(2013, 11, 3))
    assert plan_live(changed, at(100), Known()).interval == hours(window)[0]


@pytest.mark.parametrize(
    ("changed", "reference", "known", "reason", "day", "detail"),
    [
        pytest.param(
            {},
            32.5,
            Known(committed=hours("p0-24 0-7")),
            Reason.NOT_SETTLED,
            3,
            "2013-11-03 is complete up to 2013-11-03 06:00 EST; the next window 2013-11-03 [06:00, 08:00) EST is "
            "ready at 2013-11-04 08:00 EST",
            id="not ready yet",
        ),
        pytest.param(
            {"x_time_back": Duration(0, 0)},
            2,
            Known(committed=hours("p0-24")),
            Reason.NOT_SETTLED,
            3,
            "nothing is left to do before 2013-11-03; the next window 2013-11-03 [00:00 EDT, 01:00 EST) is ready at "
            "2013-11-03 01:10 EST",
            id="a window that has ended but not settled",
        ),
        pytest.param(
            {},
            32.5,
            Known(committed=hours("p0-24 2-7"), blocked=hours("0-2")),
            Reason.NOT_SETTLED,
            3,
            "before 2013-11-03 06:00 EST only leased or blocked windows are left; the next window 2013-11-03 "
            "[06:00, 08:00) EST is ready at 2013-11-04 08:00 EST",
            id="a blocked one behind, the next not ready",
        ),
        pytest.param(
            {},
            32.5,
            Known(committed=hours("p0-24 0-5"), leased=hours("5-7")),
            Reason.LEASED,
            3,
            "another run works on 2013-11-03 [04:00, 06:00) EST, and no other window is ready",
            id="the only ready one is leased",
        ),
        pytest.param(
            {},
            30.5,
            Known(committed=hours("p0-24 0-5"), leased=hours("20-22")),
            Reason.NOT_SETTLED,
            3,
            "2013-11-03 is complete up to 2013-11-03 04:00 EST; the next window 2013-11-03 [04:00, 06:00) EST is "
            "ready at 2013-11-04 06:00 EST",
            id="a lease on a window that is not ready either does not matter",
        ),
        pytest.param(
            {"end_day": date(2013, 11, 3)},
            98,
            Known(committed=hours("p0-24 2-3 4-5 6-25"), leased=hours("5-6 0-2 3-4")),
            Reason.LEASED,
            3,
            "another run works on 2013-11-03 [00:00 EDT, 01:00 EST) (and 2 more), and no other window is ready",
            id="several leases",
        ),
        pytest.param(
            {"end_day": date(2013, 11, 3)},
            98,
            Known(committed=hours("p0-24 4-25"), blocked=hours("0-2"), leased=hours("2-4")),
            Reason.LEASED,
            3,
            "another run works on 2013-11-03 [01:00, 03:00) EST, and no other window is ready",
            id="leased before blocked: something is under way",
        ),
        pytest.param(
            {"end_day": date(2013, 11, 3)},
            98,
            Known(committed=hours("p0-24 2-25"), blocked=hours("0-2")),
            Reason.BLOCKED,
            3,
            "2013-11-03 [00:00 EDT, 01:00 EST) failed too often on its data; all else is complete: look at the "
            "failures, then run the window by hand",
            id="blocked, nothing else left",
        ),
        pytest.param(
            {"on_blocked": "stop"},
            98,
            Known(committed=hours("p0-24"), blocked=hours("0-2")),
            Reason.BLOCKED,
            3,
            "2013-11-03 [00:00 EDT, 01:00 EST) failed too often on its data; planning stops there (on_blocked: "
            "stop): look at the failures, then run the window by hand",
            id="blocked, and planning stops there",
        ),
        pytest.param(
            {},
            27 + 23.9,
            Known(committed=hours("p0-24 0-25")),
            Reason.COMPLETE,
            3,
            "everything up to the end of the target day 2013-11-03 is complete; 2013-11-04 opens at 2013-11-05 "
            "02:00 EST",
            id="complete",
        ),
        pytest.param(
            {"end_day": date(2013, 11, 3)},
            27 + 23.9,
            Known(committed=hours("p0-24 0-25")),
            Reason.COMPLETE,
            3,
            "everything up to the end of the target day 2013-11-03 is complete",
            id="complete on the last day",
        ),
        pytest.param(
            {"end_day": date(2013, 11, 3)},
            98,
            Known(committed=hours("p0-24 0-25")),
            Reason.AFTER_END_DAY,
            3,
            "the target day 2013-11-05 is after end_day 2013-11-03, and nothing is left to do up to there",
            id="after the end",
        ),
        pytest.param(
            {"end_day": date(2013, 11, 3), "max_backlog_days": 1},
            98,
            Known(),
            Reason.AFTER_END_DAY,
            3,
            "the target day 2013-11-05 is after end_day 2013-11-03, and nothing is left to do from 2013-11-04 up to "
            "there; too_old: 2 days (2013-11-02 to 2013-11-03) are missing and never caught up: raise "
            "max_backlog_days, or move or waive them by hand",
            id="after the end, which the backlog does not reach",
        ),
        pytest.param(
            {"max_backlog_days": 0},
            27 + 23.9,
            Known(committed=hours("0-25")),
            Reason.COMPLETE,
            3,
            "everything from 2013-11-03 up to the end of the target day 2013-11-03 is complete; 2013-11-04 opens at "
            "2013-11-05 02:00 EST; too_old: 1 day (2013-11-02) is missing and never caught up: raise "
            "max_backlog_days, or move or waive them by hand",
            id="complete as far as the backlog reaches",
        ),
        pytest.param(
            {"max_backlog_days": 0},
            27 + 23.9,
            Known(committed=hours("p0-24 0-25")),
            Reason.COMPLETE,
            3,
            "everything from 2013-11-03 up to the end of the target day 2013-11-03 is complete; 2013-11-04 opens at "
            "2013-11-05 02:00 EST",
            id="what the backlog does not reach is complete",
        ),
        pytest.param(
            {"start_day": date(2013, 11, 10)},
            98,
            Known(),
            Reason.BEFORE_START_DAY,
            5,
            "the target day 2013-11-05 is before start_day 2013-11-10, which opens at 2013-11-11 02:00 EST",
            id="before the start",
        ),
    ],
)
def test_live_reasons(
    changed: dict[str, object], reference: float, known: Known, reason: Reason, day: int, detail: str
) -> None:
    plan = plan_live(rules(**changed), at(reference), known)
    assert plan == Plan(None, date(2013, 11, day), reason, detail)


def test_stop_offers_what_lies_before_the_blocked_window() -> None:
    known = Known(committed=hours("p0-24"), blocked=hours("2-4"))
    assert plan_live(rules(on_blocked="stop"), at(99), known).interval == hours("0-2")[0]


@pytest.mark.parametrize(
    ("changed", "first_day", "first", "last"),
    [
        pytest.param({}, None, 2, 5, id="from start_day"),
        pytest.param({}, 4, 2, 5, id="start_day before the first day ever planned"),
        pytest.param({"start_day": None}, 4, 4, 5, id="from the first day ever planned"),
        pytest.param({"start_day": None}, None, 5, 5, id="the target day alone"),
        pytest.param({"start_day": None}, 9, 5, 5, id="a reference time before the first day ever planned"),
        pytest.param({"max_backlog_days": 2}, None, 3, 5, id="the backlog"),
        pytest.param({"max_backlog_days": 0}, None, 5, 5, id="no backlog"),
        pytest.param({"max_backlog_days": 10**12}, None, 2, 5, id="a backlog beyond the calendar"),
        pytest.param({"end_day": date(2013, 11, 4)}, None, 2, 4, id="up to end_day"),
        pytest.param({"end_day": date(2013, 11, 9)}, None, 2, 5, id="end_day in the future"),
    ],
)
def test_horizon(changed: dict[str, object], first_day: int | None, first: int, last: int) -> None:
    span = horizon(rules(**changed), at(98), date(2013, 11, first_day) if first_day else None)
    assert span == Interval(local(f"2013-11-0{first}"), local(f"2013-11-0{last + 1}"))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"start_day": date(2013, 11, 6)}, id="before start_day"),
        pytest.param({"end_day": date(2013, 11, 3), "max_backlog_days": 1}, id="end_day beyond the backlog"),
        pytest.param({"start_day": None, "end_day": date(2013, 11, 3)}, id="first run ever, after end_day"),
    ],
)
def test_no_day_to_look_at(changed: dict[str, object]) -> None:
    assert horizon(rules(**changed), at(98)) is None


def test_a_date_that_the_zone_skipped_has_nothing_to_do() -> None:
    skipped = date(2011, 12, 30)
    apia = rules(timezone="Pacific/Apia", start_day=skipped, end_day=skipped)
    now = datetime(2012, 1, 9, tzinfo=UTC)
    assert horizon(apia, now) is None
    assert plan_live(apia, now, Known()).reason is Reason.AFTER_END_DAY


def test_a_plan_is_a_window_or_a_reason() -> None:
    with pytest.raises(ValueError, match="an interval or a reason"):
        Plan(None, None, None, "neither")
    with pytest.raises(ValueError, match="an interval or a reason"):
        Plan(hours("0-2")[0], None, Reason.COMPLETE, "both")


def test_the_only_gap_behind_five_years_of_commits_is_found() -> None:
    """10,000 commits that do not touch, the only ready gap behind all of them."""
    changed = rules(start_day=date(2009, 1, 1), granularity=Duration(0, 3600))
    start = datetime(2009, 1, 1, 5, tzinfo=UTC)
    days = [start + timedelta(hours=4 * n) for n in range(10_000)]
    committed = tuple(Interval(day, day + timedelta(hours=3)) for day in days)
    waived = tuple(Interval(day + timedelta(hours=3), day + timedelta(hours=4)) for day in days)
    plan = plan_live(changed, at(100), Known(committed=committed[::-1], waived=waived))
    assert plan.interval is not None
    assert plan.interval.start == days[-1] + timedelta(hours=4)
