"""Which window, or which reason: the planner's table, and the sentences that people read."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from airflow_pipeline_provider.core.durations import Duration, parse_duration
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.planning import (
    Known,
    Plan,
    PlanRules,
    Reason,
    day_plan,
    horizon,
    opens,
    plan_live,
    plan_window,
    ready_at,
    target_day,
)
from airflow_pipeline_provider.core.wording import local_window
from airflow_pipeline_provider.exceptions import ConfigError

UTC = timezone.utc
NEW_YORK = ZoneInfo("America/New_York")
# Clocks go back on 2013-11-03, a day of 25 hours.  Hours below are elapsed since its midnight in New York, so
# "0-2" is 00:00 EDT to 01:00 EST, and "23-25" are the day's last two hours.
MIDNIGHT = datetime(2013, 11, 3, tzinfo=NEW_YORK).astimezone(UTC)


def at(hour: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hour)


def hours(text: str) -> tuple[Interval, ...]:
    """`p22-24 0-2` are the last two hours of the previous day and the first two of this one."""
    found = []
    for word in text.split():
        offset = -24 if word.startswith("p") else 0
        start, end = word.removeprefix("p").split("-")
        found.append(Interval(at(float(start) + offset), at(float(end) + offset)))
    return tuple(found)


def rules(**changed: object) -> PlanRules:
    given: dict[str, object] = {
        "timezone": "America/New_York",
        "x_time_back": parse_duration("1d2h"),
        "granularity": parse_duration("2h"),
        "settle_seconds": 600,
        "start_day": date(2013, 11, 2),
    }
    return PlanRules(**{**given, **changed})  # type: ignore[arg-type]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


# 2013-11-04 02:00 EST: exactly 1d2h after the midnight of 2013-11-03
OPENS = at(27)


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
            "the target day 2013-11-05 is after end_day 2013-11-03, and nothing is left to do up to there (days "
            "before 2013-11-04 are not looked at: max_backlog_days is 1)",
            id="after the end, which the backlog does not reach",
        ),
        pytest.param(
            {"max_backlog_days": 0},
            27 + 23.9,
            Known(committed=hours("0-25")),
            Reason.COMPLETE,
            3,
            "everything up to the end of the target day 2013-11-03 is complete (days before 2013-11-03 are not "
            "looked at: max_backlog_days is 0); 2013-11-04 opens at 2013-11-05 02:00 EST",
            id="complete as far as the backlog reaches",
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


@pytest.mark.parametrize(
    ("x_time_back", "reference", "day"),
    [
        pytest.param("1d2h", "2013-11-04T01:59:59", 2, id="a second before"),
        pytest.param("1d2h", "2013-11-04T02:00:00", 3, id="on the second"),
        pytest.param("0s", "2013-11-03T23:59:59", 3, id="today"),
        pytest.param(
            "24h", "2013-11-04T00:00:00", 3, id="24 hours back from the end of the 25-hour day: 01:00 EST"
        ),
        pytest.param("24h", "2013-11-03T23:00:00", 3, id="24 hours back from 23:00 on that day: midnight"),
        pytest.param("24h", "2013-11-03T22:59:59", 2, id="and a second before"),
    ],
)
def test_target_day(x_time_back: str, reference: str, day: int) -> None:
    assert target_day(rules(x_time_back=parse_duration(x_time_back)), local(reference)) == date(2013, 11, day)


@pytest.mark.parametrize(
    ("zone", "back", "day", "opened"),
    [
        pytest.param("America/New_York", "1d2h", "2013-11-03", "2013-11-04T07:00:00", id="the 25-hour day"),
        pytest.param("America/New_York", "1d2h", "2013-11-02", "2013-11-03T07:00:00", id="27 hours later"),
        pytest.param(
            "America/New_York", "26h", "2013-11-02", "2013-11-03T06:00:00", id="26 hours are 26 hours"
        ),
        pytest.param(
            "America/New_York", "1d2h", "2013-03-09", "2013-03-10T07:00:00", id="at the missing hour"
        ),
        pytest.param(
            "America/New_York", "1d1h", "2013-11-02", "2013-11-03T05:00:00", id="01:00 twice: the first"
        ),
        pytest.param(
            "America/New_York", "1d1h30m", "2013-11-02", "2013-11-03T06:30:00", id="01:30 twice: the second"
        ),
        pytest.param(
            "America/New_York",
            "1d2h30m",
            "2013-11-03",
            "2013-11-04T07:00:00",
            id="01:30 EST has no day after",
        ),
        pytest.param(
            "America/New_York",
            "1d2h30m",
            "2013-03-10",
            "2013-03-11T07:30:00",
            id="02:30 left out: passes twice",
        ),
        pytest.param("America/Toronto", "1d", "1919-03-31", "1919-04-01T04:00:00", id="midnight left out"),
        pytest.param(
            "Pacific/Apia", "2d1h", "2011-12-29", "2011-12-31T11:00:00", id="two days before a skipped one"
        ),
        pytest.param(
            "Pacific/Apia", "1d", "2011-12-29", "2011-12-30T10:00:00", id="a day before a skipped one"
        ),
        pytest.param("Pacific/Apia", "1d", "2011-12-30", "2011-12-31T10:00:00", id="with it, two days pass"),
        pytest.param(
            "Pacific/Apia", "1d", "2011-12-31", "2011-12-31T10:00:00", id="the day after a skipped one"
        ),
        pytest.param("Pacific/Kwajalein", "1d", "1969-09-30", "1969-10-01T12:00:00", id="a day of 47 hours"),
    ],
)
def test_opens(zone: str, back: str, day: str, opened: str) -> None:
    changed = rules(timezone=zone, x_time_back=parse_duration(back), start_day=None)
    assert opens(changed, date.fromisoformat(day)).replace(tzinfo=None) == datetime.fromisoformat(opened)


@pytest.mark.parametrize(
    ("changed", "window", "ready"),
    [
        pytest.param({}, "0-2", 27, id="when its day opens"),
        pytest.param({}, "2-4", 28, id="1d2h after its start, in elapsed hours"),
        pytest.param({"x_time_back": Duration(0, 0)}, "2-4", 4 + 1 / 6, id="when its data settled"),
        pytest.param(
            {"granularity": Duration(0, 60)}, "0.5-2", 27 + 30 / 3600, id="the 31st window, 30 seconds later"
        ),
        pytest.param(
            {"granularity": Duration(1, 0)}, "13-25", 39, id="the window of a whole day is the first"
        ),
        pytest.param({"granularity": Duration(1, 0)}, "0-25", 27, id="the whole day"),
    ],
)
def test_ready_at(changed: dict[str, object], window: str, ready: float) -> None:
    # the day opens 27 elapsed hours after its midnight, which is 1d2h by the clock
    assert ready_at(rules(**changed), hours(window)[0]) == at(ready)


def test_day_plan_of_a_25_hour_day() -> None:
    windows = day_plan(rules(), date(2013, 11, 3))
    assert windows == list(hours(" ".join(f"{n}-{min(n + 2, 25)}" for n in range(0, 25, 2))))


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
