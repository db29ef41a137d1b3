"""Two executions of one run at once: two Airflows on one state give equal run ids, and a stale task may resume."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_pipeline_provider import fault_points
from airflow_pipeline_provider.core.intervals import Interval, parse_utc
from airflow_pipeline_provider.core.ledger import Kind, unverified
from airflow_pipeline_provider.exceptions import LeaseHeldError, SupersededError
from airflow_pipeline_provider.phases.audit import audit
from airflow_pipeline_provider.phases.extract import extract
from airflow_pipeline_provider.phases.generate import generate
from airflow_pipeline_provider.phases.leases import release_all, take
from airflow_pipeline_provider.phases.load import load
from airflow_pipeline_provider.phases.run import run_window
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.stage import stage
from airflow_pipeline_provider.phases.validate import validate
from airflow_pipeline_provider.phases.values import RunKind
from airflow_pipeline_provider.state.owners import Execution
from airflow_pipeline_provider.testing.faults import Crash, failing_at
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
    sure(seeded, runtime, quick.claim.interval)


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
    sure(seeded, runtime, claim.interval)


# --- two installations, and two executions of one task


def installed(pipeline: Pipeline, installation: str) -> Runtime:
    return replace(pipeline.runtime(**KEEP), installation=installation)


def executing(pipeline: Pipeline, task: str, attempt: int) -> Runtime:
    """A process of its own that executes the task, as Airflow starts one for each try."""
    return replace(
        pipeline.runtime(), installation="blue", execution=Execution(task, attempt, f"{task}-{attempt}")
    )


def attempts(pipeline: Pipeline) -> int:
    return sum(entry.kind is Kind.ATTEMPT for entry in pipeline.entries())


@pytest.mark.parametrize("point", ["generate.leased", "generate.bound", "extract.opened", "load.committed"])
def test_an_equal_run_of_another_installation_leaves_the_window_alone(seeded: Pipeline, point: str) -> None:
    slow = Frozen(point, lambda: run_window(installed(seeded, "blue"), seeded.request(RUN)))
    other = installed(seeded, "green")
    [lease] = other.state.leases()
    assert lease.holder == f"{RUN} (installation blue)"
    outcome = run_window(other, seeded.request(RUN))
    if (
        point == "generate.leased"
    ):  # the run has no window yet: the other installation's run takes the next one
        assert outcome.claim is not None
        assert outcome.claim.start == lease.interval.end
    else:
        assert (outcome.claim, outcome.reason) == (None, "superseded")
        assert f"is held by {lease.holder} since" in outcome.detail
    done = slow.wake()
    if point == "generate.leased":
        assert done.audited is None
        assert attempts(seeded) == 1
    else:
        assert done.audited is not None
        assert attempts(seeded) == 1
        sure(seeded, other, lease.interval)
    assert other.state.leases() == []


def test_a_named_window_waits_for_the_equal_run_of_another_installation(seeded: Pipeline) -> None:
    named = {"kind": RunKind.WINDOW, "interval": Interval(AT, parse_utc("2013-11-03T05:00:00Z"))}
    slow = Frozen(
        "extract.opened", lambda: run_window(installed(seeded, "blue"), seeded.request(RUN, **named))
    )
    other = installed(seeded, "green")
    with pytest.raises(LeaseHeldError, match=r"is held by flights/scheduled\S+ \(installation blue\) since"):
        run_window(other, seeded.request(RUN, **named))
    assert slow.wake().audited is not None


def test_the_failure_of_one_installation_releases_no_lease_of_the_other(seeded: Pipeline) -> None:
    blue = installed(seeded, "blue")
    claim = generate(blue, seeded.request(RUN)).claim
    assert claim is not None
    with pytest.raises(SupersededError, match="installation blue"):
        validate(installed(seeded, "green"), claim)
    release_all(installed(seeded, "green"), RUN)
    assert [lease.installation for lease in seeded.runtime().state.leases()] == ["blue"]
    release_all(blue, RUN)
    assert seeded.runtime().state.leases() == []


def test_an_installation_takes_over_when_the_other_one_is_gone(seeded: Pipeline) -> None:
    claim = generate(installed(seeded, "blue"), seeded.request(RUN)).claim
    assert claim is not None
    seeded.now += timedelta(minutes=10)  # the lease has expired
    outcome = run_window(installed(seeded, "green"), seeded.request(RUN))
    assert outcome.audited is not None
    assert outcome.claim is not None
    assert outcome.claim.interval == claim.interval
    sure(seeded, seeded.runtime(), claim.interval)


def test_a_restarted_run_releases_what_it_leased_before_its_crash(seeded: Pipeline) -> None:
    """Meanwhile, the equal run of the other installation was bound to the next window."""
    with failing_at("generate.leased"), pytest.raises(Crash):
        generate(installed(seeded, "blue"), seeded.request(RUN))
    [lease] = seeded.runtime().state.leases()
    green = run_window(installed(seeded, "green"), seeded.request(RUN))
    assert green.claim is not None
    assert green.claim.start == lease.interval.end
    assert generate(installed(seeded, "blue"), seeded.request(RUN)).claim is not None
    assert seeded.runtime().state.leases() == []
    following = run_window(installed(seeded, "green"), seeded.request())
    assert following.audited is not None
    assert following.claim is not None
    assert following.claim.interval == lease.interval


def test_a_retry_that_gets_an_earlier_window_releases_the_one_of_before(seeded: Pipeline) -> None:
    runtime = seeded.runtime()
    first = generate(runtime, seeded.request("flights/first")).claim
    assert first is not None
    with failing_at("generate.leased"), pytest.raises(Crash):
        generate(executing(seeded, "generate", 1), seeded.request(RUN))
    release_all(runtime, "flights/first")
    claim = generate(executing(seeded, "generate", 2), seeded.request(RUN)).claim
    assert claim is not None
    assert claim.interval == first.interval
    assert [lease.interval for lease in seeded.runtime().state.leases()] == [claim.interval]


def test_a_retry_takes_over_at_once_and_the_stale_task_notices(seeded: Pipeline) -> None:
    """The lease outlives the crash or the freeze of its task; the retry does not wait for it to expire."""
    claim = generate(executing(seeded, "generate", 1), seeded.request(RUN)).claim
    assert claim is not None
    begun = validate(executing(seeded, "validate", 1), claim)
    attempt, slices = begun.attempt or "", begun.slices
    stale = executing(seeded, "extract", 1)
    slow = Frozen("extract.opened", lambda: extract(stale, claim, attempt, slices[0]))
    receipts = [extract(executing(seeded, "extract", 2), claim, attempt, slice_) for slice_ in slices]
    with pytest.raises(SupersededError, match=r"try 2\) took over.*\(try 1\) is stale"):
        take(stale, RUN, claim.interval, renews=True)  # as its thread does
    release_all(stale, RUN)
    assert [lease.owner for lease in stale.state.leases()] == [RUN]
    late = executing(seeded, "extract", 1)  # started, and suspended before it took the lease
    with pytest.raises(SupersededError, match="is stale"):
        extract(late, claim, attempt, slices[0])
    staged = stage(executing(seeded, "stage", 1), claim, attempt, receipts)
    load(executing(seeded, "load", 1), claim, staged)
    audit(executing(seeded, "audit", 1), claim, staged)
    slow.wake()
    sure(seeded, seeded.runtime(), claim.interval)
    assert seeded.runtime().state.leases() == []


def test_an_audit_that_extracts_again_is_no_execution_of_the_extract_task(seeded: Pipeline) -> None:
    claim = generate(executing(seeded, "generate", 1), seeded.request(RUN)).claim
    assert claim is not None
    begun = validate(executing(seeded, "validate", 1), claim)
    attempt = begun.attempt or ""
    receipts = [extract(executing(seeded, "extract", 3), claim, attempt, slice_) for slice_ in begun.slices]
    staged = stage(executing(seeded, "stage", 2), claim, attempt, receipts)
    load(executing(seeded, "load", 2), claim, staged)
    seeded.rows.put("late", AT, "{}")  # so the audit extracts again
    assert audit(executing(seeded, "audit", 1), claim, staged).source_rows == 2
    sure(seeded, seeded.runtime(), claim.interval)
