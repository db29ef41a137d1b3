"""What a person changes by hand in the ledger and the leases, while runs are at work and after crashes."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind, waived
from airflow_pipeline_provider.exceptions import ConfigError, LeaseHeldError, TransientError
from airflow_pipeline_provider.phases.unlock import release_lease, unlock
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.phases.waive import Waived, waive
from airflow_pipeline_provider.state.owners import Owner
from airflow_pipeline_provider.testing.faults import Crash, failing_at, hooked
from airflow_pipeline_provider.views.reprocess import preview_committed
from tests.doubles.memory_state import MemoryState

from .conftest import Pipeline

DAY = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-04T05:00:00Z"))
WINDOW = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
NEXT = Interval(WINDOW.end, parse_utc("2013-11-03T08:00:00Z"))


def give_up(pipeline: Pipeline, span: Interval = DAY) -> Waived:
    runtime = pipeline.runtime()
    return waive(
        runtime.state,
        runtime.config.rules,
        span,
        reason="burnt",
        by="ann",
        owner="page/ann-1",
        clock=runtime.clock,
    )


def test_a_clock_that_is_ahead_of_the_store_waives_and_moves_no_future(pipeline: Pipeline) -> None:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(hours=1))
    pipeline.move(pipeline.runtime())
    assert [one.action for one in preview_committed(pipeline.runtime())] == ["replace"]
    pipeline.store.clock = lambda: WINDOW.end - timedelta(hours=1)
    with pytest.raises(ConfigError, match="end: expected a past time"):
        give_up(pipeline)
    assert waivers(pipeline) == []
    left_out = [(one.action, one.detail.partition(":")[0]) for one in preview_committed(pipeline.runtime())]
    assert left_out == [("leave_out", "not_settled")]


def waivers(pipeline: Pipeline) -> list[tuple[Interval, dict[str, Any]]]:
    return [(entry.interval, entry.detail) for entry in pipeline.entries() if entry.kind is Kind.WAIVED]


def test_a_waiver_holds_who_and_why_and_leaves_no_lease(pipeline: Pipeline) -> None:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(hours=1))
    pipeline.move(pipeline.runtime())
    done = give_up(pipeline)
    rest = Interval(WINDOW.end, DAY.end)
    assert (done.pieces, [piece for piece, _ in done.left_out]) == ([rest], [WINDOW])
    assert waivers(pipeline) == [(rest, {"reason": "burnt", "by": "ann"})]
    assert pipeline.runtime().state.leases(expired=True) == []


@pytest.mark.parametrize("whole", [True, False], ids=["all of it", "a part of it"])
def test_what_a_run_commits_meanwhile_is_not_waived(pipeline: Pipeline, whole: bool) -> None:
    """The run ends between the look at the ledger and the lease."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(hours=1))
    span = WINDOW if whole else Interval(WINDOW.start, NEXT.end)
    runtime, state = pipeline.runtime(), pipeline.runtime().state
    acquire, moved = state.acquire, []

    def slow(*arguments: Any) -> Any:
        if not moved:
            moved.append(pipeline.move(runtime, kind=RunKind.WINDOW, interval=WINDOW))
        return acquire(*arguments)

    state.acquire = slow  # type: ignore[method-assign]
    done = waive(
        state, runtime.config.rules, span, reason="burnt", by="ann", owner="page/ann-1", clock=runtime.clock
    )
    assert moved[0].audited is not None
    assert done.pieces == ([] if whole else [NEXT])
    assert waived(pipeline.entries()) == done.pieces


def test_no_run_starts_on_a_window_that_is_being_waived(pipeline: Pipeline) -> None:
    reasons = []

    def look(point: str) -> None:
        if point == "waive.leased":
            reasons.append(pipeline.move(pipeline.runtime()).reason)

    with hooked(look):
        give_up(pipeline)
    assert reasons == ["leased"]


@pytest.mark.parametrize(("point", "left"), [("waive.leased", 0), ("waive.written", 1)])
def test_a_waiver_that_is_cut_off_is_finished_by_the_next(pipeline: Pipeline, point: str, left: int) -> None:
    pipeline.seed("2013-11-03T06:00:00Z", "2013-11-03T08:00:00Z", timedelta(hours=1))
    pipeline.move(
        pipeline.runtime(), kind=RunKind.WINDOW, interval=NEXT
    )  # so that two pieces are to be waived
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryState, "release", lambda *_: None)  # a killed process releases nothing
        with failing_at(point), pytest.raises(Crash):
            give_up(pipeline)
    assert len(waivers(pipeline)) == left
    with pytest.raises(LeaseHeldError, match=r"held by page/ann-1 .*nothing was waived"):
        give_up(pipeline)
    pipeline.now += timedelta(minutes=10)
    give_up(pipeline)
    assert waived(pipeline.entries()) == [WINDOW, Interval(NEXT.end, DAY.end)]
    assert len(waivers(pipeline)) == 2


@pytest.mark.parametrize(
    ("visit", "before"),
    [
        pytest.param(1, "", id="before anything"),
        pytest.param(2, "; waived before it: 1 interval", id="on the second day"),
        pytest.param(3, "; waived before it: 2 intervals", id="on the third day"),
    ],
)
@pytest.mark.parametrize("lost", [True, False], ids=["the state is lost", "a run holds the window"])
def test_an_error_names_what_was_waived_before(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, visit: int, before: str, lost: bool
) -> None:
    span = Interval(DAY.start, parse_utc("2013-11-06T05:00:00Z"))
    acquire, calls = MemoryState.acquire, []

    def fail(state: MemoryState, interval: Interval, *more: Any) -> Any:
        calls.append(interval)
        if len(calls) == visit and lost:
            raise TransientError("connection lost")
        if len(calls) == visit:
            acquire(state, interval, "flights/run", 60)
        return acquire(state, interval, *more)

    monkeypatch.setattr(MemoryState, "acquire", fail)
    with pytest.raises(TransientError) as caught:
        give_up(pipeline, span)
    assert len(waivers(pipeline)) == visit - 1
    assert str(caught.value).endswith(before)
    assert ("waived before it" in str(caught.value)) == bool(before)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("2013-11-03T04:00:00Z", "2013-11-07T05:00:00Z", "end: expected a past time"),
        ("1913-11-03T04:00:00Z", "2013-11-04T05:00:00Z", "start: expected an instant from 1969-12-31"),
    ],
)
def test_times_that_cannot_be_waived(pipeline: Pipeline, start: str, end: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        give_up(pipeline, Interval(parse_utc(start), parse_utc(end)))
    assert pipeline.runtime().state.entries() == []


# --- leases


def lease(pipeline: Pipeline, interval: Interval = WINDOW, run: str = "flights/manual__1") -> None:
    pipeline.runtime().state.acquire(interval, Owner(run, "prod"), 60)


def owners(pipeline: Pipeline) -> list[str]:
    return [found.owner for found in pipeline.runtime().state.leases(expired=True)]


def acts(pipeline: Pipeline) -> list[tuple[str, str, str, Any]]:
    return [
        (act.what, act.by, act.why, act.detail["status"]) for act in pipeline.runtime().state.about().acts
    ]


def test_an_expired_lease_is_released_without_its_run_id(pipeline: Pipeline) -> None:
    lease(pipeline)
    lease(pipeline, NEXT, "flights/manual__2")
    pipeline.now += timedelta(minutes=2)
    done = release_lease(pipeline.runtime().state, WINDOW, by="ann", reason="its worker is gone")
    assert [(one.lease.owner, one.status) for one in done] == [("flights/manual__1", "unlocked")]
    assert owners(pipeline) == ["flights/manual__2"]
    assert acts(pipeline) == [("unlock", "ann", "its worker is gone", "unlocked")]


@pytest.mark.parametrize("typed", ["manual__1", "flights/manual__1"])
def test_a_live_lease_is_released_by_the_id_of_its_run(pipeline: Pipeline, typed: str) -> None:
    lease(pipeline)
    done = release_lease(pipeline.runtime().state, WINDOW, by="ann", run_id=typed)
    assert [one.status for one in done] == ["forced"]
    assert owners(pipeline) == []
    assert acts(pipeline) == [("unlock", "ann", "", "forced")]


@pytest.mark.parametrize("typed", [None, "", "manual__2", "manual__1 ", "%", "manual__1' OR '1'='1"])
def test_a_live_lease_stays_without_the_id_of_its_run(pipeline: Pipeline, typed: str | None) -> None:
    lease(pipeline)
    with pytest.raises(ConfigError, match=r"is held by flights/manual__1 \(installation prod\)"):
        release_lease(pipeline.runtime().state, WINDOW, by="ann", run_id=typed)
    assert (owners(pipeline), acts(pipeline)) == (["flights/manual__1"], [])


def test_a_run_that_took_the_window_meanwhile_keeps_it(pipeline: Pipeline) -> None:
    """The page showed the first run; the second one has the window when the answer comes."""
    lease(pipeline)
    pipeline.now += timedelta(minutes=2)
    lease(pipeline, WINDOW, "flights/manual__2")
    with pytest.raises(ConfigError, match="held by flights/manual__2"):
        release_lease(pipeline.runtime().state, WINDOW, by="ann", run_id="manual__1")
    with pytest.raises(ConfigError, match="run_id"):
        release_lease(pipeline.runtime().state, WINDOW, by="ann")
    assert owners(pipeline) == ["flights/manual__2"]


def test_a_window_that_no_run_holds_cannot_be_released(pipeline: Pipeline) -> None:
    lease(pipeline, NEXT)
    with pytest.raises(ConfigError, match="no run holds 2013-11-03"):
        release_lease(pipeline.runtime().state, WINDOW, by="ann")
    assert owners(pipeline) == ["flights/manual__1"]


def test_an_error_lists_the_leases_that_were_removed_before_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease(pipeline)
    state = pipeline.runtime().state

    def fails(*_: object, **__: object) -> None:
        raise TransientError("state: the server closed the connection")

    monkeypatch.setattr(state, "record_act", fails)
    with pytest.raises(
        TransientError, match=r"closed the connection; removed before it: the lease of flights/manual__1"
    ):
        release_lease(state, WINDOW, by="ann", run_id="manual__1")
    assert owners(pipeline) == []
    lease(pipeline, NEXT, "flights/manual__2")
    lease(pipeline)
    with pytest.raises(TransientError, match=r"removed before it: the lease of flights/manual__1 .*"):
        unlock(state, None, by="ann", force=True)
    assert owners(pipeline) == ["flights/manual__2"]
