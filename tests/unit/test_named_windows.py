"""Windows that somebody names, and rules and times that are wrong: the sentences that people read."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from airflow_pipeline_provider.core.durations import Duration
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import (
    Known,
    Reason,
    opens,
    plan_live,
    plan_window,
    ready_at,
)
from airflow_pipeline_provider.exceptions import ConfigError
from tests.unit.planning_examples import UTC, at, hours, rules


@pytest.mark.parametrize(
    ("changed", "window", "now", "cut", "expected"),
    [
        pytest.param({}, "2-4", 99, True, "2-4", id="as asked"),
        pytest.param({}, "2.5-3", 99, False, "2.5-3", id="any part of a day"),
        pytest.param({}, "24-26", 99, True, "24-25", id="cut to its day"),
        pytest.param({}, "0-25", 99, False, "0-25", id="a whole day"),
        pytest.param({}, "2-4", 4 + 1 / 6, False, "2-4", id="on the second that it settles"),
        pytest.param({}, "24-26", 25.2, True, "24-25", id="settled once cut"),
        pytest.param({}, "2-4", 4.1, True, Reason.NOT_SETTLED, id="not settled"),
        pytest.param({}, "2-4", 3, True, Reason.NOT_SETTLED, id="in the future"),
        pytest.param(
            {"x_time_back": Duration(30, 0)}, "2-4", 5, True, "2-4", id="x_time_back does not matter"
        ),
        pytest.param({"max_backlog_days": 0}, "2-4", 9999, True, "2-4", id="the backlog does not matter"),
        pytest.param({"start_day": date(2013, 11, 4)}, "2-4", 99, True, Reason.BEFORE_START_DAY, id="before"),
        pytest.param(
            {"start_day": None, "end_day": date(2013, 11, 2)},
            "2-4",
            99,
            True,
            Reason.AFTER_END_DAY,
            id="after",
        ),
        pytest.param({"end_day": date(2013, 11, 3)}, "2-4", 99, True, "2-4", id="on the last day"),
    ],
)
def test_named_window(
    changed: dict[str, object], window: str, now: float, cut: bool, expected: str | Reason
) -> None:
    plan = plan_window(rules(**changed), hours(window)[0], at(now), cut=cut)
    assert plan.day == date(2013, 11, 3)
    if isinstance(expected, Reason):
        assert plan.reason is expected
    else:
        assert plan.interval == hours(expected)[0]


@pytest.mark.parametrize(
    ("changed", "window", "now", "detail"),
    [
        pytest.param({}, "24-26", 99, "2013-11-03 [23:00, 24:00) EST (cut to 2013-11-03) is", id="cut"),
        pytest.param({}, "0-2", 1, "01:00 EST) is settled at 2013-11-03 01:10 EST, and it is", id="settle"),
        pytest.param(
            {"start_day": date(2013, 11, 4)}, "5-7", 99, "EST is before start_day 2013-11-04", id="before"
        ),
        pytest.param(
            {"start_day": None, "end_day": date(2013, 11, 2)},
            "5-7",
            99,
            "EST is after end_day 2013-11-02",
            id="after",
        ),
    ],
)
def test_named_window_details(changed: dict[str, object], window: str, now: float, detail: str) -> None:
    text = plan_window(rules(**changed), hours(window)[0], at(now), cut=True).detail
    assert detail in text


@pytest.mark.parametrize(
    ("window", "message"),
    [
        pytest.param(
            "3-3",
            r"^window: expected an end after its start, got the empty \[2013-11-03T07:00",
            id="empty",
        ),
        pytest.param(
            "23-27.5",
            r"^window: expected one inside of one day of America/New_York, got 2013-11-03 \[22:00, 2013-11-04 "
            r"02:30\) EST; 2013-11-03 ends at 2013-11-04 00:00 EST: run one window for each day$",
            id="two days",
        ),
    ],
)
def test_bad_named_windows(window: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_window(rules(), hours(window)[0], at(99), cut=False)


@pytest.mark.parametrize(
    ("window", "nearest"),
    [
        pytest.param("0-2", None, id="a window of the plan, an hour of it twice"),
        pytest.param("24-25", None, id="the short window at the end of the day"),
        pytest.param(
            "1-3",
            r"\[01:00 EDT, 02:00 EST\) \(2013-11-03T05:00:00Z to 2013-11-03T07:00:00Z\); the nearest: "
            r"2013-11-03 \[00:00 EDT, 01:00 EST\) \(2013-11-03T04:00:00Z to 2013-11-03T06:00:00Z\); "
            r"2013-11-03 \[01:00, 03:00\) EST \(2013-11-03T06:00:00Z to 2013-11-03T08:00:00Z\)\. Name one",
            id="an hour late",
        ),
        pytest.param("2-3", r"the nearest: 2013-11-03 \[01:00, 03:00\) EST \([^;]+\)\. Name", id="a half"),
        pytest.param(
            "0-25",
            r"the nearest: 2013-11-03 \[00:00 [^;]+; 2013-11-03 \[01:00, 03:00\) EST [^;]+; and 11 more, up to "
            r"2013-11-03 \[23:00, 24:00\) EST \(2013-11-04T04:00:00Z to 2013-11-04T05:00:00Z\)\. Name one",
            id="the whole day",
        ),
    ],
)
def test_a_window_of_no_day_plan_is_refused_with_the_nearest(window: str, nearest: str | None) -> None:
    (asked,) = hours(window)
    assert plan_window(rules(), asked, at(99), cut=False, exact=True).interval == asked
    if nearest is None:
        assert plan_window(rules(), asked, at(99), cut=False, exact=False).interval == asked
        return
    with pytest.raises(ConfigError, match=rf"^window: expected a window of the day plan, got .*{nearest}"):
        plan_window(rules(), asked, at(99), cut=False, exact=False)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("timezone", "Mars/Olympus", "timezone: expected a name of the tz database"),
        ("timezone", 7, "timezone: expected a name of the tz database"),
        ("granularity", Duration(0, 59), "granularity: expected 1m or more, got 59s"),
        ("granularity", Duration(0, 0), "granularity: expected 1m or more, got 0s"),
        ("granularity", Duration(0, -60), "granularity: expected a duration such as 1d2h"),
        ("granularity", "2h", "granularity: expected a duration such as 1d2h, got '2h'"),
        ("x_time_back", Duration(-1, 0), "x_time_back: expected a duration such as 1d2h"),
        ("x_time_back", None, "x_time_back: expected a duration such as 1d2h, got None"),
        ("settle_seconds", -1, "settle_seconds: expected a whole number, 0 or more, got -1"),
        ("settle_seconds", 1.5, "settle_seconds: expected a whole number, 0 or more, got 1.5"),
        ("max_backlog_days", -1, "max_backlog_days: expected a whole number, 0 or more, got -1"),
        ("max_backlog_days", True, "max_backlog_days: expected a whole number, 0 or more, got True"),
        ("start_day", "2013-11-01", "start_day: expected a date from"),
        ("start_day", datetime(2013, 11, 1), "start_day: expected a date from"),
        ("end_day", date.max, "end_day: expected a date from"),
        ("end_day", date(2013, 11, 1), "start_day: expected a day up to end_day 2013-11-01, got 2013-11-02"),
        ("on_blocked", "wait", "on_blocked: expected 'pass' or 'stop', got 'wait'"),
    ],
)
def test_bad_rules_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        rules(**{field: value})
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [datetime(2013, 11, 3), "2013-11-03", None], ids=["naive", "text", "None"])
def test_bad_times_are_named(value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^reference_time: expected an aware datetime, got "):
        plan_live(rules(), value, Known())  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError), match=r"^now: expected an aware datetime, got "):
        plan_window(rules(), hours("2-4")[0], value, cut=True)  # type: ignore[arg-type]


def test_beyond_the_calendar_is_said() -> None:
    last = date(9999, 12, 20)
    with pytest.raises(ValueError, match=r"^x_time_back: 30d after 9999-12-20 is outside of the calendar$"):
        opens(rules(x_time_back=Duration(30, 0)), last)
    window = Interval(datetime(9999, 12, 20, 12, tzinfo=UTC), datetime(9999, 12, 20, 14, tzinfo=UTC))
    with pytest.raises(ValueError, match=r"is ready only after the calendar's end$"):
        ready_at(rules(x_time_back=Duration(0, 0), settle_seconds=10**8), window)
