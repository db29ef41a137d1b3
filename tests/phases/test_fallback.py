"""A state store that fell back to an older copy: noticed before anything is written, and brought up again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Entry
from airflow_pipeline_provider.exceptions import StateBehindError
from airflow_pipeline_provider.phases.cleanup import cleanup
from airflow_pipeline_provider.phases.doctor import examine
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.findings import Finding
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind

from .conftest import Pipeline

DAY = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-04T05:00:00Z"))
SAID = (
    r"its newest token is 2, and the target was loaded with token 5, .*fell back to an older copy.*"
    r"nothing was written.*airflow-pipelines state rebuild flights"
)


@pytest.fixture
def fallen_back(pipeline: Pipeline) -> Pipeline:
    """Five windows are committed; then the store is what it was after the second."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", timedelta(minutes=30))
    for _ in range(2):
        pipeline.move(pipeline.runtime())
    older = copy.deepcopy(pipeline.store.pipelines)
    for _ in range(3):
        pipeline.move(pipeline.runtime())
    pipeline.store.pipelines.clear()
    pipeline.store.pipelines.update(older)
    return pipeline


def ledger(pipeline: Pipeline) -> list[Entry]:
    return pipeline.runtime().state.entries()


def a_run(runtime: Runtime, pipeline: Pipeline) -> None:
    run_window(runtime, pipeline.request())


def a_recheck(runtime: Runtime, _pipeline: Pipeline) -> None:
    recheck(runtime, 1)


def a_cleanup(runtime: Runtime, _pipeline: Pipeline) -> None:
    cleanup(runtime)


@pytest.mark.parametrize("act", [a_run, a_recheck, a_cleanup], ids=lambda act: act.__name__)
def test_whoever_would_write_says_so_and_writes_nothing(
    fallen_back: Pipeline, act: Callable[[Runtime, Pipeline], None]
) -> None:
    before, rows, files = ledger(fallen_back), fallen_back.target_rows(), fallen_back.stage_files()
    for _ in range(2):  # the first one must not make the second one believe the state
        with pytest.raises(StateBehindError, match=SAID):
            act(fallen_back.runtime(), fallen_back)
    assert (ledger(fallen_back), fallen_back.target_rows()) == (before, rows)
    assert fallen_back.stage_files() == files
    assert fallen_back.runtime().state.leases() == []


@pytest.mark.parametrize("changes", [{}, {"start_day": None}], ids=["start_day", "first day remembered"])
@pytest.mark.parametrize("bound", [False, True], ids=["a new run", "a run that has a window"])
@pytest.mark.parametrize("kind", list(RunKind))
def test_generate_notices_it_before_its_first_write(
    fallen_back: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    kind: RunKind,
    bound: bool,
    changes: dict[str, Any],
) -> None:
    """Neither lease nor binding nor first day."""
    last = Interval(
        DAY.end - timedelta(hours=2), DAY.end
    )  # a window that the older copy knows as not committed
    interval = None if kind is RunKind.LIVE else last
    request = fallen_back.request("flights/late", kind=kind, interval=interval)
    runtime = fallen_back.runtime(**changes)
    if bound:
        runtime.state.bind_run(request.run, last)
    written: list[str] = []
    first_day = runtime.state.first_day
    for name in ("acquire", "release", "bind_run", "append", "change_about", "mint_token", "drop_expired"):
        monkeypatch.setattr(runtime.state, name, lambda *_, name=name, **__: written.append(name))
    monkeypatch.setattr(
        runtime.state,
        "first_day",
        lambda day: first_day(None) if day is None else written.append("first_day"),
    )
    before = copy.deepcopy(fallen_back.store.pipelines)
    with pytest.raises(StateBehindError, match=SAID):
        generate(runtime, request)
    assert written == []
    assert fallen_back.store.pipelines == before


def test_a_run_that_was_at_work_when_the_store_fell_back_mints_no_token(fallen_back: Pipeline) -> None:
    """Its attempt is in the older copy, so nothing else would stop it."""
    target = fallen_back.runtime().target
    newest = type(target).newest_token
    request = fallen_back.request("flights/at_work")
    with pytest.MonkeyPatch.context() as before_the_loss:
        before_the_loss.setattr(type(target), "newest_token", lambda _: 2)
        claim = generate(fallen_back.runtime(), request).claim
        assert claim is not None
        # the window that was committed after the copy was made is not loaded as far as this run knows
        before_the_loss.setattr(type(target), "newest_commit", lambda *_: None)
        validated = validate(fallen_back.runtime(), claim)
        receipts = [
            extract(fallen_back.runtime(), claim, validated.attempt or "", slice_)
            for slice_ in validated.slices
        ]
    assert type(target).newest_token is newest
    with pytest.raises(StateBehindError, match=SAID):
        stage(fallen_back.runtime(), claim, validated.attempt or "", receipts)
    assert fallen_back.runtime().state.newest_token() == 2


def test_a_token_that_the_state_does_not_know_is_not_loaded(pipeline: Pipeline) -> None:
    """The run was staged and not loaded when the store fell back, so the target cannot show it."""
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T08:00:00Z", timedelta(minutes=30))
    pipeline.move(pipeline.runtime())
    claim = generate(pipeline.runtime(), pipeline.request("flights/staged")).claim
    assert claim is not None
    validated = validate(pipeline.runtime(), claim)
    attempt = validated.attempt or ""
    receipts = [extract(pipeline.runtime(), claim, attempt, slice_) for slice_ in validated.slices]
    older = copy.deepcopy(pipeline.store.pipelines)
    staged = stage(pipeline.runtime(), claim, attempt, receipts)
    pipeline.store.pipelines.clear()
    pipeline.store.pipelines.update(older)
    before = ledger(pipeline)
    said = "its newest token is 1, and this run was given token 2, .*nothing was written"
    with pytest.raises(StateBehindError, match=said):
        load(pipeline.runtime(), claim, staged)
    assert ledger(pipeline) == before
    assert [row.token for row in pipeline.runtime().target.commits()] == [1]
    assert next(o.audited.token for o in pipeline.move_all(pipeline.runtime()) if o.audited) == 2


def test_doctor_names_it_and_a_rebuild_from_the_target_brings_it_up(fallen_back: Pipeline) -> None:
    def findings() -> dict[str, Finding]:
        looked_at = examine(fallen_back.runtime(), fallen_back.now, 4, "flights")
        return {finding.kind: finding for finding in looked_at.findings}

    found = findings()["state_behind"]
    assert "the newest token of the state is 2, and the target was loaded with token 5" in found.sentence
    assert found.command == ("state", "rebuild", "flights")
    done = rebuild(fallen_back.runtime())
    assert sorted(row.token for row in done.written) == [3, 4, 5]
    assert "state_behind" not in findings()
    outcomes = fallen_back.move_all(fallen_back.runtime())
    assert outcomes[-1].reason == "after_end_day"
    assert min(o.audited.token for o in outcomes if o.audited) > 5
    fallen_back.assert_target_is(DAY)


def test_a_state_that_is_brought_back_goes_on(fallen_back: Pipeline) -> None:
    newer = fallen_back.runtime().state
    for _ in range(3):
        newer.mint_token()
    assert fallen_back.move(fallen_back.runtime()).audited is not None


def test_a_rebuild_goes_past_the_targets_token_though_it_writes_nothing(fallen_back: Pipeline) -> None:
    """A person has deleted the rows of the newest window in the target: it stays out, and must not stop the rest."""
    runtime = fallen_back.runtime()
    newest = runtime.target.commits()[-1]
    rows = fallen_back.rows.rows.values()
    fallen_back.delete_in_target(row for row in rows if newest.interval.holds(row.event_time))
    done = rebuild(runtime)
    assert [row.token for row, _ in done.left_out] == [newest.token]
    assert runtime.state.newest_token() > newest.token
    assert fallen_back.move_all(fallen_back.runtime())[-1].reason == "after_end_day"
