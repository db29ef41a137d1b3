"""The way of one window, and of a day of windows, as a user would see it in the target."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import LoadResult
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.exceptions import ConfigError, DataError
from airflow_pipeline_provider.phases.drain import drain
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.state.base import Lease

from .conftest import Pipeline, Window

DAY = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-04T05:00:00Z"))
MILLISECOND = timedelta(milliseconds=1)


def test_the_25_hour_day_is_moved_window_by_window(pipeline: Pipeline) -> None:
    pipeline.seed("2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=7))
    outcomes = pipeline.move_all(pipeline.runtime())
    moved = [o for o in outcomes if o.audited]
    assert len(moved) == 13
    assert outcomes[-1].reason == "after_end_day"
    for outcome in moved:
        audited = outcome.audited
        assert audited is not None
        assert audited.source_rows == audited.staged_rows == audited.target_rows == audited.distinct_ids > 0
    assert [o.audited.token for o in moved if o.audited] == list(range(1, 14))
    pipeline.assert_target_is(DAY)


@pytest.mark.parametrize("slices", [1, 3, 8, "auto"])
@pytest.mark.parametrize("distribute", ["threads", "tasks"])
def test_slices_change_nothing_in_the_target(pipeline: Pipeline, slices: int | str, distribute: str) -> None:
    pipeline.seed("2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=3))
    source = {"slices": slices, "distribute": distribute, "page_size": 10}
    pipeline.move_all(pipeline.runtime(source=source, granularity="5h"))
    pipeline.assert_target_is(DAY)


@pytest.mark.parametrize(
    ("rows_a_task", "tasks"),
    [pytest.param(20, 2, id="enough rows for two"), pytest.param(1000, 1, id="not worth a second one")],
)
def test_auto_gives_each_task_enough_rows(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, rows_a_task: int, tasks: int
) -> None:
    monkeypatch.setattr("airflow_pipeline_provider.connectors.source_contract.ROWS_A_TASK", rows_a_task)
    pipeline.seed(
        "2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=7)
    )  # 42 of them in five hours
    runtime = pipeline.runtime(source={"slices": "auto", "distribute": "tasks"}, granularity="5h")
    claim = generate(runtime, pipeline.request()).claim
    assert claim is not None
    planned = validate(runtime, claim).slices
    assert [(slice_.of, slice_.readers) for slice_ in planned] == [(tasks, 1)] * tasks


@pytest.mark.parametrize("distribute", ["threads", "tasks"])
def test_auto_is_one_slice_where_nobody_could_count(pipeline: Pipeline, distribute: str) -> None:
    pipeline.seed("2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=7))
    source = {"slices": "auto", "distribute": distribute}
    runtime = pipeline.runtime(source=source, validate={"on_unavailable": "proceed"})
    claim = generate(runtime, pipeline.request()).claim
    assert claim is not None
    pipeline.rows.fail_counts = 9
    validated = validate(runtime, claim)
    assert validated.verdict == "run"
    assert [(slice_.of, slice_.readers) for slice_ in validated.slices] == [(1, 1)]


def test_events_on_either_side_of_every_boundary_land_once(pipeline: Pipeline) -> None:
    boundary = DAY.start
    n = 0
    while boundary <= DAY.end:
        for offset in (-MILLISECOND, timedelta(0), MILLISECOND):
            pipeline.rows.put(f"b{n}", boundary + offset)
            n += 1
        boundary += timedelta(hours=1)
    pipeline.move_all(pipeline.runtime())
    pipeline.assert_target_is(DAY)


def test_an_empty_window_is_committed_and_counted(pipeline: Pipeline) -> None:
    outcome = pipeline.move(pipeline.runtime())
    assert outcome.audited is not None
    assert outcome.audited.target_rows == 0
    assert ledger.committed(pipeline.entries()) == [Interval(DAY.start, DAY.start + timedelta(hours=2))]


def test_an_empty_window_can_be_refused(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime(audit={"on_empty": "fail"})
    with pytest.raises(
        DataError, match=r"pipeline flights, window .*, load: the source has no row in this window"
    ):
        pipeline.move(runtime)
    assert ledger.committed(pipeline.entries()) == []
    assert runtime.state.leases() == []


def test_one_process_renews_a_lease_only_when_a_third_of_it_is_over(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = pipeline.runtime()
    taken: list[datetime] = []
    acquire, load = runtime.state.acquire, runtime.target.load

    def spy(*args: Any) -> Lease:
        taken.append(pipeline.now)
        return acquire(*args)

    def load_slowly(*args: Any) -> LoadResult:
        pipeline.now += timedelta(seconds=runtime.config.state.lease_seconds / 2)
        return load(*args)

    monkeypatch.setattr(runtime.state, "acquire", spy)
    monkeypatch.setattr(runtime.target, "load", load_slowly)
    begun = pipeline.now
    assert pipeline.move(runtime).audited is not None
    assert taken == [begun, pipeline.now], "generate took it; audit came late"
    assert runtime.renewed == {}
    assert runtime.state.leases() == []


def test_what_lies_in_the_future_is_not_moved(pipeline: Pipeline) -> None:
    pipeline.now = parse_utc("2013-11-03T05:30:00Z")
    runtime = pipeline.runtime(x_time_back="0s")
    assert pipeline.move(runtime).reason == "not_settled"
    pipeline.now = parse_utc("2013-11-03T06:10:00Z")
    assert pipeline.move(runtime).audited is not None
    assert pipeline.move(runtime).reason == "not_settled"


def test_a_change_of_granularity_goes_on_where_the_old_one_ended(pipeline: Pipeline) -> None:
    pipeline.seed("2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=11))
    first = pipeline.runtime(granularity="5h")
    pipeline.move(first)
    pipeline.move_all(pipeline.runtime(granularity="3h"))
    pipeline.assert_target_is(DAY)
    assert ledger.committed(pipeline.entries()) == [DAY]


def test_a_named_window_is_replaced_and_never_doubled(pipeline: Pipeline, window: Window) -> None:
    pipeline.seed("2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=7))
    runtime = pipeline.runtime()
    pipeline.move_all(runtime)
    pipeline.rows.put("late", "2013-11-03T07:30:00Z", '{"late":true}')
    odd = window("2013-11-03T07:00:00Z", "2013-11-03T09:37:00Z")  # across two windows
    outcome = pipeline.move(runtime, kind=RunKind.WINDOW, interval=odd)
    assert outcome.audited is not None
    pipeline.assert_target_is(DAY)
    assert pipeline.move(runtime).reason == "after_end_day"


def test_a_backfill_replaces_its_interval_and_starts_no_other_run(pipeline: Pipeline, window: Window) -> None:
    pipeline.seed("2013-11-03T00:00:00Z", "2013-11-05T00:00:00Z", timedelta(minutes=7))
    runtime = pipeline.runtime()
    last = window("2013-11-04T04:00:00Z", "2013-11-04T05:00:00Z")
    outcome = pipeline.move(runtime, kind=RunKind.BACKFILL, interval=last)
    assert outcome.claim is not None
    assert outcome.audited is not None
    pipeline.assert_target_is(last)
    assert drain(runtime, outcome.claim, outcome.audited.token).run_id is None
    live = pipeline.move(runtime)  # the live continuation is where it was
    assert live.claim is not None
    assert live.claim.start == DAY.start


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2013-11-03T22:00:00Z", "2013-11-04T06:00:00Z", "one day"),
        ("2013-11-01T05:00:00Z", "2013-11-01T06:00:00Z", "before_start_day"),
        ("2013-11-04T06:00:00Z", "2013-11-04T07:00:00Z", "after_end_day"),
    ],
    ids=["over midnight", "before the start day", "after the end day"],
)
def test_a_named_window_that_cannot_be(
    pipeline: Pipeline, window: Window, start: str, end: str, says: str
) -> None:
    runtime = pipeline.runtime()
    try:
        reason = str(pipeline.move(runtime, kind=RunKind.WINDOW, interval=window(start, end)).reason)
    except ConfigError as error:
        reason = str(error)
    assert says in reason


def test_the_record_that_travels_names_the_window(pipeline: Pipeline) -> None:
    from airflow_pipeline_provider.phases.generate import generate

    runtime = pipeline.runtime(default_record={"team": "ops"})
    record = generate(runtime, pipeline.request()).record
    assert record is not None
    assert record["PIPELINE_ID"] == "flights"
    assert record["WINDOW_ID"] == "flights.20131103T040000Z-20131103T060000Z"
    assert record["STAGE_PATH"] == "2013-11-03/flights.20131103T040000Z-20131103T060000Z"
    assert (record["WINDOW_START_TIME"], record["WINDOW_END_TIME"]) == (
        "2013-11-03T00:00:00-04:00",
        "2013-11-03T01:00:00-05:00",
    )
    assert (record["TARGET_DAY"], record["TIME_INTERVAL"], record["team"]) == ("2013-11-03", "2h", "ops")


def test_drain_names_a_run_by_window_and_token(pipeline: Pipeline) -> None:
    runtime = pipeline.runtime()
    outcome = pipeline.move(runtime)
    assert outcome.claim is not None
    assert outcome.audited is not None
    following = drain(runtime, outcome.claim, outcome.audited.token)
    assert following.run_id == "drain__flights.20131103T060000Z-20131103T080000Z__t1"
    assert drain(pipeline.runtime(backlog="wait"), outcome.claim, 1).run_id is None


def test_an_audit_lists_the_stage_only_if_there_were_older_attempts(
    pipeline: Pipeline, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening an object store takes longer than all else that the audit of a small window does."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    named = window("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z")
    listed = []
    for _ in range(2):
        runtime = pipeline.runtime()
        seen: list[str] = []
        monkeypatch.setattr(runtime.stage, "list", lambda folder, seen=seen: seen.append(folder) or [])
        pipeline.move(runtime, kind=RunKind.WINDOW, interval=named)
        listed.append(len(seen))
    assert listed == [0, 1]


def test_files_of_older_attempts_go_with_the_commit(pipeline: Pipeline, window: Window) -> None:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    named = window("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z")
    for keep, attempts in ((0, 1), (0, 1), (1, 2)):
        runtime = pipeline.runtime(stage={"keep_attempts": keep})
        pipeline.move(runtime, kind=RunKind.WINDOW, interval=named)
        assert len({path.split("/")[2] for path in pipeline.stage_files()}) == attempts
