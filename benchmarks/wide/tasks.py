"""What Airflow's own records say of task instances: when each was queued, started and ended."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from benchmarks.wide.machine import BusyMachine

TaskInstance = dict[str, Any]  # as the REST API gives it


def moment(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def span(tasks: Sequence[TaskInstance]) -> tuple[float, float]:
    """The start of the first, and the end of the last."""
    starts, ends = zip(*(_bounds(task) for task in tasks), strict=True)
    return min(starts), max(ends)


def queued_to_start(tasks: Sequence[TaskInstance]) -> float:
    """The median of what passed between a task's queueing and its start."""
    return statistics.median(moment(task["start_date"]) - moment(task["queued_when"]) for task in tasks)


def each(tasks: Sequence[TaskInstance]) -> float:
    """The median of a task's own time, from start to end."""
    return statistics.median(end - start for start, end in map(_bounds, tasks))


def most_at_once(tasks: Sequence[TaskInstance]) -> int:
    bounds = [_bounds(task) for task in tasks]
    return max(sum(start <= begun < end for start, end in bounds) for begun, _ in bounds)


def figures(timed: Sequence[TaskInstance], machine: BusyMachine) -> dict[str, float]:
    """What every contestant tells, of the tasks that it times."""
    start, end = span(timed)
    return {
        "seconds": end - start,
        "queued_seconds": queued_to_start(timed),
        "at_once": most_at_once(timed),
        "cpu_seconds": machine.workers_cpu_seconds,
        "busy": machine.share(start, end),
    }


def assert_successful(tasks: Sequence[TaskInstance]) -> None:
    """A retry, or a task that failed, would be in the times."""
    wrong = [
        f"{task['dag_run_id']} {task['task_id']}: {task['state']}, try {task['try_number']}"
        for task in tasks
        if task["state"] != "success" or task["try_number"] != 1
    ]
    assert not wrong, wrong


def _bounds(task: TaskInstance) -> tuple[float, float]:
    return moment(task["start_date"]), moment(task["end_date"])
