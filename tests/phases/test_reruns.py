"""Reruns of single phases: what an earlier execution left behind is neither trusted blindly nor thrown away."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.exceptions import DataError, SupersededError, TransientError
from airflow_pipeline_provider.phases import audit as audit_phase
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.run import committed_since, run_window
from airflow_pipeline_provider.phases.stage import read_manifest, stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Claim, RunKind, Staged
from airflow_pipeline_provider.state.owners import Execution

from .conftest import Pipeline

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
CUT_OFF_AT = ["extract", "stage", "load", "count"]


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    pipeline.seed("2013-11-03T04:00:00Z", "2013-11-03T06:00:00Z", timedelta(minutes=1))
    return pipeline


def claimed(pipeline: Pipeline, run: str, **changes: object) -> Claim:
    claim = generate(pipeline.runtime(), pipeline.request(run, **changes)).claim
    assert claim is not None
    return claim


def staged(pipeline: Pipeline, claim: Claim) -> Staged:
    validated = validate(pipeline.runtime(), claim)
    assert validated.attempt is not None
    receipts = [extract(pipeline.runtime(), claim, validated.attempt, s) for s in validated.slices]
    return stage(pipeline.runtime(), claim, validated.attempt, receipts)


@pytest.mark.parametrize("kind", [RunKind.LIVE, RunKind.BACKFILL], ids=lambda kind: kind.value)
@pytest.mark.parametrize("step", CUT_OFF_AT)
def test_an_audit_cut_off_while_it_extracts_again_is_finished_by_its_retry(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch, kind: RunKind, step: str
) -> None:
    claim = claimed(seeded, "flights/a", kind=kind, interval=FIRST)
    first = staged(seeded, claim)
    load(seeded.runtime(), claim, first)
    seeded.rows.put("late", "2013-11-03T05:30:00Z")

    class Killed(BaseException):
        pass

    def then_killed(name: str) -> None:
        if name == "count":
            calls = iter(["first count is whole"])

            def counted(*arguments: object) -> object:
                if next(calls, None) is None:
                    raise Killed
                return count(*arguments)  # type: ignore[arg-type]

            count = audit_phase._count
            monkeypatch.setattr(audit_phase, "_count", counted)
            return

        def cut(*arguments: object) -> None:
            phase(*arguments)
            raise Killed

        phase = getattr(audit_phase, name)
        monkeypatch.setattr(audit_phase, name, cut)

    with monkeypatch.context() as patch:
        monkeypatch = patch
        then_killed(step)
        with pytest.raises(Killed):
            audit(seeded.runtime(), claim, first)
    assert audit(seeded.runtime(), claim, first).target_rows == 121, (
        "the retry knows the first manifest alone"
    )
    seeded.assert_target_is(FIRST)
    assert ledger.unverified(seeded.entries()) == []
    assert ledger.committed(seeded.entries()) == [FIRST]


def test_an_audit_of_a_manifest_that_was_never_loaded_commits_nothing(seeded: Pipeline) -> None:
    run_window(seeded.runtime(), seeded.request("flights/old"))
    claim = claimed(seeded, "flights/a", kind=RunKind.WINDOW, interval=FIRST)
    again = staged(seeded, claim)
    seeded.rows.put("r00000", "2013-11-03T04:00:00Z", '{"changed":true}')  # as many rows, another content
    with pytest.raises(DataError, match="never loaded"):
        audit(seeded.runtime(), claim, again)
    assert again.token not in {entry.token for entry in seeded.entries()}


@pytest.mark.parametrize(
    ("kind", "hint", "verdict"),
    [
        (RunKind.LIVE, "the window is committed, so nothing is left to do for this run", "skip"),
        (
            RunKind.WINDOW,
            "clear this run's validate task and what follows it to load the window again",
            "run",
        ),
    ],
)
def test_what_is_left_to_do_after_another_run_is_true_of_the_run(
    seeded: Pipeline, kind: RunKind, hint: str, verdict: str
) -> None:
    named = {} if kind is RunKind.LIVE else {"kind": kind, "interval": FIRST}
    claim = claimed(seeded, "flights/slow", **named)
    validated = validate(seeded.runtime(), claim)
    assert validated.attempt is not None
    receipts = [extract(seeded.runtime(), claim, validated.attempt, s) for s in validated.slices]
    seeded.now += timedelta(minutes=3)
    run_window(seeded.runtime(), seeded.request("flights/quick"))
    with pytest.raises(SupersededError) as raised:
        stage(seeded.runtime(), claim, validated.attempt, receipts)
    assert raised.value.message.endswith(hint)
    assert validate(seeded.runtime(), claim).verdict == verdict, "what the hint says happens"


def test_a_commit_by_another_run_ends_an_attempt_that_began_before_it(seeded: Pipeline) -> None:
    claim = claimed(seeded, "flights/slow")
    validated = validate(seeded.runtime(), claim)
    assert validated.attempt is not None
    receipts = [extract(seeded.runtime(), claim, validated.attempt, s) for s in validated.slices]
    seeded.now += timedelta(minutes=3)
    seeded.rows.put("r00000", "2013-11-03T04:00:00Z", '{"changed":true}')
    run_window(seeded.runtime(), seeded.request("flights/quick"))
    with pytest.raises(SupersededError, match="flights/quick"):
        stage(seeded.runtime(), claim, validated.attempt, receipts)
    seeded.assert_target_is(FIRST)


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("fault", ["lose_snapshots", "fail_pages"])
def test_a_read_that_fails_leaves_none_of_its_finished_parts(
    seeded: Pipeline, slices: int, fault: str
) -> None:
    chance = random.Random(7)
    for row in list(seeded.rows.rows.values()):  # bodies that do not compress: many parts
        seeded.rows.put(row.record_id, row.event_time, f'"{chance.randbytes(500).hex()}"')
    claim = claimed(seeded, "flights/a")
    runtime = seeded.runtime(stage={"part_size": "1KB"}, source={"page_size": 10, "slices": slices})
    validated = validate(runtime, claim)
    assert validated.attempt is not None
    if fault == "lose_snapshots":
        seeded.rows.lose_snapshots = 1
    else:
        pages = iter(range(99))

        def fail_late() -> None:
            seeded.rows.fail_pages = int(next(pages) == 3 * slices)

        seeded.rows.on_page = fail_late
        with pytest.raises(TransientError):
            extract(runtime, claim, validated.attempt, validated.slices[0])
        assert seeded.stage_files() == []
        seeded.rows.on_page = None
    receipts = [extract(runtime, claim, validated.attempt, s) for s in validated.slices]
    manifest = stage(runtime, claim, validated.attempt, receipts)
    listed = {part.path for part in read_manifest(runtime, claim, manifest).parts}
    assert len(listed) >= 12
    assert {path for path in seeded.stage_files() if "/part-" in path} == listed


@pytest.mark.parametrize("left", [110, 0], ids=["some rows", "no row"])
def test_a_lost_state_lets_a_source_that_shrank_erase_nothing(seeded: Pipeline, left: int) -> None:
    seeded.move(seeded.runtime())
    before = seeded.target_rows()
    for record_id in list(before)[left:]:
        seeded.rows.delete(record_id)
    seeded.store.pipelines.clear()
    with pytest.raises(
        DataError, match=f"holds 120 rows of this committed window and the source now gives {left}"
    ):
        seeded.move(seeded.runtime())
    assert seeded.target_rows() == before


def test_a_load_that_was_never_audited_may_shrink(seeded: Pipeline) -> None:
    claim = claimed(seeded, "flights/a")
    load(seeded.runtime(), claim, staged(seeded, claim))
    seeded.rows.delete("r00000")
    assert run_window(seeded.runtime(), seeded.request("flights/a")).audited is not None
    seeded.assert_target_is(FIRST)


def test_a_committed_window_needs_no_source_to_be_passed(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded.move(seeded.runtime(), run="flights/a")
    seeded.rows.fail_counts = 1
    again = run_window(seeded.runtime(), seeded.request("flights/a"))
    assert (again.audited, again.reason) == (None, "complete")
    assert seeded.rows.fail_counts == 1, "the source was not asked"


def test_a_cleared_live_run_whose_window_is_in_other_hands_ends_quietly(seeded: Pipeline) -> None:
    claimed(seeded, "flights/a")
    seeded.now += timedelta(minutes=3)
    claimed(seeded, "flights/b")
    outcome = run_window(seeded.runtime(), seeded.request("flights/a"))
    assert (outcome.claim, outcome.reason) == (None, "superseded")
    assert "flights/b" in outcome.detail


def test_the_lease_is_held_until_older_attempts_are_removed(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let go before, the next run's first files would be taken for those of an older attempt."""
    runtime = seeded.runtime()
    named = {"kind": RunKind.WINDOW, "interval": FIRST}
    seeded.move(runtime, **named)
    held: list[int] = []
    remove = runtime.stage.delete

    def delete(paths: list[str]) -> None:
        held.append(len(runtime.state.leases()))
        remove(paths)

    monkeypatch.setattr(runtime.stage, "delete", delete)
    seeded.move(runtime, **named)
    assert held == [1]
    assert runtime.state.leases() == []


@pytest.mark.parametrize(
    ("first_try", "committed"),
    [
        pytest.param(0, True, id="whoever read it"),
        pytest.param(1, True, id="a retry"),
        pytest.param(2, True, id="a retry of the second try"),
        pytest.param(3, False, id="cleared since"),
    ],
)
def test_a_commit_of_the_run_since_it_was_cleared(seeded: Pipeline, first_try: int, committed: bool) -> None:
    runtime = replace(seeded.runtime(), execution=Execution("move_window -1", 2, "p"))
    named = {"kind": RunKind.WINDOW, "interval": FIRST}
    assert not committed_since(runtime, "flights/a", first_try)
    assert run_window(runtime, seeded.request("flights/a", **named)).audited is not None
    assert committed_since(runtime, "flights/a", first_try) is committed
    assert not committed_since(runtime, "flights/b", first_try)
    assert run_window(runtime, seeded.request("flights/b", **named)).audited is not None
    assert not committed_since(runtime, "flights/a", first_try)
