"""Rows that change in place after their window was committed: recheck sees them by the markers, and only then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.change_markers import ChangeMarker, Seen, WindowChanges, from_detail
from airflow_pipeline_provider.core.day_status import DayStatus
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Check, Entry, Kind
from airflow_pipeline_provider.exceptions import FatalError, TransientError
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.recheck_findings import RecheckReport
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind
from tests.phases.conftest import Pipeline
from tests.phases.test_recheck import DAY, status

WHOLE = Interval(*map(parse_utc, DAY))


@pytest.fixture
def moved(pipeline: Pipeline) -> Runtime:
    """The whole day is committed as two windows of 13 and 12 hours, a row each half hour: r00000 to r00049."""
    pipeline.seed(*DAY, timedelta(minutes=30))
    runtime = pipeline.runtime(granularity="13h")
    pipeline.move_all(runtime)
    return runtime


def update(pipeline: Pipeline, name: str, body: str = '{"new":1}') -> None:
    """The row keeps its time."""
    pipeline.rows.put(name, pipeline.rows.rows[name].event_time, body)


def exchange(pipeline: Pipeline) -> None:
    pipeline.rows.delete("r00003")
    pipeline.rows.put("other", parse_utc("2013-11-03T05:10:00Z"), "{}")


def reload(pipeline: Pipeline, runtime: Runtime, report: RecheckReport) -> None:
    """As the maintenance DAG does."""
    for found in report.stale:
        outcome = pipeline.move(runtime, kind=RunKind.WINDOW, interval=found.interval, only_drifted=True)
        assert outcome.audited is not None


class Watched:
    """The source, which counts what it is asked."""

    def __init__(self, source: Any, **instead: Any) -> None:
        self.source, self.instead = source, instead
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return self.instead.get(name) or getattr(self.source, name)


def test_an_unchanged_source_is_not_counted(pipeline: Pipeline, moved: Runtime) -> None:
    source = Watched(moved.source)
    report = recheck(replace(moved, source=source), 1)  # type: ignore[arg-type]
    assert [(found.verdict, found.source, found.not_seen) for found in report.findings] == [
        (Check.EQUAL, 26, None),
        (Check.EQUAL, 24, None),
    ]
    assert not {"count", "check"} & set(source.asked)


def test_rows_that_the_target_lost_are_found_without_counting_the_source(
    pipeline: Pipeline, moved: Runtime
) -> None:
    pipeline.delete_in_target([pipeline.rows.rows["r00003"]])
    report = recheck(moved, 1)
    assert [(found.verdict, found.source, found.target) for found in report.grown] == [(Check.GREW, 26, 25)]
    reload(pipeline, moved, report)
    pipeline.assert_target_is(WHOLE)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(lambda pipeline: update(pipeline, "r00003"), 1, id="one update"),
        pytest.param(
            lambda pipeline: [update(pipeline, f"r0000{n}") for n in range(5)], 5, id="several updates"
        ),
        pytest.param(exchange, 1, id="a delete that an insert cancels out"),
        pytest.param(
            lambda pipeline: update(pipeline, "r00003", '{"n":3}'), 1, id="written again, unchanged"
        ),
    ],
)
def test_equal_counts_do_not_hide_what_was_written(
    pipeline: Pipeline, moved: Runtime, change: Callable[[Pipeline], object], changed: int
) -> None:
    change(pipeline)
    report = recheck(moved, 1)
    assert [(found.verdict, found.changed) for found in report.findings] == [
        (Check.CHANGED, changed),
        (Check.EQUAL, 0),
    ]
    assert pipeline.entries()[-1].detail == {
        "source": 26,
        "target": 26,
        "verdict": "changed",
        "changed": changed,
    }
    found, reason = status(pipeline, moved)
    assert found is DayStatus.DRIFTED
    assert "drifted (changed): 2013-11-03 [04:00, 17:00) UTC has 26 rows in the source, 26 rows in" in reason
    assert f"in the target, {changed} row" in reason
    lines = len(pipeline.entries())
    assert [one.known for one in recheck(moved, 1).changed] == [True]
    assert len(pipeline.entries()) == lines, "the same finding again is not recorded again"
    reload(pipeline, moved, report)
    assert status(pipeline, moved)[0] is DayStatus.COMPLETE
    pipeline.assert_target_is(WHOLE)
    assert recheck(moved, 1).stale == ()


def test_a_window_that_also_grew_is_late_data_and_one_that_shrank_needs_review(
    pipeline: Pipeline, moved: Runtime
) -> None:
    update(pipeline, "r00003")
    pipeline.rows.put("late", parse_utc("2013-11-03T05:10:00Z"), "{}")
    pipeline.rows.delete("r00040")
    update(pipeline, "r00041")
    report = recheck(moved, 1)
    assert [(found.verdict, found.changed) for found in report.findings] == [
        (Check.GREW, 2),
        (Check.SHRANK, 1),
    ]
    assert [found.interval for found in report.stale] == [report.findings[0].interval]


def test_a_waived_window_whose_other_rows_change_is_named(pipeline: Pipeline, moved: Runtime) -> None:
    """Loading it would delete the rows that a person kept."""
    pipeline.rows.delete("r00040")
    [shrunk] = recheck(moved, 1).shrunk
    moved.state.append(Entry(Kind.WAIVED, shrunk.interval, moved.clock(), detail={"reason": "retention"}))
    assert recheck(moved, 1).stale_kept == ()
    update(pipeline, "r00041")
    report = recheck(moved, 1)
    assert (report.stale, report.shrunk) == ((), ())
    assert [(found.interval, found.changed) for found in report.stale_kept] == [(shrunk.interval, 1)]


def test_a_write_while_a_window_is_read_is_found(pipeline: Pipeline) -> None:
    """The view lacks it, the audit counts as many rows, and the marker is older than it."""
    pipeline.seed(*DAY, timedelta(minutes=30))
    runtime = pipeline.runtime(granularity="1d", source={"page_size": 10})
    pages: list[int] = []

    def change() -> None:
        pages.append(1)
        if len(pages) == 2:
            update(pipeline, "r00049")

    pipeline.rows.on_page = change
    pipeline.move_all(runtime)
    assert pipeline.target_rows()["r00049"][1] == '{"n":49}'
    report = recheck(runtime, 1)
    assert [found.changed for found in report.changed] == [1]
    reload(pipeline, runtime, report)
    pipeline.assert_target_is(WHOLE)


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("distribute", ["threads", "tasks"])
def test_the_marker_of_a_commit_is_older_than_every_view(
    pipeline: Pipeline, slices: int, distribute: str
) -> None:
    """Each slice has a marker and a view of its own; a write after the first of them is above the commit's."""
    pipeline.seed(*DAY, timedelta(minutes=30))
    before = pipeline.rows.rows.writes
    runtime = pipeline.runtime(granularity="1d", source={"slices": slices, "distribute": distribute})
    pipeline.rows.on_page = lambda: update(pipeline, "r00000")
    pipeline.move_all(runtime)
    [commit] = [entry for entry in pipeline.entries() if entry.kind is Kind.COMMITTED]
    marker = from_detail(commit.detail)
    assert marker is not None
    assert [place.checkpoints for place in marker.places] == [(before,)]


def test_a_lost_view_takes_a_new_marker(pipeline: Pipeline) -> None:
    pipeline.seed(*DAY, timedelta(minutes=30))
    runtime = pipeline.runtime(granularity="1d")
    pipeline.rows.lose_snapshots = 1
    pipeline.rows.on_page = lambda: update(pipeline, "r00000") if pipeline.rows.opened == 1 else None
    pipeline.move_all(runtime)
    assert recheck(runtime, 1).stale == ()
    pipeline.assert_target_is(WHOLE)


def test_a_rebuilt_ledger_has_the_markers_of_the_manifests(pipeline: Pipeline, moved: Runtime) -> None:
    pipeline.entries().clear()
    rebuild(moved)
    update(pipeline, "r00003")
    assert [found.changed for found in recheck(moved, 1).changed] == [1]


def test_a_part_of_a_commit_is_counted(pipeline: Pipeline, moved: Runtime) -> None:
    """Nothing was written, but the audit's count is that of the whole commit."""
    part = Interval(parse_utc("2013-11-03T05:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
    pipeline.move(moved, kind=RunKind.WINDOW, interval=part)
    report = recheck(moved, 1)
    assert [(found.verdict, found.source) for found in report.findings] == [
        (Check.EQUAL, 2),
        (Check.EQUAL, 2),
        (Check.EQUAL, 22),
        (Check.EQUAL, 24),
    ]
    assert report.not_seen == {}


# --- what is not known is stated


def test_commits_of_an_earlier_version_are_counted_and_said_not_to_be_known(
    pipeline: Pipeline, moved: Runtime
) -> None:
    for number, entry in enumerate(pipeline.entries()):
        old = {key: value for key, value in entry.detail.items() if key != "marker"}
        pipeline.entries()[number] = Entry(
            entry.kind, entry.interval, entry.at, entry.token, entry.attempt, entry.run, entry.rows,
            entry.manifest, old,
        )  # fmt: skip
    update(pipeline, "r00003")
    pipeline.rows.put("late", parse_utc("2013-11-03T05:10:00Z"), "{}")
    report = recheck(moved, 1)
    assert [found.verdict for found in report.findings] == [Check.GREW, Check.EQUAL]
    assert report.not_seen == {
        "no change marker: the source has none, or an earlier version loaded the window": 2
    }


def test_a_source_without_markers_is_counted(pipeline: Pipeline) -> None:
    pipeline.rows.marks = False
    pipeline.seed(*DAY, timedelta(minutes=30))
    runtime = pipeline.runtime(granularity="13h")
    pipeline.move_all(runtime)
    assert all("marker" not in entry.detail for entry in pipeline.entries())
    update(pipeline, "r00003")
    report = recheck(runtime, 1)
    assert [found.verdict for found in report.findings] == [Check.EQUAL] * 2
    assert list(report.not_seen.values()) == [2]


def test_a_source_that_gives_no_marker_is_moved_all_the_same(pipeline: Pipeline) -> None:
    pipeline.seed(*DAY, timedelta(minutes=30))
    runtime = pipeline.runtime(granularity="1d")

    def refuse() -> ChangeMarker:
        raise FatalError("the user may not ask")

    pipeline.move(replace(runtime, source=Watched(runtime.source, change_marker=refuse)))  # type: ignore[arg-type]
    report = recheck(runtime, 1)
    assert report.not_seen == {"the source gave no change marker: the user may not ask": 1}
    pipeline.assert_target_is(WHOLE)


def unknown(windows: Any) -> list[WindowChanges]:
    return [WindowChanges(Seen.UNKNOWN, reason="the index was created again") for _ in windows]


def test_a_change_that_was_found_is_not_resolved_by_not_knowing(pipeline: Pipeline, moved: Runtime) -> None:
    """A failover, say, between the check that found it and its reload."""
    update(pipeline, "r00003")
    recheck(moved, 1)
    lines = len(pipeline.entries())
    blind = replace(moved, source=Watched(moved.source, changes=unknown))  # type: ignore[arg-type]
    report = recheck(blind, 1)
    assert [(found.verdict, found.known) for found in report.findings] == [
        (Check.CHANGED, True),
        (Check.EQUAL, False),
    ]
    assert report.not_seen == {"the index was created again": 2}
    assert (len(pipeline.entries()), status(pipeline, moved)[0]) == (lines, DayStatus.DRIFTED)


def test_markers_that_cannot_be_asked_for_now_leave_nothing_behind(
    pipeline: Pipeline, moved: Runtime
) -> None:
    update(pipeline, "r00003")
    before = list(pipeline.entries())

    def down(windows: Any) -> list[WindowChanges]:
        raise TransientError("the network is down")

    with pytest.raises(TransientError, match="the network is down"):
        recheck(replace(moved, source=Watched(moved.source, changes=down)), 1)  # type: ignore[arg-type]
    assert pipeline.entries() == before
