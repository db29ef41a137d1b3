"""`diff`: records of committed windows are compared, and nothing is equal that was not compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace as with_fields

from airflow_pipeline_provider.connectors.base import Target, TargetLimits
from airflow_pipeline_provider.core.comparison import RecordDifference, Tally
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import ConfigError, SnapshotLostError, TransientError
from airflow_pipeline_provider.phases import record_buckets
from airflow_pipeline_provider.phases.diff import DiffedWindow, DiffReport, DiffVerdict, LeftOutReason, diff
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.phases.waive import waive
from airflow_pipeline_provider.testing.faults import Crash, failing_at

from .conftest import Pipeline

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
SECOND = Interval(parse_utc("2013-11-03T06:00:00Z"), parse_utc("2013-11-03T08:00:00Z"))
BOTH = Interval(FIRST.start, SECOND.end)
AGAIN: dict[str, Any] = {"kind": RunKind.WINDOW, "interval": FIRST}


@pytest.fixture
def moved(pipeline: Pipeline) -> Pipeline:
    """Two committed windows of 120 rows each."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T08:00:00Z", timedelta(minutes=1))
    for _ in range(2):
        assert pipeline.move(pipeline.runtime()).audited is not None
    return pipeline


def at(pipeline: Pipeline, record_id: str) -> Any:
    return pipeline.rows.rows[record_id].event_time


def in_target(pipeline: Pipeline, statement: str) -> None:
    with duckdb.connect(str(pipeline.folder / "lake.duckdb")) as connection:
        connection.execute(statement)


def tallies(report: DiffReport) -> list[Tally]:
    return [one.tally for one in report.windows]


@pytest.mark.parametrize("content", [False, True], ids=["ids", "contents"])
def test_nothing_differs(moved: Pipeline, content: bool) -> None:
    report = diff(moved.runtime(), BOTH, content=content)
    assert tallies(report) == [Tally(120, 120), Tally(120, 120)]
    assert [one.verdict for one in report.windows] == [DiffVerdict.EQUAL] * 2
    assert (report.left_out, report.differing, report.is_whole) == ((), (), True)


def late(pipeline: Pipeline) -> None:
    pipeline.rows.put("late", FIRST.start, "{}")


def updated(pipeline: Pipeline) -> None:
    pipeline.rows.put("r00007", at(pipeline, "r00007"), '{"n":"7"}')


def spaced(pipeline: Pipeline) -> None:
    """The same JSON in other bytes."""
    pipeline.rows.put("r00007", at(pipeline, "r00007"), '{"n": 7}')


def retimed(pipeline: Pipeline) -> None:
    pipeline.rows.put("r00007", at(pipeline, "r00007") + timedelta(microseconds=1), '{"n":7}')


def deleted(pipeline: Pipeline) -> None:
    pipeline.rows.delete("r00007")


def replaced(pipeline: Pipeline) -> None:
    """A delete and an insert, which counts cannot see."""
    deleted(pipeline)
    late(pipeline)


def lost(pipeline: Pipeline) -> None:
    in_target(pipeline, "DELETE FROM main.flights WHERE RECORD_ID = 'r00007'")


def doubled(pipeline: Pipeline) -> None:
    in_target(
        pipeline,
        "INSERT INTO main.flights SELECT * FROM main.flights WHERE RECORD_ID IN ('r00007', 'r00200')",
    )


def edited(pipeline: Pipeline) -> None:
    in_target(pipeline, "UPDATE main.flights SET BODY = '{}' WHERE RECORD_ID = 'r00007'")


def forgotten(pipeline: Pipeline) -> None:
    in_target(pipeline, "DROP TABLE main.flights")


@pytest.mark.parametrize(
    ("change", "by_ids", "by_contents"),
    [
        pytest.param(late, {"source": 121, "missing": 1}, None, id="a late row"),
        pytest.param(deleted, {"source": 119, "extra": 1}, None, id="a deleted row"),
        pytest.param(replaced, {"missing": 1, "extra": 1}, None, id="an insert cancels out a delete"),
        pytest.param(retimed, {"different": 1}, None, id="another event time"),
        pytest.param(updated, {}, {"different": 1}, id="updated in place"),
        pytest.param(spaced, {}, {"different": 1}, id="other bytes"),
        pytest.param(edited, {}, {"different": 1}, id="edited in the target"),
        pytest.param(lost, {"target": 119, "missing": 1}, None, id="deleted in the target"),
        pytest.param(doubled, {"target": 121, "repeated": 1}, None, id="doubled in the target"),
        pytest.param(forgotten, {"target": 0, "missing": 120}, None, id="no table"),
    ],
)
def test_what_differs(
    moved: Pipeline,
    change: Callable[[Pipeline], None],
    by_ids: dict[str, int],
    by_contents: dict[str, int] | None,
) -> None:
    change(moved)
    for content, expected in ((False, by_ids), (True, by_ids if by_contents is None else by_contents)):
        found: list[RecordDifference] = []

        def keep(_: DiffedWindow, one: RecordDifference, found: list[RecordDifference] = found) -> None:
            found.append(one)

        report = diff(moved.runtime(), FIRST, content=content, examples=3, on_difference=keep)
        assert tallies(report) == [Tally(**{"source": 120, "target": 120, **expected})]
        [window] = report.windows
        assert window.verdict is (DiffVerdict.DIFFERS if window.tally.differences else DiffVerdict.EQUAL)
        assert report.differing == ((window,) if window.tally.differences else ())
        assert len(found) == window.tally.differences
        assert window.examples == sorted(found, key=lambda one: one.record_id)[:3]
    if change is forgotten:
        return
    assert {one.record_id for one in found} <= {"late", "r00007"}


def test_rows_that_do_not_fit_into_memory_are_compared_on_disk(
    moved: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_buckets, "BUFFERED_ROWS", 11)
    replaced(moved)
    edited(moved)
    [window] = diff(moved.runtime(), FIRST, content=True, examples=9).windows
    assert window.tally == Tally(120, 120, missing=1, extra=1)
    assert {(one.kind.value, one.record_id) for one in window.examples} == {
        ("missing", "late"),
        ("extra", "r00007"),
    }


def test_a_part_of_a_window_is_compared_by_event_time(moved: Pipeline) -> None:
    half = Interval(parse_utc("2013-11-03T05:00:00Z"), parse_utc("2013-11-03T07:00:00Z"))
    deleted(moved)
    report = diff(moved.runtime(), half)
    assert tallies(report) == [Tally(60, 60), Tally(60, 60)]


def test_a_repeated_id_of_the_source_is_a_difference(moved: Pipeline) -> None:
    runtime = moved.runtime()
    once = runtime.source.open_ids

    @contextmanager
    def twice(slice_: Any, readers: int = 1) -> Iterator[Any]:
        with once(slice_, readers) as first, once(slice_, readers) as second:
            yield [*first, *second]

    runtime.source.open_ids = twice  # type: ignore[method-assign]
    assert tallies(diff(runtime, FIRST)) == [Tally(240, 120, repeated=120)]


# --- time that is not compared


def give_up(pipeline: Pipeline, span: Interval) -> None:
    runtime = pipeline.runtime()
    waive(runtime.state, runtime.config.rules, span, reason="retention", by="bob", owner="test/1")


def reasons(report: DiffReport) -> list[tuple[Interval, LeftOutReason]]:
    return [(left.interval, left.reason) for left in report.left_out]


def test_time_without_a_commit_is_not_compared(moved: Pipeline) -> None:
    third = Interval(SECOND.end, SECOND.end + timedelta(hours=2))
    later = Interval(third.end, third.end + timedelta(hours=2))
    give_up(moved, later)
    report = diff(moved.runtime(), Interval(FIRST.start, later.end + timedelta(hours=1)))
    assert reasons(report) == [
        (third, LeftOutReason.NOT_COMMITTED),
        (later, LeftOutReason.WAIVED),
        (Interval(later.end, later.end + timedelta(hours=1)), LeftOutReason.NOT_COMMITTED),
    ]
    assert (len(report.windows), report.differing, report.is_whole) == (2, (), False)


def test_a_leased_window_is_not_compared(moved: Pipeline) -> None:
    generate(moved.runtime(), moved.request(**AGAIN))
    late(moved)
    report = diff(moved.runtime(), BOTH)
    assert reasons(report) == [(FIRST, LeftOutReason.LEASED)]
    assert "run-3 works on it since" in report.left_out[0].detail
    assert (tallies(report), report.is_whole) == ([Tally(120, 120)], False)


def test_a_replacement_that_was_not_committed_is_not_compared(moved: Pipeline) -> None:
    with failing_at("load.committed"), pytest.raises(Crash):
        run_window(moved.runtime(), moved.request(**AGAIN))
    moved.now += timedelta(days=1)  # its lease is over
    report = diff(moved.runtime(), BOTH)
    assert reasons(report) == [(FIRST, LeftOutReason.UNVERIFIED)]
    assert not report.is_whole


def test_a_load_that_the_ledger_lacks_is_not_compared(moved: Pipeline) -> None:
    run_window(moved.runtime(), moved.request(**AGAIN))
    entries = moved.entries()
    last = max(entry.token or 0 for entry in entries)
    entries[:] = [entry for entry in entries if entry.token != last]
    report = diff(moved.runtime(), BOTH)
    assert reasons(report) == [(FIRST, LeftOutReason.UNVERIFIED)]
    assert not report.is_whole


def test_a_window_that_is_not_settled_is_not_compared(moved: Pipeline) -> None:
    runtime = moved.runtime(settle="1d")
    moved.now = parse_utc("2013-11-04T07:00:00Z")
    report = diff(runtime, BOTH)
    assert reasons(report) == [(SECOND, LeftOutReason.NOT_SETTLED)]
    assert tallies(report) == [Tally(120, 120)]


def test_a_window_that_is_loaded_meanwhile_is_not_compared(moved: Pipeline) -> None:
    late(moved)
    runtime = moved.runtime()

    def load_once() -> None:
        moved.rows.on_page = None
        assert run_window(moved.runtime(), moved.request(**AGAIN)).audited is not None

    moved.rows.on_page = load_once
    report = diff(runtime, BOTH)
    assert reasons(report) == [(FIRST, LeftOutReason.CHANGED)]
    assert tallies(report) == [Tally(120, 120)]
    again = diff(moved.runtime(), BOTH)
    assert (tallies(again), again.is_whole) == ([Tally(121, 121), Tally(120, 120)], True)


def test_extra_rows_that_a_waiver_keeps_are_no_difference(moved: Pipeline) -> None:
    deleted(moved)
    recheck(moved.runtime(), 3)
    give_up(moved, FIRST)
    report = diff(moved.runtime(), FIRST)
    assert [(one.verdict, one.tally.extra) for one in report.windows] == [(DiffVerdict.KEPT, 1)]
    assert (report.differing, report.is_whole) == ((), True)
    late(moved)
    assert [one.verdict for one in diff(moved.runtime(), FIRST).windows] == [DiffVerdict.DIFFERS]


# --- faults


def test_a_lost_view_is_read_again_from_its_start(moved: Pipeline) -> None:
    moved.rows.lose_snapshots = 2
    assert tallies(diff(moved.runtime(source={"page_size": 50}), FIRST)) == [Tally(120, 120)]
    moved.rows.lose_snapshots = 3
    with pytest.raises(SnapshotLostError):
        diff(moved.runtime(source={"page_size": 50}), FIRST)


@pytest.mark.parametrize("content", [False, True], ids=["ids", "contents"])
def test_a_source_that_fails_is_an_error_and_never_a_shorter_list(moved: Pipeline, content: bool) -> None:
    moved.rows.fail_pages = 1
    with pytest.raises(TransientError):
        diff(moved.runtime(source={"page_size": 50}), FIRST, content=content)


def test_nothing_is_written(moved: Pipeline) -> None:
    late(moved)
    before = (list(moved.entries()), moved.stage_files(), moved.target_rows())
    diff(moved.runtime(), BOTH, content=True)
    assert (list(moved.entries()), moved.stage_files(), moved.target_rows()) == before


def test_a_target_that_cannot_list_its_records_is_named(
    moved: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = moved.runtime()
    monkeypatch.setattr(type(runtime.target), "records", Target.records)
    with pytest.raises(ConfigError, match="'duckdb' cannot list its records"):
        diff(runtime, FIRST)


# --- quarantine


@pytest.fixture
def limited(pipeline: Pipeline) -> Callable[[], Runtime]:
    """A pipeline whose first window has three documents that the target does not take."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    for record_id in ("r00015", "r00030", "r00070"):
        pipeline.rows.put(record_id, at(pipeline, record_id), '"' + "x" * 60 + '"')

    def make() -> Runtime:
        runtime = pipeline.runtime(audit={"on_reject": "quarantine"})
        runtime.target.limits = TargetLimits(max_body_bytes=40)
        return runtime

    assert pipeline.move(make()).audited is not None
    return make


@pytest.mark.parametrize("content", [False, True], ids=["ids", "contents"])
def test_quarantined_records_are_not_missing(limited: Callable[[], Runtime], content: bool) -> None:
    report = diff(limited(), FIRST, content=content)
    assert tallies(report) == [Tally(120, 117, quarantined=3)]
    assert (report.windows[0].verdict, report.is_whole) == (DiffVerdict.EQUAL, True)
    half = Interval(FIRST.start, FIRST.start + timedelta(hours=1))
    assert tallies(diff(limited(), half, content=content)) == [Tally(60, 58, quarantined=2)]


def test_a_quarantined_record_that_was_corrected_is_missing(
    pipeline: Pipeline, limited: Callable[[], Runtime]
) -> None:
    pipeline.rows.put("r00015", at(pipeline, "r00015"), "{}")
    pipeline.rows.delete("r00030")
    assert tallies(diff(limited(), FIRST)) == [Tally(119, 117, quarantined=2)]
    assert tallies(diff(limited(), FIRST, content=True)) == [Tally(119, 117, quarantined=1, missing=1)]


def test_quarantined_rows_of_another_part_of_the_window_explain_nothing(
    pipeline: Pipeline, limited: Callable[[], Runtime]
) -> None:
    half = Interval(FIRST.start, FIRST.start + timedelta(hours=1))
    for record_id in ("r00070", "r00080"):
        pipeline.rows.put(record_id, FIRST.start, '"' + "x" * 60 + '"')
    assert tallies(diff(limited(), half)) == [Tally(62, 58, missing=2, quarantined=2)]


def test_without_the_files_of_quarantined_rows_a_window_is_not_compared(
    pipeline: Pipeline, limited: Callable[[], Runtime]
) -> None:
    for path in pipeline.stage_files():
        if "/quarantine-" in path:
            (pipeline.folder / "stage" / path).unlink()
    report = diff(limited(), FIRST)
    assert reasons(report) == [(FIRST, LeftOutReason.UNVERIFIED)]
    assert "quarantined" in report.left_out[0].detail


# --- other pipelines


def test_history_is_compared_by_versions(pipeline: Pipeline) -> None:
    history = {"source": {"history": "changes"}}
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    assert pipeline.move(pipeline.runtime(**history)).audited is not None
    pipeline.rows.put("r00007", SECOND.start, "{}")  # an update moves it to the next window
    assert pipeline.move(pipeline.runtime(**history)).audited is not None
    report = diff(pipeline.runtime(**history), BOTH, content=True)
    assert tallies(report) == [Tally(119, 120), Tally(1, 1)]
    assert [(one.verdict, one.judges_extra) for one in report.windows] == [(DiffVerdict.EQUAL, False)] * 2
    late(pipeline)
    assert [one.missing for one in tallies(diff(pipeline.runtime(**history), BOTH))] == [1, 0]


@pytest.mark.parametrize(
    ("detail", "asked"),
    [
        pytest.param({"record_id": "id_routing"}, "id_routing", id="recorded"),
        pytest.param({}, None, id="the usual one"),
    ],
)
def test_record_ids_have_the_form_of_the_commit(
    moved: Pipeline, detail: dict[str, str], asked: str | None
) -> None:
    entries = moved.entries()
    entries[:] = [
        with_fields(one, detail={**one.detail, **detail}) if one.kind is Kind.COMMITTED else one
        for one in entries
    ]
    runtime, forms = moved.runtime(), []
    opened = runtime.source.open_ids

    def seen(slice_: Any, readers: int = 1) -> Any:
        forms.append(slice_.record_id)
        return opened(slice_, readers)

    runtime.source.open_ids = seen  # type: ignore[method-assign]
    diff(runtime, FIRST)
    assert forms == [asked]


def test_contents_that_cannot_be_compared_are_not_equal(moved: Pipeline) -> None:
    runtime = moved.runtime()
    runtime.target.digest = lambda body: (None, False)  # type: ignore[method-assign]
    report = diff(runtime, FIRST, content=True)
    assert tallies(report) == [Tally(120, 120, unproven=120)]
    assert (report.windows[0].verdict, report.is_whole) == (DiffVerdict.UNPROVEN, False)
    assert diff(runtime, FIRST).is_whole


def test_examples_are_limited_in_each_window(moved: Pipeline) -> None:
    in_target(moved, "DELETE FROM main.flights")
    report = diff(moved.runtime(), BOTH, examples=5)
    assert [len(one.examples) for one in report.windows] == [5, 5]
    assert [one.tally.missing for one in report.windows] == [120, 120]
