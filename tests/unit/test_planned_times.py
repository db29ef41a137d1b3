"""When a day opens and a window is ready, and which windows a day has."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from airflow_pipeline_provider.core.durations import Duration, parse_duration
from airflow_pipeline_provider.core.planning import (
    day_plan,
    opens,
    ready_at,
    target_day,
)
from tests.unit.planning_examples import at, hours, local, rules


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
