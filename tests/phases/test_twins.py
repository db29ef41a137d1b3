"""Two executions of one run at once: two Airflows on one state give equal run ids, and a stale task may resume."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_pipeline_provider import fault_points
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind, unverified
from airflow_pipeline_provider.exceptions import SupersededError
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from tests.phases.conftest import Pipeline

RUN = "flights/scheduled__2013-11-06T00:00:00+00:00"
AT = parse_utc("2013-11-03T04:30:00Z")
KEEP = {"stage": {"keep_attempts": 1}}


class Frozen(threading.Thread):
    """Runs `work` until it reaches `point`, and on when `wake` is called; `outcome` is its result or its error."""

    def __init__(self, point: str, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.point, self.work, self.outcome = point, work, None
        self.reached, self.turn = threading.Event(), threading.Event()
        self.start()
        assert self.reached.wait(30)

    def run(self) -> None:
        try:
            self.outcome = self.work()
        except Exception as error:  # noqa: BLE001  (the test asserts it)
            self.outcome = error

    def reach(self, point: str) -> None:
        if point == self.point and not self.reached.is_set():
            self.reached.set()
            assert self.turn.wait(30)

    def wake(self) -> Any:
        self.turn.set()
        self.join(30)
        return self.outcome


@pytest.fixture(autouse=True)
def frozen_where_told() -> Iterator[None]:
    def hook(point: str) -> None:
        thread = threading.current_thread()
        if isinstance(thread, Frozen):
            thread.reach(point)

    before = fault_points.install(hook)
    yield
    fault_points.install(before)


@pytest.fixture
def seeded(pipeline: Pipeline) -> Pipeline:
    pipeline.rows.put("1", AT, '{"v":"old"}')
    return pipeline


def bodies(pipeline: Pipeline) -> list[str]:
    return [body for _, body in pipeline.target_rows().values()]


def sure(pipeline: Pipeline, runtime: Runtime, interval: Interval) -> None:
    """The target is what the source holds, and the ledger knows it."""
    pipeline.assert_target_is(interval)
    assert unverified(pipeline.entries()) == []
    newest = runtime.target.newest_commit(interval)
    committed = [e.token for e in pipeline.entries() if e.kind is Kind.COMMITTED]
    assert newest is not None
    assert committed[-1] == newest.token


@pytest.mark.parametrize(
    "point", ["validate.recorded", "stage.verified", "stage.manifest_written", "load.prepared"]
)
def test_the_older_reading_of_an_equal_run_never_replaces_the_newer(seeded: Pipeline, point: str) -> None:
    slow = Frozen(point, lambda: run_window(seeded.runtime(**KEEP), seeded.request(RUN)))
    seeded.rows.put("1", AT, '{"v":"new"}')
    runtime = seeded.runtime(**KEEP)
    quick = run_window(runtime, seeded.request(RUN))
    assert quick.audited is not None
    assert isinstance(slow.wake(), SupersededError)
    assert bodies(seeded) == ['{"v":"new"}']
    assert quick.claim is not None
    sure(seeded, runtime, quick.claim.window.interval)


def test_an_audit_that_resumes_late_does_not_undo_its_own_retry(seeded: Pipeline) -> None:
    """It was extracting again when it froze; Airflow tries the task again, and a document is corrected meanwhile."""
    runtime = seeded.runtime()
    claim = generate(runtime, seeded.request(RUN)).claim
    assert claim is not None
    begun = validate(runtime, claim)
    assert begun.attempt is not None
    receipts = [extract(runtime, claim, begun.attempt, slice_) for slice_ in begun.slices]
    staged = stage(runtime, claim, begun.attempt, receipts)
    load(runtime, claim, staged)
    seeded.rows.put("late", AT, "{}")  # so the audit extracts again
    slow = Frozen("stage.verified", lambda: audit(seeded.runtime(), claim, staged))
    seeded.rows.put("1", AT, '{"v":"corrected"}')
    audit(runtime, claim, staged)
    assert isinstance(slow.wake(), SupersededError)
    assert sorted(bodies(seeded)) == ['{"v":"corrected"}', "{}"]
    sure(seeded, runtime, claim.window.interval)
