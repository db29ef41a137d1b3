"""The pipelines of these tests: what each moves, and how its runs are begun.

All begin together as soon as a collected test asks for one of them, so that they wait for each other's pauses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, NamedTuple

from demo import nyc
from tests.integration.real_airflow import lake
from tests.integration.real_airflow.rest import Airflow

FULL = os.environ.get("RELIABILITY") == "full"  # everything, by `make reliability`; else what CI has time for
THE_LONG_DAY = (date(2013, 11, 3), date(2013, 11, 3))
WEATHER_HOURS = 4
# A tick inside the day that it moves, and none while the tests run (but on that day of the year).
ONCE_A_YEAR = "0 0 3 11 *"
DAY_HOURS = 1 if FULL else 5
AT_ONCE_DAYS, AT_ONCE_HOURS, LIVE_AT_ONCE = (lake.NOVEMBER, 2, 6) if FULL else (THE_LONG_DAY, 8, 1)


def unpause(airflow: Airflow, dag_id: str) -> None:
    airflow.unpause(dag_id)


def backfill(airflow: Airflow, dag_id: str, first: date, last: date) -> None:
    """Of all windows that start in these days: the API takes both ends as such starts."""
    airflow.unpause(dag_id)
    start, end = lake.whole(first, last)
    airflow.backfill(dag_id, lake.iso(start), lake.iso(end - lake.MILLISECOND))


def named_at_once() -> list[lake.Span]:
    """A window of the plan, one across the bound of two, and one inside of another."""
    whole, left, right = lake.windows(*AT_ONCE_DAYS, AT_ONCE_HOURS)[:3]
    hour = timedelta(hours=1)
    return [whole, (left[1] - hour, right[0] + hour), (right[0] + hour, right[0] + 1.5 * hour)]


def all_at_once(airflow: Airflow, dag_id: str) -> None:
    backfill(airflow, dag_id, *AT_ONCE_DAYS)
    for _ in range(LIVE_AT_ONCE):
        airflow.trigger(dag_id)
    for start, end in named_at_once():
        window = {"window_start": start.isoformat(), "window_end": end.isoformat(), "exact": True}
        airflow.trigger(dag_id, window)


class Story(NamedTuple):
    """`settings`: of the pipeline file, over the folder's defaults."""

    of: nyc.Name
    days: tuple[date, date]
    settings: dict[str, Any]
    begin: Callable[[Airflow, str], None] = unpause


STORIES = {
    # Backfilled, while one scheduled run (for the last window of the day after) takes the first gap.
    "weather": Story(
        "weather",
        (lake.NOVEMBER[0], lake.NOVEMBER[1] + timedelta(days=1)),
        {"granularity": f"{WEATHER_HOURS}h", "backlog": "wait", "airflow": {"retries": 10}},
        lambda airflow, dag_id: backfill(airflow, dag_id, *lake.NOVEMBER),
    ),
    "weather_march": Story(
        "weather",
        (lake.MARCH[0], lake.MARCH[1] + timedelta(days=1)),
        {
            "granularity": "4h",
            "backlog": "wait",
            "airflow": {"retries": 10},
            "source": {"slices": 2, "distribute": "tasks"},  # mapped extract
        },
        lambda airflow, dag_id: backfill(airflow, dag_id, *lake.MARCH),
    ),
    # scheduled once, for the last window of all; what lies before it is drained
    "flights": Story("flights", lake.NOVEMBER, {"granularity": "6h", "source": {"slices": 2}}),
    # scheduled once and drained, a window in one task
    "single_task": Story(
        "weather", lake.NOVEMBER, {"granularity": "8h", "airflow": {"layout": "single_task", "retries": 3}}
    ),
    # its source cannot be reached at first
    "flights_march": Story(
        "flights",
        lake.MARCH,
        {
            "granularity": "8h",
            "airflow": {"retries": 1},
            "source": {"conn_id": "nyc_search_outage"},
        },
    ),
    # its stage cannot be reached at first
    "retried": Story(
        "weather",
        THE_LONG_DAY,
        {
            "granularity": "1d",
            "airflow": {"retries": 20},
            "stage": {"path": "s3://nyc_aws_outage@BUCKET/NAME/retried"},
        },
    ),
    # its source takes connections and never answers, at first; begun and marked as failed by the test
    "marked": Story(
        "weather",
        THE_LONG_DAY,
        {
            "granularity": "1d",
            "schedule": None,
            "state": {"lease": "30m"},
            "airflow": {"retries": 5},
            "source": {"conn_id": "nyc_search_silent"},
        },
    ),
    # scheduled, triggered, backfilled; the day after is left to the live runs and those that they drain
    "at_once": Story(
        "weather",
        (AT_ONCE_DAYS[0], AT_ONCE_DAYS[1] + timedelta(days=1)),
        {
            "granularity": f"{AT_ONCE_HOURS}h",
            "airflow": {"retries": 20, "retry_delay": "1s", "max_active_runs": 4},
        },
        all_at_once,
    ),
    # complete by scheduled runs, then replaced as a whole
    "replaced": Story("weather", THE_LONG_DAY, {"granularity": f"{DAY_HOURS}h"}),
    "manual": Story("weather", THE_LONG_DAY, {"granularity": "12h"}),
    "variable": Story("weather", THE_LONG_DAY, {"granularity": "12h", "state": {"type": "variable"}}),
    "cron": Story("weather", THE_LONG_DAY, {"granularity": "1d", "schedule": ONCE_A_YEAR}),
}
