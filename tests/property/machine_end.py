"""What must be true when everything has come to rest."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_pipeline_provider.core.day_status import DayStatus, day_status
from airflow_pipeline_provider.core.days import day_of
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Check, Kind
from airflow_pipeline_provider.exceptions import PipelineError, StateBehindError
from airflow_pipeline_provider.phases.doctor import examine
from airflow_pipeline_provider.phases.rebuild import rebuild
from airflow_pipeline_provider.phases.recheck import recheck
from airflow_pipeline_provider.phases.values import RunKind
from tests.property.machine_model import inside
from tests.property.machine_process import ENDINGS, Process
from tests.property.machine_servers import PIPELINE, ZONE
from tests.property.machine_world import LEASE, World


def told(outcome: Any) -> str:
    if outcome is None:
        return "frozen"
    if isinstance(outcome, ENDINGS):
        return f"{type(outcome).__name__} {outcome}"
    return type(outcome).__name__


def is_in_transaction(process: Process) -> bool:
    return process.places.count("load.fence_taken") > process.places.count("load.committed")


def repair(world: World) -> None:
    """What an operator does with a state that fell back (docs/state.md): let the tasks end, then rebuild it."""
    while world.frozen:
        world.wake(0)
    world.now += LEASE + timedelta(minutes=1)
    rebuild(world.runtime())
    world.observe()
    assert not world.is_behind()
    found = {finding.kind for finding in examine(world.runtime(), world.now, 7, PIPELINE).findings}
    assert not found & {"state_lost", "state_behind", "ledger_beyond_target"}, found


class End:
    """Everything comes to rest: the pipeline catches up by itself, then a person has every day loaded anew."""

    def __init__(self, world: World, *, cleared: bool) -> None:
        self.world, self.cleared = world, cleared

    def comes(self) -> None:
        world = self.world
        for number in reversed(range(len(world.frozen))):
            if is_in_transaction(world.frozen[number][0]):  # which no server leaves open for days
                world.wake(number)
        world.change(granularity="1d", settle="10m")
        world.now = max(world.now, world.days[-1].end) + timedelta(days=3)
        if world.is_behind():
            self.it_asks_for_an_operator()
        self.it_catches_up()
        self.a_recheck_finds_what_changed()
        self.a_person_reloads()
        self.stale_tasks_resume()

    def it_asks_for_an_operator(self) -> None:
        run = self.world.new_run()
        outcome = self.world.finish(run)
        assert "generate" not in run.xcoms or isinstance(outcome, StateBehindError), told(outcome)
        repair(self.world)

    def it_catches_up(self) -> None:
        """Scheduled runs alone bring every day to its end; what they leave must have a stated reason."""
        world = self.world
        for _ in range(40):
            world.now += LEASE + timedelta(minutes=1)
            run = world.new_run()
            world.finish(run)
            if "generate" not in run.xcoms:
                break
        else:
            raise AssertionError(f"scheduled runs move nothing: {[told(e) for e in world.model.ledger[-4:]]}")
        for day in world.days:
            if (world.model.first_day or world.first_day) > day_of(day.start, ZONE):
                continue  # the pipeline began later, or begins with a state that was lost
            report = self.report(day)
            allowed = {DayStatus.COMPLETE, DayStatus.WAIVED, DayStatus.UNVERIFIED, DayStatus.DRIFTED}
            if report.status is DayStatus.BLOCKED:
                failed = [e for e in world.model.ledger if e.kind is Kind.FAILED and e.interval.overlaps(day)]
                reason = failed[-1].detail["message"]
                by_hand = (
                    self.cleared and ": clear " in reason
                )  # a task alone, with what no longer belongs to it
                unexpected = any(entry.detail.get("unexpected") for entry in failed)
                assert "the warehouse" in reason or by_hand or unexpected, failed[-1]
            else:
                assert report.status in allowed, report
            assert world.state().latest_timestamp_available(day.start) == world.model.continuation(day)

    def report(self, day: Interval) -> Any:
        return day_status(
            day,
            self.world.model.ledger,
            now=self.world.now,
            settle_seconds=600,
            max_attempts=3,
            timezone=ZONE,
        )

    def a_recheck_finds_what_changed(self) -> None:
        """After what it finds is loaded again, windows that are equal have the source's rows, contents included."""
        world = self.world
        world.now += LEASE + timedelta(minutes=1)
        for found in recheck(world.runtime(), 9).stale:
            world.finish(world.new_run(RunKind.WINDOW, found.interval))
        report = recheck(world.runtime(), 9)
        world.observe()
        for found in report.findings:
            if found.verdict is Check.EQUAL and found.not_seen is None and not world.model.keeps_history:
                there = world.model.source_rows([found.interval])
                assert inside(world.model.target, found.interval) == there, f"{found} differs by content"

    def a_person_reloads(self) -> None:
        world = self.world
        for day in world.days:
            run = world.new_run(RunKind.WINDOW, day, may_shrink=True)
            outcome = world.finish(run)
            assert not isinstance(outcome, PipelineError), outcome
            assert self.report(day).status is DayStatus.COMPLETE
        self.all_is_there()

    def all_is_there(self) -> None:
        model = self.world.model
        there = model.source_rows(self.world.days)
        if not model.keeps_history:
            assert model.target == there
            return
        assert there.items() <= model.target.items()
        latest = model.latest()
        for row in self.world.source.rows.values():
            assert latest[row.record_id] == (row.event_time, row.body)

    def stale_tasks_resume(self) -> None:
        """Who slept through all that changes nothing of it, and neither do the runs that wait for a task."""
        world = self.world
        while world.frozen:
            world.wake(0)
        for run in world.runs:
            world.finish(run)
        self.all_is_there()
