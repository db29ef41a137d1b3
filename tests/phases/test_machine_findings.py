"""What the state machine of `tests/property/test_machine.py` found, each as a plain story."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.exceptions import DataError, SupersededError
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.testing.faults import Crash, failing_at
from tests.phases.conftest import Pipeline
from tests.phases.test_crashes import FIRST, until


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    pipeline.seed("2013-11-03T03:00:00Z", "2013-11-03T09:00:00Z", timedelta(minutes=10))
    return pipeline


def dying_before_commit(pipeline: Pipeline) -> Runtime:
    """Crash the process before it writes `committed`, after everything else."""
    runtime = pipeline.runtime()
    append = runtime.state.append

    def crash_before_commit(entry: Entry) -> None:
        if entry.kind is Kind.COMMITTED:
            raise Crash
        append(entry)

    runtime.state.append = crash_before_commit  # type: ignore[method-assign]
    return runtime


def lease_expires(pipeline: Pipeline) -> None:
    pipeline.now += timedelta(minutes=3)


def test_a_replacement_that_died_before_its_load_stops_no_later_run(seeded: Pipeline) -> None:
    """The target holds a load that nobody audited, the ledger a newer `replacing` whose load never came."""
    until(seeded, "load", "flights/a")
    lease_expires(seeded)
    named = seeded.request("flights/b", kind=RunKind.WINDOW, interval=FIRST)
    with failing_at("load.recorded"), pytest.raises(Crash):
        run_window(seeded.runtime(), named)
    lease_expires(seeded)
    assert seeded.move(seeded.runtime()).audited is not None
    seeded.assert_target_is(FIRST)


def test_a_load_that_was_staged_before_anothers_commit_is_refused(seeded: Pipeline) -> None:
    """It has the newer token and the older rows: both runs lost their leases in turn, and no file was removed."""
    slow, _ = until(seeded, "generate", "flights/slow")
    validated = validate(seeded.runtime(), slow)
    assert validated.attempt is not None
    receipts = [extract(seeded.runtime(), slow, validated.attempt, s) for s in validated.slices]
    lease_expires(seeded)
    seeded.rows.put("r00010", "2013-11-03T04:40:00Z", '{"updated":true}')
    quick, staged = until(seeded, "load", "flights/quick")
    assert staged is not None
    lease_expires(seeded)
    late = stage(seeded.runtime(), slow, validated.attempt, receipts)
    lease_expires(seeded)
    audit(seeded.runtime(stage={"keep_attempts": 5}), quick, staged)
    before = seeded.target_rows()
    with pytest.raises(SupersededError, match="flights/quick committed"):
        load(seeded.runtime(), slow, late)
    assert seeded.target_rows() == before
    seeded.assert_target_is(FIRST)


def test_tasks_from_before_the_state_was_lost_replace_nothing(seeded: Pipeline) -> None:
    """Nobody can tell who committed since they began: the one that waits for stage has read the older rows."""
    slow, _ = until(seeded, "generate", "flights/slow")
    validated = validate(seeded.runtime(), slow)
    assert validated.attempt is not None
    receipts = [extract(seeded.runtime(), slow, validated.attempt, s) for s in validated.slices]
    staged = stage(seeded.runtime(), slow, validated.attempt, receipts)
    seeded.store.pipelines.clear()
    seeded.rows.put("r00010", "2013-11-03T04:40:00Z", '{"updated":true}')
    run_window(seeded.runtime(), seeded.request("flights/quick"))
    with pytest.raises(SupersededError, match="does not know attempt"):
        stage(seeded.runtime(), slow, validated.attempt, receipts)
    with pytest.raises(SupersededError, match="does not know attempt"):
        load(seeded.runtime(), slow, staged)
    seeded.assert_target_is(FIRST)


def test_a_lost_state_does_not_let_rows_go(seeded: Pipeline) -> None:
    """The audit writes down what the target holds before it commits; cut off in between, it may not count as new."""
    claim, staged = until(seeded, "load", "flights/a")
    assert staged is not None
    audit(seeded.runtime(), claim, staged)
    seeded.store.pipelines.clear()
    before = seeded.target_rows()
    with pytest.raises(Crash):
        audit(dying_before_commit(seeded), claim, staged)
    assert [entry.kind for entry in seeded.entries()] == [Kind.REPLACING]
    seeded.rows.delete(next(iter(before)))
    lease_expires(seeded)
    with pytest.raises(DataError, match="the warehouse"):
        seeded.move(seeded.runtime())
    assert seeded.target_rows() == before
