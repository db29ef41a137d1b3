"""A rerun finishes what stopped halfway: crashes, retries, twins, stale tasks, a source that changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider import fault_points
from airflow_pipeline_provider.core import ledger
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import (
    DataError,
    LeaseHeldError,
    SupersededError,
    TransientError,
    UnexpectedError,
)
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import Claim, RunKind, Staged

from .conftest import Pipeline, Window

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    pipeline.seed("2013-11-03T03:00:00Z", "2013-11-03T09:00:00Z", timedelta(minutes=1))
    return pipeline


def until(pipeline: Pipeline, last: str, run: str, **changes: Any) -> tuple[Claim, Staged | None]:
    """Do the phases of a run up to and with `last`; each with a new runtime, as a new process would."""
    claim = generate(pipeline.runtime(**changes), pipeline.request(run)).claim
    assert claim is not None
    if last == "generate":
        return claim, None
    validated = validate(pipeline.runtime(**changes), claim)
    if last == "validate":
        return claim, None
    assert validated.attempt is not None
    receipts = [extract(pipeline.runtime(**changes), claim, validated.attempt, s) for s in validated.slices]
    if last == "extract":
        return claim, None
    staged = stage(pipeline.runtime(**changes), claim, validated.attempt, receipts)
    if last == "load":
        load(pipeline.runtime(**changes), claim, staged)
    return claim, staged


PHASES = ["generate", "validate", "extract", "stage", "load"]


@pytest.mark.parametrize("last", PHASES)
def test_the_same_run_again_moves_its_window(seeded: Pipeline, last: str) -> None:
    until(seeded, last, "flights/a")
    outcome = run_window(seeded.runtime(), seeded.request("flights/a"))
    assert outcome.audited is not None
    assert outcome.claim is not None
    assert outcome.claim.interval == FIRST
    seeded.assert_target_is(FIRST)


@pytest.mark.parametrize("last", PHASES)
def test_another_run_takes_over_once_the_lease_has_expired(seeded: Pipeline, last: str) -> None:
    until(seeded, last, "flights/a")
    other = run_window(seeded.runtime(), seeded.request("flights/b"))
    assert other.claim is not None
    assert other.claim.start == FIRST.end, "a leased window is passed over"
    seeded.now += timedelta(minutes=3)
    again = run_window(seeded.runtime(), seeded.request("flights/c"))
    assert again.claim is not None
    assert again.claim.interval == FIRST
    assert again.audited is not None
    seeded.assert_target_is(FIRST, other.claim.interval)


def test_loaded_but_not_audited_is_audited_and_not_loaded_again(seeded: Pipeline) -> None:
    _, staged = until(seeded, "load", "flights/a")
    seeded.now += timedelta(minutes=3)
    runtime = seeded.runtime()
    claim = generate(runtime, seeded.request("flights/b")).claim
    assert claim is not None
    validated = validate(runtime, claim)
    assert validated.verdict == "already_loaded"
    assert validated.staged is not None
    assert staged is not None
    assert audit(runtime, claim, validated.staged).token == staged.token
    seeded.assert_target_is(FIRST)


@pytest.mark.parametrize(
    "phase",
    [
        lambda p, c, s: load(p.runtime(), c, s),
        lambda p, c, s: audit(p.runtime(), c, s),
    ],
    ids=["load", "audit"],
)
def test_a_stale_task_with_an_older_token_changes_nothing(
    seeded: Pipeline, window: Window, phase: Callable[[Pipeline, Claim, Staged], object]
) -> None:
    claim, staged = until(seeded, "stage", "flights/stale")
    assert staged is not None
    seeded.now += timedelta(minutes=3)
    overlapping = window("2013-11-03T05:00:00Z", "2013-11-03T07:00:00Z")
    run_window(seeded.runtime(), seeded.request("flights/new", kind=RunKind.WINDOW, interval=overlapping))
    before = seeded.target_rows()
    with pytest.raises(SupersededError):
        phase(seeded, claim, staged)
    assert seeded.target_rows() == before


def test_two_runs_on_one_window_one_is_superseded(seeded: Pipeline) -> None:
    claim, _ = until(seeded, "validate", "flights/slow")
    seeded.now += timedelta(minutes=3)
    quick = run_window(seeded.runtime(), seeded.request("flights/quick"))
    assert quick.claim is not None
    assert quick.claim.interval == FIRST
    taken = generate(
        seeded.runtime(), seeded.request("flights/named", kind=RunKind.WINDOW, interval=FIRST)
    ).claim
    assert taken is not None
    with pytest.raises(SupersededError, match="flights/named"):
        validate(seeded.runtime(), claim)


def test_a_named_window_in_other_hands_is_tried_again_later(seeded: Pipeline) -> None:
    until(seeded, "generate", "flights/holder")
    request = seeded.request("flights/named", kind=RunKind.WINDOW, interval=FIRST)
    with pytest.raises(LeaseHeldError, match=r"held by flights/holder since 2013-11-06"):
        generate(seeded.runtime(), request)
    seeded.now += timedelta(minutes=3)
    assert generate(seeded.runtime(), request).claim is not None


def test_a_live_run_without_a_free_window_says_whose_leases_it_met(seeded: Pipeline) -> None:
    generate(seeded.runtime(granularity="1d"), seeded.request("flights/holder"))
    found = generate(seeded.runtime(granularity="1d"), seeded.request("flights/live"))
    assert (found.claim, found.reason) == (None, "leased")
    assert found.detail.endswith(
        "and no other window is ready: 2013-11-03 [00:00 EDT, 24:00 EST) is held by flights/holder since "
        "2013-11-06 07:00 EST, until 2013-11-06 07:02 EST unless renewed"
    )


def test_a_committed_run_that_is_cleared_has_nothing_to_do(seeded: Pipeline) -> None:
    run_window(seeded.runtime(), seeded.request("flights/a"))
    again = run_window(seeded.runtime(), seeded.request("flights/a"))
    assert (again.audited, again.reason) == (None, "complete")
    assert seeded.runtime().state.leases() == []


def test_extract_cleared_after_the_commit_replaces_the_window(seeded: Pipeline) -> None:
    claim, staged = until(seeded, "load", "flights/a")
    assert staged is not None
    assert staged.attempt is not None
    audit(seeded.runtime(), claim, staged)
    seeded.rows.put("late", "2013-11-03T04:30:00Z")
    slices = seeded.runtime().source.plan_slices(FIRST, 1)
    receipts = [extract(seeded.runtime(), claim, staged.attempt, s) for s in slices]
    again = stage(seeded.runtime(), claim, staged.attempt, receipts)
    load(seeded.runtime(), claim, again)
    assert audit(seeded.runtime(), claim, again).token > staged.token
    seeded.assert_target_is(FIRST)


@pytest.mark.parametrize("slices", [1, 4])
def test_a_lost_point_in_time_is_read_anew_and_leaves_no_parts(seeded: Pipeline, slices: int) -> None:
    seeded.rows.lose_snapshots = 2
    outcome = seeded.move(seeded.runtime(source={"slices": slices, "page_size": 7}))
    assert outcome.audited is not None
    seeded.assert_target_is(FIRST)
    assert len([path for path in seeded.stage_files() if "/part-" in path]) == slices
    assert seeded.rows.open_now == 0


@pytest.mark.parametrize("slices", [1, 4])
def test_a_failed_page_is_no_short_window(seeded: Pipeline, slices: int) -> None:
    runtime = seeded.runtime(source={"slices": slices, "page_size": 7})
    seeded.rows.fail_pages = 1
    with pytest.raises(
        TransientError, match=r"pipeline flights, window .*, extract: the page failed on demand"
    ):
        seeded.move(runtime, run="flights/a")
    assert [path for path in seeded.stage_files() if "/part-" in path] == []
    assert seeded.move(runtime, run="flights/a").audited is not None
    seeded.assert_target_is(FIRST)


def grow_while_reading(pipeline: Pipeline, times: int) -> None:
    left = [times]

    def grow() -> None:
        if left[0]:
            left[0] -= 1
            pipeline.rows.put(f"late-{len(pipeline.rows.rows)}", "2013-11-03T05:00:00.123456Z")

    pipeline.rows.on_page = grow


def test_a_source_that_grows_after_the_read_is_read_again(seeded: Pipeline) -> None:
    grow_while_reading(seeded, 1)
    assert seeded.move(seeded.runtime()).audited is not None
    seeded.assert_target_is(FIRST)


def test_a_source_that_never_rests_fails_and_commits_nothing(seeded: Pipeline) -> None:
    grow_while_reading(seeded, 99)
    with pytest.raises(DataError, match="audit"):
        seeded.move(seeded.runtime())
    assert ledger.committed(seeded.entries()) == []


def test_on_mismatch_fail_asks_nobody_again(seeded: Pipeline) -> None:
    grow_while_reading(seeded, 1)
    with pytest.raises(DataError, match="raise `settle`"):
        seeded.move(seeded.runtime(audit={"on_mismatch": "fail"}))
    assert seeded.rows.opened == 1


def test_an_audit_that_cannot_count_commits_nothing(seeded: Pipeline) -> None:
    claim, staged = until(seeded, "load", "flights/a")
    assert staged is not None
    seeded.rows.fail_counts = 1
    with pytest.raises(TransientError):
        audit(seeded.runtime(), claim, staged)
    assert ledger.committed(seeded.entries()) == []
    audit(seeded.runtime(), claim, staged)
    assert ledger.committed(seeded.entries()) == [FIRST]


def test_a_source_that_shrank_erases_nothing_by_itself(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    before = seeded.target_rows()
    for record_id in list(before)[:10]:
        seeded.rows.delete(record_id)
    named = {"kind": RunKind.WINDOW, "interval": FIRST}
    with pytest.raises(
        DataError, match="holds 120 rows of this committed window and the source now gives 110"
    ):
        seeded.move(seeded.runtime(), **named)
    assert seeded.target_rows() == before
    assert seeded.move(seeded.runtime(audit={"on_shrink": "accept"}), **named).audited is not None
    seeded.assert_target_is(FIRST)


def test_a_window_that_keeps_failing_is_blocked_and_passed(seeded: Pipeline) -> None:
    runtime = seeded.runtime(max_attempts=2, audit={"on_mismatch": "fail"})
    for _ in range(2):
        grow_while_reading(seeded, 1)
        with pytest.raises(DataError):
            seeded.move(runtime)
    seeded.rows.on_page = None
    outcome = seeded.move(runtime)
    assert outcome.claim is not None
    assert outcome.claim.start == FIRST.end
    stopped = seeded.move(seeded.runtime(max_attempts=2, on_blocked="stop"))
    assert stopped.reason == "blocked"


@pytest.mark.parametrize(
    "error",
    [
        RecursionError("too deep"),
        MemoryError(),
        KeyError("k"),
        ZeroDivisionError("a\n\x1b[2Jb"),
        OSError(28, "full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_window_that_ends_in_an_unexpected_error_is_blocked_and_passed(
    seeded: Pipeline, error: Exception
) -> None:
    """Else it is the first of every plan for ever, and no later window is moved."""
    runtime = seeded.runtime(max_attempts=3)

    def read() -> None:
        raise error

    for _ in range(3):
        seeded.rows.on_page = read
        with pytest.raises(type(error)):
            seeded.move(runtime)
        assert runtime.state.leases() == []
    failed = [entry for entry in seeded.entries() if entry.kind is Kind.FAILED]
    assert [(e.detail["error"], e.detail["phase"]) for e in failed] == [(type(error).__name__, "extract")] * 3
    assert failed[0].attempt is not None
    assert failed[0].detail["message"].isprintable()
    seeded.rows.on_page = None
    outcome = seeded.move(runtime)
    assert outcome.claim is not None
    assert outcome.claim.start == FIRST.end
    seeded.move(runtime, kind=RunKind.WINDOW, interval=FIRST)  # by hand
    assert runtime.state.coverage(FIRST).blocked(3) == []


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (ZeroDivisionError("odd"), "ZeroDivisionError"),
        (DataError("odd"), "DataError"),
        (TransientError("odd"), None),
    ],
    ids=["unexpected", "a data error", "a temporary error"],
)
@pytest.mark.parametrize("point", ["generate.leased", "generate.bound"])
@pytest.mark.parametrize("named", [False, True], ids=["live", "named"])
def test_a_failure_of_generate_counts_once_the_window_is_chosen(
    seeded: Pipeline, error: Exception, recorded: str | None, point: str, named: bool
) -> None:
    runtime = seeded.runtime(max_attempts=2)
    changes: dict[str, Any] = {"kind": RunKind.WINDOW, "interval": FIRST} if named else {}

    def fail(reached: str) -> None:
        if reached == point:
            raise error

    before = fault_points.install(fail)
    try:
        for _ in range(2):
            with pytest.raises(type(error), match="odd"):
                generate(runtime, seeded.request(**changes))
            assert len(runtime.state.leases()) == (recorded is None)
            if recorded is None:
                return
    finally:
        fault_points.install(before)
    failed = [entry for entry in seeded.entries() if entry.kind is Kind.FAILED]
    assert [(e.interval, e.detail["error"], e.detail["phase"]) for e in failed] == [
        (FIRST, recorded, "generate")
    ] * 2
    outcome = seeded.move(runtime)
    assert outcome.claim is not None
    assert outcome.claim.start == FIRST.end, "the window is blocked, the next one is moved"


def test_an_unexpected_error_before_a_window_is_chosen_names_pipeline_run_and_phase(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = seeded.runtime()

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("odd\x1b[2J")

    monkeypatch.setattr(runtime.state, "known", fail)
    with pytest.raises(UnexpectedError) as caught:
        generate(runtime, seeded.request("flights/run"))
    assert str(caught.value).startswith(
        "pipeline flights, run flights/run, generate: ZeroDivisionError: odd\\x1b[2J; no window was chosen"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "flights" not in seeded.store.pipelines or seeded.entries() == []


@pytest.mark.parametrize("policy", ["fail", "proceed"])
def test_a_probe_that_cannot_be_made(seeded: Pipeline, policy: str, caplog: pytest.LogCaptureFixture) -> None:
    runtime = seeded.runtime(validate={"on_unavailable": policy})
    seeded.rows.fail_counts = 1
    if policy == "fail":
        with pytest.raises(TransientError, match="validate: the count failed on demand"):
            seeded.move(runtime)
    else:
        assert seeded.move(runtime).audited is not None
        assert "continues without a probe: count" in caplog.text


def test_a_source_that_went_silent_is_an_error_not_an_empty_window(pipeline: Pipeline) -> None:
    pipeline.rows.put("last", "2013-11-02T12:00:00Z")
    with pytest.raises(DataError, match="newest event"):
        pipeline.move(pipeline.runtime(validate={"max_staleness": "6h"}))


def test_a_changed_part_is_noticed_before_the_load(seeded: Pipeline) -> None:
    claim, _ = until(seeded, "validate", "flights/a")
    runtime, attempt = seeded.runtime(), seeded.entries()[-1].attempt
    assert attempt is not None
    receipt = extract(runtime, claim, attempt, runtime.source.plan_slices(FIRST, 1)[0])
    part = next(path for path in seeded.stage_files() if "/part-" in path)
    with (seeded.folder / "stage" / part).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="stage:"):
        stage(runtime, claim, attempt, [receipt])


@pytest.mark.parametrize(
    "chosen", [[], [0], [0, 0, 1], [0, 0]], ids=["none", "one missing", "one twice", "one for both"]
)
def test_receipts_that_do_not_tile_the_window_are_refused(seeded: Pipeline, chosen: list[int]) -> None:
    claim, _ = until(seeded, "validate", "flights/a")
    runtime, attempt = seeded.runtime(), seeded.entries()[-1].attempt
    assert attempt is not None
    slices = runtime.source.plan_slices(FIRST, 2)
    receipts = [extract(runtime, claim, attempt, s) for s in slices]
    with pytest.raises(DataError, match="expected one receipt for each"):
        stage(runtime, claim, attempt, [receipts[i] for i in chosen])


def test_a_manifest_that_was_changed_is_not_loaded(seeded: Pipeline) -> None:
    claim, staged = until(seeded, "stage", "flights/a")
    assert staged is not None
    assert staged.path is not None
    file = seeded.folder / "stage" / staged.path
    file.write_bytes(file.read_bytes().replace(b'"token":1', b'"token":9'))
    with pytest.raises(DataError, match="expected the sha256"):
        load(seeded.runtime(), claim, staged)


def test_a_lost_state_is_built_on_by_the_targets_tokens(seeded: Pipeline) -> None:
    for _ in range(3):
        seeded.move(seeded.runtime())
    seeded.store.pipelines.clear()
    outcomes = seeded.move_all(seeded.runtime())
    tokens = [o.audited.token for o in outcomes if o.audited]
    assert tokens[:3] == [1, 2, 3], "what the target holds is audited, not loaded again"
    assert min(tokens[3:]) > 3
    assert outcomes[-1].reason == "after_end_day"
