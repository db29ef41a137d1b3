"""Files of abandoned attempts are removed, and files that an attempt still needs are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.phases import attempt_files
from airflow_pipeline_provider.phases import audit as audit_phase
from airflow_pipeline_provider.phases import cleanup as cleanup_phase
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.cleanup import Cleaned, cleanup
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import begin_attempt, validate
from airflow_pipeline_provider.phases.values import Claim, RunKind, Staged
from airflow_pipeline_provider.state.base import Lease

from .conftest import Pipeline

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
WEEK = timedelta(days=7)


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    pipeline.seed("2013-11-03T03:00:00Z", "2013-11-03T09:00:00Z", timedelta(minutes=10))
    return pipeline


def extracted(
    pipeline: Pipeline, run: str = "flights/one", **request: object
) -> tuple[Claim, str, list[str]]:
    """A run that got as far as its receipts and is heard of no more."""
    claim = generate(pipeline.runtime(), pipeline.request(run, **request)).claim
    assert claim is not None
    attempt = validate(pipeline.runtime(), claim).attempt
    assert attempt is not None
    slices = pipeline.runtime().source.plan_slices(claim.interval, 1)
    return claim, attempt, [extract(pipeline.runtime(), claim, attempt, s) for s in slices]


def loaded(pipeline: Pipeline, run: str = "flights/one", **request: object) -> tuple[Claim, Staged]:
    claim, attempt, receipts = extracted(pipeline, run, **request)
    staged = stage(pipeline.runtime(), claim, attempt, receipts)
    load(pipeline.runtime(), claim, staged)
    return claim, staged


def age_files(pipeline: Pipeline, age: timedelta) -> None:
    """Files become older by the stage's clock, which is the machine's."""
    for path in (pipeline.folder / "stage").rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - age.total_seconds()
            os.utime(path, (moment, moment))


def wait(pipeline: Pipeline, age: timedelta) -> None:
    """Time goes by on every clock."""
    pipeline.now += age
    age_files(pipeline, age)


def attempts(pipeline: Pipeline) -> set[str]:
    return {path.split("/")[2] for path in pipeline.stage_files()}


def removed(cleaned: Cleaned) -> set[str]:
    return {attempt.attempt for attempt in cleaned.attempts}


# --- a newer commit


def test_an_attempt_that_another_runs_commit_overtook_goes_at_once(seeded: Pipeline) -> None:
    _, attempt, _ = extracted(seeded)
    seeded.now += timedelta(minutes=10)  # the lease ends
    seeded.move(seeded.runtime(stage={"keep_attempts": 9}), run="flights/two")
    found = cleanup(seeded.runtime(), dry_run=True)
    assert removed(found) == {attempt}
    assert "committed with the newer token 1" in found.attempts[0].why
    assert attempt in attempts(seeded), "a dry run removes nothing"
    again = cleanup(seeded.runtime())
    assert (removed(again), again.files, again.kept) == ({attempt}, found.files, 1)
    assert attempts(seeded) == {seeded.entries()[-1].attempt}
    assert cleanup(seeded.runtime()).attempts == ()


def test_what_was_loaded_and_replaced_goes_and_what_stands_stays(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    first = attempts(seeded)
    half = Interval(FIRST.start, FIRST.start + timedelta(hours=1))
    for part in (half, Interval(half.end, FIRST.end)):  # the halves' folders are others than the whole's
        before = cleanup(seeded.runtime())
        assert before.attempts == (), "half of the first commit still stands"
        seeded.move(seeded.runtime(), kind=RunKind.WINDOW, interval=part)
    assert removed(cleanup(seeded.runtime())) == first
    assert len(attempts(seeded)) == 2


def test_a_token_that_a_part_of_its_window_outgrew_is_dead(seeded: Pipeline) -> None:
    _, staged = loaded(seeded)
    seeded.now += timedelta(minutes=10)
    half = Interval(FIRST.start, FIRST.start + timedelta(hours=1))
    seeded.move(seeded.runtime(), kind=RunKind.WINDOW, interval=half)
    assert removed(cleanup(seeded.runtime())) == {staged.attempt}


def test_an_attempt_that_began_after_the_commit_lives(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    claim, attempt, receipts = extracted(seeded, kind=RunKind.WINDOW, interval=FIRST)
    seeded.now += timedelta(days=1)
    assert cleanup(seeded.runtime()).attempts == ()
    staged = stage(seeded.runtime(), claim, attempt, receipts)
    load(seeded.runtime(), claim, staged)
    assert cleanup(seeded.runtime()).attempts == ()
    audit(seeded.runtime(), claim, staged)


def test_what_a_run_without_its_attempt_committed_stays_by_its_manifest(seeded: Pipeline) -> None:
    """A ledger that was rebuilt knows manifests and no attempts."""
    seeded.move(seeded.runtime())
    seeded.entries()[:] = [replace(e, attempt=None) for e in seeded.entries() if e.kind is not Kind.ATTEMPT]
    wait(seeded, 10 * WEEK)
    assert cleanup(seeded.runtime()).attempts == ()


# --- abandoned


def test_a_run_that_waits_for_its_retry_keeps_its_files(seeded: Pipeline) -> None:
    """Its lease has ended long ago; its later tasks need what it extracted."""
    claim, attempt, receipts = extracted(seeded)
    wait(seeded, WEEK - timedelta(minutes=1))
    cleaned = cleanup(seeded.runtime())
    assert cleaned.attempts == ()
    assert [lease.owner for lease in cleaned.leases] == ["flights/one"]
    staged = stage(seeded.runtime(), claim, attempt, receipts)
    load(seeded.runtime(), claim, staged)
    audit(seeded.runtime(), claim, staged)


def test_what_nobody_went_on_with_goes_after_the_safe_age(seeded: Pipeline) -> None:
    _, attempt, _ = extracted(seeded)
    wait(seeded, WEEK + timedelta(minutes=1))
    cleaned = cleanup(seeded.runtime())
    assert removed(cleaned) == {attempt}
    assert "no run has continued it since 2013-11-06 12:00Z" in cleaned.attempts[0].why
    assert seeded.stage_files() == []
    assert seeded.store.pipelines["flights"].leases == []


def test_the_safe_age_is_a_choice(seeded: Pipeline) -> None:
    extracted(seeded)
    wait(seeded, timedelta(hours=2))
    assert cleanup(seeded.runtime(), safe_age_seconds=7201).attempts == ()
    assert len(cleanup(seeded.runtime(), safe_age_seconds=7199).attempts) == 1


@pytest.mark.parametrize(
    ("state", "files"),
    [
        pytest.param(10 * WEEK, timedelta(), id="the state's clock is far ahead"),
        pytest.param(timedelta(), 10 * WEEK, id="the stage's clock is far behind"),
        pytest.param(-10 * WEEK, timedelta(), id="the state's clock was set back"),
        pytest.param(timedelta(), -10 * WEEK, id="the stage's clock was ahead"),
    ],
)
def test_one_clock_that_is_wrong_kills_nobody(seeded: Pipeline, state: timedelta, files: timedelta) -> None:
    extracted(seeded)
    seeded.now += state
    age_files(seeded, files)
    assert cleanup(seeded.runtime()).attempts == ()


def test_ours_is_no_clock_at_all(seeded: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state says 2013, the machine of the stage some later year: neither is compared with the other."""
    extracted(seeded)
    assert seeded.now < parse_utc("2014-01-01T00:00:00Z") < datetime.now(seeded.now.tzinfo)
    assert cleanup(seeded.runtime(), safe_age_seconds=3600).attempts == ()


def test_a_held_window_is_left_alone_however_old(seeded: Pipeline) -> None:
    claim, _, _ = extracted(seeded)
    wait(seeded, 10 * WEEK)
    seeded.runtime().state.acquire(claim.interval, "flights/other", 60)
    cleaned = cleanup(seeded.runtime())
    assert cleaned.attempts == ()


def test_an_old_attempt_that_its_run_went_on_with_lives(seeded: Pipeline) -> None:
    claim, _, _ = extracted(seeded)
    wait(seeded, WEEK + timedelta(hours=1))
    begin_attempt(seeded.runtime(), claim, None, {})  # the run was cleared; its audit may extract again
    seeded.runtime().state.release(claim.interval, claim.run)
    assert cleanup(seeded.runtime()).attempts == ()


# --- a ledger that is lost


def test_what_the_target_holds_stays_though_the_ledger_is_lost(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    standing = attempts(seeded)
    _, attempt, _ = extracted(seeded)
    seeded.store.pipelines.clear()
    assert cleanup(seeded.runtime()).attempts == ()
    wait(seeded, 2 * WEEK)
    cleaned = cleanup(seeded.runtime())
    assert removed(cleaned) == {attempt}
    assert "the ledger does not know it" in cleaned.attempts[0].why
    assert attempts(seeded) == standing


# --- what is kept, and what is not ours


@pytest.mark.parametrize("keep", [0, 1, 2, 5])
def test_older_attempts_that_are_wanted_stay(seeded: Pipeline, keep: int) -> None:
    for _ in range(4):
        seeded.move(seeded.runtime(stage={"keep_attempts": 9}), kind=RunKind.WINDOW, interval=FIRST)
        age_files(seeded, timedelta(minutes=1))
    order = [e.attempt for e in seeded.entries() if e.kind is Kind.COMMITTED]
    cleanup(seeded.runtime(stage={"keep_attempts": keep}))
    assert attempts(seeded) == set(order[max(0, len(order) - 1 - keep) :])


def test_files_of_others_are_left_alone(seeded: Pipeline) -> None:
    folder = seeded.folder / "stage" / "2013-11-03"
    names = [
        "notes.txt",
        "flights.20131103T040000Z-20131103T060000Z/readme",
        "flights.20131103T040000Z-20131103T060000Z/not-an-attempt/part.parquet",
        "flights.2.20131103T040000Z-20131103T060000Z/0123456789ab/part.parquet",
        "other.20131103T040000Z-20131103T060000Z/0123456789ab/part.parquet",
        "flights.20139903T040000Z-20131103T060000Z/0123456789ab/part.parquet",
        "flights.20131103T060000Z-20131103T040000Z/0123456789ab/part.parquet",
    ]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    mine = folder / "flights.20131103T040000Z-20131103T060000Z/0123456789ab/part.parquet"
    mine.parent.mkdir()
    mine.write_text("dead")
    wait(seeded, 2 * WEEK)
    assert cleanup(seeded.runtime()).files == 1
    assert not mine.exists()
    assert all((folder / name).exists() for name in names)


def test_half_written_files_and_lost_clocks_go_when_they_are_old(seeded: Pipeline) -> None:
    def left_behind() -> list[Path]:
        places = [
            seeded.folder / "stage" / ".incomplete" / ("ab12" * 8),
            seeded.folder / "stage" / f"clock-{'0' * 32}" / "now",
        ]
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("x")
        return places

    files = left_behind()
    cleanup(seeded.runtime())
    assert all(file.exists() for file in files)
    wait(seeded, 2 * WEEK)
    cleanup(seeded.runtime())
    assert not any(file.exists() for file in files)


def test_a_dry_run_and_the_question_for_the_clock_leave_no_file(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    before = set((seeded.folder / "stage").rglob("*"))
    cleanup(seeded.runtime(), dry_run=True)
    cleanup(seeded.runtime())
    assert set((seeded.folder / "stage").rglob("*")) == before


# --- the right to delete


def frozen_before_it_deletes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]
) -> None:
    """An audit commits, is frozen for longer than its lease, and wakes up before it looks at older files."""
    extracted(pipeline, "flights/slow")  # an older attempt, whose files the audit wants to delete

    def wake(*arguments: Any) -> None:
        monkeypatch.undo()
        pipeline.now += timedelta(minutes=10)
        meanwhile()
        attempt_files.remove_older_attempts(*arguments)

    monkeypatch.setattr(audit_phase, "remove_older_attempts", wake)
    pipeline.move(pipeline.runtime(), run="flights/slow")


@pytest.mark.parametrize("until", ["extract", "stage", "load", "audit"])
def test_an_audit_that_wakes_up_late_leaves_the_files_of_a_newer_attempt(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch, until: str
) -> None:
    state: dict[str, Any] = {}

    def newer_attempt() -> None:
        request = {"kind": RunKind.WINDOW, "interval": FIRST}
        claim, attempt, receipts = extracted(seeded, "flights/quick", **request)
        state.update(claim=claim, attempt=attempt, files=set(seeded.stage_files()))
        if until == "extract":
            state["receipts"] = receipts
            return
        state["staged"] = stage(seeded.runtime(), claim, attempt, receipts)
        if until != "stage":
            load(seeded.runtime(), claim, state["staged"])
        if until == "audit":
            audit(seeded.runtime(), claim, state["staged"])

    frozen_before_it_deletes(seeded, monkeypatch, newer_attempt)
    assert state["attempt"] in attempts(seeded)
    claim, attempt = state["claim"], state["attempt"]
    if until == "extract":
        state["staged"] = stage(seeded.runtime(), claim, attempt, state["receipts"])
    if until in ("extract", "stage"):
        load(seeded.runtime(), claim, state["staged"])
    audit(seeded.runtime(), claim, state["staged"])
    assert attempts(seeded) == {attempt}
    seeded.assert_target_is(FIRST)


def test_a_commit_removes_only_files_that_the_pipeline_names_so(seeded: Pipeline) -> None:
    extracted(seeded)
    seeded.now += timedelta(minutes=10)
    window = seeded.folder / "stage" / "2013-11-03" / "flights.20131103T040000Z-20131103T060000Z"
    others = [window / "notes.txt", window / "not-an-attempt" / "a", window / "0123456789ab" / "part.parquet"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("not of this ledger")
    seeded.move(seeded.runtime(), run="flights/two")
    assert all(other.exists() for other in others)
    assert len(attempts(seeded) - {"notes.txt", "not-an-attempt", "0123456789ab"}) == 1


def test_cleanup_takes_the_window_of_what_it_judged_abandoned(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, attempt, receipts = extracted(seeded)
    wait(seeded, WEEK + timedelta(minutes=1))

    def clear_the_run(runtime: Runtime, found: attempt_files.AttemptFiles, judged: datetime) -> bool:
        """Clear the run between the judgement and the deletion."""
        monkeypatch.undo()
        seeded.now += timedelta(seconds=1)
        state["staged"] = stage(seeded.runtime(), claim, attempt, receipts)
        return attempt_files.remove_abandoned(runtime, found, judged)

    state: dict[str, Any] = {}
    monkeypatch.setattr(cleanup_phase, "remove_abandoned", clear_the_run)
    cleaned = cleanup(seeded.runtime())
    assert (cleaned.attempts, cleaned.kept) == ((), 1)
    load(seeded.runtime(), claim, state["staged"])
    audit(seeded.runtime(), claim, state["staged"])


def test_cleanup_leaves_a_window_that_was_taken_since(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted(seeded)
    wait(seeded, WEEK + timedelta(minutes=1))

    def taken(runtime: Runtime, attempt: attempt_files.AttemptFiles, judged: datetime) -> bool:
        runtime.state.acquire(attempt.interval, "flights/other", 60)
        return attempt_files.remove_abandoned(runtime, attempt, judged)

    monkeypatch.setattr(cleanup_phase, "remove_abandoned", taken)
    assert cleanup(seeded.runtime()).attempts == ()
    assert [lease.owner for lease in seeded.runtime().state.leases()] == ["flights/other"]


def test_an_empty_stage_and_an_empty_state(pipeline: Pipeline) -> None:
    assert cleanup(pipeline.runtime()) == Cleaned(dry_run=False)
    assert pipeline.stage_files() == []


def test_expired_leases_go_and_live_ones_stay(pipeline: Pipeline) -> None:
    state = pipeline.runtime().state
    state.acquire(FIRST, "dead", 60)
    pipeline.now += timedelta(minutes=2)
    alive = state.acquire(Interval(FIRST.end, FIRST.end + timedelta(hours=1)), "alive", 60)
    pipeline.store.pipelines["flights"].leases.append(Lease(FIRST, "dead", pipeline.now, pipeline.now))
    assert [x.owner for x in cleanup(pipeline.runtime(), dry_run=True).leases] == ["dead"]
    assert [x.owner for x in cleanup(pipeline.runtime()).leases] == ["dead"]
    assert state.leases(expired=True) == [alive]
