"""The preview of a move: made by real runs, each window with its state, what will happen, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.planning import day_plan
from airflow_pipeline_provider.exceptions import ConfigError, DataError
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.phases.waive import waive
from airflow_pipeline_provider.testing.faults import Crash, failing_at
from airflow_pipeline_provider.views.move_preview import MovePreview, Selection, preview_move

from .conftest import Pipeline

SUNDAY = date(2013, 11, 3)


def windows(pipeline: Pipeline) -> list[Interval]:
    return day_plan(pipeline.runtime().config.rules, SUNDAY)


def look(pipeline: Pipeline, selection: Selection, **options: Any) -> MovePreview:
    runtime = pipeline.runtime()
    return preview_move(runtime.config, runtime.state, runtime.clock(), selection, **options)


def named(window: Interval) -> dict[str, Any]:
    return {"kind": RunKind.WINDOW, "interval": window}


def release(pipeline: Pipeline) -> None:
    state = pipeline.runtime().state
    for lease in state.leases(expired=True):
        state.release(lease.interval, lease.owner)


@pytest.fixture
def mixed(pipeline: Pipeline) -> Pipeline:
    """Of the 13 windows of the 25-hour day each of the first ten is in another state, the rest is missing."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", timedelta(minutes=20))
    plan = windows(pipeline)
    strict = {"audit": {"on_empty": "fail"}, "max_attempts": 2}
    for window in (*plan[:4], plan[7]):
        pipeline.move(pipeline.runtime(), **named(window))
        pipeline.now += timedelta(seconds=30)
    pipeline.move(pipeline.runtime(), **named(plan[1]))  # replaced
    with suppress(Crash), failing_at("load.copied"):
        pipeline.move(pipeline.runtime(), **named(plan[7]))  # unverified
    for window, times in ((plan[4], 1), (plan[5], 5)):
        gone = pipeline.rows.within(window)
        for row in gone:
            pipeline.rows.delete(row.record_id)
        for _ in range(times):
            with suppress(DataError):
                pipeline.move(pipeline.runtime(**strict), **named(window))
        for row in gone:
            pipeline.rows.put(row.record_id, row.event_time)
    release(pipeline)
    runtime = pipeline.runtime()
    waive(
        runtime.state,
        runtime.config.rules,
        plan[6],
        reason="burnt",
        by="ann",
        owner="page/ann",
        clock=runtime.clock,
    )
    pipeline.rows.put("late", plan[2].start + timedelta(minutes=1))
    for row in pipeline.rows.within(plan[3])[:2]:
        pipeline.rows.delete(row.record_id)
    recheck(pipeline.runtime(), 1)
    runtime.state.acquire(plan[8], "flights/scheduled__held", 86_400)
    return pipeline


EXPECTED = [
    ("complete", False, "replace", 6),
    ("replaced", False, "replace", 6),
    ("drifted", True, "replace", 6),
    ("drifted", False, "skip", 6),
    ("failed", True, "move", None),
    ("blocked", True, "move", None),
    ("waived", False, "move", None),
    ("unverified", True, "replace", None),
    ("running", False, "move", None),
    *[("missing", True, "move", None)] * 4,
]


def test_a_day(mixed: Pipeline) -> None:
    found = look(mixed, Selection(days=(SUNDAY,)))
    assert [(row.state, row.chosen, row.will, row.rows) for row in found.windows] == EXPECTED
    whys = [row.why for row in found.windows]
    assert whys[3].startswith(
        "it shrank since: 4 rows in the source, 6 in the target: accept that these rows go"
    )
    assert [row.goes for row in found.windows if row.goes is not None] == [2]
    assert whys[4].startswith("failed 1 time: DataError in load: the source has no row in this window")
    assert whys[8] == "held by flights/scheduled__held now: waits for its lease; then it is moved again"
    assert found.windows[0].window.local_start == "2013-11-03T00:00:00-04:00"


def test_the_estimate_is_that_of_the_ledger(mixed: Pipeline) -> None:
    found = look(mixed, Selection(days=(SUNDAY,)))
    hours = sum(window.seconds for window in found.chosen) / 3600
    assert found.seconds_per_hour == 15.0, "30 seconds for each window of two hours"
    assert found.estimate_seconds == 15.0 * hours
    later = windows(mixed)[-1]
    assert look(mixed, Selection(windows=(later,))).estimate_seconds == 15.0 * later.seconds / 3600


def test_everything_that_is_not_complete(mixed: Pipeline) -> None:
    found = look(mixed, Selection(all=True))
    assert [row.state for row in found.windows] == [
        "drifted",
        "drifted",
        "failed",
        "blocked",
        "unverified",
        *["missing"] * 4,
    ]
    assert found.command.splitlines()[0] == (
        "airflow-pipelines reprocess flights --from 2013-11-03T08:00:00Z --to 2013-11-03T10:00:00Z --here"
    )
    assert found.command.splitlines()[-1] == "# and 1 more interval"


def test_committed_windows_are_moved_only_if_they_are_chosen(mixed: Pipeline) -> None:
    first = windows(mixed)[0]
    (row,) = look(mixed, Selection(windows=(first,))).windows
    assert (row.state, row.chosen, row.will) == ("complete", False, "replace")


def test_a_shrinkage_that_the_file_accepts_is_chosen(mixed: Pipeline) -> None:
    row = look(mixed, Selection(days=(SUNDAY,)), accepts_shrink=True).windows[3]
    assert (row.state, row.chosen, row.will) == ("drifted", True, "replace")


def test_a_pipeline_that_never_ran_has_no_estimate(pipeline: Pipeline) -> None:
    found = look(pipeline, Selection(all=True))
    assert (len(found.windows), found.estimate_seconds, found.seconds_per_hour) == (13, None, None)


def hour(start: str, end: str) -> Interval:
    return Interval(parse_utc(f"2013-11-{start}:00:00Z"), parse_utc(f"2013-11-{end}:00:00Z"))


@pytest.mark.parametrize(
    ("selected", "sentence"),
    [
        ((hour("03T05", "03T07"),), "expected a window of the day plan, got .* the nearest: "),
        ((hour("03T04", "03T08"),), "expected a window of the day plan"),
        ((hour("03T04", "05T06"),), "expected one inside of one day of America/New_York"),
        ((hour("03T04", "03T04"),), "expected an end after its start"),
    ],
)
def test_a_window_of_no_day_plan_is_refused(
    pipeline: Pipeline, selected: Sequence[Interval], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        look(pipeline, Selection(windows=tuple(selected)))


def test_a_gap_is_the_windows_that_it_overlaps(pipeline: Pipeline) -> None:
    plan = windows(pipeline)
    gap = Interval(plan[2].start + timedelta(hours=1), plan[4].end)
    found = look(pipeline, Selection(spans=(gap, hour("03T04", "03T06"))))
    assert [row.window.interval for row in found.windows] == [plan[0], *plan[2:5]]
    with pytest.raises(ConfigError, match="expected at most 366 days"):
        look(pipeline, Selection(spans=(Interval(gap.start, parse_utc("9000-01-01T00:00:00Z")),)))


def test_a_selection_is_limited(pipeline: Pipeline) -> None:
    many = tuple(SUNDAY + timedelta(days=n) for n in range(400))
    with pytest.raises(ConfigError, match="days: expected at most 366 days, got 400"):
        look(pipeline, Selection(days=many))


def test_years_of_missing_windows_are_shown_up_to_a_limit(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(start_day="2010-11-03", end_day="2013-11-03")
    found = preview_move(runtime.config, runtime.state, runtime.clock(), Selection(all=True))
    assert (len(found.windows), found.windows[0].window.day) == (2000, date(2010, 11, 3))
    assert found.left_out == 1097 * 12 + 4 - 2000, "four days of 25 hours have a window more"


def test_windows_outside_the_pipelines_days_are_skipped(pipeline: Pipeline) -> None:
    found = look(pipeline, Selection(days=(date(2013, 11, 4),)))
    assert {(row.state, row.chosen, row.will) for row in found.windows} == {(None, False, "skip")}
    assert "after end_day" in found.windows[0].why
