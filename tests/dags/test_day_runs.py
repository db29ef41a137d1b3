"""Which runs a `.days` event waits for, by what Airflow reports of runs and tasks.

`test_asset_events.py` and `tests/integration/real_airflow/test_day_events.py` ask a real Airflow; here are the cases
that it passes through in a moment.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, NoReturn

import pytest

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.windows import NamedRun, window_id_of
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.operators.day_runs import AT_ONCE, DayRuns
from airflow_pipeline_provider.state.about import Task

MIDNIGHT = datetime(2013, 11, 3, 4, tzinfo=timezone.utc)
STAMP = "20131106T120000Z"


def windows(count: int, minutes: int = 60) -> list[Interval]:
    starts = [MIDNIGHT + timedelta(minutes=minutes * number) for number in range(count)]
    return [Interval(start, start + timedelta(minutes=minutes)) for start in starts]


def run_id(prefix: str, window: Interval, stamp: str = STAMP) -> str:
    return NamedRun(prefix, window_id_of("flights", window), stamp).run_id


class Run(NamedTuple):
    run_id: str
    state: str
    audit: str | None
    logical_date: datetime | None = None


class Ti:
    """A task instance of an Airflow with these runs of DAG flights."""

    def __init__(self, *runs: Run) -> None:
        self.runs, self.asked = runs, 0

    def get_task_states(
        self,
        dag_id: str,
        task_ids: list[str],
        logical_dates: list[datetime] | None = None,
        run_ids: list[str] | None = None,
    ) -> dict[str, dict[str, str | None]]:
        self.asked += 1
        assert (dag_id, task_ids) == ("flights", ["audit"])
        assert len(logical_dates or run_ids or []) <= AT_ONCE
        found = [
            r for r in self.runs if r.run_id in (run_ids or ()) or r.logical_date in (logical_dates or ())
        ]
        return {run.run_id: {"audit": run.audit} for run in found}

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert dag_id == "flights"
        return sum(run.run_id in run_ids and run.state in states for run in self.runs)


FIRST, SECOND, THIRD = windows(3)
OWN = Run("backfill__1", "running", "running", FIRST.start)


@pytest.mark.parametrize(
    ("state", "audit", "has_committed", "expected"),
    [
        pytest.param("queued", None, False, True, id="not started"),
        pytest.param("queued", None, True, True, id="cleared, its earlier commit does not count"),
        pytest.param("running", "queued", True, True, id="cleared, audit is about to start"),
        pytest.param("running", "running", False, True, id="audit runs, before its commit"),
        pytest.param("running", "running", True, False, id="audit runs, after its commit"),
        pytest.param("running", "up_for_retry", True, False, id="audit crashed after its commit"),
        pytest.param("running", "up_for_retry", False, True, id="audit crashed before its commit"),
        pytest.param("running", "success", True, False, id="audit is done, drain is not"),
        pytest.param("success", "success", True, False, id="done"),
        pytest.param("running", "upstream_failed", False, False, id="an earlier task failed"),
        pytest.param("running", "skipped", False, False, id="nothing to do"),
        pytest.param("failed", None, False, False, id="a backfill that was cancelled"),
    ],
)
@pytest.mark.parametrize("of", ["backfill", "command"])
def test_a_run_that_will_replace_a_window_is_waited_for(
    of: str, state: str, audit: str | None, has_committed: bool, expected: bool
) -> None:
    if of == "backfill":
        own, other = OWN, Run("scheduled__2", state, audit, SECOND.start)
    else:
        own = Run(run_id("reprocess", FIRST), "running", "running")
        other = Run(run_id("reprocess", SECOND), state, audit)
    done = {f"flights/{own.run_id}"} | ({f"flights/{other.run_id}"} if has_committed else set())
    runs = DayRuns(Ti(own, other))
    commit = Task(f"flights/{own.run_id}", "audit")
    assert runs.pending(commit, [FIRST, SECOND], done.__contains__) is expected


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Run("scheduled__3", "queued", None, THIRD.start), id="another day's window"),
        pytest.param(
            Run(run_id("reprocess", SECOND, "20131107T120000Z"), "queued", None), id="another command"
        ),
        pytest.param(Run(run_id("recheck", SECOND), "queued", None), id="another kind of command"),
        pytest.param(Run("manual__1", "queued", None), id="a manual run"),
    ],
)
def test_other_runs_are_not_waited_for(other: Run) -> None:
    own = Run(run_id("reprocess", FIRST), "running", "running")
    runs = DayRuns(Ti(own, other))
    done = {f"flights/{own.run_id}"}
    assert not runs.pending(Task(f"flights/{own.run_id}", "audit"), [FIRST, SECOND], done.__contains__)


@pytest.mark.parametrize(("waits", "asked"), [(0, 15), (1439, 1), (None, 15)])
def test_a_day_of_1440_windows_is_asked_about_in_parts(waits: int | None, asked: int) -> None:
    day = windows(1440, minutes=1)
    others = [Run("waits", "queued", None, day[waits].start)] if waits is not None else []
    ti = Ti(*others)
    pending = DayRuns(ti).pending(Task("flights/manual__1", "audit"), day, lambda _: False)
    assert (pending, ti.asked) == (waits is not None, asked)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(Run("a", "running", "success"), True, id="success"),
        pytest.param(Run("a", "running", "failed"), False, id="failed"),
        pytest.param(Run("a", "running", "running"), None, id="running"),
        pytest.param(Run("a", "running", "up_for_retry"), None, id="tried again"),
        pytest.param(Run("a", "queued", None), None, id="cleared"),
        pytest.param(Run("a", "failed", None), False, id="never started"),
        pytest.param(Run("b", "running", "success"), False, id="deleted"),
    ],
)
def test_an_event_was_sent_when_its_task_succeeded(run: Run, expected: bool | None) -> None:
    assert DayRuns(Ti(run)).succeeded(Task("flights/a", "audit")) is expected


def test_an_airflow_that_does_not_answer_is_asked_again_later() -> None:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    class Away:
        def get_task_states(self, *_: Any, **__: Any) -> NoReturn:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))

    with pytest.raises(TransientError, match="states of other runs"):
        DayRuns(Away()).succeeded(Task("flights/a", "audit"))
