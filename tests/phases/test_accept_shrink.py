"""Rows go from the target only by an acceptance of this window, this run and at most this many rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry, Kind, unverified
from airflow_pipeline_provider.exceptions import ConfigError, DataError
from airflow_pipeline_provider.phases.accept_shrink import accepted_rows, record_acceptance, rows_that_go
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.phases.waive import waive
from airflow_pipeline_provider.testing.faults import Crash, at, failing_at, hooked

from .conftest import Pipeline

WINDOW = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
NEXT = Interval(WINDOW.end, parse_utc("2013-11-03T08:00:00Z"))
RUN = "flights/accept_shrink__1"


def lose(pipeline: Pipeline, count: int, window: Interval = WINDOW) -> None:
    for row in pipeline.rows.within(window)[:count]:
        pipeline.rows.delete(row.record_id)


def accept(pipeline: Pipeline, rows: int, window: Interval = WINDOW, run: str = RUN) -> None:
    state = pipeline.runtime().state
    record_acceptance(state, window, rows, run=run, by="ann", reason="they were test flights")


def asked(rows: int, run: str = RUN, window: Interval = WINDOW) -> dict[str, Any]:
    return {"run": run, "kind": RunKind.WINDOW, "interval": window, "accept_shrink": rows}


@pytest.fixture
def shrunk(pipeline: Pipeline) -> Pipeline:
    """Twelve rows a window; two windows are committed, and the first has lost three rows since, as recheck found."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T12:00:00Z", timedelta(minutes=10))
    for _ in range(2):
        pipeline.move(pipeline.runtime())
    lose(pipeline, 3)
    recheck(pipeline.runtime(), 1)
    return pipeline


def test_the_rows_go_that_were_accepted(shrunk: Pipeline) -> None:
    assert rows_that_go(shrunk.entries(), WINDOW) == 3
    accept(shrunk, 3)
    assert shrunk.move(shrunk.runtime(), **asked(3)).audited is not None
    shrunk.assert_target_is(WINDOW, NEXT)
    assert rows_that_go(shrunk.entries(), WINDOW) is None
    (act,) = shrunk.runtime().state.about().acts
    assert (act.what, act.by, act.why, act.interval) == (
        "accept shrink",
        "ann",
        "they were test flights",
        WINDOW,
    )


@pytest.mark.parametrize(
    ("rows", "window", "sentence"),
    [
        (2, WINDOW, "expected the 3 rows that are gone .* got 2"),
        (13, WINDOW, "expected the 3 rows that are gone .* got 13"),
        (0, WINDOW, "expected the 3 rows that are gone .* got 0"),
        (-3, WINDOW, "expected the 3 rows"),
        (3, NEXT, "no recheck found that 2013-11-03 .* shrank"),
        (3, Interval(WINDOW.start, NEXT.start - timedelta(hours=1)), "no recheck found"),
    ],
)
def test_a_number_that_no_recheck_found_is_refused(
    shrunk: Pipeline, rows: int, window: Interval, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        accept(shrunk, rows, window)
    assert shrunk.runtime().state.about().acts == ()


def test_rows_that_were_deleted_in_the_target_count_as_committed(shrunk: Pipeline) -> None:
    """12 were committed, 5 of them are gone in the target and 3 in the source: three go, not minus two."""
    shrunk.delete_in_target(shrunk.rows.within(WINDOW)[:5])
    recheck(shrunk.runtime(), 1)
    assert rows_that_go(shrunk.entries(), WINDOW) == 3
    accept(shrunk, 3)
    assert shrunk.move(shrunk.runtime(), **asked(3)).audited is not None
    shrunk.assert_target_is(WINDOW, NEXT)


def test_more_rows_than_were_accepted_stop_the_load(shrunk: Pipeline) -> None:
    accept(shrunk, 3)
    before = shrunk.target_rows()
    lose(shrunk, 2)
    with pytest.raises(DataError, match=r"5 rows of 2013-11-03 .* would go, and 3 rows were accepted"):
        shrunk.move(shrunk.runtime(), **asked(3))
    assert shrunk.target_rows() == before


def test_rows_that_go_between_load_and_audit_are_not_accepted(shrunk: Pipeline) -> None:
    """The audit counts the source again and reads the window again: what it lost meanwhile nobody accepted."""
    accept(shrunk, 3)

    def lose_more(point: str) -> None:
        if point == "load.committed":
            lose(shrunk, 2)

    with (
        hooked(lose_more),
        pytest.raises(DataError, match=r"5 rows of .* would go, and 3 rows were accepted"),
    ):
        shrunk.move(shrunk.runtime(), **asked(3))
    assert len([row for row in shrunk.target_rows().values() if WINDOW.holds(row[0])]) == 9
    assert unverified(shrunk.entries()) == [WINDOW]


def test_fewer_rows_than_were_accepted_may_go(shrunk: Pipeline) -> None:
    accept(shrunk, 3)
    shrunk.rows.put("back", WINDOW.start + timedelta(minutes=1))
    assert shrunk.move(shrunk.runtime(), **asked(3)).audited is not None
    shrunk.assert_target_is(WINDOW, NEXT)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(asked(3, run="flights/manual__x"), id="another run"),
        pytest.param(asked(3, window=NEXT), id="another window"),
        pytest.param(asked(4), id="more rows than recorded"),
    ],
)
def test_a_conf_alone_deletes_nothing(shrunk: Pipeline, request_: dict[str, Any]) -> None:
    """Whoever may start runs writes any conf; only the page, or a command, records an acceptance."""
    accept(shrunk, 3)
    before, entries = shrunk.target_rows(), list(shrunk.entries())
    with pytest.raises(ConfigError, match="accept_shrink: expected an acceptance of"):
        shrunk.move(shrunk.runtime(), **request_)
    assert (shrunk.target_rows(), shrunk.entries()) == (before, entries)


def test_an_acceptance_is_used_up_by_its_commit(shrunk: Pipeline) -> None:
    """A run that is cleared later must not delete what is lost since."""
    accept(shrunk, 3)
    shrunk.move(shrunk.runtime(), **asked(3))
    assert accepted_rows(shrunk.runtime().state, WINDOW, RUN) is None
    lose(shrunk, 1)
    before = shrunk.target_rows()
    with pytest.raises(DataError, match=r"1 row of .* would go, and no rows were accepted"):
        shrunk.move(shrunk.runtime(), **asked(3))
    assert shrunk.target_rows() == before


def test_an_acceptance_whose_run_was_never_started_changes_nothing(shrunk: Pipeline) -> None:
    with failing_at("accept_shrink.recorded"), pytest.raises(Crash):
        accept(shrunk, 3)
    with pytest.raises(DataError, match="retention at the source must not erase the warehouse"):
        shrunk.move(shrunk.runtime(), kind=RunKind.WINDOW, interval=WINDOW)
    accept(shrunk, 3, run="flights/accept_shrink__2")
    assert shrunk.move(shrunk.runtime(), **asked(3, "flights/accept_shrink__2")).audited is not None
    shrunk.assert_target_is(WINDOW, NEXT)


def commit_again(shrunk: Pipeline) -> None:
    """The lost rows come back, and another run loads the window."""
    for number in range(3):
        shrunk.rows.put(f"back{number}", WINDOW.start + timedelta(minutes=number + 1))
    shrunk.move(shrunk.runtime(), kind=RunKind.WINDOW, interval=WINDOW)


def keep(shrunk: Pipeline) -> None:
    runtime = shrunk.runtime()
    waive(runtime.state, runtime.config.rules, WINDOW, reason="keep them", by="bob", owner="page/1")


def find_equal(shrunk: Pipeline) -> None:
    for number in range(3):
        shrunk.rows.put(f"back{number}", WINDOW.start + timedelta(minutes=number + 1))
    recheck(shrunk.runtime(), 1)


def find_other(shrunk: Pipeline) -> None:
    lose(shrunk, 1)
    recheck(shrunk.runtime(), 1)


@pytest.mark.parametrize(
    ("decide", "word"),
    [
        pytest.param(commit_again, "committed", id="another run commits"),
        pytest.param(keep, "waived", id="waived"),
        pytest.param(find_equal, "checked", id="a recheck finds them equal"),
        pytest.param(find_other, "checked", id="a recheck finds another number"),
    ],
)
def test_an_acceptance_that_was_not_used_ends_with_the_next_decision_about_its_window(
    shrunk: Pipeline, decide: Callable[[Pipeline], None], word: str
) -> None:
    """Its run was never started, or was deleted; whoever may trigger knows the run's id."""
    accept(shrunk, 3)
    shrunk.now += timedelta(minutes=1)
    decide(shrunk)
    lose(shrunk, 3)
    before, state = shrunk.target_rows(), shrunk.runtime().state
    assert accepted_rows(state, WINDOW, RUN) is None
    with pytest.raises(
        ConfigError, match=f"ended: the window was {word} since.*the conf alone deletes nothing"
    ):
        shrunk.move(shrunk.runtime(), **asked(3))
    assert shrunk.target_rows() == before


def test_a_decision_while_the_accepted_run_is_at_work_stops_its_load(shrunk: Pipeline) -> None:
    accept(shrunk, 3)
    before = shrunk.target_rows()
    shrunk.now += timedelta(seconds=1)

    def find_meanwhile() -> None:
        state = shrunk.runtime().state
        detail = {"source": 9, "target": 12, "verdict": "equal"}
        state.append(Entry(Kind.CHECKED, WINDOW, shrunk.now, detail=detail))

    with (
        hooked(at("extract.opened", 1, find_meanwhile)),
        pytest.raises(DataError, match=r"3 rows of .* would go, and no rows were accepted"),
    ):
        shrunk.move(shrunk.runtime(), **asked(3))
    assert shrunk.target_rows() == before


def test_a_recheck_that_finds_the_same_again_leaves_the_acceptance(shrunk: Pipeline) -> None:
    accept(shrunk, 3)
    shrunk.now += timedelta(minutes=1)
    recheck(shrunk.runtime(), 1)
    assert shrunk.move(shrunk.runtime(), **asked(3)).audited is not None
    shrunk.assert_target_is(WINDOW, NEXT)


@pytest.mark.parametrize("point", ["load.recorded", "load.deleted", "load.committed", "audit.counted"])
def test_a_run_that_is_cut_off_is_finished_by_its_rerun(shrunk: Pipeline, point: str) -> None:
    accept(shrunk, 3)
    with failing_at(point), pytest.raises(Crash):
        shrunk.move(shrunk.runtime(), **asked(3))
    assert shrunk.move(shrunk.runtime(), **asked(3)).audited is not None
    shrunk.assert_target_is(WINDOW, NEXT)


# --- only_incomplete


def test_a_window_committed_meanwhile_is_not_moved_again(shrunk: Pipeline) -> None:
    later = Interval(NEXT.end, parse_utc("2013-11-03T10:00:00Z"))
    wanted = {"kind": RunKind.WINDOW, "interval": later, "only_incomplete": True}
    first = shrunk.move(shrunk.runtime(), **wanted)
    second = shrunk.move(shrunk.runtime(), **wanted)
    assert first.audited is not None
    assert (second.reason, second.detail) == (
        "complete",
        "another run has committed this window since this run was asked for",
    )
    assert shrunk.runtime().state.leases() == []


def test_a_drifted_window_is_moved_though_it_is_committed(shrunk: Pipeline) -> None:
    shrunk.rows.put("late", NEXT.start + timedelta(minutes=1))
    recheck(shrunk.runtime(), 1)
    wanted = {"kind": RunKind.WINDOW, "interval": NEXT, "only_incomplete": True}
    assert shrunk.move(shrunk.runtime(), **wanted).audited is not None
