"""`stage.keep` removes the part files of old commits, and nothing that a run, a rebuild or a person needs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_pipeline_provider.connectors.base import TargetLimits
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind
from airflow_pipeline_provider.exceptions import DataError
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.cleanup import cleanup
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.views.history import attempts_of
from tests.phases.conftest import Pipeline
from tests.phases.test_cleanup import extracted, wait

FIRST = Interval(parse_utc("2013-11-03T04:00:00Z"), parse_utc("2013-11-03T06:00:00Z"))
SECOND = Interval(parse_utc("2013-11-03T06:00:00Z"), parse_utc("2013-11-03T08:00:00Z"))
KEEP = {"keep": "30d"}
MONTH = timedelta(days=30)


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    pipeline.seed("2013-11-03T03:00:00Z", "2013-11-03T09:00:00Z", timedelta(minutes=10))
    return pipeline


def named(window: Interval) -> dict[str, Any]:
    return {"kind": RunKind.WINDOW, "interval": window}


def kinds(pipeline: Pipeline) -> set[str]:
    """The kinds of files in the stage: part, manifest, receipt, quarantine."""
    return {Path(path).name.partition("-")[0] for path in pipeline.stage_files()}


def removals(pipeline: Pipeline) -> list[Interval]:
    return [entry.interval for entry in pipeline.entries() if entry.kind is Kind.FILES_REMOVED]


def test_part_files_go_by_the_age_of_their_commit(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime(), **named(FIRST))
    wait(seeded, timedelta(minutes=1))
    seeded.move(seeded.runtime(), **named(SECOND))
    wait(seeded, MONTH - timedelta(seconds=30))
    assert cleanup(seeded.runtime()).expired == (), "without the key nothing goes"
    found = cleanup(seeded.runtime(stage=KEEP), dry_run=True)
    assert [(one.interval, len(one.files)) for one in found.expired] == [(FIRST, 1)]
    assert found.expired[0].why.startswith("committed at 20")
    assert found.expired[0].why.endswith(", and stage.keep is 30d")
    assert removals(seeded) == [], "a dry run records nothing"
    done = cleanup(seeded.runtime(stage=KEEP))
    assert (done.expired, done.files, done.kept) == (found.expired, 1, 2)
    assert removals(seeded) == [FIRST]
    assert sum("part-" in path for path in seeded.stage_files()) == 1
    assert cleanup(seeded.runtime(stage=KEEP)).expired == ()
    wait(seeded, timedelta(minutes=1))
    cleanup(seeded.runtime(stage=KEEP))
    assert removals(seeded) == [FIRST, SECOND]
    assert kinds(seeded) == {"manifest", "receipt"}


def test_what_is_removed_is_recorded_before(seeded: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded.move(seeded.runtime())
    wait(seeded, MONTH)
    runtime = seeded.runtime(stage=KEEP)
    with monkeypatch.context() as patch:
        patch.setattr(
            runtime.stage, "delete", lambda paths: exec("raise OSError('killed')") if paths else None
        )
        with pytest.raises(OSError, match="killed"):
            cleanup(runtime)
    assert removals(seeded) == [FIRST]
    assert "part" in kinds(seeded)
    assert [lease.interval for lease in runtime.state.leases()] == []
    assert len(cleanup(seeded.runtime(stage=KEEP)).expired) == 1, "the next cleanup deletes them"
    assert removals(seeded) == [FIRST], "and writes no second entry"
    assert "part" not in kinds(seeded)


def test_the_window_of_a_run_is_left_alone(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    wait(seeded, MONTH)
    claim, attempt, receipts = extracted(seeded, **named(FIRST))
    assert cleanup(seeded.runtime(stage=KEEP)).expired == ()
    wait(seeded, timedelta(hours=1))  # its lease ends; a retry needs what it extracted
    done = cleanup(seeded.runtime(stage=KEEP))
    assert [one.attempt for one in done.expired] == [seeded.entries()[0].attempt]
    staged = stage(seeded.runtime(stage=KEEP), claim, attempt, receipts)
    load(seeded.runtime(stage=KEEP), claim, staged)
    assert cleanup(seeded.runtime(stage=KEEP)).expired == ()
    audit(seeded.runtime(stage=KEEP), claim, staged)
    seeded.assert_target_is(FIRST)


def test_a_run_that_takes_the_window_meanwhile_keeps_it(
    seeded: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded.move(seeded.runtime())
    wait(seeded, MONTH)
    runtime = seeded.runtime(stage=KEEP)
    remove_unfinished = runtime.stage.remove_unfinished

    def then_a_run_begins(*arguments: Any, **options: Any) -> Any:
        extracted(seeded, **named(FIRST))
        return remove_unfinished(*arguments, **options)

    monkeypatch.setattr(runtime.stage, "remove_unfinished", then_a_run_begins)
    assert cleanup(runtime).expired == ()
    assert removals(seeded) == []


def test_a_window_that_lost_its_files_is_moved_again_from_the_source(seeded: Pipeline) -> None:
    claim, attempt, receipts = extracted(seeded)
    staged = stage(seeded.runtime(), claim, attempt, receipts)
    load(seeded.runtime(), claim, staged)
    audit(seeded.runtime(), claim, staged)
    wait(seeded, MONTH)
    cleanup(seeded.runtime(stage=KEEP))
    load(seeded.runtime(), claim, staged)  # cleared: it is loaded already
    day = f"{seeded.now:%Y-%m-%d}"
    with pytest.raises(DataError, match=rf"is gone, its files were removed on {day} by stage.keep \(30d\): "):
        stage(seeded.runtime(), claim, attempt, receipts)
    seeded.move(seeded.runtime(stage=KEEP), **named(FIRST))
    seeded.assert_target_is(FIRST)
    assert "part" in kinds(seeded)
    cleanup(seeded.runtime(stage=KEEP))
    assert "part" in kinds(seeded), "the new commit is young"


def test_a_lost_state_is_rebuilt_without_the_part_files(seeded: Pipeline) -> None:
    seeded.rows.put("bad", FIRST.start, '"' + "x" * 60 + '"')
    runtime = seeded.runtime(audit={"on_reject": "quarantine"})
    runtime.target.limits = TargetLimits(max_body_bytes=40)
    seeded.move(runtime)
    before = [entry.detail.get("quarantined") for entry in seeded.entries() if entry.kind is Kind.COMMITTED]
    wait(seeded, MONTH)
    cleanup(seeded.runtime(stage=KEEP))
    assert kinds(seeded) == {"manifest", "receipt", "quarantine"}
    seeded.entries().clear()
    rebuilt = rebuild(seeded.runtime(stage=KEEP))
    assert (len(rebuilt.written), rebuilt.left_out) == (1, ())
    after = [entry.detail.get("quarantined") for entry in seeded.entries() if entry.kind is Kind.COMMITTED]
    assert before == after == [1]


def test_a_row_that_a_rebuild_leaves_out_names_the_removal(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    wait(seeded, MONTH)
    cleanup(seeded.runtime(stage=KEEP))
    seeded.delete_in_target(seeded.rows.within(FIRST)[:1])
    seeded.entries()[:] = [entry for entry in seeded.entries() if entry.kind is Kind.FILES_REMOVED]
    [(row, why)] = rebuild(seeded.runtime()).left_out
    assert row.interval == FIRST
    assert why.endswith(f"its files were removed on {seeded.now:%Y-%m-%d} by stage.keep (30d)")


def test_a_rebuilt_ledger_knows_commits_by_their_manifest(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    seeded.entries()[:] = [replace(e, attempt=None) for e in seeded.entries() if e.kind is not Kind.ATTEMPT]
    wait(seeded, MONTH)
    assert len(cleanup(seeded.runtime(stage=KEEP)).expired) == 1


def test_other_files_of_a_shared_stage_are_left_alone(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    other = seeded.folder / "stage" / seeded.stage_files()[0].replace("flights.", "weather.")
    other.parent.mkdir(parents=True)
    named_alike = other.with_name("part-0-0-x.parquet")
    foreign = seeded.folder / "stage" / "part-0-0-x.parquet"
    for file in (named_alike, foreign):
        file.write_bytes(b"1")
    wait(seeded, MONTH)
    assert len(cleanup(seeded.runtime(stage=KEEP)).expired) == 1
    assert named_alike.exists()
    assert foreign.exists()


def test_the_removal_changes_no_other_view(seeded: Pipeline) -> None:
    seeded.move(seeded.runtime())
    attempts = attempts_of(seeded.entries(), "UTC")
    wait(seeded, MONTH)
    cleanup(seeded.runtime(stage=KEEP))
    assert attempts_of(seeded.entries(), "UTC") == attempts
    assert recheck(seeded.runtime(stage=KEEP), 60).grown == ()
    assert cleanup(seeded.runtime(stage=KEEP)).attempts == (), "a commit without part files is not abandoned"
