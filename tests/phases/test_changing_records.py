"""`source.history: changes`: an update gives a record a later time, so it leaves one window for another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.day_status import DayStatus, day_status
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Check, Kind, drifted
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.phases.doctor import examine
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind
from tests.phases.conftest import LATER, Pipeline

DAY = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-04T05:00:00Z"))
EARLY, LATE = parse_utc("2013-11-03T08:00:00Z"), parse_utc("2013-11-04T03:00:00Z")  # in the two windows
CHANGES = {"source": {"history": "changes"}, "granularity": "13h"}


@contextmanager
def table(pipeline: Pipeline) -> Iterator[Any]:
    import duckdb

    with duckdb.connect(str(pipeline.folder / "lake.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def versions(pipeline: Pipeline, record: str, where: str = "flights") -> list[tuple[Any, str]]:
    with table(pipeline) as connection:
        found = connection.execute(
            f"SELECT EVENT_TIME, BODY FROM main.{where} WHERE RECORD_ID = ? ORDER BY EVENT_TIME", [record]
        ).fetchall()
    return [(at, body) for at, body in found]


@pytest.fixture
def moved(pipeline: Pipeline) -> Runtime:
    """The whole day is committed, a record each half hour: r00000 to r00049, in two windows."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", timedelta(minutes=30))
    runtime = pipeline.runtime(**CHANGES)
    pipeline.move_all(runtime)
    return runtime


def update(pipeline: Pipeline, record: str, at: Any = LATE) -> None:
    pipeline.rows.put(record, at, '{"updated":true}')


def reload(pipeline: Pipeline, runtime: Runtime, at: Any) -> None:
    windows = [row.interval for row in runtime.target.commits() if row.interval.holds(at)]
    outcome = pipeline.move(runtime, kind=RunKind.WINDOW, interval=windows[-1])
    assert outcome.audited is not None, outcome


def grown(runtime: Runtime) -> list[tuple[int, int]]:
    return [(found.source, found.target) for found in recheck(runtime, 1).grown]


def status(pipeline: Pipeline) -> DayStatus:
    return day_status(DAY, pipeline.entries(), now=LATER, settle_seconds=600, max_attempts=5).status


def test_a_record_that_moved_to_a_later_window_is_no_shrinkage(pipeline: Pipeline, moved: Runtime) -> None:
    update(pipeline, "r00000")
    report = recheck(moved, 1)
    assert report.shrunk == ()
    assert [found.source for found in report.grown] == [25]  # the later window, which has one more now
    reload(pipeline, moved, LATE)
    assert status(pipeline) is DayStatus.COMPLETE
    assert grown(moved) == []
    assert [at for at, _ in versions(pipeline, "r00000")] == [DAY.start, LATE]
    assert versions(pipeline, "r00000", "flights_LATEST") == [(LATE, '{"updated":true}')]


def test_a_replaced_window_keeps_the_versions_that_left_it(pipeline: Pipeline, moved: Runtime) -> None:
    update(pipeline, "r00000")
    update(pipeline, "r00001", EARLY)  # later, and in the same window
    del pipeline.rows.rows["r00002"]
    pipeline.rows.put(
        "r00003", parse_utc("2013-11-03T05:30:00Z"), '{"corrected":true}'
    )  # its time is the same
    reload(pipeline, moved, EARLY)
    reload(pipeline, moved, LATE)
    assert len(versions(pipeline, "r00000")) == 2
    assert [body for _, body in versions(pipeline, "r00001")] == ['{"n":1}', '{"updated":true}']
    assert [body for _, body in versions(pipeline, "r00002")] == ['{"n":2}']
    assert [body for _, body in versions(pipeline, "r00003")] == ['{"corrected":true}']
    with table(pipeline) as connection:
        [(latest,)] = connection.execute("SELECT COUNT(*) FROM main.flights_LATEST").fetchall()
    assert latest == 50
    assert recheck(moved, 1).grown == ()
    assert examine(moved, LATER, 7, "flights").findings == ()


def test_the_older_window_loaded_last_does_not_hide_the_newer_version(
    pipeline: Pipeline, moved: Runtime
) -> None:
    """The older version was read before the update, and comes into the target after it."""
    pipeline.rows.put("busy", EARLY, '{"v":1}')

    def between() -> None:
        pipeline.rows.on_page = None
        update(pipeline, "busy")
        reload(pipeline, moved, LATE)

    pipeline.rows.on_page = between
    reload(pipeline, moved, EARLY)
    assert [at for at, _ in versions(pipeline, "busy")] == [EARLY, LATE]
    assert versions(pipeline, "busy", "flights_LATEST") == [(LATE, '{"updated":true}')]


def test_a_record_that_moves_while_its_window_is_read_needs_no_second_extraction(
    pipeline: Pipeline, moved: Runtime
) -> None:
    def between() -> None:
        pipeline.rows.on_page = None
        update(pipeline, "r00004")

    pipeline.rows.on_page = between
    attempts = [entry for entry in pipeline.entries() if entry.kind is Kind.ATTEMPT]
    reload(pipeline, moved, EARLY)
    assert len([entry for entry in pipeline.entries() if entry.kind is Kind.ATTEMPT]) == len(attempts) + 1
    committed = [entry for entry in pipeline.entries() if entry.kind is Kind.COMMITTED][-1]
    assert (committed.rows, committed.detail["source"]) == (26, 25)


def test_late_rows_are_found_among_records_that_moved_away(pipeline: Pipeline, moved: Runtime) -> None:
    for number in range(5):
        update(pipeline, f"r0000{number}")
    pipeline.rows.put("late", EARLY, "{}")
    reload(pipeline, moved, LATE)
    assert grown(moved) == [(22, 21)]
    reload(pipeline, moved, EARLY)
    assert versions(pipeline, "late") == [(EARLY, "{}")]
    assert grown(moved) == []


def test_rows_that_moved_hide_late_ones_only_until_their_window_is_loaded(
    pipeline: Pipeline, moved: Runtime
) -> None:
    update(pipeline, "r00000")
    pipeline.rows.put("late", EARLY, "{}")
    assert grown(moved) == [(25, 24)]  # of the later window alone
    reload(pipeline, moved, LATE)
    assert grown(moved) == [(26, 25)]


def test_deleted_records_stay_and_are_no_finding(pipeline: Pipeline, moved: Runtime) -> None:
    del pipeline.rows.rows["r00000"]
    assert {found.verdict for found in recheck(moved, 1).findings} == {Check.EQUAL}
    reload(pipeline, moved, EARLY)
    assert versions(pipeline, "r00000") == [(DAY.start, '{"n":0}')]


def test_a_time_that_was_set_back_is_reloaded_once(pipeline: Pipeline, moved: Runtime) -> None:
    """The target keeps the later version, so the counts stay different; a second reload would bring nothing."""
    pipeline.rows.put("r00049", EARLY, "{}")
    assert grown(moved) == [(27, 26)]
    reload(pipeline, moved, EARLY)
    assert grown(moved) == []
    assert drifted(pipeline.entries()) == []
    pipeline.rows.put("late", EARLY, "{}")
    assert grown(moved) == [(28, 26)]


def test_rows_deleted_from_the_target_are_loaded_again(pipeline: Pipeline, moved: Runtime) -> None:
    with table(pipeline) as connection:
        connection.execute("DELETE FROM main.flights WHERE RECORD_ID = 'r00007'")
    [found] = examine(moved, LATER, 7, "flights").findings
    assert (found.kind, found.safe) == ("count_differs", True)
    assert "holds 25 of them: the others were deleted" in found.sentence
    assert grown(moved) == [(26, 25)]
    reload(pipeline, moved, EARLY)
    assert examine(moved, LATER, 7, "flights").findings == ()


@pytest.mark.parametrize("token", [1, 99], ids=["of a load that was replaced", "that no load had"])
def test_rows_that_no_load_wrote_are_found(pipeline: Pipeline, moved: Runtime, token: int) -> None:
    reload(pipeline, moved, EARLY)
    with table(pipeline) as connection:
        for copy in range(27):
            connection.execute(
                "INSERT INTO main.flights SELECT ? || RECORD_ID, EVENT_TIME, SOURCE_NAME, BODY, PIPELINE_ID, "
                "WINDOW_START, WINDOW_END, ?, LOADED_AT FROM main.flights WHERE RECORD_ID = 'r00001'",
                [str(copy), token],
            )
    [found] = examine(moved, LATER, 7, "flights").findings
    assert (found.kind, found.command) == ("count_differs", ())
    assert f"rows of token {token} there" in found.sentence


def test_a_lost_state_is_rebuilt(pipeline: Pipeline, moved: Runtime) -> None:
    update(pipeline, "r00000")
    for at in (EARLY, LATE):
        reload(pipeline, moved, at)
    pipeline.store.pipelines.clear()
    rebuilt = rebuild(moved)
    assert ([row.rows for row in rebuilt.written], rebuilt.left_out) == ([25, 25], ())
    assert status(pipeline) is DayStatus.COMPLETE


def test_a_pipeline_of_events_may_become_one_of_changes(pipeline: Pipeline) -> None:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", timedelta(minutes=30))
    pipeline.move_all(pipeline.runtime(granularity="13h"))
    update(pipeline, "r00000")
    [before] = recheck(pipeline.runtime(granularity="13h"), 1).shrunk
    runtime = pipeline.runtime(**CHANGES)
    report = recheck(runtime, 1)
    assert (report.shrunk, status(pipeline)) == ((), DayStatus.DRIFTED)  # the later window grew
    reload(pipeline, runtime, LATE)
    assert status(pipeline) is DayStatus.COMPLETE, "the old finding is cleared"
    reload(pipeline, runtime, before.interval.start)
    assert versions(pipeline, "r00000", "flights_LATEST") == [(LATE, '{"updated":true}')]
    assert len(versions(pipeline, "r00000")) == 2


def test_a_target_that_cannot_keep_history_is_refused_before_anything_is_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pipeline.runtime(**CHANGES)
    monkeypatch.setattr(type(runtime.target), "can_keep_history", False)
    with pytest.raises(ConfigError, match=r"target 'duckdb' cannot keep the history"):
        pipeline.move(runtime)
    assert pipeline.rows.opened == 0
