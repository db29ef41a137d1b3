"""Late data: what grew is found and loaded again, what shrank is told and left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.day_status import DayStatus, day_status
from airflow_pipeline_provider.core.days import day_interval
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Check, Entry, Kind
from airflow_pipeline_provider.core.planning import recent_days
from airflow_pipeline_provider.exceptions import DataError, TransientError
from airflow_pipeline_provider.phases.recheck import Left, RecheckReport, recheck
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind
from tests.phases.conftest import LATER, Pipeline, Window

DAY = ("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z")


@pytest.fixture
def moved(pipeline: Pipeline) -> Runtime:
    """The whole day is committed, a row each half hour: r00000 to r00049."""
    pipeline.seed(*DAY, timedelta(minutes=30))
    runtime = pipeline.runtime(granularity="13h")
    pipeline.move_all(runtime)
    return runtime


def status(pipeline: Pipeline, runtime: Runtime) -> tuple[DayStatus, str]:
    entries = pipeline.entries()
    report = day_status(
        Interval(*map(parse_utc, DAY)), entries, now=LATER, settle_seconds=600, max_attempts=5
    )
    return report.status, report.reason


def seen(report: RecheckReport) -> list[tuple[str, int, int, str]]:
    return [
        (f"{found.interval.start:%d %H}", found.source, found.target, found.verdict.value)
        for found in report.findings
        if found.verdict is not Check.EQUAL
    ]


def test_a_day_that_is_as_it_was_leaves_no_line(pipeline: Pipeline, moved: Runtime) -> None:
    before = list(pipeline.entries())
    report = recheck(moved, 7)
    assert [str(day) for day in report.days] == ["2013-11-03"]
    assert [found.verdict for found in report.findings] == [Check.EQUAL] * 2
    assert pipeline.entries() == before


def test_a_late_row_is_found_and_loaded_by_an_ordinary_run(pipeline: Pipeline, moved: Runtime) -> None:
    pipeline.rows.put("late", parse_utc("2013-11-03T09:10:00Z"), "{}")
    report = recheck(moved, 1)
    assert seen(report) == [("03 04", 27, 26, "grew")]
    assert status(pipeline, moved)[1].startswith("drifted (grown): 2013-11-03 [04:00, 17:00) UTC has 27 rows")
    pipeline.move(moved, kind=RunKind.WINDOW, interval=report.grown[0].interval)
    assert status(pipeline, moved)[0] is DayStatus.COMPLETE
    pipeline.assert_target_is(day_interval(report.days[0], "America/New_York"))
    assert seen(recheck(moved, 1)) == []


def test_two_rechecks_that_find_the_same_reload_it_once(pipeline: Pipeline, moved: Runtime) -> None:
    """The second maintenance run counts while the reload of the first one is still queued."""
    pipeline.rows.put("late", parse_utc("2013-11-03T09:10:00Z"), "{}")
    [first], [second] = recheck(moved, 1).grown, recheck(moved, 1).grown
    assert first.interval == second.interval
    reload = {"kind": RunKind.WINDOW, "interval": first.interval, "only_drifted": True}
    assert pipeline.move(moved, **reload).audited is not None
    again = pipeline.move(moved, run="flights/again", **reload)
    assert (again.audited, again.reason) == (None, "complete")
    assert "another run has loaded this window again" in again.detail
    assert (moved.state.leases(), moved.state.bound("flights/again")) == ([], None)
    pipeline.rows.put("later", parse_utc("2013-11-03T09:20:00Z"), "{}")
    recheck(moved, 1)
    assert pipeline.move(moved, run="flights/again", **reload).audited is not None


def test_shrinkage_is_written_down_once_and_nothing_is_touched(pipeline: Pipeline, moved: Runtime) -> None:
    del pipeline.rows.rows["r00000"]
    first, lines = recheck(moved, 1), len(pipeline.entries())
    assert seen(first) == [("03 04", 25, 26, "shrank")]
    assert [found.interval.seconds for found in first.shrunk] == [13 * 3600]
    recheck(moved, 1)
    assert len(pipeline.entries()) == lines, "the same finding again is no news"
    assert len(pipeline.target_rows()) == 50
    found, reason = status(pipeline, moved)
    assert (found, "drifted (shrunk)" in reason) == (DayStatus.DRIFTED, True)
    with pytest.raises(DataError, match="nothing was changed"):
        pipeline.move(moved, kind=RunKind.WINDOW, interval=first.shrunk[0].interval)
    assert len(pipeline.target_rows()) == 50


def test_shrinkage_that_the_file_accepts_is_a_failure_once(pipeline: Pipeline, moved: Runtime) -> None:
    del pipeline.rows.rows["r00000"]
    first = recheck(moved, 1)
    again = recheck(moved, 1)
    assert [found.known for found in (*first.shrunk, *again.shrunk)] == [False, True]
    assert [len(report.unanswered("fail")) for report in (first, again)] == [1, 1]
    assert [len(report.unanswered("accept")) for report in (first, again)] == [1, 0]
    del pipeline.rows.rows["r00001"]
    assert [found.source for found in recheck(moved, 1).unanswered("accept")] == [24], "more of it is news"


def test_rows_that_come_back_clear_the_finding(pipeline: Pipeline, moved: Runtime) -> None:
    pipeline.rows.marks = False  # with markers, a row that was written again is a change
    row = pipeline.rows.rows.pop("r00000")
    recheck(moved, 1)
    pipeline.rows.rows["r00000"] = row
    assert seen(recheck(moved, 1)) == []
    assert status(pipeline, moved)[0] is DayStatus.COMPLETE
    lines = len(pipeline.entries())
    recheck(moved, 1)
    assert len(pipeline.entries()) == lines


def test_a_person_may_keep_the_rows(pipeline: Pipeline, moved: Runtime, window: Window) -> None:
    """A waive after the commit says so; growth there is still late data."""
    del pipeline.rows.rows["r00000"]
    recheck(moved, 1)
    whole = window(*DAY)
    moved.state.append(Entry(Kind.WAIVED, whole, LATER, detail={"reason": "retention"}))
    report = recheck(moved, 1)
    assert (report.shrunk, status(pipeline, moved)[0]) == ((), DayStatus.COMPLETE)
    for name in ("late-1", "late-2"):
        pipeline.rows.put(name, parse_utc("2013-11-03T04:10:00Z"), "{}")
    assert seen(recheck(moved, 1)) == [("03 04", 27, 26, "grew")]


def test_a_row_that_was_exchanged_for_another_in_two_copies_is_found(
    pipeline: Pipeline, moved: Runtime
) -> None:
    """Equal counts with a repeated id in the target: an id of the source is missing there."""
    import duckdb

    with duckdb.connect(str(pipeline.folder / "lake.duckdb")) as connection:
        connection.execute("UPDATE main.flights SET RECORD_ID = 'r00001' WHERE RECORD_ID = 'r00000'")
    assert seen(recheck(moved, 1)) == [("03 04", 26, 26, "grew")]


def test_pieces_follow_the_commits_that_rule(pipeline: Pipeline, moved: Runtime, window: Window) -> None:
    """A replaced part of a window stands for itself, and what is left of the window too."""
    part = window("2013-11-03T05:00:00Z", "2013-11-03T06:00:00Z")
    pipeline.move(moved, kind=RunKind.WINDOW, interval=part)
    pipeline.rows.put("late", parse_utc("2013-11-03T07:10:00Z"), "{}")
    report = recheck(moved, 1)
    assert [found.interval.seconds / 3600 for found in report.findings] == [1, 1, 11, 12]
    assert seen(report) == [("03 06", 23, 22, "grew")]
    pipeline.move(moved, kind=RunKind.WINDOW, interval=report.grown[0].interval)
    pipeline.assert_target_is(window(*DAY))


def test_what_is_not_compared_is_said(pipeline: Pipeline, moved: Runtime, window: Window) -> None:
    state = moved.state
    state.acquire(window("2013-11-03T05:00:00Z", "2013-11-03T06:00:00Z"), "flights/other", 60)
    state.append(
        Entry(Kind.REPLACING, window("2013-11-03T18:00:00Z", "2013-11-03T19:00:00Z"), LATER, token=99)
    )
    report = recheck(moved, 1)
    assert [(left.reason, left.interval.seconds / 3600) for left in report.left_out] == [
        (Left.LEASED, 13),
        (Left.UNVERIFIED, 1),
    ]
    assert "flights/other works on it since 2013-11-06 07:00 EST" in report.left_out[0].detail
    assert len(report.findings) == 2  # the two sides of what is unverified


def test_a_store_for_one_run_at_a_time_is_left_alone_while_a_run_is_at_work(
    pipeline: Pipeline, moved: Runtime, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(moved.state), "concurrent", False)
    moved.state.acquire(window("2013-11-05T05:00:00Z", "2013-11-05T06:00:00Z"), "flights/other", 60)
    assert [left.reason for left in recheck(moved, 1).left_out] == [Left.LEASED] * 2


def test_time_that_has_not_settled_is_left_out(pipeline: Pipeline, moved: Runtime) -> None:
    pipeline.rows.put("late", parse_utc("2013-11-04T04:50:00Z"), "{}")
    pipeline.now = parse_utc("2013-11-04T05:05:00Z")
    report = recheck(moved, 1)
    assert [left.reason for left in report.left_out] == [Left.NOT_SETTLED]
    assert seen(report) == []


def test_a_source_that_cannot_be_asked_leaves_nothing_behind(pipeline: Pipeline, moved: Runtime) -> None:
    """Though it answers for the first windows, of which one has a late row."""
    pipeline.rows.put("late", parse_utc("2013-11-03T04:10:00Z"), "{}")
    before, asked = list(pipeline.entries()), []

    pipeline.rows.marks = False  # else an unchanged window is not asked for

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(moved.source, name)

        def count(self, interval: Interval) -> int:
            asked.append(interval)
            if len(asked) == 2:
                raise TransientError("the network is down")
            return moved.source.count(interval)

    with pytest.raises(TransientError, match="the network is down"):
        recheck(replace(moved, source=Dying()), 1)  # type: ignore[arg-type]
    assert pipeline.entries() == before


def test_a_run_in_between_makes_the_counts_void(pipeline: Pipeline, moved: Runtime) -> None:
    """Another run reloads the window after it was counted: the old numbers must not be written over its commit."""
    pipeline.rows.put("late", parse_utc("2013-11-03T04:10:00Z"), "{}")

    class Busy:
        def __getattr__(self, name: str) -> Any:
            return getattr(moved.target, name)

        def count(self, interval: Interval) -> Any:
            counts = moved.target.count(interval)
            if interval.holds(parse_utc(DAY[0])):
                pipeline.move(moved, kind=RunKind.WINDOW, interval=interval)
            return counts

    report = recheck(replace(moved, target=Busy()), 1)  # type: ignore[arg-type]
    assert [left.reason for left in report.left_out] == [Left.CHANGED]
    assert status(pipeline, moved)[0] is DayStatus.COMPLETE


@pytest.mark.parametrize(
    ("days", "changes", "expected"),
    [
        pytest.param(2, {"end_day": None}, ["2013-11-04", "2013-11-05"], id="up to the target day"),
        pytest.param(
            9, {"end_day": None}, ["2013-11-03", "2013-11-04", "2013-11-05"], id="from the start day"
        ),
        pytest.param(2, {"start_day": None}, ["2013-11-02", "2013-11-03"], id="up to the end day"),
        pytest.param(1, {"start_day": "2013-12-01", "end_day": None}, [], id="before the start"),
    ],
)
def test_days(pipeline: Pipeline, days: int, changes: dict[str, Any], expected: list[str]) -> None:
    rules = pipeline.runtime(**changes).config.rules
    assert [str(day) for day in recent_days(rules, LATER, days)] == expected
