"""An answer about a shrunk window holds for exactly the finding that was shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind, drifted
from airflow_pipeline_provider.exceptions import LeaseHeldError
from airflow_pipeline_provider.phases import decide_shrinkage
from airflow_pipeline_provider.phases.decide_shrinkage import ShrunkWindow, find_shrunk
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.testing.faults import Crash, failing_at, hooked

from .conftest import Pipeline

WINDOW = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
RUN = "flights/accept_shrink__1"


def lose(pipeline: Pipeline, count: int) -> None:
    for row in pipeline.rows.within(WINDOW)[:count]:
        pipeline.rows.delete(row.record_id)


def find_again(pipeline: Pipeline) -> ShrunkWindow:
    pipeline.now += timedelta(minutes=1)
    recheck(pipeline.runtime(), 1)
    found = find_shrunk(pipeline.entries(), WINDOW)
    assert found is not None
    return found


@pytest.fixture
def shrunk(pipeline: Pipeline) -> Pipeline:
    """Twelve rows were committed in the window, and the source has lost three since."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T08:00:00Z", timedelta(minutes=10))
    pipeline.move(pipeline.runtime())
    lose(pipeline, 3)
    return pipeline


def accept(pipeline: Pipeline, asked: ShrunkWindow, run: str = RUN) -> str | None:
    return decide_shrinkage.accept(pipeline.runtime().state, asked, run=run, by="ann", reason="test flights")


def keep(pipeline: Pipeline, asked: ShrunkWindow) -> str | None:
    runtime = pipeline.runtime()
    return decide_shrinkage.keep(
        runtime.state,
        runtime.config.rules,
        asked,
        by="ann",
        reason="withdrawn",
        owner="flights.shrinkage/1/0",
    )


def load(pipeline: Pipeline, rows: int, run: str = RUN) -> None:
    pipeline.now += timedelta(minutes=1)
    moved = pipeline.move(
        pipeline.runtime(), run=run, kind=RunKind.WINDOW, interval=WINDOW, accept_shrink=rows
    )
    assert moved.audited is not None


def test_a_finding_has_the_counts_of_the_recheck(shrunk: Pipeline) -> None:
    assert find_shrunk(shrunk.entries(), WINDOW) is None
    found = find_again(shrunk)
    assert (found.committed, found.source, found.target, found.goes) == (12, 9, 12, 3)
    assert msgspec.convert(msgspec.to_builtins(found), ShrunkWindow) == found
    assert find_again(shrunk) == found  # the same counts again are the same finding
    assert find_shrunk(shrunk.entries(), Interval(WINDOW.start, WINDOW.end - timedelta(hours=1))) is None


def test_accepted_rows_go_by_an_ordinary_load(shrunk: Pipeline) -> None:
    asked = find_again(shrunk)
    assert accept(shrunk, asked) is None
    assert accept(shrunk, asked) is None  # a retry of the task
    (act,) = shrunk.runtime().state.about().acts
    assert (act.by, act.why, act.detail) == ("ann", "test flights", {"rows": 3, "run": RUN})
    load(shrunk, 3)
    assert sum(WINDOW.holds(at) for at, _ in shrunk.target_rows().values()) == 9
    refused = accept(shrunk, asked)
    assert refused is not None
    assert f"it was committed by {RUN} at " in refused


def test_kept_rows_stay_and_the_waiver_has_a_name(shrunk: Pipeline) -> None:
    asked, before = find_again(shrunk), shrunk.target_rows()
    assert keep(shrunk, asked) is None
    waiver = shrunk.entries()[-1]
    assert (waiver.kind, waiver.interval, waiver.detail) == (
        Kind.WAIVED,
        WINDOW,
        {"by": "ann", "reason": "withdrawn"},
    )
    assert (shrunk.target_rows(), drifted(shrunk.entries())) == (before, [])
    refused = keep(shrunk, asked)
    assert refused is not None
    assert "it was waived by flights.shrinkage/1/0" in refused
    assert shrunk.entries()[-1] == waiver


def reloaded(pipeline: Pipeline) -> None:
    accepted = find_shrunk(pipeline.entries(), WINDOW)
    assert accepted is not None
    assert accept(pipeline, accepted, "flights/other") is None
    load(pipeline, 3, "flights/other")


def shrunk_more(pipeline: Pipeline) -> None:
    lose(pipeline, 2)
    recheck(pipeline.runtime(), 1)


def shrunk_again_by_as_many(pipeline: Pipeline) -> None:
    reloaded(pipeline)
    lose(pipeline, 3)
    recheck(pipeline.runtime(), 1)


def grown(pipeline: Pipeline) -> None:
    for minute in range(5):
        pipeline.rows.put(f"late{minute}", WINDOW.start + timedelta(minutes=minute))
    recheck(pipeline.runtime(), 1)


OUTDATED = {
    "reloaded": (reloaded, "it was committed by flights/other at "),
    "shrank more": (shrunk_more, "it was checked (shrank) at "),
    "shrank by as many again": (shrunk_again_by_as_many, "it was checked (shrank) at "),
    "grew": (grown, "it was checked (grew) at "),
    "kept": (lambda pipeline: keep(pipeline, find_shrunk(pipeline.entries(), WINDOW)), "it was waived by "),
}


@pytest.mark.parametrize("decide", [accept, keep])
@pytest.mark.parametrize(("change", "sentence"), OUTDATED.values(), ids=OUTDATED)
def test_an_answer_to_an_outdated_question_changes_nothing(
    shrunk: Pipeline,
    decide: Callable[[Pipeline, ShrunkWindow], str | None],
    change: Callable[[Pipeline], object],
    sentence: str,
) -> None:
    asked = find_again(shrunk)
    shrunk.now += timedelta(minutes=1)
    change(shrunk)
    about, entries, rows = shrunk.runtime().state.about(), list(shrunk.entries()), shrunk.target_rows()
    refused = decide(shrunk, asked)
    assert refused is not None
    assert sentence in refused
    assert refused.endswith("after the question was asked")
    assert (shrunk.runtime().state.about(), shrunk.entries(), shrunk.target_rows()) == (about, entries, rows)


def test_a_finding_that_the_ledger_does_not_have_is_refused(shrunk: Pipeline) -> None:
    asked = msgspec.structs.replace(find_again(shrunk), source=0, goes=12)
    for decide in (accept, keep):
        refused = decide(shrunk, asked)
        assert refused is not None
        assert "the ledger does not have the finding of " in refused
    assert shrunk.runtime().state.about().acts == ()


def test_a_window_that_is_loaded_while_it_is_waived_is_not_waived(shrunk: Pipeline) -> None:
    """Another answer is recorded and carried out between the comparison and the waiver's lease."""
    asked, done = find_again(shrunk), []

    def change(point: str) -> None:
        if point == "waive.leased" and not done:
            done.append(point)
            shrunk.now += timedelta(minutes=1)
            state = shrunk.runtime().state
            state.release(WINDOW, "flights.shrinkage/1/0")  # as if it had expired
            reloaded(shrunk)

    with hooked(change):
        refused = keep(shrunk, asked)
    assert done
    assert refused is not None
    assert "it was committed by flights/other" in refused
    assert [entry for entry in shrunk.entries() if entry.kind is Kind.WAIVED] == []


def test_a_window_that_a_run_holds_is_waited_for(shrunk: Pipeline) -> None:
    asked, state = find_again(shrunk), shrunk.runtime().state
    state.acquire(WINDOW, "flights/busy", 120)
    with pytest.raises(LeaseHeldError, match="nothing was waived"):
        keep(shrunk, asked)
    state.release(WINDOW, "flights/busy")
    assert keep(shrunk, asked) is None


@pytest.mark.parametrize("point", ["accept_shrink.recorded", "waive.leased", "waive.written"])
def test_a_retry_after_a_crash_carries_the_answer_out_once(shrunk: Pipeline, point: str) -> None:
    asked = find_again(shrunk)
    decide = accept if point.startswith("accept") else keep
    with failing_at(point), pytest.raises(Crash):
        decide(shrunk, asked)
    shrunk.now += timedelta(minutes=10)  # its lease expires
    refused = decide(shrunk, asked)
    if point == "waive.written":
        assert refused is not None
        assert "it was waived by flights.shrinkage/1/0" in refused
    else:
        assert refused is None
    waivers = [entry for entry in shrunk.entries() if entry.kind is Kind.WAIVED]
    acts = shrunk.runtime().state.about().acts
    assert (len(waivers), len(acts)) == ((0, 1) if decide is accept else (1, 0))
