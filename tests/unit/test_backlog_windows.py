"""Which windows are planned in days that lie back (`backlog_granularity`)."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.core.backlog_windows import back_since, lies_back
from airflow_pipeline_provider.core.durations import parse_duration
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind, failures_after
from airflow_pipeline_provider.core.planning import Known, day_plan, plan_live, plan_window, ready_at
from airflow_pipeline_provider.exceptions import ConfigError
from tests.unit.planning_examples import MIDNIGHT, at, hours, rules

DAY = MIDNIGHT.date()  # of 25 hours; the day before has 24
LATE = 200  # both days lie back


@pytest.mark.parametrize(
    ("reference", "longer", "committed", "failed", "window"),
    [
        pytest.param(LATE, "1d", "", "", "p0-24", id="a whole day"),
        pytest.param(LATE, "1d", "p0-24", "", "0-25", id="a day of 25 hours is one window"),
        pytest.param(LATE, "24h", "p0-24", "", "0-24", id="24 hours of it"),
        pytest.param(LATE, "24h", "p0-24 0-24", "", "24-25", id="and the hour that is left"),
        pytest.param(LATE, "1d", "p0-6", "", "p6-24", id="the rest, from where coverage ends"),
        pytest.param(LATE, "1d", "p0-6 p8-10", "", "p6-8", id="a gap between commits"),
        pytest.param(LATE, "1d", "p0-10", "", "p10-24", id="and the rest after it"),
        pytest.param(LATE, "6h", "", "", "p0-6", id="parts of a day"),
        pytest.param(LATE, "6h", "p0-8", "", "p8-12", id="up to the next common bound"),
        pytest.param(LATE, "6h", "p0-12.5", "", "p12.5-18", id="also after odd bounds"),
        pytest.param(LATE, None, "", "", "p0-2", id="without the key"),
        pytest.param(LATE, "1d", "", "p2-4", "p0-2", id="a failed window is not joined"),
        pytest.param(LATE, "1d", "p0-4", "p2-4", "p4-24", id="a failed window elsewhere changes nothing"),
        pytest.param(LATE, "1d", "", "p0-24", "p0-2", id="a larger window failed"),
        pytest.param(50.9, "1d", "p0-24 0-22", "", "22-24", id="the live day keeps its granularity"),
        pytest.param(51.99, "1d", "p0-24 0-23", "", "23-25", id="up to its end"),
    ],
)
def test_live(reference: float, longer: str | None, committed: str, failed: str, window: str) -> None:
    larger = parse_duration(longer) if longer else None
    known = Known(hours(committed), failed=hours(failed))
    plan = plan_live(rules(backlog_granularity=larger), at(reference), known)
    assert plan.interval == hours(window)[0], plan.detail


@pytest.mark.parametrize(
    ("back", "settle", "since"),
    [
        pytest.param("0s", 600, 25 + 1 / 6, id="when the last hour has settled, ten minutes after midnight"),
        pytest.param("1h", 600, 26, id="when the next day is the target day"),
        pytest.param("1d", 600, 49, id="a day later"),
        pytest.param("1h", 7200, 27, id="a long settle"),
    ],
)
def test_a_day_lies_back_once_all_of_it_is_ready(back: str, settle: int, since: float) -> None:
    changed = rules(
        x_time_back=parse_duration(back),
        granularity=parse_duration("1h"),
        settle_seconds=settle,
        backlog_granularity=parse_duration("1d"),
    )
    assert back_since(changed, DAY) == at(since)
    assert lies_back(changed, DAY, at(since))
    assert not lies_back(changed, DAY, at(since - 1 / 60))
    rest = Known(hours("p0-24 0-22"))  # the run of the hour before midnight failed, too
    assert plan_live(changed, at(since), rest).interval == hours("22-25")[0]
    before = plan_live(changed, at(since - 1 / 60), rest).interval
    assert before is None or before == hours("22-23")[0]


@pytest.mark.parametrize(
    ("back", "since"),
    [
        pytest.param("1d", 48, id="an hour before the next day would open"),
        pytest.param("0s", 25 + 1 / 6, id="when the last hour has settled"),
    ],
)
def test_the_last_day_lies_back_when_its_last_window_is_ready(back: str, since: float) -> None:
    """The last run of the schedule plans from that instant; no day opens after it."""
    changed = rules(
        end_day=DAY,
        x_time_back=parse_duration(back),
        granularity=parse_duration("1h"),
        settle_seconds=600,
        backlog_granularity=parse_duration("1d"),
    )
    rest = Known(hours("p0-24 0-3"))
    assert back_since(changed, DAY) == at(since) == ready_at(changed, day_plan(changed, DAY)[-1])
    assert plan_live(changed, at(since), rest).interval == hours("3-25")[0]
    assert plan_live(changed, at(since - 1 / 60), rest).interval == hours("3-4")[0]


def test_one_bad_document_does_not_hold_up_its_day() -> None:
    """The larger window fails once; its parts are moved, and only the one with the document is blocked."""
    given = rules(backlog_granularity=parse_duration("1d"))
    entries: list[Entry] = []
    moved: list[Interval] = []
    bad = hours("p6-8")[0]
    tries = []
    for _ in range(40):
        failures = failures_after({}, entries)
        blocked = tuple(window for window, n in failures.items() if n >= 3)
        known = Known(tuple(moved), blocked=blocked, failed=tuple(failures))
        window = plan_live(given, at(LATE), known).interval
        if window is None or window.start >= MIDNIGHT:
            break
        kind = Kind.FAILED if window.overlaps(bad) else Kind.COMMITTED
        entries.append(Entry(kind, window, at(LATE), detail={"error": "DataError"}))
        tries.append(window)
        if kind is Kind.COMMITTED:
            moved.append(window)
    assert tries[0] == hours("p0-24")[0]
    assert [window for window in tries if window.overlaps(bad)] == [tries[0], bad, bad, bad]
    assert blocked == (bad,)


@pytest.mark.parametrize("window", ["0-2", "0-4", "0-25", "22-25", "6-12"])
def test_a_named_window_may_be_a_larger_one(window: str) -> None:
    given = rules(backlog_granularity=parse_duration("1d"))
    assert plan_window(given, hours(window)[0], at(LATE), cut=False, exact=False).interval == hours(window)[0]


@pytest.mark.parametrize("window", ["0-3", "5-12", "4-8"])
def test_a_named_window_of_other_bounds_is_refused(window: str) -> None:
    given = rules(backlog_granularity=parse_duration("6h"))
    with pytest.raises(ConfigError, match="expected a window of the day plan"):
        plan_window(given, hours(window)[0], at(LATE), cut=False, exact=False)


@pytest.mark.parametrize("longer", ["7h", "2d", "25h", "1h"])
def test_rules_refuse_what_does_not_tile_a_day(longer: str) -> None:
    with pytest.raises(ConfigError, match=r"^backlog_granularity: must be"):
        rules(backlog_granularity=parse_duration(longer))
