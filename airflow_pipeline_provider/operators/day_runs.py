"""Answers about other runs and their tasks from Airflow, for the `.days` events (`phases.day_events`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from airflow.sdk.exceptions import AirflowRuntimeError

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.windows import NamedRun, parse_window_id, window_id_of
from airflow_pipeline_provider.exceptions import TransientError
from airflow_pipeline_provider.state.about import Task

T = TypeVar("T")

AT_ONCE = 100  # values of one question: they travel in a URL
ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
NOT_STARTED = frozenset({None, "none", "scheduled", "queued"})
UNFINISHED = ["queued", "running"]


class DayRuns(NamedTuple):
    """The runs of an Airflow, asked by the running task `ti`."""

    ti: Any

    def succeeded(self, task: Task) -> bool | None:
        """Return False also for a task that Airflow no longer knows: an event twice is better than none."""
        dag_id, _, run_id = task.run.partition("/")
        state = self._states(dag_id, task.task_id, run_ids=[run_id]).get(run_id, "removed")
        if state in ENDED:
            return state == "success"
        return None if self.is_unfinished(dag_id, [run_id]) else False

    def pending(self, commit: Task, windows: Sequence[Interval], committed: Callable[[str], bool]) -> bool:
        dag_id, _, run_id = commit.run.partition("/")
        for which in _questions(run_id, windows):
            states = self._states(dag_id, commit.task_id, **which)
            to_come = [
                other
                for other, state in states.items()
                if state in NOT_STARTED or (state not in ENDED and not committed(f"{dag_id}/{other}"))
            ]
            if to_come and self.is_unfinished(dag_id, to_come):
                return True
        return False

    def _states(self, dag_id: str, task_id: str, **which: Any) -> dict[str, str | None]:
        with _transient():
            found = self.ti.get_task_states(dag_id, task_ids=[task_id], **which)
        states = {run_id: tasks.get(task_id) for run_id, tasks in found.items()}
        # `dag.test` gives members of an enum, whose hash is not that of their text
        return {run_id: getattr(state, "value", state) for run_id, state in states.items()}

    def is_unfinished(self, dag_id: str, run_ids: list[str]) -> bool:
        """Return whether one of these runs is queued or running."""
        with _transient():
            return bool(self.ti.get_dr_count(dag_id, run_ids=run_ids, states=UNFINISHED) > 0)

    def has_unfinished(self, dag_id: str) -> bool:
        """Return whether any run of the DAG is queued or running."""
        with _transient():
            return bool(self.ti.get_dr_count(dag_id, states=UNFINISHED) > 0)


def _questions(run_id: str, windows: Sequence[Interval]) -> Iterator[dict[str, Any]]:
    """Yield arguments that find the runs of the windows: backfill runs by date, those of one command by id."""
    for dates in _parts(sorted({window.start for window in windows}, reverse=True)):
        yield {"logical_dates": dates}
    run = NamedRun.parse(run_id)
    window = parse_window_id(run.window_id) if run else None
    if run and window:
        ids = (run._replace(window_id=window_id_of(window[0], other)).run_id for other in windows)
        for run_ids in _parts(ids):
            yield {"run_ids": run_ids}


def _parts(values: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(values)
    while part := list(islice(remaining, AT_ONCE)):
        yield part


@contextmanager
def _transient() -> Iterator[None]:
    try:
        yield
    except AirflowRuntimeError as error:
        raise TransientError(
            f"Airflow's API did not report the states of other runs: {error}; try again"
        ) from error
